"""Sequential forests: each column given those before it, drawn from smoothed leaves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from tasks.contract.roles import Column
from tasks.covariates.coded_cells import predict_indices
from tasks.covariates.folds import assign_folds
from tasks.covariates.forest.descent import Drawn, Predictors
from tasks.covariates.forest.draws import draw_residuals, draw_states
from tasks.covariates.forest.growth import Float32, Growth
from tasks.covariates.forest.leaves import Leaves, grow, make_rows
from tasks.covariates.margins import MISSING, Coded, Float64, Intp, Margin, decode, fit_margin
from tasks.covariates.predictors import (
    Block,
    Index,
    Tilt,
    choose_tilt,
    expand,
    fit_index,
    make_basis,
    make_block,
    target_classes,
    tilt_targets,
)
from tasks.covariates.protocol import MIN_ROWS, CovariateModel, Synthesizer, require_rows
from tasks.numerics.threads import one_thread


class Params(BaseModel):
    """Parameters of the forest synthesizer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trees: int = Field(24, ge=1, le=500, description="trees per column")
    min_leaf: int | None = Field(
        None,
        ge=20,
        le=10_000,
        description="fewest rows of a leaf; empty: 4 sqrt(rows), fewer (never below 20) where it fits much better",
    )
    split_rows: int = Field(20_000, ge=200, description="most rows that choose the splits of one tree")
    features: float = Field(1.0, gt=0, le=1, description="share of predictors tried at each split")
    bandwidth: float = Field(1.0, gt=0, le=10, description="factor on the normal-reference bandwidth of leaf kernels")
    prior: float = Field(1.0, ge=0, le=100, description="rows that a leaf's parent counts for when a state is drawn")


class _Guide(NamedTuple):
    """What the columns drawn before say about a column by linear regression."""

    blocks: tuple[Block, ...]
    states: Index
    line: Index
    width: Index

    def look(self, drawn: list[Coded], n: int) -> _View:
        """Return what the guide says about rows whose earlier columns are given."""
        indices = self.indices(drawn, n)
        features = np.column_stack([_design(self.blocks, drawn, n), indices]).astype(np.float32)
        return _View(features, indices[:, :-2], indices[:, -2], indices[:, -1])

    def indices(self, drawn: list[Coded], n: int) -> Float64:
        """Return linear predictions: of the states, of the score, and of the residual's size, in [0.3, 3]; shape (n, k + 2)."""
        indices = predict_indices(self.blocks, (self.states, self.line, self.width), drawn, n)
        np.clip(indices[:, -1], 0.3, 3.0, out=indices[:, -1])
        return indices


class _View(NamedTuple):
    """What trees split on (design and linear indices, so that splits may be oblique), and the linear predictions.

    ``states`` (n, k) are indices of states, ``line`` (n,) predicts the score, ``width`` (n,) the relative size of its residual.
    """

    features: Float32
    states: Float64
    line: Float64
    width: Float64


class _Step(NamedTuple):
    """The conditional law of one column given the columns drawn before it."""

    margin: Margin
    guide: _Guide
    tilt: Tilt
    leaves: Leaves


