"""Tasks of the mechanisms step: folds, fits of g and Q, assembly, calibration, draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from infra.cluster import coarse
from infra.workspace import Run, Workspace, parquet_bytes
from tasks.contract.columns import NUISANCE_COLUMNS, conform, constant_array, decode
from tasks.contract.fluctuation import truncation_bound
from tasks.contract.frames import from_frame, to_frame
from tasks.contract.nuisance import Float64, Nuisances, assign_folds
from tasks.contract.refs import ModelRef, PartitionRef
from tasks.contract.registry import resolve
from tasks.contract.rng import bootstrap_weights, mix, rng_for, salt
from tasks.contract.roles import TableSchema
from tasks.mechanisms.calibration import Balance, balance, weights
from tasks.mechanisms.crossfit import FoldModel, fit_fold, training_rows
from tasks.mechanisms.draw import draw_outcome, draw_treatment
from tasks.mechanisms.model import Mechanisms, averaged
from tasks.mechanisms.model import assemble as assemble_mechanisms
from tasks.mechanisms.moments import Moments, features, merge, moments
from tasks.mechanisms.residuals import fit_law
from tasks.mechanisms.sampling import systematic_sample
from tasks.mechanisms.targeting import target

NUISANCES = ("g", "q0", "q1")
# Rows drawn at a time: bounds memory, and is part of what decides the bytes.
BLOCK = 25_000
# Pool rows the balancing weights are solved on.
POOL_ROWS = 40_000
# Rows whose design matrices and features are in memory at a time.
SLICE = 12_500


class Table(NamedTuple):
    """A canonical table by partitions, and the name its derived objects go by.

    ``copy`` numbers the Bayesian bootstrap draw its rows are weighted with; None for equal weights.
    """

    name: str
    parts: tuple[PartitionRef, ...]
    copy: int | None = None


class FoldFit(NamedTuple):
    """The models of one fold and their predictions of its rows."""

    model: ModelRef
    predictions: PartitionRef


@coarse("assign folds", "assign folds of {table.name}")
def folds(run: Run, schema: TableSchema, table: Table) -> PartitionRef:
    """Assign all rows to folds, stratified by treatment and, where binary, outcome. Columns: key, a, y, fold."""
    space, spec = run.space(), run.spec
    key = f"{table.name}/folds.parquet"
    if (done := space.finished(key, PartitionRef)) is not None:
        return done
    rows = pa.concat_tables([space.table(part, ["key", "a", "y"]) for part in table.parts])
    strata = rows.column("a").to_numpy().astype(np.int64)
    if schema.outcome_kind == "binary":
        strata = 2 * strata + rows.column("y").to_numpy().astype(np.int64)
    found = assign_folds(rows.column("key").to_numpy(), strata, spec.mechanisms.folds, spec.seed)
    return space.put_table(key, rows.append_column("fold", pa.array(found)))


@coarse("fit mechanisms", "fit g and Q of {table.name}, fold {fold}")
def fit(run: Run, schema: TableSchema, table: Table, assigned: PartitionRef, fold: int) -> FoldFit:
    """Fit g and Q without one fold's rows, and predict those rows. Columns: row (number in the table), g, q0, q1."""
    space, spec = run.space(), run.spec
    base = f"{table.name}/fold-{fold}"
    model_ref, predicted = space.finished(f"{base}.model", ModelRef), space.finished(f"{base}.parquet", PartitionRef)
    if model_ref is not None and predicted is not None:
        return FoldFit(model_ref, predicted)
    rows = space.table(assigned)
    keys, own = rows.column("key").to_numpy(), rows.column("fold").to_numpy() == fold
    chosen = training_rows(keys, ~own, spec.mechanisms.fit_rows, spec.seed)
    frame = _rows_where(space, schema, table.parts, chosen)
    a, y = rows.column("a").to_numpy()[chosen], rows.column("y").to_numpy()[chosen]
    learner = resolve("learner", spec.mechanisms.learner, spec.mechanisms.params)
    weights = None if table.copy is None else bootstrap_weights(keys[chosen], spec.seed, table.copy)
    everything = np.ones(len(a), dtype=bool)
    model = fit_fold(
        learner, frame, a, y, schema.outcome_kind, everything, rng_for(spec.seed, f"fit {table.name}", fold), weights, keys[chosen]
    )
    predictions = _predict(space, schema, table.parts, own, model)
    return FoldFit(space.put_model(f"{base}.model", model), space.put_table(f"{base}.parquet", predictions))


