"""Tasks of the nuisance step: folds, fits of g and Q, passes over partitions, out-of-fold and averaged predictions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from infra.cluster import coarse
from infra.workspace import Run, Workspace
from tasks.contract.columns import CLUSTER, clusters_of, survey_weights, unit_keys
from tasks.contract.frames import strata_codes, to_frame
from tasks.contract.nuisance import Float64, FoldRows, Int8, Learner, Refinement
from tasks.contract.refs import ModelRef, PartitionRef
from tasks.contract.registry import resolve
from tasks.contract.rng import bootstrap_weights
from tasks.contract.roles import Column, TableSchema
from tasks.contract.spec import Spec
from tasks.contract.survival import EventRows, causes_of
from tasks.nuisance.crossfit import Rows, fit_sample, refined_model, refinement_of, streamed_model
from tasks.nuisance.curve_sums import CurveSums, blocks, curves_key
from tasks.nuisance.fold_model import averaged_all
from tasks.nuisance.folds import FoldUnits
from tasks.nuisance.plan import Plan
from tasks.nuisance.survival_fold import Counts, TimesFoldModel, Watched, averaged_times, fit_times_fold, predict_times
from tasks.numerics.blocked import BlockedTable, blocked, mapped
from tasks.targeting.fluctuation import truncation_bound

Mask = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]
Frames = Callable[[pd.DataFrame], Array]


#: Most rows whose vectors are in memory together; of larger tables a partition is (:mod:`tasks.numerics.blocked`).
HELD_ROWS = 1_000_000


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
    """The models of one fold of one repeat, and the table's partitions with the folds they are for, as :func:`folds` wrote them."""

    model: ModelRef
    repeat: int
    fold: int
    assigned: tuple[PartitionRef, ...]


class Fitted(NamedTuple):
    """One table's cross-fitting: its out-of-fold nuisances, by partition, and the models of its folds."""

    table: Table
    nuisances: tuple[PartitionRef, ...]
    fits: list[FoldFit]


class Passed(NamedTuple):
    """The start of the next pass of a refinement, and whether one is needed."""

    state: ModelRef
    finished: bool


class Partitions(NamedTuple):
    """Covariates of a table in the workspace, partition by partition."""

    space: Workspace
    schema: TableSchema
    parts: tuple[PartitionRef, ...]

    def first(self, rows: int) -> pd.DataFrame:
        """Read the first rows."""
        return to_frame(self.space.first_rows(self.parts, rows, [column.id for column in self.schema.modelled]), self.schema.modelled)

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


def _held(parts: Sequence[PartitionRef]) -> bool:
    """Return whether vectors of all rows are in memory together."""
    return len(parts) == 1 or sum(part.rows for part in parts) <= HELD_ROWS


def columns_of(space: Workspace, parts: Sequence[PartitionRef], names: list[str] | None = None) -> pa.Table:
    """Return a table in partitions, or some of its columns: beyond :data:`HELD_ROWS` as a :class:`tasks.numerics.blocked.BlockedTable`."""
    if _held(parts):
        return space.table(parts, names)
    names = space.table(parts[0]).column_names if names is None else names
    return BlockedTable(lambda number, wanted: space.table(parts[number], wanted), [part.rows for part in parts], names, space.folder)


def by_partition(space: Workspace, parts: Sequence[PartitionRef], columns: Sequence[Column], of: Frames) -> Array:
    """Return a function of some covariates at all rows of a table: an array, or beyond :data:`HELD_ROWS` in blocks.

    Parameters
    ----------
    space : Workspace
    parts : sequence of PartitionRef
    columns : sequence of Column
    of : callable
        Takes a DataFrame of the columns, of n rows; returns an array of n rows.
    """

    def read(refs: Sequence[PartitionRef]) -> Array:
        return of(to_frame(space.table(refs, [column.id for column in columns]), columns))

    if _held(parts):
        return np.concatenate([read((part,)) for part in parts])
    return blocked(lambda number: read((parts[number],)), [part.rows for part in parts])


def weights_of(run: Run, table: Table, rows: pa.Table) -> Float64 | None:
    """Return the survey weights of rows times a copy's Bayesian bootstrap weights, shape (n,); None for equal weights.

    Rows of one cluster share their bootstrap weight.
    """
    given = survey_weights(rows)
    if table.copy is None:
        return given
    drawn = mapped(functools.partial(bootstrap_weights, seed=run.spec.seed, copy=table.copy), unit_keys(rows))
    return drawn if given is None else given * drawn


