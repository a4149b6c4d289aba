"""The conditional law of one column given the columns drawn before it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from tasks.covariates.chain.boost import Boosting, Trees, boost, constant
from tasks.covariates.chain.cells import Cells
from tasks.covariates.chain.kernels import draw_classes
from tasks.covariates.chain.lift import Lift, fit_lift
from tasks.covariates.chain.losses import ClassLoss, SizeLoss, SquaredLoss
from tasks.covariates.chain.rows import evenly, sample_rows
from tasks.covariates.chain.shapes import Shapes, fit_shapes, normal_shapes
from tasks.covariates.chain.views import Lens, UInt8, fit_lens, pick
from tasks.covariates.folds import FOLDS
from tasks.covariates.margins import MISSING, Coded, Intp, Margin
from tasks.covariates.predictors import choose_tilt, target_classes
from tasks.covariates.protocol import MIN_ROWS

_LEAST_SIZE = np.log(0.1)
_MOST_SIZE = np.log(10.0)
_PATIENCE = 12
_MOST_CELLS = 20_000_000
_CELLS_AT_ONCE = 4_000_000


class LawParams(BaseModel):
    """Parameters of every conditional law of a chain."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rounds: int = Field(150, ge=0, le=2000, description="most boosted trees of one conditional law")
    rate: float = Field(0.15, gt=0, le=1, description="shrinkage of each tree")
    depth: int = Field(4, ge=1, le=6, description="levels of splits of a boosted tree")
    law_rows: int = Field(1_000_000, ge=1000, description="most rows that one column's law is learnt from: other rows for each column")
    tree_rows: int = Field(60_000, ge=1000, description="most rows that grow one tree")
    fold_rows: int = Field(100_000, ge=1, description="rows from which one held-out fold is enough; below, up to six are cross-fitted")
    shape_trees: int = Field(6, ge=1, le=100, description="trees of the residual's shape")
    shape_depth: int = Field(6, ge=0, le=8, description="most levels of splits of these")
    prior: float = Field(20.0, ge=0, description="rows by which the law of all residuals counts in each leaf")


class _Model(NamedTuple):
    """What one fold learnt about a column: its state, and the mean and log size of its score."""

    lens: Lens
    lift: Lift
    states: Trees
    mean: Trees
    size: Trees


