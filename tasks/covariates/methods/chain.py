"""A chain of boosted conditional laws: the fast default for a million rows and more."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from threadpoolctl import threadpool_limits

from tasks.contract.roles import Column
from tasks.covariates.chain_boost import Boosting, Trees, boost, constant
from tasks.covariates.chain_losses import ClassLoss, SizeLoss, SquaredLoss, chances
from tasks.covariates.chain_shapes import Shapes, fit_shapes, normal_shapes
from tasks.covariates.chain_views import Lens, fit_lens, pick
from tasks.covariates.folds import FOLDS, assign_folds
from tasks.covariates.margins import MISSING, Coded, Intp, Margin, decode, fit_margin
from tasks.covariates.predictors import choose_tilt, target_classes
from tasks.covariates.protocol import MIN_ROWS, CovariateModel, Synthesizer, require_rows

_LEAST_SIZE = np.log(0.1)
_MOST_SIZE = np.log(10.0)
_PATIENCE = 12
_MOST_CELLS = 20_000_000
_CELLS_AT_ONCE = 4_000_000


class Params(BaseModel):
    """Parameters of the chain."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    order: Literal["auto", "given"] = Field("auto", description="auto: categories first, continuous columns last; given: as in the table")
    rounds: int = Field(150, ge=0, le=2000, description="most boosted trees of one conditional law")
    rate: float = Field(0.15, gt=0, le=1, description="shrinkage of each tree")
    depth: int = Field(4, ge=1, le=6, description="levels of splits of a boosted tree")
    tree_rows: int = Field(60_000, ge=1000, description="most rows that grow one tree")
    fold_rows: int = Field(100_000, ge=1, description="rows from which one held-out fold is enough; below, up to six are cross-fitted")
    shape_trees: int = Field(6, ge=1, le=100, description="trees of the residual's shape")
    shape_depth: int = Field(6, ge=0, le=8, description="most levels of splits of these")
    prior: float = Field(20.0, ge=0, description="rows by which the law of all residuals counts in each leaf")


class _Model(NamedTuple):
    """What one fold learnt about a column: its state, and the mean and log size of its score."""

    lens: Lens
    states: Trees
    mean: Trees
    size: Trees


