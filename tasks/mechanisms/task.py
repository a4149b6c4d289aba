"""Tasks of the mechanisms step: folds, fits of g and Q, assembly, calibration, draws."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from infra.cluster import coarse
from infra.workspace import Run, Workspace, parquet_bytes
from tasks.contract.columns import NUISANCE_COLUMNS, conform, constant_array, decode
from tasks.contract.frames import from_frame, levels_of, to_frame
from tasks.contract.nuisance import Float64, FoldRows, Nuisances, PartitionedLearner, Refinement
from tasks.contract.refs import ModelRef, PartitionRef, Ref
from tasks.contract.registry import resolve
from tasks.contract.rng import bootstrap_weights, mix, rng_for, salt
from tasks.contract.roles import TableSchema
from tasks.contract.spec import Spec
from tasks.mechanisms.balanced import balanced_outcome, balanced_treatment
from tasks.mechanisms.calibration import Balance, balance, weights
from tasks.mechanisms.draw import clipped, design_probability, draw_outcome, draw_treatment
from tasks.mechanisms.law_record import law_bytes
from tasks.mechanisms.model import Mechanisms, averaged
from tasks.mechanisms.model import assemble as assemble_mechanisms
from tasks.mechanisms.moments import Moments, effect_features, features, merge, moments
from tasks.mechanisms.residuals import fit_law
from tasks.mechanisms.sampling import systematic_sample
from tasks.mechanisms.targeting import target
from tasks.mechanisms.targets import Targets
from tasks.nuisance.crossfit import FoldModel, KnownPropensity, fit_fold
from tasks.nuisance.folds import assign_folds, fold_strata, training_rows
from tasks.targeting.fluctuation import truncation_bound

NUISANCES = ("g", "q0", "q1")
# Rows drawn at a time: bounds memory, and is part of what decides the bytes.
BLOCK = 25_000
# Pool rows the balancing weights are solved on.
POOL_ROWS = 40_000
# Rows whose design matrices and features are in memory at a time.
SLICE = 12_500


class Table(NamedTuple):
    """A canonical table by partitions, and the name its derived objects go by.

    ``copy`` numbers the Bayesian bootstrap draw its rows are weighted with; None for equal weights. ``propensity`` is P(A = 1) where it
    is known by design; None where it is to be fitted.
    """

    name: str
    parts: tuple[PartitionRef, ...]
    copy: int | None = None
    propensity: float | None = None

    @property
    def rows(self) -> int:
        """Rows in all partitions."""
        return sum(part.rows for part in self.parts)


class FoldFit(NamedTuple):
    """The models of one fold of one repeat and their predictions of its rows."""

    model: ModelRef
    predictions: PartitionRef
    repeat: int


@coarse("assign folds", "assign folds of {table.name}, repeat {repeat}")
def folds(run: Run, schema: TableSchema, table: Table, repeat: int) -> PartitionRef:
    """Assign all rows to folds, stratified by treatment and, where binary, outcome. Columns: key, a, y, fold."""
    space, spec = run.space(), run.spec
    key = f"{table.name}/folds-{repeat}.parquet"
    if (done := space.finished(key, PartitionRef)) is not None:
        return done
    rows = pa.concat_tables([space.table(part, ["key", "a", "y"]) for part in table.parts])
    strata = fold_strata(rows.column("a").to_numpy(), rows.column("y").to_numpy(), schema.outcome_kind)
    found = assign_folds(rows.column("key").to_numpy(), strata, spec.mechanisms.folds, spec.seed, repeat)
    return space.put_table(key, rows.append_column("fold", pa.array(found)))


@coarse("fit mechanisms", "fit g and Q of {table.name}, repeat {repeat}, fold {fold}")
def fit(run: Run, schema: TableSchema, table: Table, assigned: PartitionRef, repeat: int, fold: int) -> FoldFit:
    """Fit g and Q without one fold's rows, and predict those rows. Columns: row (number in the table), g, q0, q1."""
    space, spec = run.space(), run.spec
    base = f"{table.name}/fold-{repeat}-{fold}"
    model_ref, predicted = space.finished(f"{base}.model", ModelRef), space.finished(f"{base}.parquet", PartitionRef)
    if model_ref is not None and predicted is not None:
        return FoldFit(model_ref, predicted, repeat)
    rows = space.table(assigned)
    keys, own = rows.column("key").to_numpy(), rows.column("fold").to_numpy() == fold
    chosen = training_rows(keys, ~own, spec.mechanisms.fit_rows, spec.seed)
    frame = _rows_where(space, schema, table.parts, chosen)
    a, y = rows.column("a").to_numpy()[chosen], rows.column("y").to_numpy()[chosen]
    learner = resolve("learner", spec.mechanisms.learner, spec.mechanisms.params)
    weights = None if table.copy is None else bootstrap_weights(keys[chosen], spec.seed, table.copy)
    everything = np.ones(len(a), dtype=bool)
    rng = rng_for(spec.seed, f"fit {table.name}", f"{repeat}/{fold}")
    model = fit_fold(learner, frame, a, y, schema.outcome_kind, everything, rng, weights, keys[chosen], table.propensity)
    predictions = _predict(space, schema, table.parts, own, model)
    return FoldFit(space.put_model(f"{base}.model", model), space.put_table(f"{base}.parquet", predictions), repeat)