def _rows_where(space: Workspace, schema: TableSchema, parts: Sequence[PartitionRef], mask: npt.NDArray[np.bool_]) -> pd.DataFrame:
    """Read the covariates of the masked rows, partition by partition."""
    frames, start = [], 0
    for part in parts:
        here = mask[start : start + part.rows]
        start += part.rows
        if here.any():
            frames.append(_covariates(space, schema, part, here))
    return pd.concat(frames, ignore_index=True)


def _covariates(space: Workspace, schema: TableSchema, part: PartitionRef, mask: npt.NDArray[np.bool_]) -> pd.DataFrame:
    table = space.table(part, [column.id for column in schema.modelled])
    return to_frame(table.filter(pa.array(mask)), schema.modelled)


def _predict(
    space: Workspace, schema: TableSchema, parts: Sequence[PartitionRef], mask: npt.NDArray[np.bool_], model: FoldModel
) -> pa.Table:
    """Predict the masked rows, partition by partition."""
    found, start = [], 0
    for part in parts:
        here = mask[start : start + part.rows]
        if here.any():
            g, q0, q1 = model.predict(_covariates(space, schema, part, here))
            found.append(pa.table({"row": start + np.flatnonzero(here), "g": g, "q0": q0, "q1": q1}))
        start += part.rows
    return pa.concat_tables(found)


@coarse("collect nuisances", "collect nuisances of {table.name}")
def collect(run: Run, table: Table, assigned: PartitionRef, fits: Sequence[FoldFit]) -> PartitionRef:
    """Put the folds' predictions back into the table's row order. Columns: key, a, y, fold, g, q0, q1."""
    space = run.space()
    key = f"{table.name}/nuisances.parquet"
    if (done := space.finished(key, PartitionRef)) is not None:
        return done
    predicted = pa.concat_tables([space.table(fit.predictions) for fit in fits])
    order = np.argsort(predicted.column("row").to_numpy(), kind="stable")
    rows = space.table(assigned)
    for name in NUISANCES:
        rows = rows.append_column(name, pa.array(predicted.column(name).to_numpy()[order]))
    return space.put_table(key, rows)


@coarse("average predictions", "average predictions of {table.name}, partition {part.part}")
def average(run: Run, schema: TableSchema, table: Table, fits: Sequence[FoldFit], part: PartitionRef) -> PartitionRef:
    """Predict one source partition by the mean over the fold models: what released rows will be predicted by. Columns: g, q0, q1."""
    space = run.space()
    key = f"{table.name}/averaged-{part.part:05d}.parquet"
    if (done := space.finished(key, PartitionRef)) is not None:
        return done
    frame = to_frame(space.table(part, [column.id for column in schema.modelled]), schema.modelled)
    found = averaged([space.model(fit.model) for fit in fits], frame)
    return space.put_table(key, pa.table(found._asdict()), part=part.part)


@coarse("assemble mechanisms", "assemble mechanisms of {table.name}")
def assemble(
    run: Run, schema: TableSchema, table: Table, nuisances: PartitionRef, fits: Sequence[FoldFit], predicted: Sequence[PartitionRef]
) -> ModelRef:
    """Target Q, fit the law of Y around it, anchor the averaged model's means at the targeted ones."""
    space, spec = run.space(), run.spec
    key = f"{table.name}/mechanisms.model"
    if (done := space.finished(key, ModelRef)) is not None:
        return done
    rows = space.table(nuisances)
    a, y = rows.column("a").to_numpy(), rows.column("y").to_numpy()
    weight = _weights(run, table, rows)
    bound = truncation_bound(len(y), spec.mechanisms.truncation)
    targeting = target(a, y, _nuisances(rows), schema.outcome_kind, bound, weight)
    # the law needs rows in memory: the first in hash order are a random sample
    n = min(len(y), spec.mechanisms.fit_rows)
    frame = _rows_where(space, schema, table.parts, np.arange(len(y)) < n)
    own = None if weight is None else weight[:n]
    rng = rng_for(spec.seed, f"outcome law {table.name}")
    law = fit_law(a[:n], y[:n], targeting.q0[:n], targeting.q1[:n], frame, schema.outcome_kind, rng, own)
    raw = _nuisances(pa.concat_tables([space.table(ref) for ref in predicted]))
    models = [space.model(fit.model) for fit in fits]
    return space.put_model(key, assemble_mechanisms(models, targeting, raw, law, schema.outcome_kind, weight))