@coarse("assign folds", "assign folds of {table.name}, repeat {repeat}")
def folds(run: Run, schema: TableSchema, table: Table, repeat: int) -> tuple[PartitionRef, ...]:
    """Assign all rows to folds by :meth:`tasks.nuisance.plan.Plan.assign`, one partition in memory at a time.

    Columns of each partition: key, a, outcomes, the schema's c and v, fold.
    """
    space = run.space()
    keys = [f"{table.name}/folds-{repeat}/{number:05d}.parquet" for number in range(len(table.parts))]
    done = [ref for key in keys if (ref := space.finished(key, PartitionRef)) is not None]
    if len(done) == len(keys):
        return tuple(done)
    # folds of a time to event have as many events each
    kind = "binary" if schema.survival is not None else schema.mean_kind
    fold_of = plan_of(run.spec, table).assign_parts(lambda: _fold_units(space, schema, table), table.rows, kind, repeat)
    event = ("e",) if schema.survival is not None else ()
    names = ["key", "a", *(column.id for column in schema.outcomes), *event, *schema.beside]
    refs, start = [], 0
    for key, part in zip(keys, table.parts, strict=True):
        rows = space.table(part, names).append_column("fold", pa.array(fold_of[start : start + part.rows]))
        refs.append(space.put_table(key, rows, part=part.part))
        start += part.rows
    return tuple(refs)


def _fold_units(space: Workspace, schema: TableSchema, table: Table) -> Iterator[FoldUnits]:
    """Read what folds depend on, partition by partition."""
    outcome = "e" if schema.survival is not None else "y"
    for part in table.parts:
        rows = space.table(part, ["key", "a", outcome, *schema.beside])
        y = np.nan_to_num(rows.column(outcome).to_numpy())
        y = np.minimum(y, 1.0) if schema.survival is not None else y
        declared = space.table(part, [column.id for column in schema.strata]) if schema.strata else None
        strata = None if declared is None else strata_codes(declared, schema.strata)
        yield FoldUnits(rows.column("key").to_numpy(), rows.column("a").to_numpy(), y, clusters_of(rows), strata)


class FoldSample(NamedTuple):
    """The training rows of one fold, and what is to be known of all rows.

    Attributes
    ----------
    rows : pyarrow.Table
        Columns of :func:`folds`.
    covariates : DataFrame
        Of the same rows.
    gaps : tuple of bool
        Of every outcome whether a row of the table lacks it.
    heaviest : float
        Largest row weight of the table, 1 where there are none.
    others : int
        Rows outside the fold.
    """

    rows: pa.Table
    covariates: pd.DataFrame
    gaps: tuple[bool, ...]
    heaviest: float
    others: int


def fold_sample(run: Run, schema: TableSchema, table: Table, assigned: Sequence[PartitionRef], fold: int) -> FoldSample:
    """Read the training rows of one fold, at most ``mechanisms.fit_rows`` of them, one partition in memory at a time."""
    space, plan, partitions = run.space(), plan_of(run.spec, table), Partitions(run.space(), schema, table.parts)
    unit = CLUSTER if schema.cluster is not None else "key"
    limit = plan.training_limit(unit_keys(rows)[_folds_of(rows) != fold] for rows in (space.table(ref, [unit, "fold"]) for ref in assigned))
    taken, frames, gaps, heaviest, others = [], [], [False] * len(schema.outcomes), 0.0, 0
    for part, ref in zip(table.parts, assigned, strict=True):
        rows = space.table(ref)
        weight, fold_of = weights_of(run, table, rows), _folds_of(rows)
        heaviest = max(heaviest, 1.0 if weight is None else float(weight.max()))
        gaps = [gap or bool(np.isnan(rows.column(column.id).to_numpy()).any()) for gap, column in zip(gaps, schema.outcomes, strict=True)]
        others += int(np.count_nonzero(fold_of != fold))
        train = plan.trains(unit_keys(rows), fold_of, fold, limit)
        if train.any():
            taken.append(rows.filter(pa.array(train)))
            frames.append(partitions.frame(part, train))
    return FoldSample(pa.concat_tables(taken), pd.concat(frames, ignore_index=True), tuple(gaps), heaviest, others)


def _folds_of(rows: pa.Table) -> Int8:
    return np.asarray(rows.column("fold").to_numpy(), dtype=np.int8)


