"""Passengers: columns drawn last, from their learnt law given covariates, treatment and outcome."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.contract.roles import Column
from tasks.covariates.chain.cells import Cells, Coder, fit_coder
from tasks.covariates.chain.law import Law, LawParams, fit_law
from tasks.covariates.chain.views import UInt8
from tasks.covariates.folds import assign_folds
from tasks.covariates.margins import decode
from tasks.covariates.protocol import require_rows
from tasks.numerics.threads import one_thread


class PassengerLaw(NamedTuple):
    """The law of some columns given others.

    Attributes
    ----------
    given : tuple of Coder
        Codes of the columns that are given, in their order.
    steps : tuple of Law
        Law of each passenger given those columns and the passengers before it.
    """

    given: tuple[Coder, ...]
    steps: tuple[Law, ...]

    def sample(self, given: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        """Draw the passengers of rows.

        Parameters
        ----------
        given : DataFrame, n rows
            Canonical columns that the law was fitted on, by id.
        rng : numpy.random.Generator

        Returns
        -------
        DataFrame, n rows
            Passengers by id, canonical.
        """
        model = rng.permutation(len(given)) % max(len(step.models) for step in self.steps)
        # encoding spreads ties by a generator of the coder's: the draw's own makes it a function of ``rng``
        drawn = [_coded(coder._replace(rng=rng), given[coder.margin.id]).at(slice(None)) for coder in self.given]
        cells: dict[str, pd.Series] = {}
        with one_thread():
            for step in self.steps:
                drawn.append(step.draw(drawn, model % len(step.models), rng))
                cells[step.margin.id] = decode(step.margin, drawn[-1])
        return pd.DataFrame(cells)


def fit_passenger_laws(
    table: pd.DataFrame, given: tuple[Column, ...], passengers: tuple[Column, ...], rng: np.random.Generator
) -> PassengerLaw:
    """Learn the law of passengers by the conditional laws of the chain synthesizer.

    Parameters
    ----------
    table : DataFrame, n rows
        Training rows, canonical, with both kinds of columns by id.
    given : tuple of Column
        Covariates, treatment and outcome, as :func:`tasks.contract.columns.joint_columns` describes them.
    passengers : tuple of Column
        That vary, in the order in which they are drawn.
    rng : numpy.random.Generator

    Returns
    -------
    PassengerLaw

    Raises
    ------
    EstimationError
        If there are too few rows.
    """
    require_rows(table, "passengers")
    fold: UInt8 = assign_folds(table, rng).astype(np.uint8)
    coders = [fit_coder(table[column.id], column, fold.astype(np.intp), rng) for column in (*given, *passengers)]
    pairs = [(coder.margin, _coded(coder, table[coder.margin.id])) for coder in coders]
    steps = []
    with one_thread():
        for number in range(len(given), len(pairs)):
            steps.append(fit_law(*pairs[number], pairs[:number], fold, LawParams(), rng))
    return PassengerLaw(tuple(coders[: len(given)]), tuple(steps))


def _coded(coder: Coder, cells: pd.Series) -> Cells:
    return Cells(coder.encode(cells), coder.book)
