"""Tasks of the augmentation step: flip labels, redraw models, decide, add rows, estimate again."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from infra.cluster import coarse
from infra.provenance import product_version
from infra.workspace import Run, Workspace, parquet_bytes
from tasks.augmentation.criterion import Inputs, Point, levels_of
from tasks.augmentation.effects import ESTIMATORS, Augmented, Averaging, effects
from tasks.augmentation.ensemble import Ensemble, redrawn
from tasks.augmentation.filling import Filling, fill, fill_known
from tasks.augmentation.regions import lacking_rows, regions
from tasks.augmentation.rivals import tolerance
from tasks.augmentation.rows import choose_rows, flipped
from tasks.augmentation.weighing import Tables, Weighed, choose_for_all, inputs_of, record_of, view, weigh
from tasks.contract.columns import MARKER, constant_array, decode
from tasks.contract.errors import EstimationError
from tasks.contract.footer import with_footer
from tasks.contract.frames import from_frame, to_frame
from tasks.contract.nuisance import Float64, Nuisances, suffix_of
from tasks.contract.refs import ModelRef, PartitionRef, Ref
from tasks.contract.registry import resolve
from tasks.contract.rng import mix, rng_for, salt
from tasks.contract.roles import TableSchema
from tasks.mechanisms.blocks import with_outcome, with_passengers
from tasks.mechanisms.fresh import with_keys
from tasks.mechanisms.model import Mechanisms
from tasks.mechanisms.outcomes import draw_outcomes
from tasks.nuisance.fold_model import FoldModel, averaged_all
from tasks.targeting.fluctuation import truncation_bound

#: Candidates drawn per added row: at least, at most.
CANDIDATES = (4.0, 60.0)
#: Rows added at a time: bounds memory, and is part of what decides the bytes.
BLOCK = 10_000


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
    """Fit Q of every outcome on bootstrap draws of one table and predict the source's rows: a tuple of Ensembles."""
    space, spec = run.space(), run.spec
    key = f"augmentation/ensemble-{name}"
    if (done := space.finished(key, ModelRef)) is not None:
        return done
    # the snapshot is in hash order: the first rows are a random sample
    rows = space.first_rows(parts, spec.augment.fit_rows).unify_dictionaries()
    covariates, a = to_frame(rows, schema.modelled), rows["a"].to_numpy().astype(np.int8)
    learner = resolve("learner", spec.mechanisms.learner, spec.mechanisms.params)
    frame, ensembles = _frame(space, schema, at), []
    for number, (column, kind) in enumerate(zip(schema.outcomes, schema.outcome_kinds, strict=True)):
        y = rows[column.id].to_numpy().astype(np.float64)
        places = np.flatnonzero(~np.isnan(y))
        table = (covariates.iloc[places].reset_index(drop=True), a[places], y[places])
        rng = rng_for(spec.seed, "ensemble", f"{name}{suffix_of(number)}")
        ensembles.append(redrawn(learner, table, kind, frame, spec.augment.draws, rng, len(schema.arms)))
    return space.put_model(key, tuple(ensembles))


