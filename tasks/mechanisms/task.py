"""Tasks of the mechanisms step: targeting and assembly, calibration, draws."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from infra.cluster import coarse
from infra.provenance import product_version
from infra.workspace import Run, Workspace, parquet_bytes
from tasks.contract.columns import (
    CLUSTER_NAME,
    constant_array,
    decode,
    mechanism_columns,
    nuisances_of,
    predictions_of,
    survey_weights,
    unit_keys,
)
from tasks.contract.footer import with_footer
from tasks.contract.frames import levels_of, to_frame
from tasks.contract.nuisance import Float64, Nuisances
from tasks.contract.refs import ModelRef, PartitionRef, Ref
from tasks.contract.rng import part_name, release_keys, rng_for
from tasks.contract.roles import TableSchema
from tasks.contract.spec import Spec
from tasks.contract.survival import causes_of
from tasks.mechanisms.assembly import OutcomeRows, assemble_outcomes
from tasks.mechanisms.blocks import SLICE, hybrid_block, joint_block, predicted_pool, with_passengers
from tasks.mechanisms.calibration import balance
from tasks.mechanisms.cluster_fit import ALIKE_ROWS, ClusteredRows, fit_clusters, fit_outcomes
from tasks.mechanisms.clusters import Alike, Intp, intraclass
from tasks.mechanisms.fresh import FreshKeys, first_row, key_form, with_keys
from tasks.mechanisms.law_record import law_bytes, outcome_laws_bytes
from tasks.mechanisms.model import Mechanisms
from tasks.mechanisms.moments import Moments, effect_features, features, merge, moments
from tasks.mechanisms.survival_clusters import fit_alike
from tasks.mechanisms.survival_draw import own_hazards, times_block, with_curves
from tasks.mechanisms.survival_fit import SourceTimes, assemble_times, held_hazards
from tasks.mechanisms.survival_law import learn_times
from tasks.mechanisms.survival_model import TimesMechanisms, mean_hazards, times_features, uncounted
from tasks.mechanisms.targeting import target
from tasks.mechanisms.targets import Targets
from tasks.nuisance.survival_fold import Counts, TimesFoldModel
from tasks.nuisance.task import Fitted, FoldFit, Partitions, Table, by_partition, columns_of, held_rows, weights_of
from tasks.numerics.blocked import blocks_of
from tasks.targeting.fluctuation import truncation_bound

# Eigenvalue below which calibration takes a direction not to vary: Q of several outcomes are nearly functions of one another.
ONE_RANK, SEVERAL_RANK = 1e-9, 1e-5
# Rows drawn at a time: bounds memory, and is part of what decides the bytes.
BLOCK = 25_000
# Pool rows the balancing weights are solved on.
POOL_ROWS = 40_000
# The same where rows meet a condition: each costs as many draws as the condition is rare.
CONDITIONAL_ROWS = 10_000


class Assembled(NamedTuple):
    """The mechanisms of a table, and a JSON record of how far targeting went and why."""

    mechanisms: ModelRef
    targeting: Ref


@coarse("assemble mechanisms", "assemble mechanisms of {table.name}")
def assemble(
    run: Run,
    schema: TableSchema,
    table: Table,
    nuisances: Sequence[PartitionRef],
    fits: Sequence[FoldFit],
    predicted: Sequence[PartitionRef],
) -> Assembled:
    """Target Q, fit the law of Y around it, anchor the averaged model's means at the targeted ones."""
    space, spec = run.space(), run.spec
    key, record_key = f"{table.name}/mechanisms.model", f"{table.name}/targeting.json"
    done, told_before = space.finished(key, ModelRef), space.finished(record_key, Ref)
    if done is not None and told_before is not None:
        return Assembled(done, told_before)
    rows = columns_of(space, nuisances) if schema.survival is None else space.table(nuisances)
    a, weight = rows.column("a").to_numpy(), weights_of(run, table, rows)
    if schema.survival is not None:
        of_times, facts = _assemble_times(run, schema, table, rows, fits, weight)
        record = space.put_bytes(record_key, json.dumps(facts, sort_keys=True).encode())
        return Assembled(space.put_model(key, of_times), record)
    y = np.column_stack([rows.column(column.id).to_numpy() for column in schema.outcomes])
    targets, members = _targets(space, spec, schema, table)
    # laws need rows in memory: the first in hash order are a random sample
    some = Partitions(space, schema, table.parts).first(spec.mechanisms.fit_rows)
    averaged = predictions_of(columns_of(space, predicted))
    of_source = OutcomeRows(a, y, predictions_of(rows), averaged, weight, some, members)
    mechanisms, facts = assemble_outcomes(spec, schema, table.name, [space.model(fit.model) for fit in fits], of_source, targets)
    record = space.put_bytes(record_key, json.dumps(facts, sort_keys=True).encode())
    return Assembled(space.put_model(key, mechanisms), record)


