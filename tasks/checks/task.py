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
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from infra.cluster import coarse
from infra.workspace import Run, Workspace
from tasks.checks.conformity import inspect
from tasks.checks.evidence import (
    CalibrationEvidence,
    DistanceEvidence,
    Evidence,
    FidelityEvidence,
    GroupEvidence,
    HoldoutEvidence,
    OverlapEvidence,
    SchemaEvidence,
)
from tasks.checks.groups import column_groups
from tasks.checks.joint import single_counts
from tasks.checks.metric import Metric, measure_all
from tasks.checks.pool import distinct, gather, identical_pairs
from tasks.checks.reuse import seed_knowledge
from tasks.checks.verdict import decide, explain
from tasks.contract.budget import Answer, Query, Terms, digest_of
from tasks.contract.columns import MARKER, NUISANCE_COLUMNS
from tasks.contract.errors import GateFailed
from tasks.contract.frames import from_frame, to_frame
from tasks.contract.refs import ModelRef, PartitionRef, Ref
from tasks.contract.results import Gate
from tasks.contract.rng import in_holdout, rng_for, salt
from tasks.contract.roles import TableSchema
from tasks.contract.spec import GatesSpec

if TYPE_CHECKING:
    from tasks.checks.expectations import Judgement


class Sample(NamedTuple):
    """Rows that the distance gates judge on: at most ``gates.distance_rows`` of each table.

    Attributes
    ----------
    seed, holdout, drawn : PartitionRef
        Covariates of seed, holdout and released rows.
    pool : PartitionRef
        Distinct rows of seed and holdout.
    counts : Ref
        npz: ``pool_seed``, ``pool_holdout`` (how often each pool row is in either) and ``release_pairs``.
    groups : Groups or None
        The same in groups of columns; None where seed or holdout has no rows.
    """

    seed: PartitionRef
    holdout: PartitionRef
    drawn: PartitionRef
    pool: PartitionRef
    counts: Ref
    groups: Groups | None = None


class Groups(NamedTuple):
    """Fewer rows of each table, to be compared in several groups of columns.

    Attributes
    ----------
    drawn : PartitionRef
        Released rows.
    pools : tuple of PartitionRef
        Distinct rows of seed and holdout in each group's columns.
    rows : Ref
        npz: ``seed`` (N,) bool, which pool rows are seed rows, and ``of`` (N, G), which distinct row of each group each of them is.
    names : tuple of str
        Names of the groups.
    columns : tuple of tuple of str
        Names of their columns.
    """

    drawn: PartitionRef
    pools: tuple[PartitionRef, ...]
    rows: Ref
    names: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]


# closeness in groups of columns is seven searches: on fewer rows than the one on all columns
GROUP_ROWS = 5_000