def refines(run: Run, table: Table) -> bool:
    """Tell whether the learner goes on from the sample its models were fitted on to all rows of a table."""
    asked = run.spec.mechanisms
    learner = resolve("learner", asked.learner, asked.params)
    return isinstance(learner, PartitionedLearner) and table.rows * (asked.folds - 1) > asked.fit_rows * asked.folds


class Passed(NamedTuple):
    """The start of the next pass of a refinement, and whether one is needed."""

    state: ModelRef
    finished: bool


@coarse("visit partition", "refine g and Q of {table.name}: pass {number}, partition {part.part}")
def visit(
    run: Run,
    schema: TableSchema,
    table: Table,
    assigned: PartitionRef,
    fits: Sequence[FoldFit],
    number: int,
    state: ModelRef | None,
    part: PartitionRef,
) -> ModelRef:
    """Add one partition's sums to the start of a pass that refines all folds' models at once."""
    space = run.space()
    key = f"{table.name}/pass-{fits[0].repeat}-{number}/{part.part:05d}.sums"
    if (done := space.finished(key, ModelRef)) is not None:
        return done
    refinement = _refinement(run, space, schema, fits)
    rows = space.table(part)
    offset = sum(other.rows for other in table.parts[: table.parts.index(part)])
    fold = space.table(assigned, ["fold"]).column("fold").to_numpy()[offset : offset + part.rows]
    a, y = rows.column("a").to_numpy(), rows.column("y").to_numpy()
    start = refinement.start() if state is None else space.model(state)
    seen = refinement.visit(start, FoldRows(to_frame(rows, schema.modelled), a, y, fold, _weights(run, table, rows)))
    return space.put_model(key, seen)


@coarse("end pass", "refine g and Q of {table.name}: end of pass {number}")
def advance(
    run: Run,
    schema: TableSchema,
    table: Table,
    fits: Sequence[FoldFit],
    number: int,
    state: ModelRef | None,
    visited: Sequence[ModelRef],
) -> Passed:
    """Merge a pass's sums in the order of partitions and take a step."""
    space = run.space()
    refinement = _refinement(run, space, schema, fits)
    key = f"{table.name}/pass-{fits[0].repeat}-{number}/state.model"
    if (done := space.finished(key, ModelRef)) is not None:
        return Passed(done, refinement.finished(space.model(done)))
    total = refinement.start() if state is None else space.model(state)
    for ref in visited:
        total = refinement.merge(total, space.model(ref))
    following = refinement.advance(total)
    return Passed(space.put_model(key, following), refinement.finished(following))