class _Step(NamedTuple):
    """The conditional law of one column given the columns drawn before it; ``known`` are the states that occur, missing the last."""

    margin: Margin
    known: Intp
    models: tuple[_Model, ...]
    shapes: Shapes | None

    def draw(self, drawn: list[Coded], model: Intp, rng: np.random.Generator) -> Coded:
        """Draw cells of rows whose earlier cells are given; ``model`` says which fold speaks for a row."""
        n = len(model)
        state, score = np.empty(n, dtype=np.intp), np.empty(n)
        for k, fitted in enumerate(self.models):
            rows = np.flatnonzero(model == k)
            if len(rows):
                state[rows], score[rows] = self._draw(fitted, [pick(cells, rows) for cells in drawn], len(rows), rng)
        return Coded(state, score)

    def _draw(self, fitted: _Model, drawn: list[Coded], n: int, rng: np.random.Generator) -> Coded:
        view = fitted.lens.look(drawn, n)
        place = np.zeros(n, dtype=np.intp)
        step = max(_CELLS_AT_ONCE // len(self.known), 1)
        for start in range(0, n if len(self.known) > 1 else 0, step):
            upper = np.cumsum(chances(fitted.states.predict(np.ascontiguousarray(view.codes[:, start : start + step]))), axis=1)
            place[start : start + step] = (upper[:, :-1] <= rng.random(len(upper))[:, None] * upper[:, -1:]).sum(axis=1)
        states = len(self.margin.shares)
        state = self.known[place]
        state = np.where(state == states, MISSING, state)
        score = np.append(self.margin.position, 0.0)[state]
        if self.shapes is not None:
            residual = self.shapes.draw(view.codes, rng)
            centre = view.line + fitted.mean.predict(view.codes)[:, 0]
            size = np.exp(np.clip(fitted.size.predict(view.codes)[:, 0], _LEAST_SIZE, _MOST_SIZE))
            score = np.where(state == self.margin.smooth, centre + size * residual, score)
        return Coded(state, score)


class ChainModel(NamedTuple):
    """A fitted chain of conditional laws."""

    steps: tuple[_Step, ...]
    columns: tuple[str, ...]

    def sample(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        """Draw ``n`` rows; see :class:`tasks.covariates.protocol.CovariateModel`."""
        model = rng.permutation(n) % len(self.steps[0].models)
        drawn: list[Coded] = []
        cells: dict[str, pd.Series] = {}
        with threadpool_limits(1):
            for step in self.steps:
                drawn.append(step.draw(drawn, model, rng))
                cells[step.margin.id] = decode(step.margin, drawn[-1])
        return pd.DataFrame({name: cells[name] for name in self.columns})


class Chain(NamedTuple):
    """The chain synthesizer: each column given those before it, by boosted trees on quantile codes.

    The state of a cell (level, atom, continuous, missing) has chances by multinomial boosting. A continuous cell's normal score is a ridge
    regression on the columns before it, plus a boosted mean, plus a boosted size times a residual; residuals come from histograms in the
    leaves of trees that split only where their law differs beyond chance. Rounds are chosen, sizes and residuals are
    measured on rows that taught nothing of what they are measured against.
    """

    params: Params

    def fit(self, table: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator) -> CovariateModel:
        """Fit the chain; see :class:`tasks.covariates.protocol.Synthesizer`."""
        require_rows(table, "chain")
        table = table[[column.id for column in columns]]
        fold = assign_folds(table, rng)
        pairs = [fit_margin(table[column.id], column, fold, rng) for column in columns]
        folds = int(np.clip(2 * self.params.fold_rows // len(table), 1, FOLDS))
        # rows in no order of their folds: a first part of the learning rows is a random part
        held = [np.flatnonzero(fold == k) for k in range(folds)]
        learn = [np.flatnonzero(fold != k) for k in range(folds)]
        steps: list[_Step] = []
        seen: list[tuple[Margin, Coded]] = []
        with threadpool_limits(1):
            for k in self._order([margin for margin, _ in pairs]):
                steps.append(_fit_step(pairs[k], seen, learn, held, self.params, rng))
                seen.append(pairs[k])
        return ChainModel(tuple(steps), tuple(column.id for column in columns))

    def _order(self, margins: list[Margin]) -> list[int]:
        """Draw categories first, those of most levels ahead, then discrete numbers, then continuous columns."""

        def key(k: int) -> tuple[int, int, int]:
            margin = margins[k]
            kind = 0 if margin.levels is not None else 1 if margin.smooth == MISSING else 2
            return kind, -len(margin.shares) if kind == 0 else 0, k

        order = list(range(len(margins)))
        return order if self.params.order == "given" else sorted(order, key=key)


def _fit_step(
    pair: tuple[Margin, Coded],
    seen: list[tuple[Margin, Coded]],
    learn: list[Intp],
    held: list[Intp],
    params: Params,
    rng: np.random.Generator,
) -> _Step:
    """Fit one conditional law: a lens, chances, means and sizes by fold, one set of shapes for all."""
    margin, coded = pair
    folds, states = range(len(learn)), len(margin.shares)
    tilt, classes = choose_tilt(coded.state, states), target_classes(margin, coded)
    lenses: list[Lens] = []
    for k in folds:
        lenses.append(fit_lens(margin, coded, tilt, classes, seen, learn[k], lenses[0].edges if lenses else None))
    n = len(coded.state)
    views = [lens.look([cells for _, cells in seen], n) for lens in lenses]
    codes = [view.codes for view in views]
    known, target = np.unique(np.where(coded.state == MISSING, states, coded.state), return_inverse=True)
    plan = _boosting(params, learn, bool(seen))
    # one number for each row and state: of many states fewer rows learn
    some, judged = ([_spread(rows, _MOST_CELLS // len(known)) for rows in side] for side in (learn, held))
    chance = boost(codes, [ClassLoss(target.astype(np.intp), len(known))] * len(learn), some, judged, plan, rng)
    inside = coded.state == margin.smooth
    learn, held = ([rows[inside[rows]] for rows in parts] for parts in (learn, held))
    if margin.smooth == MISSING or min(len(rows) for rows in (*learn, *held)) < MIN_ROWS:
        # a normal law, which a normal score has without further knowledge
        flat = [lens._replace(line=lens.line._replace(slope=0 * lens.line.slope, level=0 * lens.line.level)) for lens in lenses]
        models = tuple(_Model(flat[k], chance[k], constant(0.0), constant(0.0)) for k in folds)
        return _Step(margin, known, models, None if margin.smooth == MISSING else normal_shapes(0))
    plan = _boosting(params, learn, bool(seen))
    rest = [coded.score - view.line for view in views]
    mean = boost(codes, [SquaredLoss(part) for part in rest], learn, held, plan, rng)
    rest = [rest[k] - mean[k].predict(codes[k])[:, 0] for k in folds]
    size = boost(codes, [SizeLoss(np.abs(part)) for part in rest], learn, held, plan, rng)
    rest = [rest[k] / np.exp(np.clip(size[k].predict(codes[k])[:, 0], _LEAST_SIZE, _MOST_SIZE)) for k in folds]
    strange = np.column_stack([codes[k][:, held[k]] for k in folds])
    shapes = fit_shapes(
        strange, np.concatenate([rest[k][held[k]] for k in folds]), params.shape_trees, params.shape_depth, params.prior, rng
    )
    return _Step(margin, known, tuple(_Model(lenses[k], chance[k], mean[k], size[k]) for k in folds), shapes)


def _spread(rows: Intp, most: int) -> Intp:
    """Return no more than so many of the rows, evenly spread."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.intp)]


def _boosting(params: Params, learn: list[Intp], seen: bool) -> Boosting:
    """Return how one law is boosted: not at all without predictors or with hardly any rows."""
    rows = min(len(part) for part in learn)
    least = max(MIN_ROWS, min(rows, params.tree_rows) // 1000)
    return Boosting(params.rounds if seen and rows >= 4 * least else 0, params.rate, params.depth, least, params.tree_rows, _PATIENCE)


def build(params: Params) -> Synthesizer:
    """Return the chain synthesizer."""
    return Chain(params)
