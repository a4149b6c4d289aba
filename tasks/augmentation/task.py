"""Tasks of the augmentation step: flip labels, redraw models, decide, add rows, estimate again."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from infra.cluster import coarse
from infra.provenance import product_version
from infra.workspace import Run, Workspace, parquet_bytes
from tasks.augmentation.agreement import Recalibration, conflict, recalibrate
from tasks.augmentation.criterion import Inputs, Point, choose, curve
from tasks.augmentation.effects import ESTIMATORS, Augmented, Averaging, effects
from tasks.augmentation.ensemble import Ensemble, redrawn
from tasks.augmentation.filling import fill
from tasks.augmentation.regions import regions
from tasks.augmentation.rivals import Pooled, rivals, tolerance, worth
from tasks.augmentation.rows import choose_rows, flipped
from tasks.contract.columns import MARKER, conform, constant_array, decode
from tasks.contract.errors import EstimationError
from tasks.contract.footer import with_footer
from tasks.contract.frames import from_frame, to_frame
from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.contract.refs import ModelRef, PartitionRef, Ref
from tasks.contract.registry import resolve
from tasks.contract.rng import mix, rng_for, salt
from tasks.contract.roles import TableSchema
from tasks.mechanisms.balanced import balanced_outcome
from tasks.mechanisms.model import Mechanisms
from tasks.nuisance.fold_model import FoldModel
from tasks.targeting.fluctuation import truncation_bound

#: Candidates drawn per added row: at least, at most.
CANDIDATES = (4.0, 60.0)
#: Rows added at a time: bounds memory, and is part of what decides the bytes.
BLOCK = 10_000
NUISANCES = ("g", "q0", "q1")


@coarse("flip labels", "flip labels")
def flip(run: Run, parts: Sequence[PartitionRef]) -> list[PartitionRef]:
    """Turn a share of the other table's outcomes to the other label."""
    space, chosen = run.space(), []
    for part in parts:
        key = f"flipped/part-{part.part:05d}.parquet"
        done = space.finished(key, PartitionRef)
        if done is None:
            table = space.table(part)
            y = flipped(table["y"].to_numpy(), table["key"].to_numpy(), run.spec.augment.flip, run.spec.seed)
            done = space.put_table(key, table.set_column(table.column_names.index("y"), "y", pa.array(y)), part=part.part)
        chosen.append(done)
    return chosen


@coarse("redraw outcome model", "redraw outcome model of {name}")
def redraw(run: Run, schema: TableSchema, parts: Sequence[PartitionRef], at: Sequence[PartitionRef], name: str) -> ModelRef:
    """Fit Q on bootstrap draws of one table and predict the source's rows: an Ensemble."""
    space, spec = run.space(), run.spec
    key = f"augmentation/ensemble-{name}"
    if (done := space.finished(key, ModelRef)) is not None:
        return done
    # the snapshot is in hash order: the first rows are a random sample
    rows = space.first_rows(parts, spec.augment.fit_rows).unify_dictionaries()
    table = (to_frame(rows, schema.modelled), rows["a"].to_numpy().astype(np.int8), rows["y"].to_numpy().astype(np.float64))
    learner = resolve("learner", spec.mechanisms.learner, spec.mechanisms.params)
    frame = _frame(space, schema, at)
    redrawn_outcomes = redrawn(learner, table, schema.outcome_kind, frame, spec.augment.draws, rng_for(spec.seed, "ensemble", name))
    return space.put_model(key, redrawn_outcomes)


class Analysed(NamedTuple):
    """What has been cross-fitted before rows are added; each with columns key, a, y, g, q0, q1.

    Attributes
    ----------
    observed : tuple of PartitionRef
        The source.
    other, pooled : tuple of PartitionRef, or None
        The other table, and both as one with the source first; None where outcomes are the source's own.
    """

    observed: tuple[PartitionRef, ...]
    other: tuple[PartitionRef, ...] | None
    pooled: tuple[PartitionRef, ...] | None


