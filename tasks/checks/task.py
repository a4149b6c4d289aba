"""Tasks of the checks step: gather evidence, judge it."""

from __future__ import annotations

import importlib
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from infra.cluster import coarse
from infra.workspace import Run, Workspace
from tasks.checks.conformity import inspect
from tasks.checks.evidence import CalibrationEvidence, DistanceEvidence, Evidence, FidelityEvidence, OverlapEvidence, SchemaEvidence
from tasks.checks.metric import Metric, measure_all
from tasks.checks.pool import gather, identical_pairs
from tasks.checks.verdict import decide, explain
from tasks.contract.columns import NUISANCE_COLUMNS
from tasks.contract.errors import GateFailed
from tasks.contract.frames import from_frame, to_frame
from tasks.contract.refs import ModelRef, PartitionRef, Ref
from tasks.contract.results import Gate
from tasks.contract.rng import in_holdout
from tasks.contract.roles import TableSchema

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
    """

    seed: PartitionRef
    holdout: PartitionRef
    drawn: PartitionRef
    pool: PartitionRef
    counts: Ref


@coarse("sample rows to compare", "sample rows to compare")
def sample(run: Run, schema: TableSchema, source: Sequence[PartitionRef], release: Sequence[PartitionRef]) -> Sample:
    """Take the first seed and holdout rows in hash order (so, at random), and released rows evenly from all parts."""
    space, spec = run.space(), run.spec
    names, limit = [column.id for column in schema.modelled], spec.gates.distance_rows
    held, kept = (_side(run, space, source, schema, held_out=side) for side in (True, False))
    share = -(-limit // len(release))
    drawn = pa.concat_tables([space.table(part, names).slice(0, share) for part in release]).slice(0, limit)
    pool = gather(to_frame(kept, schema.modelled), to_frame(held, schema.modelled))
    buffer = io.BytesIO()
    pairs = np.array(identical_pairs(to_frame(drawn, schema.modelled)))
    np.savez(buffer, allow_pickle=False, pool_seed=pool.seed, pool_holdout=pool.holdout, release_pairs=pairs)
    return Sample(
        seed=space.put_table("checks/seed.parquet", kept),
        holdout=space.put_table("checks/holdout.parquet", held),
        drawn=space.put_table("checks/drawn.parquet", drawn),
        pool=space.put_table("checks/pool.parquet", from_frame(pool.rows, schema.modelled)),
        counts=space.put_bytes("checks/counts.npz", buffer.getvalue()),
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
    if run.spec.release.include_nuisances:
        published = pa.schema([field for field in published if field.name not in NUISANCE_COLUMNS.values()])
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


def judge(run: Run, measured: Measured, main: str) -> Judgement:
    """Turn what was measured into metrics and let Great Expectations judge them (in the flow process: it is small).

    Parameters
    ----------
    run : Run
        The run.
    measured : Measured
        References to what was measured.
    main : str
        Estimator whose ATE the fidelity gate compares.
    """
    from tasks.checks.expectations import judge as judge_metrics  # takes seconds to import; see load_judge

    with tempfile.TemporaryDirectory(prefix="waymint-checks-") as scratch:
        return judge_metrics(_metrics(run, measured, main), Path(scratch), run.created)


def _metrics(run: Run, measured: Measured, main: str) -> list[Metric]:
    space = run.space()
    effects = {name: json.loads(space.read(ref.key)) for name, ref in (("source", measured.source), ("release", measured.release))}
    ate = {name: _ate(record, main) for name, record in effects.items()}
    truth = json.loads(space.read(measured.fidelity.key))["truth"] or {}
    parts: list[SchemaEvidence] = [space.model(ref) for ref in measured.conformity]
    evidence = Evidence(
        distance=_distances(space, measured.sample, measured.distances),
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


def _calibration(balances: Sequence[Any]) -> CalibrationEvidence | None:
    """Take the worst copy."""
    if not balances:
        return None
    worst = max(balances, key=lambda each: (each.relaxed, -each.ess))
    return CalibrationEvidence(float(worst.relaxed), float(worst.ess), float(worst.capped))


def _ate(record: Mapping[str, Any], main: str) -> Mapping[str, Any]:
    return next(each for each in record["estimates"] if each["estimand"] == "ate" and each["estimator"] == main)


def _distances(space: Workspace, sample: Sample, distances: Ref | None) -> DistanceEvidence:
    with np.load(io.BytesIO(space.read(sample.counts.key)), allow_pickle=False) as arrays:
        counts: dict[str, Any] = dict(arrays)
    found: dict[str, Any]
    if distances is None:
        none = np.empty((0, 1))
        found = {
            "seed": np.empty(0),
            "holdout_to_seed": np.empty(sample.holdout.rows),
            "pool_distances": none,
            "pool_rows": none.astype(np.int64),
        }
    else:
        with np.load(io.BytesIO(space.read(distances.key)), allow_pickle=False) as arrays:
            found = dict(arrays)
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
