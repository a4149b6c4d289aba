"""Tasks of the nuisance step: folds, fits of g and Q, passes over partitions, out-of-fold and averaged predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from infra.cluster import coarse
from infra.workspace import Run, Workspace
from tasks.contract.columns import clusters_of, survey_weights, unit_keys
from tasks.contract.frames import strata_codes, to_frame
from tasks.contract.nuisance import Float64, FoldRows, Learner, Refinement
from tasks.contract.refs import ModelRef, PartitionRef
from tasks.contract.registry import resolve
from tasks.contract.rng import bootstrap_weights
from tasks.contract.roles import TableSchema
from tasks.contract.spec import Spec
from tasks.contract.survival import EventRows
from tasks.nuisance.crossfit import Rows, fit_sample, refined_model, refinement_of, rows_at, streamed_model
from tasks.nuisance.curve_sums import CurveSums, blocks, curves_key
from tasks.nuisance.fold_model import FoldModel, averaged_all
from tasks.nuisance.plan import Plan
from tasks.nuisance.survival_fold import TimesFoldModel, Watched, averaged_times, fit_times_fold, predict_times
from tasks.targeting.fluctuation import truncation_bound

Mask = npt.NDArray[np.bool_]


class Table(NamedTuple):
    """A canonical table by partitions, and the name its derived objects go by.

    ``copy`` numbers the Bayesian bootstrap draw its rows are weighted with; None for equal weights. ``propensity`` is P(A = 1) where it
    is known by design, or the shares of more than two arms; None where it is to be fitted.
    """

    name: str
    parts: tuple[PartitionRef, ...]
    copy: int | None = None
    propensity: float | tuple[float, ...] | None = None

    @property
    def rows(self) -> int:
        """Rows in all partitions."""
        return sum(part.rows for part in self.parts)


class FoldFit(NamedTuple):
    """The models of one fold of one repeat and their predictions of its rows."""

    model: ModelRef
    predictions: PartitionRef
    repeat: int


class Fitted(NamedTuple):
    """One table's cross-fitting: its out-of-fold nuisances and the models of its folds."""

    table: Table
    nuisances: PartitionRef
    fits: list[FoldFit]


class Passed(NamedTuple):
    """The start of the next pass of a refinement, and whether one is needed."""

    state: ModelRef
    finished: bool


class Partitions(NamedTuple):
    """Covariates of a table in the workspace (:class:`tasks.nuisance.crossfit.Covariates`): one partition in memory at a time."""

    space: Workspace
    schema: TableSchema
    parts: tuple[PartitionRef, ...]

    def batches(self) -> Iterator[tuple[slice, pd.DataFrame]]:
        """Yield each partition's covariates with the rows they stand for."""
        start = 0
        for part in self.parts:
            yield slice(start, start + part.rows), self.frame(part)
            start += part.rows

    def take(self, mask: Mask) -> pd.DataFrame:
        """Read the masked rows, partition by partition."""
        return pd.concat([frame for _, frame in self.masked(mask)], ignore_index=True)

    def masked(self, mask: Mask) -> Iterator[tuple[npt.NDArray[np.intp], pd.DataFrame]]:
        """Yield the masked rows of each partition that has some: their numbers in the table, and their covariates."""
        start = 0
        for part in self.parts:
            here = mask[start : start + part.rows]
            if here.any():
                yield start + np.flatnonzero(here), self.frame(part, here)
            start += part.rows

    def frame(self, part: PartitionRef, mask: Mask | None = None) -> pd.DataFrame:
        """Read the covariates of one partition, or of its masked rows."""
        table = self.space.table(part, [column.id for column in self.schema.modelled])
        return to_frame(table if mask is None else table.filter(pa.array(mask)), self.schema.modelled)


def plan_of(spec: Spec, table: Table) -> Plan:
    """Return how a table is cross-fitted: as ``mechanisms`` of the SPEC says."""
    settings = spec.mechanisms
    return Plan(table.name, spec.seed, settings.folds, spec.repeats(table.rows), settings.fit_rows)


def learner_of(spec: Spec) -> Learner:
    """Return the learner that ``mechanisms`` of the SPEC names."""
    learner: Learner = resolve("learner", spec.mechanisms.learner, spec.mechanisms.params)
    return learner


def weights_of(run: Run, table: Table, rows: pa.Table) -> Float64 | None:
    """Return the survey weights of rows times a copy's Bayesian bootstrap weights, shape (n,); None for equal weights.

    Rows of one cluster share their bootstrap weight.
    """
    given = survey_weights(rows)
    if table.copy is None:
        return given
    drawn = bootstrap_weights(unit_keys(rows), run.spec.seed, table.copy)
    return drawn if given is None else given * drawn