@coarse("sample rows to compare", "sample rows to compare")
def sample(run: Run, schema: TableSchema, source: Sequence[PartitionRef], release: Sequence[PartitionRef]) -> Sample:
    """Take the first seed and holdout rows in hash order (so, at random), and released rows evenly from all parts."""
    space, spec = run.space(), run.spec
    names, limit = [column.id for column in schema.modelled], spec.gates.distance_rows
    held, kept = (_side(run, space, source, schema, held_out=side) for side in (True, False))
    share = -(-limit // len(release))
    drawn = pa.concat_tables([space.table(part, names).slice(0, share) for part in release]).slice(0, limit)
    frames = to_frame(kept, schema.modelled), to_frame(held, schema.modelled)
    pool = gather(*frames)
    buffer = io.BytesIO()
    pairs = np.array(identical_pairs(to_frame(drawn, schema.modelled)))
    np.savez(buffer, allow_pickle=False, pool_seed=pool.seed, pool_holdout=pool.holdout, release_pairs=pairs)
    return Sample(
        seed=space.put_table("checks/seed.parquet", kept),
        holdout=space.put_table("checks/holdout.parquet", held),
        drawn=space.put_table("checks/drawn.parquet", drawn),
        pool=space.put_table("checks/pool.parquet", from_frame(pool.rows, schema.modelled)),
        counts=space.put_bytes("checks/counts.npz", buffer.getvalue()),
        groups=_groups(run, schema, *frames, drawn) if schema.modelled and kept.num_rows and held.num_rows else None,
    )


def _groups(run: Run, schema: TableSchema, seed: pd.DataFrame, holdout: pd.DataFrame, drawn: pa.Table) -> Groups:
    """Choose groups of columns and the rows to compare in them; seed and holdout come in hash order, released rows in any."""
    space, limit = run.space(), min(GROUP_ROWS, run.spec.gates.distance_rows)
    few = (seed.iloc[:limit], holdout.iloc[:limit])
    both = pd.concat(few, ignore_index=True)
    found = column_groups(distinct(both)[0], rng_for(run.spec.seed, "column groups"))
    pools, named, of = [], [], np.empty((len(both), len(found)), dtype=np.int64)
    for number, group in enumerate(found):
        rows, of[:, number] = distinct(both[list(group.columns)])
        columns = [column for column in schema.modelled if column.id in group.columns]
        named.append(tuple(column.name for column in columns))
        pools.append(space.put_table(f"checks/pool-{number}.parquet", from_frame(rows, columns)))
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, seed=np.arange(len(both)) < len(few[0]), of=of)
    evenly = pa.array(np.arange(0, drawn.num_rows, max(1, -(-drawn.num_rows // limit))))
    return Groups(
        drawn=space.put_table("checks/drawn-few.parquet", drawn.take(evenly)),
        pools=tuple(pools),
        rows=space.put_bytes("checks/rows.npz", buffer.getvalue()),
        names=tuple(group.name for group in found),
        columns=tuple(named),
    )


def _side(run: Run, space: Workspace, parts: Sequence[PartitionRef], schema: TableSchema, held_out: bool) -> pa.Table:
    """Take rows of one side, rounded and bounded as released rows are: all distances see the same values."""
    names, found, wanted = [column.id for column in schema.modelled], [], run.spec.gates.distance_rows
    for part in parts:
        table = space.table(part, ["key", *names])
        chosen = in_holdout(table.column("key").to_numpy(), run.spec.seed, run.spec.source.holdout) == held_out
        found.append(table.filter(pa.array(chosen)).slice(0, wanted).select(names))
        wanted -= found[-1].num_rows
        if wanted <= 0:
            break
    return from_frame(to_frame(pa.concat_tables(found), schema.modelled), schema.modelled)


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
        added |= set(NUISANCE_COLUMNS.values())
    published = pa.schema([field for field in published if field.name not in added])
    return space.put_model(key, inspect(schema, space.table(canonical), published))


class Measured(NamedTuple):
    """What was measured of source and release.

    Attributes
    ----------
    source, release : Ref
        Records of effects and overlap; the release's is that of its first copy.
    fidelity : Ref
        Record of the error ledger, TSTR and the exact effect.
    sample : Sample
        Rows that distances were measured on.
    distances : Ref or None
        Arrays of closest-record distances; None where seed or holdout has no rows.
    conformity : tuple of ModelRef
        Of every drawn part.
    balances : tuple of ModelRef
        Calibration of every copy; none in mode "full".
    targetings : tuple of Ref
        Record of each copy's targeting.
    people : Ref
        Record of single effects, assignment and outcomes.
    coverage : Ref or None
        Record of precision and recall; None where seed or holdout has no rows.
    """

    source: Ref
    release: Ref
    fidelity: Ref
    sample: Sample
    distances: Ref | None
    conformity: tuple[ModelRef, ...]
    balances: tuple[ModelRef, ...]
    targetings: tuple[Ref, ...]
    people: Ref
    coverage: Ref | None


def load_judge() -> None:
    """Import Great Expectations, which takes seconds."""
    importlib.import_module("tasks.checks.expectations")


def question(run: Run, measured: Measured) -> Query | None:
    """Return what the release asks of the holdout; None where nobody counts, or there is too little to ask with.

    The same released rows, pool and terms are the same question, whatever the SPEC that led to them.
    """
    gates, sample = run.spec.gates, measured.sample
    if gates.holdout_budget is False:
        return None
    found = seed_knowledge(_nearness(run, measured), gates)
    if found is None:
        return None
    parts = (sample.drawn.sha256, sample.pool.sha256, repr(gates.closeness_margin))
    return Query(digest_of(terms(gates), *parts), found)


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
        What the holdout answered; where nobody asked it there is no gate on its budget.
    attacked : sequence of mapping, optional
        Findings of attacks, where gates ask for them.
    """
    from tasks.checks.expectations import judge as judge_metrics  # takes seconds to import; see load_judge

    with tempfile.TemporaryDirectory(prefix="waymint-checks-") as scratch:
        strict = run.spec.gates.inconclusive == "fail"
        return judge_metrics(_metrics(run, measured, main, said, attacked), Path(scratch), run.created, strict)


def _metrics(run: Run, measured: Measured, main: str, said: Answer | None, attacked: Sequence[Mapping[str, Any]] | None) -> list[Metric]:
    space = run.space()
    effects = {name: json.loads(space.read(ref.key)) for name, ref in (("source", measured.source), ("release", measured.release))}
    ate = {name: _ate(record, main) for name, record in effects.items()}
    truth = json.loads(space.read(measured.fidelity.key))["truth"] or {}
    parts: list[SchemaEvidence] = [space.model(ref) for ref in measured.conformity]
    evidence = replace(
        _nearness(run, measured),
        holdout=None if said is None else HoldoutEvidence(said),
        audit=None if attacked is None else tuple(attacked),
        source=OverlapEvidence.of(effects["source"]["overlap"]),
        release=OverlapEvidence.of(effects["release"]["overlap"]),
        fidelity=FidelityEvidence(
            ate_source=ate["source"]["estimate"],
            se_source=ate["source"]["se"],
            ate_release=ate["release"]["estimate"],
            se_release=ate["release"]["se"],
            truth=truth.get("ate"),
            truth_se=truth.get("mc_se"),
        ),
        calibration=_calibration([space.model(ref) for ref in measured.balances]),
        schema=sum(parts[1:], start=parts[0]),
    )
    return measure_all(evidence, run.spec.gates)


def _nearness(run: Run, measured: Measured) -> Evidence:
    """Read what was measured of distances."""
    space, sample = run.space(), measured.sample
    arrays: dict[str, Any] = {}
    if measured.distances is not None:
        with np.load(io.BytesIO(space.read(measured.distances.key)), allow_pickle=False) as kept:
            arrays = dict(kept)
    return Evidence(distance=_distances(space, sample, arrays), groups=_near_groups(run, sample.groups, arrays))


def _near_groups(run: Run, groups: Groups | None, arrays: Mapping[str, Any]) -> GroupEvidence | None:
    if groups is None or "group_distances_0" not in arrays:
        return None
    space = run.space()
    with np.load(io.BytesIO(space.read(groups.rows.key)), allow_pickle=False) as kept:
        seed, of = kept["seed"], kept["of"]
    counts = [
        single_counts(arrays[f"group_distances_{number}"], arrays[f"group_rows_{number}"], of[:, number]) for number in range(of.shape[1])
    ]
    return GroupEvidence(groups.names, groups.columns, np.column_stack(counts), seed, salt(run.spec.seed, "column groups"))


def _calibration(balances: Sequence[Any]) -> CalibrationEvidence | None:
    """Take the worst copy."""
    if not balances:
        return None
    worst = max(balances, key=lambda each: (each.relaxed, -each.ess))
    return CalibrationEvidence(float(worst.relaxed), float(worst.ess), float(worst.capped))


def _ate(record: Mapping[str, Any], main: str) -> Mapping[str, Any]:
    return next(each for each in record["estimates"] if each["estimand"] == "ate" and each["estimator"] == main)


def _distances(space: Workspace, sample: Sample, arrays: Mapping[str, Any]) -> DistanceEvidence:
    with np.load(io.BytesIO(space.read(sample.counts.key)), allow_pickle=False) as kept:
        counts: dict[str, Any] = dict(kept)
    none = np.empty((0, 1))
    found = arrays or {
        "seed": np.empty(0),
        "holdout_to_seed": np.empty(sample.holdout.rows),
        "pool_distances": none,
        "pool_rows": none.astype(np.int64),
    }
    return DistanceEvidence(
        seed=found["seed"],
        holdout_to_seed=found["holdout_to_seed"],
        pool_seed=counts["pool_seed"],
        pool_holdout=counts["pool_holdout"],
        pool_distances=found["pool_distances"],
        pool_rows=found["pool_rows"],
        release_pairs=int(counts["release_pairs"]),
    )


def rejection(reply: Mapping[str, Any]) -> GateFailed:
    """Turn the reply of a rejected run into the error it ends with: a table of what failed by how much, and the way out."""
    gates = [Gate.model_validate(gate) for gate in reply["manifest"]["gates"]]
    failed = len(decide(gates).failed)
    lines = "\n".join(explain(gates))
    error = GateFailed(
        f"{failed} of {len(gates)} gates failed; nothing was published.\n{lines}", f"Checks and report: {reply['uri']}/report.html"
    )
    error.reply = dict(reply)
    return error