class Analysed(NamedTuple):
    """What has been cross-fitted before rows are added; each with columns key, a, y, g, q0, q1 (of more arms as many more).

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
    arms, rule = len(schema.arms), spec.mechanisms.truncation
    tables = Tables(*(None if ref is None else space.table(ref) for ref in analysed))
    mine: tuple[Ensemble, ...] = space.model(observed)
    theirs: tuple[Ensemble | None, ...] = (None,) * len(mine) if given is None else space.model(given)
    n = tables.observed.num_rows
    bound = truncation_bound(n, rule, arms)
    weighed: list[Weighed] = []
    reference, levels = None, None
    for number, ensembles in enumerate(zip(mine, theirs, strict=True)):
        inputs = inputs_of(tables, schema, number, ensembles, bound, reference)
        if not number:  # rows are added by the first outcome's chances to be known in each arm
            reference, levels = inputs.chances, levels_of(inputs, spec.augment.most)
        weighed.append(weigh(tables, schema, number, inputs, spec.augment.most, spec.augment.averaging, levels))
    place = choose_for_all(weighed)
    pooled_bound = truncation_bound(max(_rows(analysed), 2), rule, arms)
    records = [record_of(each, place, pooled_bound, schema.arms) for each in weighed]
    first = weighed[0].inputs
    lacking = tuple(p < bound for p in first.chances) if first.gaps else lacking_rows(first.nuisances, bound)
    a = tables.observed.column("a").to_numpy().astype(np.int8)
    areas = regions(_frame(space, schema, parts), schema.modelled, a, lacking, spec.augment.leaf)
    titles = ("control", "treated") if arms == 2 else schema.arms
    record = {
        "bound": bound,
        "lacking": _counts(titles, lacking) | {"rows": n},
        "regions": [each.record(titles) for each in areas],
        **records[0],
        "worth": max(each["worth"] for each in records),
        "tolerance": None if spec.augment.worth is False else tolerance(spec.augment.worth, given is not None),
        "candidates": _candidates(first, weighed[0].points[place]),
    }
    if arms > 2:
        record["arms"] = list(schema.arms)
        record["lacking"] = {"arms": _counts(titles, lacking), "rows": n}
    if len(records) > 1:
        record["outcomes"] = [{"outcome": column.name, **each} for column, each in zip(schema.outcomes, records, strict=True)]
    return space.put_bytes(key, json.dumps(record, sort_keys=True, default=float).encode())


def _counts(titles: Sequence[str], lacking: Sequence[npt.NDArray[np.bool_]]) -> dict[str, int]:
    return {title: int(np.sum(rows)) for title, rows in zip(titles, lacking, strict=True)}


def _rows(analysed: Analysed) -> int:
    return sum(part.rows for part in analysed.pooled or analysed.observed)


def _candidates(inputs: Inputs, chosen: Point) -> float:
    """Return how many candidates are needed per added row so that few are taken twice."""
    filling = inputs.filling(chosen.level)
    largest = max(float(added.max()) for added in filling.added)
    return float(np.clip(1.5 * largest / max(filling.rows, 1e-12), *CANDIDATES))


class Added(NamedTuple):
    """One part of added rows: canonical with key, nuisances and tilt beside, and as it will be published."""

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
    passengers, keys : ModelRef or None
        Laws of the source's passengers, and the form of fresh ids, where there are such columns.
    """

    covariates: ModelRef
    folds: tuple[ModelRef, ...]
    mechanisms: ModelRef
    passengers: ModelRef | None = None
    keys: ModelRef | None = None


