"""Tasks of the checks step: gather evidence, judge it."""

from __future__ import annotations

import importlib
import io
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from infra.cluster import coarse
from infra.workspace import Run, Workspace
from tasks.checks.comparison import design_weights, law_evidence, numbers, outside, supports
from tasks.checks.conformity import inspect
from tasks.checks.evidence import Evidence, HoldoutEvidence, OverlapEvidence, SchemaEvidence
from tasks.checks.gathering import (
    calibration_evidence,
    distance_evidence,
    fidelity_evidence,
    group_evidence,
    isolation_evidence,
    unit_evidence,
)
from tasks.checks.groups import column_groups
from tasks.checks.measured import Groups, Measured, Sample
from tasks.checks.metric import Metric, measure_all
from tasks.checks.optional import absent
from tasks.checks.pool import Pool, UnitPool, distinct, first_of_units, gather, gather_units, identical_pairs
from tasks.checks.reuse import training_knowledge
from tasks.checks.support import Support, SupportEvidence
from tasks.checks.survival import survival_evidence
from tasks.contract.budget import Answer, Query, Terms, digest_of
from tasks.contract.columns import MARKER, clusters_of, mechanism_columns, predictions_of, unit_keys
from tasks.contract.frames import from_frame, to_frame
from tasks.contract.nuisance import Float64
from tasks.contract.refs import ModelRef, PartitionRef, Ref
from tasks.contract.rng import UInt64, in_holdout, rng_for, salt
from tasks.contract.roles import TableSchema
from tasks.contract.spec import GatesSpec
from tasks.targeting.fluctuation import truncation_bound

if TYPE_CHECKING:
    from tasks.checks.expectations import Judgement


# closeness in groups of columns is seven searches: on fewer rows than the one on all columns
GROUP_ROWS = 5_000