@coarse("fit mechanisms", "fit g and Q of {table.name}, repeat {repeat}, fold {fold}")
def fit(run: Run, schema: TableSchema, table: Table, assigned: tuple[PartitionRef, ...], repeat: int, fold: int) -> FoldFit:
    """Fit g and Q, or g and the hazards of a time to event, without one fold's rows."""
    space, spec = run.space(), run.spec
    key = f"{table.name}/fold-{repeat}-{fold}.model"
    if (done := space.finished(key, ModelRef)) is not None:
        return FoldFit(done, repeat, fold, assigned)
    sample, plan, learner = fold_sample(run, schema, table, assigned, fold), plan_of(spec, table), learner_of(spec)
    rows, arms, weights = sample.rows, len(schema.arms), weights_of(run, table, sample.rows)
    keys, a, y = (rows.column(name).to_numpy() for name in ("key", "a", "y"))
    if schema.survival is not None:
        e = rows.column("e").to_numpy()
        events = EventRows(keys, a, y, e > 0.5, weights, cause=causes_of(e, schema.survival))
        rng = plan.rng(repeat, fold)
        of_times = fit_times_fold(learner, sample.covariates, events, schema.survival, arms, rng, table.propensity)
        return FoldFit(space.put_model(key, of_times), repeat, fold, assigned)
    others = zip(schema.outcomes[1:], schema.further_kinds, strict=True)
    further = tuple((rows.column(column.id).to_numpy(), kind) for column, kind in others)
    given = Rows(keys, a, y, schema.outcome_kind, weights, table.propensity, arms=arms, further=further, gaps=sample.gaps)
    model = fit_sample(plan, learner, given, sample.covariates, np.ones(len(a), dtype=bool), repeat, fold)
    if plan.streams(learner, table.rows):
        everything = functools.partial(_fold_rows, run, schema, table, assigned)
        model = streamed_model(learner, model, everything, fold, sample.heaviest, sample.others)
    return FoldFit(space.put_model(key, model), repeat, fold, assigned)


def _fold_rows(run: Run, schema: TableSchema, table: Table, assigned: Sequence[PartitionRef]) -> Iterator[FoldRows]:
    """Read all rows with their folds, partition by partition."""
    for part, ref in zip(table.parts, assigned, strict=True):
        yield _fold_rows_of(run, schema, table, part, ref)


def _fold_rows_of(run: Run, schema: TableSchema, table: Table, part: PartitionRef, assigned: PartitionRef) -> FoldRows:
    rows, folded = run.space().table(part), run.space().table(assigned, ["fold"])
    a, y = rows.column("a").to_numpy(), rows.column("y").to_numpy()
    return FoldRows(to_frame(rows, schema.modelled), a, y, _folds_of(folded), weights_of(run, table, rows))


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
    start = refinement.start() if state is None else space.model(state)
    seen = refinement.visit(start, _fold_rows_of(run, schema, table, part, fits[0].assigned[table.parts.index(part)]))
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


@coarse("keep refined mechanisms", "keep refined g and Q of {table.name}")
def refined(run: Run, schema: TableSchema, table: Table, fits: Sequence[FoldFit], state: ModelRef) -> list[FoldFit]:
    """Keep the refined models of all folds of a repeat."""
    space = run.space()
    refinement, reached = _refinement(run, space, schema, fits), space.model(state)
    sizes = np.zeros(len(fits), dtype=np.int64)
    for ref in fits[0].assigned:
        sizes += np.bincount(_folds_of(space.table(ref, ["fold"])), minlength=len(fits))
    kept = []
    for fold, fit in enumerate(fits):
        model = refined_model(refinement, reached, space.model(fit.model), fold, table.rows - int(sizes[fold]))
        kept.append(fit._replace(model=space.put_model(f"{table.name}/refined-{fit.repeat}-{fold}.model", model)))
    return kept


def _refinement(run: Run, space: Workspace, schema: TableSchema, fits: Sequence[FoldFit]) -> Refinement:
    return refinement_of(learner_of(run.spec), [space.model(fit.model) for fit in fits], schema.mean_kind)