def _assemble_times(
    run: Run, schema: TableSchema, table: Table, rows: pa.Table, fits: Sequence[FoldFit], weight: Float64 | None
) -> tuple[TimesMechanisms, dict[str, Any]]:
    """Target the hazards of a time to event on the first rows in hash order, which are a random sample."""
    space, spec, outcome, arms = run.space(), run.spec, schema.survival, len(schema.arms)
    assert outcome is not None  # the caller looked
    a, y, time, e = (rows.column(name).to_numpy() for name in ("a", "y", "time", "e"))
    n, nuisances = min(len(a), spec.mechanisms.fit_rows), nuisances_of(rows)
    bound = truncation_bound(len(a), spec.mechanisms.truncation, arms)
    targeting = target(a, y, nuisances, schema.mean_kind, bound, weight, spec.mechanisms.targeting)
    frame = Partitions(space, schema, table.parts).first(n)
    models: list[TimesFoldModel] = [space.model(fit.model) for fit in fits]
    hazards = held_hazards(models, held_rows(space, fits, n), frame, len({fit.repeat for fit in fits}))
    counts = Counts(outcome.grid.counts(time, e > 0.5, at=np.arange(n)), causes_of(e[:n], outcome))
    sample = SourceTimes(a[:n], counts, Nuisances(*(values[:n] for values in nuisances)), hazards, None if weight is None else weight[:n])
    law = learn_times(time, e > 0.5, outcome)
    mechanisms = assemble_times(models, targeting, sample, mean_hazards(models, frame, uncounted(n)), law)
    periods_of = {"periods": len(outcome.edges), "horizon": outcome.horizon, "times": list(outcome.times)}
    periods_of |= {"causes": list(outcome.causes)} if outcome.causes else {}
    return mechanisms, {
        "ate": targeting.ate,
        "se": targeting.se,
        **targeting.truncation._asdict(),
        "law": {"kind": "survival", **periods_of},
    }


def _targets(space: Workspace, spec: Spec, schema: TableSchema, table: Table) -> tuple[Targets, Float64 | None]:
    """Return the estimands beyond the ATE and the indicators of their subgroups, shape (n, groups); None where there is none."""
    columns = tuple(column for column in schema.modelled if column.name in spec.roles.subgroups)
    wanted, arms = spec.mechanisms.targets, len(schema.arms)
    if not columns and wanted == ("ate",):
        return Targets(arms=arms), None
    groups = []
    for column in columns:
        levels = by_partition(space, table.parts, (column,), lambda frame: levels_of(frame.iloc[:, 0]).to_numpy(dtype=object))
        groups += [(column.id, level) for level in sorted({level for block in blocks_of(levels) for level in set(block) if level == level})]
    targets = Targets(tuple(groups), "att" in wanted, "ato" in wanted, "ate" in wanted, arms)
    if not columns:
        return targets, np.zeros((table.rows, 0))
    return targets, by_partition(space, table.parts, columns, targets.members)


class Anchored(NamedTuple):
    """One source partition as the mechanisms see it: its Q* (columns g, q0, q1, ...) and the sums of its features."""

    predictions: PartitionRef
    sums: ModelRef