class ForestModel(NamedTuple):
    """A fitted chain of conditional laws."""

    steps: tuple[_Step, ...]
    columns: tuple[str, ...]
    bandwidth: float

    def sample(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        """Draw ``n`` rows; see :class:`tasks.covariates.protocol.CovariateModel`."""
        drawn = Drawn.empty(len(self.steps), n)
        cells: dict[str, pd.Series] = {}
        with one_thread():
            for number, step in enumerate(self.steps):
                before = drawn.before(number)
                indices = step.guide.indices(before.columns, n)
                root = step.leaves.roots[rng.permutation(n) % len(step.leaves.roots)]
                leaf = Predictors.of(step.guide.blocks).land(before, indices, step.leaves, root)
                state = draw_states(step.leaves, leaf, indices, step.tilt.states, rng)
                state = np.where(state == len(step.margin.shares), MISSING, state)
                score = np.append(step.margin.position, 0.0)[state]
                if step.margin.smooth != MISSING:
                    residual = draw_residuals(step.leaves, leaf, self.bandwidth, rng)
                    score = np.where(state == step.margin.smooth, indices[:, -2] + indices[:, -1] * residual, score)
                drawn.state[number], drawn.score[number] = state, score
                cells[step.margin.id] = decode(step.margin, Coded(state, score))
        return pd.DataFrame({name: cells[name] for name in self.columns}, copy=False)


class Forest(NamedTuple):
    """The forest synthesizer: a chain of conditional laws (the idea of Nowok, Raab, Dibben 2016, 10.18637/jss.v074.i11).

    Each column is a linear prediction on normal scores plus a residual from a leaf of a forest that splits on the
    columns before it and on linear indices of them; states (levels, atoms, missing) come from the same leaf's shares,
    tilted along their linear indices. Half of
    the rows choose a tree's splits, the other half fill its leaves (honest trees: Wager, Athey 2018,
    10.1080/01621459.2017.1319839), leaf size and number of margin knots are held-out choices, and residuals are kernel
    smoothed: the three places where a chain of trees would otherwise remember rows.
    """

    params: Params

    def fit(self, table: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator) -> CovariateModel:
        """Fit the chain; see :class:`tasks.covariates.protocol.Synthesizer`."""
        require_rows(table, "forest")
        table = table[[column.id for column in columns]]
        fold = assign_folds(table, rng)
        least = self.params.min_leaf or MIN_ROWS
        min_leaf = max(least, int(np.ceil(4 * np.sqrt(len(table))))) if self.params.min_leaf is None else least
        growth = Growth(self.params.trees, least, min_leaf, self.params.split_rows, self.params.features, fold)
        pairs = [fit_margin(table[column.id], column, fold, rng) for column in columns]
        steps: list[_Step] = []
        seen: list[tuple[Margin, Coded]] = []
        with one_thread():
            for k in _order([margin for margin, _ in pairs]):
                margin, coded = pairs[k]
                steps.append(_fit_step(margin, coded, seen, self.params.prior, growth, rng))
                seen.append((margin, coded))
        return ForestModel(tuple(steps), tuple(column.id for column in columns), self.params.bandwidth)


def _order(margins: list[Margin]) -> list[int]:
    """Draw categories first, those of most levels ahead, then discrete numbers, then continuous columns."""

    def key(k: int) -> tuple[int, int, int]:
        margin = margins[k]
        kind = 0 if margin.levels is not None else 1 if margin.smooth == MISSING else 2
        return kind, -len(margin.shares) if kind == 0 else 0, k

    return sorted(range(len(margins)), key=key)


def _design(blocks: tuple[Block, ...], drawn: list[Coded], n: int) -> Float64:
    if not blocks:
        return np.zeros((n, 1))
    return np.column_stack([expand(block, coded) for block, coded in zip(blocks, drawn, strict=True)])


def _fit_step(
    margin: Margin, coded: Coded, seen: list[tuple[Margin, Coded]], prior: float, growth: Growth, rng: np.random.Generator
) -> _Step:
    """Fit one conditional law.

    Trees are grown on predictors that each row had no part in: level scores and linear indices come from the other
    folds. In-sample ones would look sharper than they are, and trees would follow single rows.
    """
    states = len(margin.shares)
    tilt = choose_tilt(coded.state, states)
    held, views = [], []
    # without columns before it the other folds only say what share this fold does not have: nothing to split on
    for k in np.unique(growth.fold) if seen else ():
        held.append(np.flatnonzero(growth.fold == k))
        guide = _fit_guide(margin, coded, tilt, seen, np.flatnonzero(growth.fold != k))
        views.append(guide.look([_pick(cells, held[-1]) for _, cells in seen], len(held[-1])))
    guide = _fit_guide(margin, coded, tilt, seen, np.arange(len(coded.state)))
    if seen:
        back = np.argsort(np.concatenate(held))
        view = _View(*(np.concatenate([getattr(one, name) for one in views])[back] for name in _View._fields))
    else:
        view = guide.look([], len(coded.state))
    residual = (coded.score - view.line) / view.width
    rows = make_rows(view.features, view.states, coded, residual, margin.smooth, states)
    return _Step(margin, guide, tilt, grow(rows, states, prior, growth, rng))


def _pick(cells: Coded, rows: Intp) -> Coded:
    return Coded(cells.state[rows], cells.score[rows])


def _fit_guide(margin: Margin, coded: Coded, tilt: Tilt, seen: list[tuple[Margin, Coded]], rows: Intp) -> _Guide:
    classes = target_classes(margin, coded)
    blocks = tuple(make_block(before, cells, classes, rows) for before, cells in seen)
    design = _design(blocks, [_pick(cells, rows) for _, cells in seen], len(rows))
    inside = coded.state[rows] == margin.smooth
    lined = margin.smooth != MISSING and inside.sum() >= MIN_ROWS
    basis = make_basis(design)
    states = fit_index(basis, tilt_targets(tilt, coded.state[rows], len(margin.shares)))
    if not lined:
        flat = np.zeros((design.shape[1], 1))
        return _Guide(blocks, states, Index(flat, np.zeros(1)), Index(flat, np.ones(1)))
    score = coded.score[rows][inside, None]
    if not inside.all():
        design = design[inside]
        basis = make_basis(design)
    line = fit_index(basis, score)
    size = np.abs(score - line.predict(design))
    return _Guide(blocks, states, line, fit_index(basis, size / max(float(size.mean()), 1e-12)))


def build(params: Params) -> Synthesizer:
    """Return the forest synthesizer."""
    return Forest(params)