def room(rows: int, arms: int) -> int:
    """Return the most rows that so many wanted ones become: each arm of a block is rounded to a whole number."""
    return rows + arms * -(-rows // BLOCK)


@coarse("add rows", "add rows, part {part}")
def add(run: Run, schema: TableSchema, donor: Donor, decision: Ref, part: int, rows: int, before: int = 0) -> Added:
    """Draw covariates where an arm is missing, give them that arm, draw what follows; ``before``: room for earlier parts."""
    space, spec = run.space(), run.spec
    base = f"augmentation/part-{part:05d}"
    canonical, released = (space.finished(f"{base}.{kind}.parquet", PartitionRef) for kind in ("canonical", "released"))
    if canonical is not None and released is not None:
        return Added(canonical, released)
    decided = json.loads(space.read(decision.key))
    blocks = []
    for number, start in enumerate(range(0, rows, BLOCK)):
        rng = rng_for(spec.seed, "augment", f"{part}/{number}")
        block = _block(run, space, schema, donor, decided, min(BLOCK, rows - start), rng)
        if donor.passengers is not None and block.num_rows:
            beside = rng_for(spec.seed, "augment passengers", f"{part}/{number}")
            block = with_passengers(schema, block, space.model(donor.passengers), beside)
        keys = {} if donor.keys is None else space.model(donor.keys)
        blocks.append(with_keys(schema, block, keys, before + room(start, len(schema.arms)), spec.seed))
    table = pa.concat_tables(blocks).unify_dictionaries()
    if not table.num_rows:
        raise EstimationError(
            "rows of an augmentation must be at least 1; got 0.", "Raise augment.most, or take another covariates.synthesizer."
        )
    for column in (*schema.covariates, *schema.passengers):
        if column.constant:
            table = table.append_column(column.id, constant_array(column, table.num_rows))
    row_keys = mix(np.arange(table.num_rows, dtype=np.uint64), salt(spec.seed, "added key", part))
    table = table.append_column("key", pa.array(row_keys))
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
    predicted = model.predict_all(pool)
    filling = _filling([space.model(ref) for ref in donor.folds], pool, decided["chosen"]["level"])
    chosen = choose_rows(filling, rows, _effects_of(predicted.first), rng)
    frame = pool.iloc[chosen.rows].reset_index(drop=True)
    mine = predicted.at(chosen.rows)
    # an added row has every outcome
    mine = mine._replace(first=mine.first.with_propensities(*(share[chosen.rows] for share in filling.design)), presence=())
    y = draw_outcomes(model, chosen.arm, mine, frame, True, True, rng, run.spec.outcome.range)
    table = with_outcome(schema, from_frame(frame, schema.modelled), pa.array(chosen.arm), y, mine)
    return table.append_column("tilt", pa.array(filling.tilt[chosen.rows]))


def _filling(folds: Sequence[FoldModel], pool: pd.DataFrame, level: float) -> Filling:
    """Fill the arms around candidates as the source's models see them, by the first outcome's chances to be known."""
    if any(fold.presence and fold.presence[0] is not None for fold in folds):
        averaged = averaged_all(folds, pool)
        presence = averaged.chances(0)
        assert presence is not None  # some fold has its presence
        return fill_known(tuple(p * pi for p, pi in zip(averaged.first.propensities, presence, strict=True)), level)
    g = np.mean([np.asarray(fold.propensity.predict(pool), dtype=np.float64) for fold in folds], axis=0)
    return fill((1.0 - g, g) if g.ndim == 1 else tuple(g.T), level)


def _effects_of(predicted: Nuisances) -> list[Float64]:
    """Return what each arm's rows are spread evenly over: its effect against the control; the control's own rows over the first's."""
    control, *others = predicted.outcomes
    effects = [np.asarray(q - control, dtype=np.float64) for q in others]
    return [effects[0], *effects]


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
    decided, arms = json.loads(space.read(decision.key)), len(schema.arms)
    before, table = space.table(observed), space.table(augmented)
    n, m = before.num_rows, table.num_rows - before.num_rows
    first = view(before, schema, 0)
    chances, level = first.nuisances.propensities[:arms], decided["chosen"]["level"]
    filling = fill(chances, level) if first.level is None else fill_known(chances, level)
    tilt = np.concatenate([filling.tilt, *(space.table(part, ["tilt"])["tilt"].to_numpy() for part in added)])
    bound = truncation_bound(n + m, spec.mechanisms.truncation, arms)
    added_arms = table.column("a").to_numpy().astype(np.int8)[n:]
    record: dict[str, Any] = {"rows": m, "treated": int(np.sum(added_arms > 0))}
    if arms > 2:
        record["arms"] = {label: int(np.sum(added_arms == arm)) for arm, label in enumerate(schema.arms)}
    ways: tuple[Averaging, ...] = ("real", "pooled")
    record |= {averaging: [] for averaging in ways}
    for number, (column, kind) in enumerate(zip(schema.outcomes, schema.outcome_kinds, strict=True)):
        seen = view(table, schema, number)
        chosen = decided["outcomes"][number]["chosen"] if "outcomes" in decided else decided["chosen"]
        borrowed = [each["borrowed"] for each in chosen.get("pairs", [chosen])]
        whole = Augmented(seen.a, seen.y, seen.nuisances, tilt, n, kind, bound)
        name = column.name if len(schema.outcomes) > 1 else None
        for averaging in ways:
            record[averaging] += [each._replace(outcome=name)._asdict() for each in effects(whole, averaging, borrowed, schema.arms)]
    return space.put_bytes(key, json.dumps(record, sort_keys=True).encode())


def before_of(record: dict[str, Any], schema: TableSchema) -> list[dict[str, Any]]:
    """Return the estimates of the source that stand beside those of the augmented table."""
    arms = schema.arms
    several = len(schema.outcomes) > 1
    outcomes = [(column.name if several else None, column.missing > 0) for column in schema.outcomes]
    pairs = [(None, None)] if len(arms) == 2 else [(label, arms[0]) for label in arms[1:]]
    names = [("ate", name) for name in ESTIMATORS[:4]] + [("ato", "aipw")]
    keys = ("estimand", "estimator", "arm", "control", "outcome")
    estimates = {tuple(each.get(key) for key in keys): each for each in record["estimates"]}
    # overlap weights are not offered where an outcome is missing
    wanted = [(*name, *pair, outcome) for outcome, gaps in outcomes for pair in pairs for name in names if not (gaps and name[0] == "ato")]
    return [estimates[each] for each in wanted if each in estimates]


def _frame(space: Workspace, schema: TableSchema, parts: Sequence[PartitionRef]) -> pd.DataFrame:
    names = [column.id for column in schema.modelled]
    return pd.concat([to_frame(space.table(part, names), schema.modelled) for part in parts], ignore_index=True)
