"""Cells that a pattern of missingness wants known and a synthesizer drew as missing: taken from drawn rows like theirs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.covariates.margins import Float64, Intp

_DONORS = 20
_NEAR = 5
_RIDGE = 1.0
_QUANTILES = np.linspace(0.05, 0.95, 19)


class Reserve(NamedTuple):
    """A column's usual cells, for draws too small to hold a row to take one from.

    Attributes
    ----------
    values : ndarray of float64, shape (k,)
        Quantiles at 5, 10, ..., 95 %, each a value that rows have; or codes of levels.
    shares : ndarray of float64, shape (k,)
    """

    values: Float64
    shares: Float64


def reserve_of(cells: pd.Series) -> Reserve:
    """Return the usual cells of a column with at least one known cell."""
    codes = numbers_of(cells)
    present = codes[~np.isnan(codes)]
    if isinstance(cells.dtype, pd.CategoricalDtype):
        levels, counts = np.unique(present, return_counts=True)
        return Reserve(levels, counts / counts.sum())
    values = np.quantile(present, _QUANTILES, method="closest_observation")
    return Reserve(values, np.full(len(values), 1 / len(values)))


def fill(
    table: pd.DataFrame, present: dict[str, npt.NDArray[np.bool_]], reserves: dict[str, Reserve], rng: np.random.Generator
) -> pd.DataFrame:
    """Fill the missing cells that have to be known, column by column.

    A cell is taken from one of the ten rows whose prediction of the column, linear in all other columns, is nearest (predictive mean
    matching: Little 1988, 10.1080/07350015.1988.10509663). All rows are drawn ones.

    Parameters
    ----------
    table : pandas.DataFrame, shape (n, d)
    present : dict of str to ndarray of bool, shape (n,)
        Where a column has to be known.
    reserves : dict of str to Reserve
        By column.
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame, shape (n, d)
    """
    design: dict[object, Float64] = {}
    filled = table.copy(deep=False)
    for name, wanted in present.items():
        codes = numbers_of(filled[name])
        absent = wanted & np.isnan(codes)
        if not absent.any():
            continue
        donors = np.flatnonzero(~np.isnan(codes))
        if len(donors) < _DONORS:
            reserve = reserves[name]
            codes[absent] = rng.choice(reserve.values, size=int(absent.sum()), p=reserve.shares)
        else:
            if not design:
                design = {each: _design(table[each]) for each in table}
            matrix = np.hstack([np.ones((len(table), 1)), *(columns for each, columns in design.items() if each != name)])
            codes[absent] = codes[_matches(matrix, codes, donors, np.flatnonzero(absent), rng)]
        filled[name] = _cells(codes, filled[name])
    return filled


def numbers_of(cells: pd.Series) -> Float64:
    """Return numbers as they are and categories as codes, NaN where missing."""
    if isinstance(cells.dtype, pd.CategoricalDtype):
        codes = np.array(cells.cat.codes, dtype=np.float64)
        codes[codes < 0] = np.nan
        return codes
    return np.array(cells, dtype=np.float64)


def _cells(codes: Float64, like: pd.Series) -> pd.Series:
    if isinstance(like.dtype, pd.CategoricalDtype):
        whole = np.where(np.isnan(codes), -1, codes).astype(np.intp)
        return pd.Series(pd.Categorical.from_codes(whole, dtype=like.dtype), name=like.name, index=like.index)
    return pd.Series(codes, name=like.name, index=like.index)


def _design(cells: pd.Series) -> Float64:
    """Return a column as predictors: standardised numbers or indicators of levels, and whether it is missing."""
    codes = numbers_of(cells)
    absent = np.isnan(codes)
    if isinstance(cells.dtype, pd.CategoricalDtype):
        levels = np.arange(min(len(cells.cat.categories), _DONORS))
        return np.column_stack([codes[:, None] == levels, absent]).astype(np.float64)
    if absent.all():
        return absent[:, None].astype(np.float64)
    spread = float(np.nanstd(codes)) or 1.0
    return np.column_stack([np.where(absent, 0.0, (codes - np.nanmean(codes)) / spread), absent])


def _matches(matrix: Float64, codes: Float64, donors: Intp, absent: Intp, rng: np.random.Generator) -> Intp:
    """Return for each row to be filled a donor whose prediction is among the nearest."""
    donor_cells = matrix[donors]
    solved = np.linalg.solve(donor_cells.T @ donor_cells + _RIDGE * np.eye(donor_cells.shape[1]), donor_cells.T @ codes[donors])
    predicted = matrix @ solved
    order = donors[np.argsort(predicted[donors], kind="stable")]
    place = np.searchsorted(predicted[order], predicted[absent]) + rng.integers(-_NEAR, _NEAR, len(absent))
    return np.asarray(order[np.clip(place, 0, len(order) - 1)], dtype=np.intp)