@coarse("weigh augmentation", "weigh augmentation against what else could be done")
def decide(
    run: Run, schema: TableSchema, parts: Sequence[PartitionRef], analysed: Analysed, observed: ModelRef, given: ModelRef | None
) -> Ref:
    """Describe where support is missing, choose how many rows to add, and set that against nothing, overlap weights, trimming, pooling.

    Returns
    -------
    Ref
        A JSON record: ``{"bound", "regions", "lacking", "curve", "chosen", "conflict", "rivals", "worth", "tolerance",
        "candidates"}``.
    """
    space, spec = run.space(), run.spec
    key = "augmentation/decision.json"
    if (done := space.finished(key, Ref)) is not None:
        return done
    a, y, nuisances = _analysis(space, analysed.observed)
    bound = truncation_bound(len(y), spec.mechanisms.truncation)
    mine: Ensemble = space.model(observed)
    theirs: Ensemble = mine if given is None else space.model(given)
    inputs = Inputs(a, y, nuisances, mine, theirs, schema.outcome_kind, bound, given is not None)
    recalibration = recalibrate(a, y, theirs, schema.outcome_kind) if given is not None else None
    points = curve(inputs, spec.augment.most, spec.augment.averaging, recalibration)
    chosen = choose(points)
    ways = rivals(
        inputs, chosen, recalibration, _pooled(space, analysed), truncation_bound(max(_rows(analysed), 2), spec.mechanisms.truncation)
    )
    areas = regions(_frame(space, schema, parts), schema.modelled, a, nuisances.g, bound, spec.augment.leaf)
    record = {
        "bound": bound,
        "lacking": {"treated": int(np.sum(nuisances.g < bound)), "control": int(np.sum(nuisances.g > 1.0 - bound)), "rows": len(y)},
        "regions": [{**each._asdict(), "sentence": each.sentence()} for each in areas],
        "curve": [each._asdict() for each in points],
        "chosen": chosen._asdict(),
        "conflict": _conflict(inputs, chosen, recalibration),
        "rivals": [each._asdict() for each in ways],
        "worth": worth(ways),
        "tolerance": None if spec.augment.worth is False else tolerance(spec.augment.worth, given is not None),
        "candidates": _candidates(nuisances.g, chosen),
    }
    return space.put_bytes(key, json.dumps(record, sort_keys=True, default=float).encode())


def _conflict(inputs: Inputs, chosen: Point, recalibration: Recalibration | None) -> dict[str, float] | None:
    if recalibration is None:
        return None
    seen = conflict(recalibration, *inputs.given.mean, *fill(inputs.nuisances.g, chosen.level).borrowed, chosen.borrowed)
    return {"change": seen.change, "se": seen.se, "chance": seen.chance, "squared": seen.squared}


def _pooled(space: Workspace, analysed: Analysed) -> Pooled | None:
    if analysed.pooled is None or analysed.other is None:
        return None
    _, _, other = _analysis(space, analysed.other)
    return Pooled(*_analysis(space, analysed.pooled), other.q1 - other.q0)


def _rows(analysed: Analysed) -> int:
    return sum(part.rows for part in analysed.pooled or analysed.observed)


def _candidates(g: Float64, chosen: Point) -> float:
    """Return how many candidates are needed per added row so that few are taken twice."""
    filling = fill(g, chosen.level)
    largest = max(float(filling.added0.max()), float(filling.added1.max()))
    return float(np.clip(1.5 * largest / max(filling.rows, 1e-12), *CANDIDATES))


class Added(NamedTuple):
    """One part of added rows: canonical with key, g, q0, q1 and tilt beside, and as it will be published."""

    canonical: PartitionRef
    released: PartitionRef


class Donor(NamedTuple):
    """What added rows are made from.

    Attributes
    ----------
    covariates : ModelRef
        The synthesizer of W.
    folds : tuple of ModelRef
        The source's fold models: their g says where an arm is missing.
    mechanisms : ModelRef
        The targeted outcome model of the table that outcomes come from.
    """

    covariates: ModelRef
    folds: tuple[ModelRef, ...]
    mechanisms: ModelRef


@coarse("add rows", "add rows, part {part}")
def add(run: Run, schema: TableSchema, donor: Donor, decision: Ref, part: int, rows: int) -> Added:
    """Draw covariates where an arm is missing, give them that arm, draw their outcomes."""
    space, spec = run.space(), run.spec
    base = f"augmentation/part-{part:05d}"
    canonical, released = (space.finished(f"{base}.{kind}.parquet", PartitionRef) for kind in ("canonical", "released"))
    if canonical is not None and released is not None:
        return Added(canonical, released)
    decided = json.loads(space.read(decision.key))
    blocks = []
    for number, start in enumerate(range(0, rows, BLOCK)):
        rng = rng_for(spec.seed, "augment", f"{part}/{number}")
        blocks.append(_block(run, space, schema, donor, decided, min(BLOCK, rows - start), rng))
    table = pa.concat_tables(blocks).unify_dictionaries()
    if not table.num_rows:
        raise EstimationError(
            "rows of an augmentation must be at least 1; got 0.", "Raise augment.most, or take another covariates.synthesizer."
        )
    for column in schema.covariates:
        if column.constant:
            table = table.append_column(column.id, constant_array(column, table.num_rows))
    keys = mix(np.arange(table.num_rows, dtype=np.uint64), salt(spec.seed, "added key", part))
    table = table.append_column("key", pa.array(keys))
    published = decode(schema, table).append_column(MARKER, pa.array(np.ones(table.num_rows, dtype=bool)))
    published = with_footer(published, spec, schema, product_version(), 0, part)
    return Added(
        space.put_table(f"{base}.canonical.parquet", table, part=part),
        space.put_encoded(f"{base}.released.parquet", parquet_bytes(published), rows=table.num_rows, part=part),
    )


