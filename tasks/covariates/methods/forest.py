"""Sequential forests: each column given those before it, drawn from smoothed leaves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from threadpoolctl import threadpool_limits

from tasks.contract.roles import Column
from tasks.covariates.leaves import Float32, Growth, Leaves, draw, grow, land
from tasks.covariates.folds import FOLDS, assign_folds
from tasks.covariates.margins import MISSING, Coded, Float64, Intp, Margin, decode, fit_margin
from tasks.covariates.predictors import Block, Index, expand, fit_index, make_block, state_targets, target_classes
from tasks.covariates.protocol import MIN_ROWS, CovariateModel, Synthesizer, require_rows


class Params(BaseModel):
    """Parameters of the forest synthesizer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trees: int = Field(24, ge=1, le=500, description="trees per column")
    min_leaf: int = Field(20, ge=20, le=10_000, description="fewest rows of a leaf; below 20 single rows would show")
    split_rows: int = Field(20_000, ge=200, description="most rows that choose the splits of one tree (all rows fill its leaves)")
    features: float = Field(1.0, gt=0, le=1, description="share of predictors tried at each split")
    bandwidth: float = Field(1.0, gt=0, le=10, description="factor on the normal-reference bandwidth of leaf kernels")
    prior: float = Field(1.0, ge=0, le=100, description="rows that a leaf's parent counts for when a state is drawn")


class _Guide(NamedTuple):
    """What the columns drawn before say about a column: the linear part, and what trees split on."""

    blocks: tuple[Block, ...]
    states: Index
    line: Index

    def look(self, drawn: list[Coded], n: int) -> tuple[Float32, Float64]:
        """Return features (design and every linear index, so that splits may be oblique) and the linear prediction."""
        design = _design(self.blocks, drawn, n)
        line = self.line.predict(design)
        return np.column_stack([design, self.states.predict(design), line]).astype(np.float32), line[:, 0]


class _Step(NamedTuple):
    """The conditional law of one column given the columns drawn before it."""

    margin: Margin
    guide: _Guide
    leaves: Leaves


class ForestModel(NamedTuple):
    """A fitted chain of conditional laws."""

    steps: tuple[_Step, ...]
    columns: tuple[str, ...]
    prior: float
    bandwidth: float

    def sample(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        """Draw ``n`` rows; see :class:`tasks.covariates.protocol.CovariateModel`."""
        drawn: list[Coded] = []
        cells: dict[str, pd.Series] = {}
        with threadpool_limits(1):
            for step in self.steps:
                features, line = step.guide.look(drawn, n)
                state, residual = draw(step.leaves, land(step.leaves, features, rng), self.prior, self.bandwidth, rng)
                score = np.append(step.margin.position, 0.0)[state]
                score = np.where(state == step.margin.smooth, line + residual, score) if step.margin.smooth != MISSING else score
                drawn.append(Coded(state, score))
                cells[step.margin.id] = decode(step.margin, drawn[-1])
        return pd.DataFrame({name: cells[name] for name in self.columns})


class Forest(NamedTuple):
    """The forest synthesizer."""

    params: Params

    def fit(self, table: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator) -> CovariateModel:
        """Fit the chain; see :class:`tasks.covariates.protocol.Synthesizer`."""
        require_rows(table, "forest")
        table = table[[column.id for column in columns]]
        fold = assign_folds(table, rng)
        growth = Growth(self.params.trees, self.params.min_leaf, self.params.split_rows, self.params.features, fold)
        pairs = [fit_margin(table[column.id], column, fold, rng) for column in columns]
        steps: list[_Step] = []
        seen: list[tuple[Margin, Coded]] = []
        with threadpool_limits(1):
            for k in _order([margin for margin, _ in pairs]):
                margin, coded = pairs[k]
                steps.append(_fit_step(margin, coded, seen, growth, rng))
                seen.append((margin, coded))
        return ForestModel(tuple(steps), tuple(column.id for column in columns), self.params.prior, self.params.bandwidth)


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


def _fit_step(margin: Margin, coded: Coded, seen: list[tuple[Margin, Coded]], growth: Growth, rng: np.random.Generator) -> _Step:
    """Fit one conditional law.

    Trees are grown on predictors that each row had no part in: level scores and linear indices come from the other
    folds. In-sample ones would look sharper than they are, and trees would follow single rows.
    """
    n = len(coded.state)
    guide = _fit_guide(margin, coded, seen, np.arange(n))
    features, line = np.empty((n, 0), dtype=np.float32), np.zeros(n)
    for k in range(FOLDS):
        held = np.flatnonzero(growth.fold == k)
        if len(held) == 0:
            continue
        other = _fit_guide(margin, coded, seen, np.flatnonzero(growth.fold != k))
        found, line[held] = other.look([Coded(cells.state[held], cells.score[held]) for _, cells in seen], len(held))
        if features.shape[1] == 0:
            features = np.empty((n, found.shape[1]), dtype=np.float32)
        features[held] = found
    return _Step(margin, guide, grow(features, coded, coded.score - line, margin.smooth, growth, rng))


def _fit_guide(margin: Margin, coded: Coded, seen: list[tuple[Margin, Coded]], rows: Intp) -> _Guide:
    classes = target_classes(margin, coded)
    blocks = tuple(make_block(before, cells, classes, rows) for before, cells in seen)
    design = _design(blocks, [Coded(cells.state[rows], cells.score[rows]) for _, cells in seen], len(rows))
    states = fit_index(design, state_targets(coded.state, margin)[rows])
    inside = coded.state[rows] == margin.smooth
    if margin.smooth == MISSING or inside.sum() < MIN_ROWS:
        return _Guide(blocks, states, Index(np.zeros((design.shape[1], 1)), np.zeros(1)))
    return _Guide(blocks, states, fit_index(design[inside], coded.score[rows][inside, None]))


def build(params: Params) -> Synthesizer:
    """Return the forest synthesizer."""
    return Forest(params)