@coarse("anchor partition", "anchor partition {part.part} of {table.name}")
def anchor(
    run: Run, schema: TableSchema, table: Table, mechanisms: ModelRef, part: PartitionRef, predicted: PartitionRef | None
) -> Anchored:
    """Predict one partition by the assembled mechanisms, and sum the features that calibration will meet.

    ``predicted`` holds averaged predictions of the source's rows; None for rows of another table.
    """
    space = run.space()
    base = f"{table.name}/anchored-{part.part:05d}"
    done, sums = space.finished(f"{base}.parquet", PartitionRef), space.finished(f"{base}.sums", ModelRef)
    if done is not None and sums is not None:
        return Anchored(done, sums)
    model: Mechanisms | TimesMechanisms = space.model(mechanisms)
    rows = space.table(part)
    frame, weight = to_frame(rows, schema.modelled), weights_of(run, table, rows)
    if isinstance(model, TimesMechanisms):
        view = model.view(frame)
        sums = space.put_model(f"{base}.sums", moments(times_features(frame, view, schema.modelled), weight))
        return Anchored(space.put_table(f"{base}.parquet", pa.table(view.nuisances._asdict()), part=part.part), sums)
    anchored = model.predict_all(frame) if predicted is None else model.anchored_all(predictions_of(space.table(predicted)), frame)
    total: Moments | None = None
    for start in range(0, len(frame), SLICE):
        here = slice(start, start + SLICE)
        partition_features = features(frame.iloc[here], anchored.at(here), schema.modelled, model.targets)
        sums_here = moments(partition_features, None if weight is None else weight[here])
        total = sums_here if total is None else merge(total, sums_here)
    return Anchored(
        space.put_table(f"{base}.parquet", pa.table(anchored.columns()), part=part.part), space.put_model(f"{base}.sums", total)
    )


@coarse("learn form of keys", "learn form of keys")
def learn_keys(run: Run, schema: TableSchema, parts: Sequence[PartitionRef], needed: int | None = None) -> ModelRef:
    """Learn what fresh keys of ids and clusters look like: a dict of :class:`tasks.mechanisms.fresh.FreshKeys` by column.

    ``needed``: how many keys, by default one for each row of the release.
    """
    space, release = run.space(), run.spec.release
    key = "mechanisms/keys.model"
    if (done := space.finished(key, ModelRef)) is not None:
        return done
    forms: dict[str, FreshKeys] = {}
    for column in (*schema.ids, *((schema.cluster,) if schema.cluster is not None else ())):
        stored = CLUSTER_NAME if column.role == "cluster" else column.id
        blocks = partial(_texts_of, space, parts, stored)
        form = key_form(blocks, column.arrow().type, needed or release.copies * release.rows, column.id)
        forms[column.id] = FreshKeys(form, column.role == "cluster" or (schema.cluster is not None and form.total < schema.rows))
    return space.put_model(key, forms)


def _texts_of(space: Workspace, parts: Sequence[PartitionRef], name: str) -> Iterator[pa.Array]:
    """Yield the distinct texts of a column, partition by partition."""
    return (space.table(part, [name]).column(name).cast(pa.string()).unique() for part in parts)