@coarse("refined mechanisms", "refined g and Q of {table.name}, fold {fold}")
def refined(
    run: Run, schema: TableSchema, table: Table, assigned: PartitionRef, fits: Sequence[FoldFit], state: ModelRef, fold: int
) -> FoldFit:
    """Keep one fold's refined models and predict its rows with them."""
    space, repeat = run.space(), fits[fold].repeat
    base = f"{table.name}/refined-{repeat}-{fold}"
    model_ref, predicted = space.finished(f"{base}.model", ModelRef), space.finished(f"{base}.parquet", PartitionRef)
    if model_ref is not None and predicted is not None:
        return FoldFit(model_ref, predicted, repeat)
    sample: FoldModel = space.model(fits[fold].model)
    g, q = _refinement(run, space, schema, fits).models(space.model(state))[fold]
    own = space.table(assigned, ["fold"]).column("fold").to_numpy() == fold
    model = FoldModel(sample.propensity if g is None else g, q, int(np.count_nonzero(~own)))
    predictions = _predict(space, schema, table.parts, own, model)
    return FoldFit(space.put_model(f"{base}.model", model), space.put_table(f"{base}.parquet", predictions), repeat)


def _refinement(run: Run, space: Workspace, schema: TableSchema, fits: Sequence[FoldFit]) -> Refinement:
    asked = run.spec.mechanisms
    learner = resolve("learner", asked.learner, asked.params)
    models: list[FoldModel] = [space.model(fit.model) for fit in fits]
    propensities = [None if isinstance(model.propensity, KnownPropensity) else model.propensity for model in models]
    found: Refinement = learner.refinement(
        propensities, [model.outcome for model in models], [model.rows for model in models], schema.outcome_kind
    )
    return found


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
    """Put the folds' predictions back into the table's row order, averaged over repeats. Columns: key, a, y, fold, g, q0, q1.

    Each repeat's predictions are out of fold, so their mean is too: no row is predicted by a model that has seen it.
    """
    space = run.space()
    key = f"{table.name}/nuisances.parquet"
    if (done := space.finished(key, PartitionRef)) is not None:
        return done
    rows = space.table(assigned)
    total = {name: np.zeros(rows.num_rows) for name in NUISANCES}
    repeats = sorted({fit.repeat for fit in fits})
    for repeat in repeats:
        predicted = pa.concat_tables([space.table(fit.predictions) for fit in fits if fit.repeat == repeat])
        order = np.argsort(predicted.column("row").to_numpy(), kind="stable")
        for name in NUISANCES:
            total[name] += predicted.column(name).to_numpy()[order]
    for name in NUISANCES:
        rows = rows.append_column(name, pa.array(total[name] / len(repeats)))
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


class Assembled(NamedTuple):
    """The mechanisms of a table, and a JSON record of how far targeting went and why."""

    mechanisms: ModelRef
    targeting: Ref


@coarse("assemble mechanisms", "assemble mechanisms of {table.name}")
def assemble(
    run: Run, schema: TableSchema, table: Table, nuisances: PartitionRef, fits: Sequence[FoldFit], predicted: Sequence[PartitionRef]
) -> Assembled:
    """Target Q, fit the law of Y around it, anchor the averaged model's means at the targeted ones."""
    space, spec = run.space(), run.spec
    key, record_key = f"{table.name}/mechanisms.model", f"{table.name}/targeting.json"
    done, told_before = space.finished(key, ModelRef), space.finished(record_key, Ref)
    if done is not None and told_before is not None:
        return Assembled(done, told_before)
    rows = space.table(nuisances)
    a, y = rows.column("a").to_numpy(), rows.column("y").to_numpy()
    weight = _weights(run, table, rows)
    bound = truncation_bound(len(y), spec.mechanisms.truncation)
    targets, named = _targets(space, spec, schema, table)
    own_nuisances, asked = _nuisances(rows), spec.mechanisms
    directions = None if named is None else targets.directions(named, own_nuisances.g, bound)
    targeting = target(a, y, own_nuisances, schema.outcome_kind, bound, weight, asked.targeting, directions)
    # the law needs rows in memory: the first in hash order are a random sample
    n = min(len(y), spec.mechanisms.fit_rows)
    frame = _rows_where(space, schema, table.parts, np.arange(len(y)) < n)
    own = None if weight is None else weight[:n]
    rng = rng_for(spec.seed, f"outcome law {table.name}")
    law = fit_law(a[:n], y[:n], targeting.q0[:n], targeting.q1[:n], frame, schema.outcome_kind, rng, own)
    raw = _nuisances(pa.concat_tables([space.table(ref) for ref in predicted]))
    models = [space.model(fit.model) for fit in fits]
    named_rows = None if named is None else (named, a)
    made = assemble_mechanisms(models, targeting, raw, law, schema.outcome_kind, weight, targets, named_rows)
    told = {"ate": targeting.ate, "se": targeting.se, **targeting.truncation._asdict()}
    record = space.put_bytes(record_key, json.dumps(told, sort_keys=True).encode())
    return Assembled(space.put_model(key, made), record)