@coarse("assign folds", "assign folds of {table.name}, repeat {repeat}")
def folds(run: Run, schema: TableSchema, table: Table, repeat: int) -> PartitionRef:
    """Assign all rows to folds by :meth:`tasks.nuisance.plan.Plan.assign`. Columns: key, a, outcomes, the schema's c and v, fold."""
    space = run.space()
    key = f"{table.name}/folds-{repeat}.parquet"
    if (done := space.finished(key, PartitionRef)) is not None:
        return done
    event = ("e",) if schema.survival is not None else ()
    names = ["key", "a", *(column.id for column in schema.outcomes), *event, *schema.beside]
    rows = pa.concat_tables([space.table(part, names) for part in table.parts])
    keys, a, y = (rows.column(name).to_numpy() for name in ("key", "a", "y"))
    y = np.nan_to_num(y) if schema.gaps else y
    strata = None
    if schema.strata:
        names = [column.id for column in schema.strata]
        strata = strata_codes(pa.concat_tables([space.table(part, names) for part in table.parts]), schema.strata)
    kind: str = schema.mean_kind
    if event:  # folds have as many events each
        y, kind = rows.column("e").to_numpy(), "binary"
    fold_of = plan_of(run.spec, table).assign(keys, a, y, kind, repeat, clusters_of(rows), strata)
    return space.put_table(key, rows.append_column("fold", pa.array(fold_of)))


@coarse("fit mechanisms", "fit g and Q of {table.name}, repeat {repeat}, fold {fold}")
def fit(run: Run, schema: TableSchema, table: Table, assigned: PartitionRef, repeat: int, fold: int) -> FoldFit:
    """Fit g and Q without one fold's rows, and predict those rows. Columns: row (number in the table), g, q0, q1, ..."""
    space, spec = run.space(), run.spec
    base = f"{table.name}/fold-{repeat}-{fold}"
    if (done := _finished(space, base, repeat)) is not None:
        return done
    rows, plan, partitions = space.table(assigned), plan_of(spec, table), Partitions(space, schema, table.parts)
    if schema.survival is not None:
        return _fit_times(run, schema, table, rows, repeat, fold)
    keys, a, y, fold_of = (rows.column(name).to_numpy() for name in ("key", "a", "y", "fold"))
    train = plan.training(keys, fold_of, fold, clusters_of(rows))
    several = [rows.column(column.id).to_numpy() for column in schema.outcomes]
    whole = Rows(keys, a, y, schema.outcome_kind, weights_of(run, table, rows), table.propensity, arms=len(schema.arms))
    gaps = tuple(bool(np.isnan(each).any()) for each in several)
    sample = rows_at(whole._replace(further=tuple(zip(several[1:], schema.further_kinds, strict=True)), gaps=gaps), train)
    everything = np.ones(len(sample.a), dtype=bool)
    learner = learner_of(spec)
    model = fit_sample(plan, learner, sample, partitions.take(train), everything, repeat, fold)
    model = streamed_model(plan, learner, model, whole, partitions, fold_of, fold)
    return _keep(space, base, repeat, model, _predict(partitions, fold_of == fold, model))


def _fit_times(run: Run, schema: TableSchema, table: Table, rows: pa.Table, repeat: int, fold: int) -> FoldFit:
    """Do the same for a time to event: g and hazards. Columns: row, and those of :class:`tasks.nuisance.survival_fold.TimesPredictions`."""
    space, plan, partitions, outcome = run.space(), plan_of(run.spec, table), Partitions(run.space(), schema, table.parts), schema.survival
    assert outcome is not None  # the caller looked
    keys, a, time, e, fold_of = (rows.column(name).to_numpy() for name in ("key", "a", "y", "e", "fold"))
    weights = weights_of(run, table, rows)
    train, held = plan.training(keys, fold_of, fold, clusters_of(rows)), fold_of == fold
    everyone, rng = EventRows(keys, a, time, e > 0.5, weights), plan.rng(repeat, fold)
    arms = len(schema.arms)
    model = fit_times_fold(learner_of(run.spec), partitions.take(train), everyone.at(train), outcome, arms, rng, table.propensity)
    bound = truncation_bound(len(a), run.spec.mechanisms.truncation, arms)
    w = np.ones(len(a)) if weights is None else weights
    tables, sums, clusters, watched = [], None, clusters_of(rows), None
    for places, frame in partitions.masked(held):
        for here in blocks(len(places), None if clusters is None else clusters[places]):
            at, block = places[here], frame.iloc[here]
            if clusters is not None:
                watched = Watched(clusters[at], outcome.grid.counts(time, everyone.event, censoring=True, at=at))
            predicted = predict_times(model, block, a[at], outcome.grid.counts(time, everyone.event, at=at), bound, w[at], watched)
            sums = predicted.curves if sums is None else sums.plus(predicted.curves)
            tables.append(pa.table({"row": at, **predicted.columns()}))
    return _keep(space, f"{table.name}/fold-{repeat}-{fold}", repeat, replace(model, held=sums), pa.concat_tables(tables))