class Anchored(NamedTuple):
    """One source partition as the mechanisms see it: its Q* (columns g, q0, q1) and the sums of its features."""

    predictions: PartitionRef
    sums: ModelRef


@coarse("anchor partition", "anchor partition {part.part} of {table.name}")
def anchor(run: Run, schema: TableSchema, table: Table, mechanisms: ModelRef, part: PartitionRef, predicted: PartitionRef) -> Anchored:
    """Predict one source partition by the assembled mechanisms, and sum the features that calibration will meet."""
    space = run.space()
    base = f"{table.name}/anchored-{part.part:05d}"
    done, sums = space.finished(f"{base}.parquet", PartitionRef), space.finished(f"{base}.sums", ModelRef)
    if done is not None and sums is not None:
        return Anchored(done, sums)
    model: Mechanisms = space.model(mechanisms)
    found = model.anchored(_nuisances(space.table(predicted)))
    rows = space.table(part)
    frame, weight = to_frame(rows, schema.modelled), _weights(run, table, rows)
    total: Moments | None = None
    for start in range(0, len(frame), SLICE):
        here = slice(start, start + SLICE)
        own = features(frame.iloc[here], Nuisances(*(values[here] for values in found)), schema.modelled)
        sums_here = moments(own, None if weight is None else weight[here])
        total = sums_here if total is None else merge(total, sums_here)
    return Anchored(space.put_table(f"{base}.parquet", pa.table(found._asdict()), part=part.part), space.put_model(f"{base}.sums", total))


@coarse("calibrate covariates", "calibrate covariates of {table.name}")
def calibrate(
    run: Run, schema: TableSchema, table: Table, covariates: ModelRef, mechanisms: ModelRef, anchored: Sequence[Anchored]
) -> ModelRef:
    """Solve the weights under which a pool of drawn covariates has the source's means."""
    space, spec = run.space(), run.spec
    key = f"{table.name}/balance.model"
    if (done := space.finished(key, ModelRef)) is not None:
        return done
    total: Moments | None = None
    for each in anchored:
        found: Moments = space.model(each.sums)
        total = found if total is None else merge(total, found)
    assert total is not None  # a source has at least one partition
    frame = _pool(space, schema, covariates, POOL_ROWS, rng_for(spec.seed, "calibrate", table.name))
    model: Mechanisms = space.model(mechanisms)
    return space.put_model(key, balance(features(frame, model.predict(frame), schema.modelled), total.means, spec.mechanisms.pool))


class Models(NamedTuple):
    """What a copy of the release is drawn from; in mode "full" the covariate model alone."""

    covariates: ModelRef
    mechanisms: ModelRef
    balance: ModelRef | None


class Drawn(NamedTuple):
    """One drawn part: canonical with key, g, q0, q1 beside (g of the release's design), and as it will be published."""

    canonical: PartitionRef
    released: PartitionRef


@coarse("draw release", "draw part {part} of copy {copy}")
def draw(run: Run, schema: TableSchema, models: Models, copy: int, part: int, rows: int) -> Drawn:
    """Draw one part of one copy, block by block."""
    space, spec = run.space(), run.spec
    base = f"drawn/copy-{copy}/part-{part:05d}"
    canonical, released = (space.finished(f"{base}.{kind}.parquet", PartitionRef) for kind in ("canonical", "released"))
    if canonical is not None and released is not None:
        return Drawn(canonical, released)
    blocks = []
    for number, start in enumerate(range(0, rows, BLOCK)):
        rng = rng_for(spec.seed, "draw", f"{copy}/{part}/{number}")
        n = min(BLOCK, rows - start)
        blocks.append(_joint_block(space, schema, models, n, rng) if models.balance is None else _block(run, space, schema, models, n, rng))
    table = pa.concat_tables(blocks)
    keys = mix(np.arange(rows, dtype=np.uint64), salt(spec.seed, "release key", copy, part))
    for column in schema.covariates:
        if column.constant:
            table = table.append_column(column.id, constant_array(column, rows))
    table = table.append_column("key", pa.array(keys))
    published = decode(schema, table)
    if spec.release.include_nuisances:
        for name, shown in NUISANCE_COLUMNS.items():
            published = published.append_column(shown, table.column(name))
    return Drawn(
        space.put_table(f"{base}.canonical.parquet", table, part=part),
        space.put_encoded(f"{base}.released.parquet", parquet_bytes(published), rows=rows, part=part),
    )