def _targets(space: Workspace, spec: Spec, schema: TableSchema, table: Table) -> tuple[Targets, pd.DataFrame | None]:
    """Return the estimands beyond the ATE and the source's columns that define them; None where there is none."""
    columns = tuple(column for column in schema.modelled if column.name in spec.roles.subgroups)
    att = "att" in spec.mechanisms.targets
    if not columns and not att:
        return Targets(), None
    if columns:
        frames = [to_frame(space.table(part, [column.id for column in columns]), columns) for part in table.parts]
        frame = pd.concat(frames, ignore_index=True)
    else:
        frame = pd.DataFrame(index=range(table.rows))
    groups = [(column.id, level) for column in columns for level in sorted(set(levels_of(frame[column.id]).dropna()))]
    return Targets(tuple(groups), att), frame


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
    rows = space.table(part)
    frame, weight = to_frame(rows, schema.modelled), _weights(run, table, rows)
    found = model.anchored(_nuisances(space.table(predicted)), frame)
    total: Moments | None = None
    for start in range(0, len(frame), SLICE):
        here = slice(start, start + SLICE)
        own = features(frame.iloc[here], Nuisances(*(values[here] for values in found)), schema.modelled, model.targets)
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
    pool = features(frame, model.predict(frame), schema.modelled, model.targets)
    return space.put_model(key, balance(pool, total.means, spec.mechanisms.pool, kept=effect_features(model.targets)))


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
    if spec.release.include_nuisances and part == 0:
        # beside the parts: publishing looks for it there
        space.put_bytes(f"drawn/copy-{copy}/law.json", law_bytes(space.model(models.mechanisms).law))
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
    weight = weights(features(pool, predicted, schema.modelled, mechanisms.targets), solved.coefficients, size / n)
    # stratified by the effect: the release's own effect hardly varies with the draw
    chosen = systematic_sample(weight, n, rng, order_by=predicted.q1 - predicted.q0)
    frame = pool.iloc[chosen].reset_index(drop=True)
    kept = Nuisances(*(values[chosen] for values in predicted))
    own = kept._replace(g=design_probability(kept.g, asked.treatment, asked.probability, asked.tilt))
    if run.spec.release.draws == "balanced":
        a = balanced_treatment(own, rng, features(frame, kept, schema.modelled)[:, : -len(NUISANCES)])
        y = clipped(balanced_outcome(mechanisms.law, a, own, frame, rng), asked.outcome_range).y
    else:
        a = draw_treatment(own.g, rng)
        y = draw_outcome(mechanisms.law, a, own, frame, rng, asked.outcome_range).y
    return _with_outcome(schema, from_frame(frame, schema.modelled), pa.array(a), y, own)


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


class Learnt(NamedTuple):
    """The mechanisms of a source: cross-fitted, targeted, and anchored at each of its partitions."""

    fitted: Fitted
    mechanisms: ModelRef
    anchored: list[Anchored]
    targeting: Ref


class Made(NamedTuple):
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