def refines(run: Run, schema: TableSchema, table: Table) -> bool:
    """Return whether the learner goes on from the sample its models were fitted on to all rows of a table."""
    if schema.survival is not None or not schema.plain:  # hazards, and several outcomes, are those of the folds' samples
        return False
    return plan_of(run.spec, table).refines(learner_of(run.spec), table.rows, len(schema.arms))


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
    seen = refinement.visit(start, FoldRows(to_frame(rows, schema.modelled), a, y, fold, weights_of(run, table, rows)))
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
    if (done := _finished(space, base, repeat)) is not None:
        return done
    fold_of = space.table(assigned, ["fold"]).column("fold").to_numpy()
    refinement = _refinement(run, space, schema, fits)
    model = refined_model(refinement, space.model(state), space.model(fits[fold].model), fold_of, fold)
    return _keep(space, base, repeat, model, _predict(Partitions(space, schema, table.parts), fold_of == fold, model))


def _refinement(run: Run, space: Workspace, schema: TableSchema, fits: Sequence[FoldFit]) -> Refinement:
    return refinement_of(learner_of(run.spec), [space.model(fit.model) for fit in fits], schema.mean_kind)


def _finished(space: Workspace, base: str, repeat: int) -> FoldFit | None:
    """Return a fold's models and predictions that an earlier run finished."""
    model, predictions = space.finished(f"{base}.model", ModelRef), space.finished(f"{base}.parquet", PartitionRef)
    return None if model is None or predictions is None else FoldFit(model, predictions, repeat)


def _keep(space: Workspace, base: str, repeat: int, model: FoldModel | TimesFoldModel, predictions: pa.Table) -> FoldFit:
    return FoldFit(space.put_model(f"{base}.model", model), space.put_table(f"{base}.parquet", predictions), repeat)


def _predict(partitions: Partitions, mask: Mask, model: FoldModel) -> pa.Table:
    """Predict the masked rows, partition by partition."""
    tables = [pa.table({"row": rows, **model.predict_all(frame).columns()}) for rows, frame in partitions.masked(mask)]
    return pa.concat_tables(tables)


@coarse("collect nuisances", "collect nuisances of {table.name}")
def collect(run: Run, table: Table, assigned: PartitionRef, fits: Sequence[FoldFit]) -> PartitionRef:
    """Put the folds' predictions back into the table's row order, averaged over repeats. Columns: key, a, y, fold, g, q0, q1, ...

    Each repeat's predictions are out of fold, so their mean is too: no row is predicted by a model that has seen it.
    """
    space = run.space()
    key = f"{table.name}/nuisances.parquet"
    if (done := space.finished(key, PartitionRef)) is not None:
        return done
    rows = space.table(assigned)
    names = [name for name in space.table(fits[0].predictions).column_names if name != "row"]
    total = {name: np.zeros(rows.num_rows) for name in names}
    repeats = sorted({fit.repeat for fit in fits})
    for repeat in repeats:
        predicted = pa.concat_tables([space.table(fit.predictions) for fit in fits if fit.repeat == repeat])
        order = np.argsort(predicted.column("row").to_numpy(), kind="stable")
        for name in names:
            total[name] += predicted.column(name).to_numpy()[order]
    if "outcome" in total:
        # of a time to event: what estimators of means see of it stands in its place
        space.put_model(curves_key(key), _curves(space, fits))
        rows = rows.rename_columns(["time" if name == "y" else name for name in rows.column_names])
        total = {"y": total["outcome"], **{name: values for name, values in total.items() if name != "outcome"}}
    for name, values in total.items():
        rows = rows.append_column(name, pa.array(values / len(repeats)))
    return space.put_table(key, rows)


def _curves(space: Workspace, fits: Sequence[FoldFit]) -> CurveSums:
    """Add up the folds' sums of curves; those of several repeats describe the same rows, and so do their means."""
    total: CurveSums | None = None
    for fit in fits:
        held = space.model(fit.model).held
        total = held if total is None else total.plus(held)
    assert total is not None  # there are at least two folds
    return total.over(len({fit.repeat for fit in fits}))


@coarse("average predictions", "average predictions of {table.name}, partition {part.part}")
def average(run: Run, schema: TableSchema, table: Table, fits: Sequence[FoldFit], part: PartitionRef) -> PartitionRef:
    """Predict one source partition by the mean over the fold models: what released rows will be predicted by. Columns: g, q0, q1."""
    space = run.space()
    key = f"{table.name}/averaged-{part.part:05d}.parquet"
    if (done := space.finished(key, PartitionRef)) is not None:
        return done
    models, frame = [space.model(fit.model) for fit in fits], Partitions(space, schema, table.parts).frame(part)
    if schema.survival is not None:
        return space.put_table(key, pa.table(averaged_times(models, frame)._asdict()), part=part.part)
    mean = averaged_all(models, frame)
    return space.put_table(key, pa.table(mean.columns()), part=part.part)
