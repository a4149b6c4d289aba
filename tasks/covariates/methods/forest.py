"""Sequential forests: each column given those before it, drawn from smoothed leaves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from threadpoolctl import threadpool_limits

from tasks.contract.roles import Column
from tasks.covariates.leaves import Float32, Growth, Leaves, draw, grow, land
from tasks.covariates.margins import MISSING, Coded, Float64, Margin, decode, fit_margin
from tasks.covariates.predictors import Block, Index, expand, fit_index, make_block, state_targets, target_classes
from tasks.covariates.protocol import CovariateModel, Synthesizer, require_rows


class Params(BaseModel):
    """Parameters of the forest synthesizer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trees: int = Field(24, ge=1, le=500, description="trees per column")
    min_leaf: int = Field(20, ge=20, le=10_000, description="fewest rows of a leaf; below 20 single rows would show")
    split_rows: int = Field(20_000, ge=200, description="most rows that choose the splits of one tree (all rows fill its leaves)")
    features: float = Field(1.0, gt=0, le=1, description="share of predictors tried at each split")
    bandwidth: float = Field(1.0, gt=0, le=10, description="factor on the normal-reference bandwidth of leaf kernels")
    prior: float = Field(1.0, ge=0, le=100, description="rows that a leaf's parent counts for, per state of the column, when a state is drawn")


class _Step(NamedTuple):
    """The conditional law of one column given the columns drawn before it."""

    margin: Margin
    blocks: tuple[Block, ...]
    states: Index
    line: Index
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
                design = _design(step.blocks, drawn, n)
                leaf = land(step.leaves, _features(design, step.states, step.line), rng)
                state, residual = draw(step.leaves, leaf, self.prior * (len(step.margin.shares) if __import__('os').environ.get('PS') else 1), self.bandwidth, rng)
                score = np.append(step.margin.position, 0.0)[state]
                inside = state == step.margin.smooth
                if step.margin.smooth != MISSING:
                    line = design @ step.line.slope[:, 0] + step.line.level[0]
                    score = np.where(inside, line + residual, score)
                drawn.append(Coded(state, score))
                cells[step.margin.id] = decode(step.margin, drawn[-1])
        return pd.DataFrame({name: cells[name] for name in self.columns})


class Forest(NamedTuple):
    """The forest synthesizer."""

    params: Params

    def fit(self, table: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator) -> CovariateModel:
        """Fit the chain; see :class:`tasks.covariates.protocol.Synthesizer`."""
        require_rows(table, "forest")
        growth = Growth(self.params.trees, self.params.min_leaf, self.params.split_rows, self.params.features)
        pairs = [fit_margin(table[column.id], column, rng) for column in columns]
        steps: list[_Step] = []
        seen: list[tuple[Margin, Coded]] = []
        with threadpool_limits(1):
            for k in _order([margin for margin, _ in pairs]):
                margin, coded = pairs[k]
                steps.append(_fit_step(margin, coded, seen, growth, rng))
                seen.append((margin, coded))
        return ForestModel(tuple(steps), tuple(column.id for column in columns), self.params.prior, self.params.bandwidth)


def _order(margins: list[Margin]) -> list[int]:
    """Draw categories first, those of fewest levels ahead, then discrete numbers, then continuous columns."""

    def key(k: int) -> tuple[int, int, int]:
        margin = margins[k]
        kind = 0 if margin.levels is not None else 1 if margin.smooth == MISSING else 2
        return kind, (len(margin.shares) if __import__('os').environ.get('ASC') else -len(margin.shares)) if kind == 0 else 0, k

    return sorted(range(len(margins)), key=key)


def _design(blocks: tuple[Block, ...], drawn: list[Coded], n: int) -> Float64:
    if not blocks:
        return np.zeros((n, 1))
    return np.column_stack([expand(block, coded) for block, coded in zip(blocks, drawn, strict=True)])


def _features(design: Float64, states: Index, line: Index) -> Float32:
    """Return what trees split on: the design and every linear index, so that splits may be oblique."""
    indices = [design @ index.slope + index.level for index in (states, line)]
    return np.column_stack([design, *indices]).astype(np.float32)


def _fit_step(margin: Margin, coded: Coded, seen: list[tuple[Margin, Coded]], growth: Growth, rng: np.random.Generator) -> _Step:
    n = len(coded.state)
    classes = target_classes(margin, coded)
    blocks = tuple(make_block(before, cells, classes) for before, cells in seen)
    design = _design(blocks, [cells for _, cells in seen], n)
    states = fit_index(design, state_targets(coded.state, margin))
    line = Index(np.zeros((design.shape[1], 0)), np.zeros(0), 1.0)
    residual = np.zeros(n)
    inside = coded.state == margin.smooth
    if margin.smooth != MISSING and inside.sum() >= 2:
        line = fit_index(design[inside], coded.score[inside, None])
        residual = (coded.score - design @ line.slope[:, 0] - line.level[0]) * line.inflation
    leaves = grow(_features(design, states, line), coded, residual, margin.smooth, growth, rng)
    return _Step(margin, blocks, states, line, leaves)


def build(params: Params) -> Synthesizer:
    """Return the forest synthesizer."""
    return Forest(params)
