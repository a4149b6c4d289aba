"""What every synthesizer is: fit once, sample as often as wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from tasks.contract.errors import EstimationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import pandas as pd

    from tasks.contract.roles import Column

MIN_ROWS = 20
"""Fewest rows any synthesizer is fitted on, and fewest rows that ever decide a drawn value."""


class CovariateModel(Protocol):
    """A fitted joint law of columns; it pickles and holds nothing that depends on the process it was fitted in."""

    def sample(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        """Draw rows.

        Parameters
        ----------
        n : int
            Rows to draw, at least 1.
        rng : numpy.random.Generator
            The only source of randomness: the same state gives the same frame.

        Returns
        -------
        pandas.DataFrame, shape (n, d)
            Column ids, order, dtypes and categories as in the fitted table; index 0 ... n-1.
        """
        ...


class Synthesizer(Protocol):
    """Learns the joint law of the columns of a canonical table, their missing cells included.

    Nothing is special about covariates: the ``full`` mode hands over treatment and outcome as two more columns.
    """

    def fit(self, table: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator) -> CovariateModel:
        """Fit the joint law.

        Parameters
        ----------
        table : pandas.DataFrame, shape (n, d)
            Canonical: float64 with NaN, or category with NaN; one column per entry of ``columns``, by id.
        columns : tuple of Column
            Their descriptions; safe range and decimals are honoured.
        rng : numpy.random.Generator

        Returns
        -------
        CovariateModel

        Raises
        ------
        EstimationError
            If there are too few rows.
        """
        ...


@runtime_checkable
class PartwiseSynthesizer(Synthesizer, Protocol):
    """A synthesizer that need not have all rows in memory at once."""

    def fit_parts(self, parts: Iterable[pd.DataFrame], columns: tuple[Column, ...], rng: np.random.Generator) -> CovariateModel:
        """Fit the joint law of a table that is read once, part by part.

        Parameters
        ----------
        parts : iterable of pandas.DataFrame
            The rows of one table in their order, each part as the table of :meth:`Synthesizer.fit`; parts may be empty. The same rows in
            the same order give the same model, however they are cut into parts.
        columns, rng
            As in :meth:`Synthesizer.fit`.

        Returns
        -------
        CovariateModel

        Raises
        ------
        EstimationError
            If there are too few rows.
        """
        ...


def require_rows(table: pd.DataFrame, owner: str) -> None:
    """Refuse a table too small to learn a law from.

    Parameters
    ----------
    table : pandas.DataFrame, shape (n, d)
    owner : str
        Name of the synthesizer, for the message.

    Raises
    ------
    EstimationError
        If there are fewer than ``MIN_ROWS`` rows or no columns.
    """
    if len(table) < MIN_ROWS:
        raise EstimationError(
            f"rows of synthesizer '{owner}' must be at least {MIN_ROWS}; got {len(table)}.",
            "Give a larger source, or a smaller source.holdout.",
        )
    if table.shape[1] == 0:
        raise EstimationError(f"columns of synthesizer '{owner}' must be at least one; got 0.", "Declare a covariate that varies.")