@coarse("sample rows to compare", "sample rows to compare")
def sample(run: Run, schema: TableSchema, source: Sequence[PartitionRef], release: Sequence[PartitionRef]) -> Sample:
    """Take the first training and holdout rows in hash order (so, at random), and released rows evenly from all parts."""
    space, spec = run.space(), run.spec
    names, limit = [column.id for column in schema.modelled], spec.gates.distance_rows
    (held, of_held), (kept, of_kept) = (_side(run, space, source, schema, held_out=side) for side in (True, False))
    share = -(-limit // len(release))
    drawn = pa.concat_tables([_one_each(space.table(part, [*names, *schema.beside])).slice(0, share) for part in release])
    drawn = drawn.slice(0, limit).select(names)
    frames = to_frame(kept, schema.modelled), to_frame(held, schema.modelled)
    buffer = io.BytesIO()
    pool: Pool | UnitPool
    if of_held is not None and of_kept is not None:
        pool = gather_units(*frames, of_kept, of_held)
        np.savez(buffer, allow_pickle=False, pool_unit=pool.unit, unit_training=pool.training)
        held = held.filter(pa.array(first_of_units(of_held)))
    else:
        pool = gather(*frames)
        pairs = np.array(identical_pairs(to_frame(drawn, schema.modelled)))
        np.savez(buffer, allow_pickle=False, pool_training=pool.training, pool_holdout=pool.holdout, release_pairs=pairs)
    return Sample(
        training=space.put_table("checks/training.parquet", kept),
        holdout=space.put_table("checks/holdout.parquet", held),
        drawn=space.put_table("checks/drawn.parquet", drawn),
        pool=space.put_table("checks/pool.parquet", from_frame(pool.rows, schema.modelled)),
        counts=space.put_bytes("checks/counts.npz", buffer.getvalue()),
        groups=_groups(run, schema, frames, drawn, (of_kept, of_held)) if schema.modelled and kept.num_rows and held.num_rows else None,
    )


def _one_each(table: pa.Table) -> pa.Table:
    """Return one row of each cluster; all rows where there are none."""
    clusters = clusters_of(table)
    return table if clusters is None else table.filter(pa.array(first_of_units(clusters)))


def _groups(
    run: Run,
    schema: TableSchema,
    frames: tuple[pd.DataFrame, pd.DataFrame],
    drawn: pa.Table,
    units: tuple[UInt64 | None, UInt64 | None],
) -> Groups:
    """Choose groups of columns and the rows to compare in them; training and holdout rows come in hash order, released rows in any."""
    space, limit = run.space(), min(GROUP_ROWS, run.spec.gates.distance_rows)
    few = (frames[0].iloc[:limit], frames[1].iloc[:limit])
    both = pd.concat(few, ignore_index=True)
    groups = column_groups(distinct(both)[0], rng_for(run.spec.seed, "column groups"))
    pools, named, of = [], [], np.empty((len(both), len(groups)), dtype=np.int64)
    for number, group in enumerate(groups):
        rows, of[:, number] = distinct(both[list(group.columns)])
        columns = [column for column in schema.modelled if column.id in group.columns]
        named.append(tuple(column.name for column in columns))
        pools.append(space.put_table(f"checks/pool-{number}.parquet", from_frame(rows, columns)))
    buffer = io.BytesIO()
    named_units = {}
    if units[0] is not None and units[1] is not None:
        clusters = np.concatenate([units[0][:limit], units[1][:limit]])
        named_units["unit"] = np.unique(clusters, return_inverse=True)[1].astype(np.int64)
    np.savez(buffer, allow_pickle=False, training=np.arange(len(both)) < len(few[0]), of=of, **named_units)
    evenly = pa.array(np.arange(0, drawn.num_rows, max(1, -(-drawn.num_rows // limit))))
    return Groups(
        drawn=space.put_table("checks/drawn-few.parquet", drawn.take(evenly)),
        pools=tuple(pools),
        rows=space.put_bytes("checks/rows.npz", buffer.getvalue()),
        names=tuple(group.name for group in groups),
        columns=tuple(named),
    )


def _side(run: Run, space: Workspace, parts: Sequence[PartitionRef], schema: TableSchema, held_out: bool) -> tuple[pa.Table, UInt64 | None]:
    """Take rows of one side, rounded and bounded as released rows are, and their clusters: all distances see the same values."""
    names, tables, wanted = [column.id for column in schema.modelled], [], run.spec.gates.distance_rows
    for part in parts:
        table = space.table(part, ["key", *schema.beside, *names])
        chosen = in_holdout(unit_keys(table), run.spec.split_seed, run.spec.source.holdout) == held_out
        tables.append(table.filter(pa.array(chosen)).slice(0, wanted))
        wanted -= tables[-1].num_rows
        if wanted <= 0:
            break
    rows = pa.concat_tables(tables)
    return from_frame(to_frame(rows, schema.modelled), schema.modelled), clusters_of(rows)


@coarse("inspect release", "inspect part {part} of copy {copy}")
def conformity(run: Run, schema: TableSchema, canonical: PartitionRef, released: PartitionRef, copy: int, part: int) -> ModelRef:
    """Compare one drawn part with the source's schema, levels and safe ranges."""
    space = run.space()
    key = f"checks/conformity-{copy}-{part:05d}"
    if (done := space.finished(key, ModelRef)) is not None:
        return done
    published = pq.read_schema(io.BytesIO(space.read(released.key)))
    added = {MARKER} - {column.name for column in schema.columns}
    if run.spec.release.include_nuisances:
        added |= set(mechanism_columns(schema).values())
    published = pa.schema([field for field in published if field.name not in added])
    return space.put_model(key, inspect(schema, space.table(canonical), published))


@coarse("read natural support", "read natural support")
def natural_support(run: Run, schema: TableSchema, source: Sequence[PartitionRef]) -> ModelRef:
    """Read each number's natural support from a sample of the source, and keep of it what all its rows keep."""
    space = run.space()
    key = "checks/support"
    if (done := space.finished(key, ModelRef)) is not None:
        return done
    limits = supports(schema, space.first_rows(source, run.spec.gates.distance_rows), _ranges(run, schema))
    for part in source:
        table = space.table(part, list(limits))
        for name, support in limits.items():
            limits[name] = support.without(support.violations(numbers(table, name)))
    return space.put_model(key, limits)


def _ranges(run: Run, schema: TableSchema) -> dict[str, tuple[float, float] | None]:
    return {column.name: run.spec.outcome_of(column.name).range for column in schema.outcomes}


@coarse("look for impossible numbers", "look for impossible numbers in part {part} of copy {copy}")
def outside_support(run: Run, schema: TableSchema, support: ModelRef, canonical: PartitionRef, copy: int, part: int) -> ModelRef:
    """Count the cells of one drawn part that lie outside the natural support of the source."""
    space = run.space()
    key = f"checks/support-{copy}-{part:05d}"
    if (done := space.finished(key, ModelRef)) is not None:
        return done
    limits: dict[str, Support] = space.model(support)
    return space.put_model(key, outside(schema, limits, space.table(canonical, list(limits))))


@coarse("compare laws", "compare laws")
def compare_laws(
    run: Run, schema: TableSchema, source: Sequence[PartitionRef], nuisances: Sequence[PartitionRef], release: Sequence[PartitionRef]
) -> ModelRef:
    """Compare outcome, covariates and missing cells of at most ``gates.distance_rows`` rows of source and release.

    Parameters
    ----------
    run : Run
    schema : TableSchema
        Of the source.
    source : sequence of PartitionRef
        Its partitions.
    nuisances : sequence of PartitionRef
        Out-of-fold nuisances of the source's rows, in their order.
    release : sequence of PartitionRef
        Canonical drawn parts of all copies.
    """
    space, spec, limit = run.space(), run.spec, run.spec.gates.distance_rows
    key = "checks/laws"
    if (done := space.finished(key, ModelRef)) is not None:
        return done
    names = [*(column.id for column in (*schema.modelled, *schema.passengers, *schema.outcomes)), "a", *schema.beside]
    share = -(-limit // len(release))
    drawn = pa.concat_tables([space.table(part, names).slice(0, share) for part in release]).slice(0, limit)
    rows = space.first_rows(source, limit)
    predictions = predictions_of(space.first_rows(nuisances, rows.num_rows))
    fitted = predictions.first
    bound = truncation_bound(sum(part.rows for part in nuisances), spec.mechanisms.truncation, fitted.arms)
    design = "joint" if spec.release.mode == "full" else spec.mechanisms.treatment
    propensities = list(fitted.propensities)
    a = rows.column("a").to_numpy()
    weight = design_weights(a, propensities, bound, design, spec.mechanisms.tilt)
    chances: list[Float64 | None] = []
    if spec.release.complete_outcomes:
        by_outcome = [predictions.chances(number) for number in range(len(schema.outcomes))]
        chances = [None if each is None else np.choose(a, each) for each in by_outcome]
    return space.put_model(key, law_evidence(schema, rows, weight, drawn, rng_for(spec.seed, "compare laws"), chances))


def load_judge() -> None:
    """Import Great Expectations, which takes seconds, without packages that it does not need here."""
    with absent():
        importlib.import_module("tasks.checks.expectations")


def question(run: Run, measured: Measured) -> Query | None:
    """Return the release's query to the holdout; None where no ledger is kept, or there is too little data.

    The same released rows, pool and terms are the same question, whatever the SPEC that led to them.
    """
    gates, sample = run.spec.gates, measured.sample
    if gates.holdout_budget is False:
        return None
    knowledge = training_knowledge(_nearness(run, measured), gates)
    if knowledge is None:
        return None
    parts = (sample.drawn.sha256, sample.pool.sha256, repr(gates.closeness_margin))
    return Query(digest_of(terms(gates), *parts), knowledge)


def terms(gates: GatesSpec) -> Terms:
    """Return how the SPEC has the holdout answer; without a threshold nothing is above, and only failed gates are charged."""
    threshold = math.inf if gates.holdout_query is False else float(gates.holdout_query)
    return Terms(threshold, gates.holdout_noise, int(gates.holdout_budget))


def judge(
    run: Run, measured: Measured, main: str, said: Answer | None = None, attacked: Sequence[Mapping[str, Any]] | None = None
) -> Judgement:
    """Turn what was measured into metrics and let Great Expectations judge them (in the flow process: it is small).

    Parameters
    ----------
    run : Run
        The run.
    measured : Measured
        References to what was measured.
    main : str
        Estimator whose ATE the fidelity gate compares.
    said : Answer, optional
        The holdout's answer; without a query there is no gate on its budget.
    attacked : sequence of mapping, optional
        Findings of attacks, where gates ask for them.
    """
    from tasks.checks.expectations import judge as judge_metrics  # takes seconds to import; see load_judge

    with tempfile.TemporaryDirectory(prefix="waymint-checks-") as scratch:
        strict = run.spec.gates.inconclusive == "fail"
        return judge_metrics(_metrics(run, measured, main, said, attacked), Path(scratch), run.created, strict)


def _metrics(run: Run, measured: Measured, main: str, said: Answer | None, attacked: Sequence[Mapping[str, Any]] | None) -> list[Metric]:
    """Read what was measured and turn it into metrics."""
    space = run.space()
    source, release = (json.loads(space.read(ref.key)) for ref in (measured.source, measured.release))
    kept = json.loads(space.read(measured.fidelity.key))
    truths = {each["outcome"]: each["truth"] or {} for each in kept.get("outcomes", ())} or {None: kept["truth"] or {}}
    parts: list[SchemaEvidence] = [space.model(ref) for ref in measured.conformity]
    cells: list[SupportEvidence] = [space.model(ref) for ref in measured.support]
    evidence = replace(
        _nearness(run, measured),
        holdout=None if said is None else HoldoutEvidence(said),
        audit=None if attacked is None else tuple(attacked),
        source=OverlapEvidence.of(source["overlap"]),
        release=OverlapEvidence.of(release["overlap"]),
        fidelity=fidelity_evidence(source, release, truths, main, run.spec.mechanisms.targets),
        calibration=calibration_evidence([space.model(ref) for ref in measured.balances]),
        schema=sum(parts[1:], start=parts[0]),
        laws=None if measured.laws is None else space.model(measured.laws),
        support=sum(cells[1:], start=cells[0]) if cells else None,
        survival=survival_evidence(source, release),
    )
    return measure_all(evidence, run.spec.gates)


def _nearness(run: Run, measured: Measured) -> Evidence:
    """Read what was measured of distances."""
    space, sample, groups = run.space(), measured.sample, measured.sample.groups
    arrays = {} if measured.distances is None else _arrays(space, measured.distances)
    counts = _arrays(space, sample.counts)
    compared = groups is not None and "group_distances_0" in arrays
    parts = [_arrays(space, ref)["distances"] for ref in measured.approaches]
    return Evidence(
        isolation=None if measured.isolated is None else isolation_evidence(_arrays(space, measured.isolated), parts),
        distance=(unit_evidence if "pool_unit" in counts else distance_evidence)(counts, arrays, sample.holdout.rows),
        groups=group_evidence(groups, _arrays(space, groups.rows), arrays, salt(run.spec.seed, "column groups"))
        if groups is not None and compared
        else None,
    )


def _arrays(space: Workspace, ref: Ref) -> dict[str, Any]:
    """Read the arrays of an npz file."""
    with np.load(io.BytesIO(space.read(ref.key)), allow_pickle=False) as kept:
        return dict(kept)
