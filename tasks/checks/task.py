"""Tasks of the checks step: gather evidence, judge it."""

from __future__ import annotations

import importlib
import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from infra.cluster import coarse
from infra.workspace import Run
from tasks.checks.conformity import inspect
from tasks.checks.evidence import DistanceEvidence, Evidence, FidelityEvidence, OverlapEvidence, SchemaEvidence
from tasks.checks.metric import Metric, measure_all
from tasks.checks.verdict import decide, explain
from tasks.contract.errors import GateFailed
from tasks.contract.refs import ModelRef, PartitionRef, Ref
from tasks.contract.results import Gate
from tasks.contract.roles import TableSchema

if TYPE_CHECKING:
    from tasks.checks.expectations import Judgement


@coarse("inspect release", "inspect part {part} of copy {copy}")
def conformity(run: Run, schema: TableSchema, canonical: PartitionRef, released: PartitionRef, copy: int, part: int) -> ModelRef:
    """Compare one drawn part with the source's schema, levels and safe ranges."""
    space = run.space()
    key = f"checks/conformity-{copy}-{part:05d}"
    if (done := space.finished(key, ModelRef)) is not None:
        return done
    published = pq.read_schema(io.BytesIO(space.read(released.key)))
    return space.put_model(key, inspect(schema, space.table(canonical), published))


class Measured(NamedTuple):
    """What was measured of source and release.

    Attributes
    ----------
    source, release : Ref
        Records of effects and overlap; the release's is that of its first copy.
    fidelity : Ref
        Record of the error ledger, TSTR and the exact effect.
    distances : Ref
        Arrays of closest-record distances.
    conformity : tuple of ModelRef
        Of every drawn part.
    """

    source: Ref
    release: Ref
    fidelity: Ref
    distances: Ref
    conformity: tuple[ModelRef, ...]


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
        distance=_distances(space.read(measured.distances.key)),
        source=_overlap(effects["source"]["overlap"]),
        release=_overlap(effects["release"]["overlap"]),
        fidelity=FidelityEvidence(
            ate_source=ate["source"]["estimate"],
            se_source=ate["source"]["se"],
            ate_release=ate["release"]["estimate"],
            se_release=ate["release"]["se"],
            truth=truth.get("ate"),
            truth_se=truth.get("mc_se"),
        ),
        schema=sum(parts[1:], start=parts[0]),
    )
    return measure_all(evidence, run.spec.gates)


def _ate(record: Mapping[str, Any], main: str) -> Mapping[str, Any]:
    return next(each for each in record["estimates"] if each["estimand"] == "ate" and each["estimator"] == main)


def _distances(data: bytes) -> DistanceEvidence:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        found = dict(arrays)
    n_seed, n_holdout = int(found["n_seed"]), int(found["n_holdout"])
    if "seed" not in found:
        empty, none = np.empty(0), np.empty((0, 1))
        return DistanceEvidence(n_seed, n_holdout, empty, np.empty(n_holdout), none, none.astype(np.int64), 0)
    return DistanceEvidence(
        n_seed=n_seed,
        n_holdout=n_holdout,
        seed=found["seed"],
        holdout_to_seed=found["holdout_to_seed"],
        pool_distances=found["pool_distances"],
        pool_rows=found["pool_rows"],
        release_pairs=int(found["release_pairs"]),
        rows_total=int(found["rows_total"]),
    )


def _overlap(record: Mapping[str, Any]) -> OverlapEvidence:
    return OverlapEvidence(
        rows=record["n"],
        bound=record["bound"],
        outside=record["outside"],
        treated=record["arm1"],
        control=record["arm0"],
        ess_treated=record["ess1"],
        ess_control=record["ess0"],
        largest_weight=record["largest_weight"],
        slope=record["calibration"]["slope"],
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