def _block(
    run: Run,
    space: Workspace,
    schema: TableSchema,
    donor: Donor,
    decided: dict[str, Any],
    rows: int,
    rng: np.random.Generator,
) -> pa.Table:
    size = math.ceil(decided["candidates"] * rows)
    pool = to_frame(from_frame(space.model(donor.covariates).sample(size, rng), schema.modelled), schema.modelled)
    model: Mechanisms = space.model(donor.mechanisms)
    predicted = model.predict(pool)
    folds: list[FoldModel] = [space.model(ref) for ref in donor.folds]
    g = np.mean([np.asarray(fold.propensity.predict(pool), dtype=np.float64) for fold in folds], axis=0)
    filling = fill(g, decided["chosen"]["level"])
    chosen = choose_rows(filling, rows, predicted.q1 - predicted.q0, rng)
    frame = pool.iloc[chosen.rows].reset_index(drop=True)
    design = (filling.arm1 / (filling.arm0 + filling.arm1))[chosen.rows]
    y = balanced_outcome(model.law, chosen.arm, Nuisances(design, predicted.q0[chosen.rows], predicted.q1[chosen.rows]), frame, rng)
    if run.spec.outcome.range is not None:
        y = np.clip(y, *run.spec.outcome.range)
    table = (
        from_frame(frame, schema.modelled).append_column("a", pa.array(chosen.arm)).append_column("y", conform(schema.outcome, pa.array(y)))
    )
    beside = {"g": design, "q0": predicted.q0[chosen.rows], "q1": predicted.q1[chosen.rows], "tilt": filling.tilt[chosen.rows]}
    for name, values in beside.items():
        table = table.append_column(name, pa.array(values))
    return table


@coarse("estimate after", "estimate on the augmented table")
def after(
    run: Run,
    schema: TableSchema,
    observed: Sequence[PartitionRef],
    added: Sequence[PartitionRef],
    augmented: Sequence[PartitionRef],
    decision: Ref,
) -> Ref:
    """Estimate on source and added rows together. A JSON record: ``{"real": [...], "pooled": [...], "rows", "treated"}``."""
    space, spec = run.space(), run.spec
    key = "augmentation/after.json"
    if (done := space.finished(key, Ref)) is not None:
        return done
    chosen = json.loads(space.read(decision.key))["chosen"]
    _, y, before = _analysis(space, observed)
    a, outcome, nuisances = _analysis(space, augmented)
    tilts = [fill(before.g, chosen["level"]).tilt, *(space.table(part, ["tilt"])["tilt"].to_numpy() for part in added)]
    bound = truncation_bound(len(outcome), spec.mechanisms.truncation)
    table = Augmented(a, outcome, nuisances, np.concatenate(tilts), len(y), schema.outcome_kind, bound)
    record: dict[str, Any] = {"rows": len(outcome) - len(y), "treated": int(np.sum(a[len(y) :]))}
    ways: tuple[Averaging, ...] = ("real", "pooled")
    for averaging in ways:
        record[averaging] = [each._asdict() for each in effects(table, averaging, chosen["borrowed"])]
    return space.put_bytes(key, json.dumps(record, sort_keys=True).encode())


def before_of(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the estimates of the source that stand beside those of the augmented table."""
    wanted = [("ate", name) for name in ESTIMATORS[:4]] + [("ato", "aipw")]
    estimates = {(each["estimand"], each["estimator"]): each for each in record["estimates"]}
    return [estimates[each] for each in wanted if each in estimates]


def _analysis(space: Workspace, ref: Sequence[PartitionRef]) -> tuple[Int8, Float64, Nuisances]:
    table = space.table(ref, ["a", "y", *NUISANCES])
    nuisances = Nuisances(*(table[name].to_numpy() for name in NUISANCES))
    return table["a"].to_numpy().astype(np.int8), table["y"].to_numpy().astype(np.float64), nuisances


def _frame(space: Workspace, schema: TableSchema, parts: Sequence[PartitionRef]) -> pd.DataFrame:
    names = [column.id for column in schema.modelled]
    return pd.concat([to_frame(space.table(part, names), schema.modelled) for part in parts], ignore_index=True)