class Law(NamedTuple):
    """The conditional law of one column given the columns drawn before it.

    Attributes
    ----------
    margin : Margin
        Of the column.
    support : ndarray of intp
        The states that occur; missing is the number after the last state.
    models : tuple
        One for each fold.
    shapes : Shapes or None
        Of the residuals; None for a column without continuous part.
    """

    margin: Margin
    support: Intp
    models: tuple[_Model, ...]
    shapes: Shapes | None

    def draw(self, drawn: list[Coded], model: Intp, rng: np.random.Generator) -> Coded:
        """Draw cells of rows whose earlier cells are given; ``model`` is the number of the fold model of each row."""
        n = len(model)
        if len(self.models) == 1:
            return self._draw(self.models[0], drawn, n, rng)
        state, score = np.empty(n, dtype=np.intp), np.empty(n)
        for k, fitted in enumerate(self.models):
            rows = np.flatnonzero(model == k)
            if len(rows):
                state[rows], score[rows] = self._draw(fitted, [pick(cells, rows) for cells in drawn], len(rows), rng)
        return Coded(state, score)

    def _draw(self, fitted: _Model, drawn: list[Coded], n: int, rng: np.random.Generator) -> Coded:
        view = fitted.lens.look(lambda rows: [pick(cells, rows) for cells in drawn], n)
        place = np.zeros(n, dtype=np.intp)
        step = max(_CELLS_AT_ONCE // len(self.support), 1)
        for start in range(0, n if len(self.support) > 1 else 0, step):
            rows = slice(start, start + step)
            logits = fitted.states.predict(np.ascontiguousarray(view.codes[:, rows])) + fitted.lift.start(view.odds[rows])
            draw_classes(logits, rng.random(len(logits)), place[rows])
        states = len(self.margin.shares)
        state = self.support[place]
        state = np.where(state == states, MISSING, state)
        score = np.append(self.margin.position, 0.0)[state]
        if self.shapes is not None:
            residual = self.shapes.draw(view.codes, rng)
            centre = view.line + fitted.mean.predict(view.codes)[:, 0]
            size = np.exp(np.clip(fitted.size.predict(view.codes)[:, 0], _LEAST_SIZE, _MOST_SIZE))
            score = np.where(state == self.margin.smooth, centre + size * residual, score)
        return Coded(state, score)


def fit_law(
    margin: Margin, cells: Cells, seen: list[tuple[Margin, Cells]], fold: UInt8, params: LawParams, rng: np.random.Generator
) -> Law:
    """Fit one conditional law: a lens, chances, means and sizes by fold, one set of shapes for all.

    Parameters
    ----------
    margin, cells : Margin, Cells
        The target, n cells.
    seen : list of (Margin, Cells)
        The columns drawn before it.
    fold : ndarray of uint8, shape (n,)
        In ``[0, FOLDS)``.
    params : LawParams
    rng : numpy.random.Generator
    """
    chosen: Intp | slice = sample_rows(len(fold), params.law_rows, rng) if len(fold) > params.law_rows else slice(None)
    margin, coded, seen, fold = margin, Cells(cells.codes[chosen], cells.book).spread(rng), _narrow(seen, chosen), fold[chosen]
    n, states = len(fold), len(margin.shares)
    folds = range(int(np.clip(2 * params.fold_rows // n, 1, FOLDS)))
    learn, held = [np.flatnonzero(fold != k) for k in folds], [np.flatnonzero(fold == k) for k in folds]
    tilt, classes = choose_tilt(coded.state, states), target_classes(margin, coded)
    lenses: list[Lens] = []
    for k in folds:
        lenses.append(fit_lens(margin, coded, tilt, classes, seen, learn[k], lenses[0].edges if lenses else None))
    views = [lens.look(lambda rows: [before.at(rows) for _, before in seen], n) for lens in lenses]
    codes = [view.codes for view in views]
    support, target = np.unique(np.where(coded.state == MISSING, states, coded.state), return_inverse=True)
    plan = _boosting(params, learn, bool(seen))
    # one number for each row and state: of many states fewer rows learn
    some, judged = ([evenly(rows, _MOST_CELLS // len(support)) for rows in side] for side in (learn, held))
    loss, odds = ClassLoss(target.astype(np.intp), len(support)), [view.odds for view in views]
    lift = fit_lift(support, tilt, loss, odds, some, judged)
    chance = boost(codes, [loss] * len(folds), some, judged, plan, rng, lambda k, rows: lift.start(odds[k][rows]))
    inside = coded.state == margin.smooth
    learn, held = ([rows[inside[rows]] for rows in parts] for parts in (learn, held))
    if margin.smooth == MISSING or min(len(rows) for rows in (*learn, *held)) < MIN_ROWS:
        # a normal law, which a normal score has without further knowledge
        flat = [lens._replace(line=lens.line._replace(slope=0 * lens.line.slope, level=0 * lens.line.level)) for lens in lenses]
        models = tuple(_Model(flat[k], lift, chance[k], constant(0.0), constant(0.0)) for k in folds)
        return Law(margin, support, models, None if margin.smooth == MISSING else normal_shapes(0))
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
    return Law(margin, support, tuple(_Model(lenses[k], lift, chance[k], mean[k], size[k]) for k in folds), shapes)


def _narrow(seen: list[tuple[Margin, Cells]], rows: Intp | slice) -> list[tuple[Margin, Cells]]:
    return [(margin, Cells(cells.codes[rows], cells.book)) for margin, cells in seen]


def _boosting(params: LawParams, learn: list[Intp], seen: bool) -> Boosting:
    """Return how one law is boosted: not at all without predictors or with very few rows."""
    rows = min(len(part) for part in learn)
    least = max(MIN_ROWS, min(rows, params.tree_rows) // 1000)
    return Boosting(params.rounds if seen and rows >= 4 * least else 0, params.rate, params.depth, least, params.tree_rows, _PATIENCE)