@coarse("predict partition", "predict partition {number} of {table.name} out of fold")
def predict(run: Run, schema: TableSchema, table: Table, fits: Sequence[FoldFit], number: int) -> PartitionRef:
    """Predict each row of a partition by the models of its own fold, averaged over repeats. Columns: key, a, y, fold, g, q0, q1, ...

    Each repeat's predictions are out of fold, so their mean is too: no row is predicted by a model that has seen it.
    """
    space, part = run.space(), table.parts[number]
    key = f"{table.name}/nuisances-{number:05d}.parquet"
    if (done := space.finished(key, PartitionRef)) is not None:
        return done
    rows, frame = space.table(fits[0].assigned[number]), Partitions(space, schema, table.parts).frame(part)
    total: dict[str, Float64] = {}
    sums: CurveSums | None = None
    among = _ordered_times(space, fits[0].assigned) if schema.survival is not None else ()
    for fit in fits:
        held = np.flatnonzero(_folds_of(space.table(fit.assigned[number], ["fold"])) == fit.fold)
        if not len(held):
            continue
        model = space.model(fit.model)
        if schema.survival is not None:
            predicted, curves = _predict_times(run, schema, table, model, rows, frame, held, among)
            sums = curves if sums is None else sums.plus(curves)
        else:
            predicted = model.predict_all(frame.iloc[held].reset_index(drop=True)).columns()
        for name, values in predicted.items():
            total.setdefault(name, np.zeros(part.rows))[held] += values
    repeats = len({fit.repeat for fit in fits})
    if sums is not None:
        space.put_model(curves_key(key), sums.over(repeats))
        # of a time to event: what estimators of means see of it stands in its place
        rows = rows.rename_columns(["time" if name == "y" else name for name in rows.column_names])
        total = {"y": total["outcome"], **{name: values for name, values in total.items() if name != "outcome"}}
    for name, values in total.items():
        rows = rows.append_column(name, pa.array(values / repeats))
    return space.put_table(key, rows, part=part.part)


def _ordered_times(space: Workspace, parts: Sequence[PartitionRef]) -> tuple[Float64, Float64]:
    """Return the times of all events of a table, and of all censorings, increasing: a row's time at risk does not depend on partitions."""
    rows = space.table(parts, ["y", "e"])
    time, event = rows.column("y").to_numpy(), rows.column("e").to_numpy() > 0.5
    return np.sort(time[event]), np.sort(time[~event])


def _predict_times(
    run: Run,
    schema: TableSchema,
    table: Table,
    model: TimesFoldModel,
    rows: pa.Table,
    frame: pd.DataFrame,
    held: npt.NDArray[np.intp],
    among: Sequence[Float64],
) -> tuple[dict[str, Float64], CurveSums]:
    """Predict some rows of a partition, and add up their curves. Columns: :class:`tasks.nuisance.survival_fold.TimesPredictions`."""
    outcome, weight = schema.survival, weights_of(run, table, rows)
    assert outcome is not None  # the caller looked
    a, time, e = (rows.column(name).to_numpy() for name in ("a", "y", "e"))
    w, event = np.ones(len(a)) if weight is None else weight, e > 0.5
    bound = truncation_bound(table.rows, run.spec.mechanisms.truncation, len(schema.arms))
    predicted, clusters, watched = [], clusters_of(rows), None
    for here in blocks(len(held), None if clusters is None else clusters[held]):
        at = held[here]
        if clusters is not None:
            watched = Watched(clusters[at], outcome.grid.counts(time, event, censoring=True, at=at, among=among[1]))
        counts = Counts(outcome.grid.counts(time, event, at=at, among=among[0]), causes_of(e[at], outcome))
        predicted.append(predict_times(model, frame.iloc[at], a[at], counts, bound, w[at], watched))
    columns = [each.columns() for each in predicted]
    sums = functools.reduce(CurveSums.plus, (each.curves for each in predicted))
    return {name: np.concatenate([each[name] for each in columns]) for name in columns[0]}, sums


def curves_of(space: Workspace, nuisances: Sequence[PartitionRef]) -> CurveSums:
    """Add up the partitions' sums of curves of a time to event."""
    refs = [space.finished(curves_key(ref.key), ModelRef) for ref in nuisances]
    sums: list[CurveSums] = [space.model(ref) for ref in refs if ref is not None]
    return functools.reduce(CurveSums.plus, sums)


def held_rows(space: Workspace, fits: Sequence[FoldFit], most: int) -> list[npt.NDArray[np.intp]]:
    """Return, by model, which of a table's first ``most`` rows are in its own fold."""
    held = []
    for fit in fits:
        places, start = [], 0
        for ref in fit.assigned:
            if start < most:
                places.append(start + np.flatnonzero(_folds_of(space.table(ref, ["fold"]))[: most - start] == fit.fold))
            start += ref.rows
        held.append(np.concatenate(places))
    return held


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
