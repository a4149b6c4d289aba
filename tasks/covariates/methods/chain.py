"""A chain of boosted conditional laws: the fast default for a million rows and more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field

from tasks.contract.roles import Column
from tasks.covariates.chain.cells import Cells
from tasks.covariates.chain.law import Law, LawParams, fit_law
from tasks.covariates.chain.table import read_parts
from tasks.covariates.margins import MISSING, Coded, Margin, decode
from tasks.covariates.protocol import CovariateModel, Synthesizer
from tasks.numerics.threads import one_thread


class Params(LawParams):
    """Parameters of the chain."""

    order: Literal["auto", "given"] = Field("auto", description="auto: categories first, continuous columns last; given: as in the table")
    first_rows: int = Field(100_000, ge=1000, description="rows that decide atoms, quantiles and codes of a column: the table's first")


class ChainModel(NamedTuple):
    """A fitted chain of conditional laws."""

    steps: tuple[Law, ...]
    columns: tuple[str, ...]

    def sample(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        """Draw ``n`` rows; see :class:`tasks.covariates.protocol.CovariateModel`."""
        model = rng.permutation(n) % len(self.steps[0].models)
        drawn: list[Coded] = []
        cells: dict[str, pd.Series] = {}
        with one_thread():
            for step in self.steps:
                drawn.append(step.draw(drawn, model, rng))
                cells[step.margin.id] = decode(step.margin, drawn[-1])
        return pd.DataFrame({name: cells[name] for name in self.columns}, copy=False)


class Chain(NamedTuple):
    """The chain synthesizer: each column given those before it, by boosted trees on quantile codes.

    A table is read once, part by part, into one byte per cell. The state of a cell (level, atom, continuous, missing) has chances by
    multinomial boosting. A continuous cell's normal score is a ridge regression on the columns before it, plus a boosted mean, plus a
    boosted size times a residual; residuals come from histograms in the leaves of trees that split only where their law differs beyond
    chance. Rounds are chosen, sizes and residuals are measured on rows that taught nothing of what they are measured against.
    """

    params: Params

    def fit(self, table: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator) -> CovariateModel:
        """Fit the chain; see :class:`tasks.covariates.protocol.Synthesizer`."""
        return self.fit_parts([table], columns, rng)

    def fit_parts(self, parts: Iterable[pd.DataFrame], columns: tuple[Column, ...], rng: np.random.Generator) -> CovariateModel:
        """Fit the chain in one pass; see :class:`tasks.covariates.protocol.PartwiseSynthesizer`."""
        steps: list[Law] = []
        seen: list[tuple[Margin, Cells]] = []
        with one_thread():
            table = read_parts(parts, columns, self.params.first_rows, rng)
            for k in self._order([margin for margin, _ in table.columns]):
                steps.append(fit_law(*table.columns[k], seen, table.fold, self.params, rng))
                seen.append(table.columns[k])
        return ChainModel(tuple(steps), tuple(column.id for column in columns))

    def _order(self, margins: list[Margin]) -> list[int]:
        """Draw categories first, those of most levels ahead, then discrete numbers, then continuous columns."""

        def key(k: int) -> tuple[int, int, int]:
            margin = margins[k]
            kind = 0 if margin.levels is not None else 1 if margin.smooth == MISSING else 2
            return kind, -len(margin.shares) if kind == 0 else 0, k

        order = list(range(len(margins)))
        return order if self.params.order == "given" else sorted(order, key=key)


def build(params: Params) -> Synthesizer:
    """Return the chain synthesizer."""
    return Chain(params)