def _block(run: Run, space: Workspace, schema: TableSchema, models: Models, n: int, rng: np.random.Generator) -> pa.Table:
    """Draw n rows by the hybrid model: pool, calibrated choice, treatment, outcome."""
    asked = run.spec.mechanisms
    size = int(np.ceil(n * asked.pool))
    pool = _pool(space, schema, models.covariates, size, rng)
    mechanisms: Mechanisms = space.model(models.mechanisms)
    predicted = mechanisms.predict(pool)
    assert models.balance is not None
    solved: Balance = space.model(models.balance)
    weight = weights(features(pool, predicted, schema.modelled), solved.coefficients, size / n)
    # stratified by the effect: the release's own effect hardly varies with the draw
    chosen = systematic_sample(weight, n, rng, order_by=predicted.q1 - predicted.q0)
    frame = pool.iloc[chosen].reset_index(drop=True)
    kept = Nuisances(*(values[chosen] for values in predicted))
    treatment = draw_treatment(kept.g, asked.treatment, asked.probability, asked.tilt, rng)
    outcome = draw_outcome(mechanisms.law, treatment.a, kept, frame, rng, asked.outcome_range)
    table = from_frame(frame, schema.modelled)
    return _with_outcome(schema, table, pa.array(treatment.a), outcome.y, Nuisances(treatment.g, kept.q0, kept.q1))


def _joint_block(space: Workspace, schema: TableSchema, models: Models, n: int, rng: np.random.Generator) -> pa.Table:
    """Draw n rows of (W, A, Y) from the synthesizer alone; g and Q are the source's, for comparison only."""
    drawn = space.model(models.covariates).sample(n, rng)
    table = from_frame(drawn, schema.modelled)
    mechanisms: Mechanisms = space.model(models.mechanisms)
    predicted = mechanisms.predict(to_frame(table, schema.modelled))
    y = drawn["y"].astype("float64").to_numpy()
    return _with_outcome(schema, table, pa.array(drawn["a"].astype("int8").to_numpy()), y, predicted)


def _with_outcome(schema: TableSchema, table: pa.Table, a: pa.Array, y: Float64, nuisances: Nuisances) -> pa.Table:
    table = table.append_column("a", a).append_column("y", conform(schema.outcome, pa.array(y)))
    for name, values in zip(NUISANCES, nuisances):
        table = table.append_column(name, pa.array(values))
    return table


def _pool(space: Workspace, schema: TableSchema, covariates: ModelRef, size: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw covariates as they can be released: rounded and bounded before anything is computed from them."""
    model = space.model(covariates)
    drawn = [from_frame(model.sample(min(SLICE, size - start), rng), schema.modelled) for start in range(0, size, SLICE)]
    return to_frame(pa.concat_tables(drawn).unify_dictionaries(), schema.modelled)


def _nuisances(table: pa.Table) -> Nuisances:
    return Nuisances(*(table.column(name).to_numpy() for name in NUISANCES))


def _weights(run: Run, table: Table, rows: pa.Table) -> Float64 | None:
    """Return the Bayesian bootstrap weights of a copy's rows, None for equal weights."""
    return None if table.copy is None else bootstrap_weights(rows.column("key").to_numpy(), run.spec.seed, table.copy)


class Fitted(NamedTuple):
    """One table's cross-fitting: its out-of-fold nuisances and the models of its folds."""

    table: Table
    nuisances: PartitionRef
    fits: list[FoldFit]


class Copy(NamedTuple):
    """One copy of the release and what it was drawn from."""

    fitted: Fitted
    anchored: list[Anchored]
    models: Models
    drawn: list[Drawn]