@coarse("learn clusters", "learn clusters of {table.name}")
def learn_clusters(run: Run, schema: TableSchema, table: Table, nuisances: Sequence[PartitionRef], mechanisms: ModelRef) -> ModelRef:
    """Learn how rows of one cluster hang together: a :class:`tasks.mechanisms.clusters.ClusterLaw`."""
    space, spec = run.space(), run.spec
    key = f"{table.name}/clusters.model"
    if (done := space.finished(key, ModelRef)) is not None:
        return done
    columns = space.first_rows(nuisances, ALIKE_ROWS)
    a, predictions = columns.column("a").to_numpy(), predictions_of(columns)
    y = np.column_stack([columns.column(column.id).to_numpy() for column in schema.outcomes])
    mean = np.column_stack([predictions.of(number).observed(a) for number in range(len(schema.outcomes))])
    relations = [relation.columns for relation in spec.roles.declared_relations]
    model: Mechanisms | TimesMechanisms = space.model(mechanisms)
    rng = rng_for(spec.seed, "clusters", table.name)

    def alike(first: pd.DataFrame, place: Intp) -> Alike:
        n = len(first)
        if not isinstance(model, TimesMechanisms):
            return fit_outcomes([each.law for each in model.every], a[:n], y[:n], mean[:n], first, place, rng)
        wanted = intraclass((y - mean)[:n, 0], place), intraclass(columns.column("lost").to_numpy()[:n], place)
        return fit_alike(model.law, own_hazards(model, a[:n], first), wanted, place, rng)

    def rows(part: PartitionRef) -> ClusteredRows:
        counted = space.table(part, ["key", "a", *schema.beside])
        covariates = Partitions(space, schema, table.parts).frame(part)
        return ClusteredRows(covariates, unit_keys(counted), counted.column("a").to_numpy(), survey_weights(counted))

    return space.put_model(key, fit_clusters(schema, map(rows, table.parts), relations, alike))


@coarse("calibrate covariates", "calibrate covariates of {table.name}")
def calibrate(
    run: Run,
    schema: TableSchema,
    table: Table,
    covariates: ModelRef,
    mechanisms: ModelRef,
    anchored: Sequence[Anchored],
    clusters: ModelRef | None = None,
) -> ModelRef:
    """Solve the weights under which a pool of drawn covariates has the source's means."""
    space, spec = run.space(), run.spec
    key = f"{table.name}/balance.model"
    if (done := space.finished(key, ModelRef)) is not None:
        return done
    total: Moments | None = None
    for each in anchored:
        sums: Moments = space.model(each.sums)
        total = sums if total is None else merge(total, sums)
    assert total is not None  # a source has at least one partition
    model: Mechanisms | TimesMechanisms = space.model(mechanisms)
    law = None if clusters is None else space.model(clusters)
    condition = spec.release.condition
    rows = POOL_ROWS if condition is None else CONDITIONAL_ROWS
    pool = predicted_pool(schema, space.model(covariates), model, rows, rng_for(spec.seed, "calibrate", table.name), law, condition)
    if isinstance(model, TimesMechanisms):
        # incidences of causes are nearly functions of curves
        rank = SEVERAL_RANK if model.outcome.causes else ONE_RANK
        return space.put_model(
            key, balance(pool.features, total.means, spec.mechanisms.pool, kept=model.kept_features, rank=rank, rows=total.size)
        )
    kept, rank = effect_features(model.targets, len(model.every)), ONE_RANK if model.plain else SEVERAL_RANK
    return space.put_model(key, balance(pool.features, total.means, spec.mechanisms.pool, kept=kept, rank=rank, rows=total.size))


class Models(NamedTuple):
    """What a copy of the release is drawn from; in mode "full" the covariate model alone.

    Attributes
    ----------
    covariates, mechanisms : ModelRef
    balance : ModelRef or None
        Calibration weights, in mode "hybrid".
    clusters, passengers, keys : ModelRef or None
        Of :func:`learn_clusters`, :func:`tasks.covariates.task.fit_passengers` and :func:`learn_keys`, where there are such columns.
    """

    covariates: ModelRef
    mechanisms: ModelRef
    balance: ModelRef | None
    clusters: ModelRef | None = None
    passengers: ModelRef | None = None
    keys: ModelRef | None = None


class Drawn(NamedTuple):
    """One drawn part: canonical with key and nuisances beside (propensities of the release's design), and as it will be published."""

    canonical: PartitionRef
    released: PartitionRef


@coarse("draw release", "draw part {part} of copy {copy}")
def draw(run: Run, schema: TableSchema, models: Models, copy: int, part: int, rows: int) -> Drawn:
    """Draw one part of one copy, block by block."""
    space, spec, stream = run.space(), run.spec, run.spec.release.stream
    folder, name = f"drawn{f'-{stream}' if stream else ''}/copy-{copy}", part_name(part, stream)
    base = f"{folder}/part-{part:05d}"
    if spec.release.include_nuisances and part == 0 and schema.survival is None:
        # beside the parts: publishing looks for it there
        space.put_bytes(f"{folder}/law.json", _law_record(schema, space.model(models.mechanisms)))
    canonical, released = (space.finished(f"{base}.{kind}.parquet", PartitionRef) for kind in ("canonical", "released"))
    if canonical is not None and released is not None:
        return Drawn(canonical, released)
    starts = range(0, rows, BLOCK)
    rngs = [rng_for(spec.seed, "draw", f"{copy}/{name}/{number}") for number in range(len(starts))]
    offset = copy * spec.release.rows + first_row(spec.release.rows, spec.release.part_rows, part)
    passengers, keys = (None if ref is None else space.model(ref) for ref in (models.passengers, models.keys))
    blocks = []
    for start, rng in zip(starts, rngs):
        block = _block(run, schema, models, min(BLOCK, rows - start), rng)
        if passengers is not None:
            block = with_passengers(schema, block, passengers, rng_for(spec.seed, "draw passengers", f"{copy}/{name}/{start}"))
        blocks.append(with_keys(schema, block, keys or {}, offset + start, spec.seed))
    table = pa.concat_tables(blocks)
    for column in (*schema.covariates, *schema.passengers):
        if column.constant:
            table = table.append_column(column.id, constant_array(column, rows))
    table = table.append_column("key", pa.array(release_keys(spec.seed, copy, name, rows)))
    published = decode(schema, table)
    if spec.release.include_nuisances:
        for column_name, shown in mechanism_columns(schema).items():
            published = published.append_column(shown, table.column(column_name))
    published = with_footer(published, spec, schema, product_version(), copy, part)
    return Drawn(
        space.put_table(f"{base}.canonical.parquet", table, part=part),
        space.put_encoded(f"{base}.released.parquet", parquet_bytes(published), rows=rows, part=part),
    )


def _law_record(schema: TableSchema, mechanisms: Mechanisms) -> bytes:
    """Write the law of the outcome, or of several outcomes and how they hang together."""
    if not mechanisms.further:
        return law_bytes(mechanisms.law)
    laws = {column.name: each.law for column, each in zip(schema.outcomes, mechanisms.every, strict=True)}
    ranks = None if mechanisms.ranks is None else dict(zip(schema.arms, mechanisms.ranks.correlations, strict=True))
    return outcome_laws_bytes(laws, ranks)


def _block(run: Run, schema: TableSchema, models: Models, n: int, rng: np.random.Generator) -> pa.Table:
    """Draw n rows in the release's mode."""
    space, spec = run.space(), run.spec
    covariates, mechanisms = space.model(models.covariates), space.model(models.mechanisms)
    clusters = None if models.clusters is None else space.model(models.clusters)
    if models.balance is None:
        return joint_block(schema, covariates, mechanisms, n, rng, clusters)
    balanced = spec.release.draws == "balanced"
    weighing, condition, complete = space.model(models.balance), spec.release.condition, spec.release.complete_outcomes
    if isinstance(mechanisms, TimesMechanisms):
        block = times_block(spec.mechanisms, balanced, schema, covariates, mechanisms, weighing, n, rng, clusters, condition)
        return with_curves(schema, block, mechanisms) if spec.release.include_nuisances else block
    return hybrid_block(spec.mechanisms, balanced, schema, covariates, mechanisms, weighing, n, rng, clusters, condition, complete)


class Learnt(NamedTuple):
    """The mechanisms of a source: cross-fitted, targeted, and anchored at each of its partitions."""

    fitted: Fitted
    mechanisms: ModelRef
    anchored: list[Anchored]
    targeting: Ref


class FittedCopy(NamedTuple):
    """What a copy is drawn from."""

    fitted: Fitted
    anchored: list[Anchored]
    models: Models
    targeting: Ref


class Copy(NamedTuple):
    """One copy of the release and what it was drawn from."""

    fitted: Fitted
    anchored: list[Anchored]
    models: Models
    drawn: list[Drawn]
    targeting: Ref
