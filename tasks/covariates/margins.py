"""Margins: one column between its canonical values and (state, score) pairs.

A *state* says what kind of cell it is: a level of a category, an atom of a numeric column (a value that many
rows share), the continuous part, or missing (-1). A *score* places the cell on the scale of a standard normal
variable. Both synthesizers work on states and scores only, so atoms, rounding, missing cells and the safe
range are handled here and nowhere else.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

from tasks.contract.disclosure import safe_bounds, tails
from tasks.contract.roles import Column
from tasks.covariates.quantiles import fit_quantiles, range_ends

Float64 = npt.NDArray[np.float64]
Intp = npt.NDArray[np.intp]

MISSING = -1
_FEW_VALUES = 16
_ATOM_ROWS = 20
_ATOM_SHARE = 0.05


class Coded(NamedTuple):
    """Cells of one column.

    Attributes
    ----------
    state : ndarray of intp, shape (n,)
        In ``[-1, states)``.
    score : ndarray of float64, shape (n,)
        Normal score of a continuous cell, position of an atom or level, 0 where missing.
    """

    state: Intp
    score: Float64


class Margin(NamedTuple):
    """The marginal law of one column.

    Attributes
    ----------
    id : str
        The column.
    shares : ndarray of float64, shape (states,)
        Share of each state among the cells that are not missing.
    missing : float
        Share of missing cells.
    position : ndarray of float64, shape (states,)
        Score of each atom or level; 0 for the continuous state.
    below : ndarray of float64, shape (states,)
        Share of the continuous part that lies below each atom; 0 for levels and for the continuous state.
    smooth : int
        The continuous state, or -1 where the column has none.
    ordered : bool
        Whether states have a natural order (every numeric column).
    levels : pandas.CategoricalDtype or None
        For a category column.
    values : ndarray of float64, shape (states,)
        Values of the atoms of a numeric column (NaN for the continuous state); empty for a category.
    knots, heights : ndarray of float64
        The quantile function of the continuous part, piecewise linear on the normal scale: value over normal score.
    unit : float
        Grid of the values (1 for integers, 0.01 for two decimals), 0 where there is none.
    """

    id: str
    shares: Float64
    missing: float
    position: Float64
    below: Float64
    smooth: int
    ordered: bool
    levels: pd.CategoricalDtype | None
    values: Float64
    knots: Float64
    heights: Float64
    unit: float


def fit_margin(cells: pd.Series, column: Column, fold: Intp, rng: np.random.Generator) -> tuple[Margin, Coded]:
    """Learn the margin of a column and code the column's own cells.

    Values that at least 20 rows and 5 % of the rows share are atoms; a numeric column of at most 16 distinct
    values consists of atoms only. The continuous part is a quantile function through local means of five order
    statistics, one knot per twenty rows, that ends in the safe range: between knots no value is favoured, and
    neither the least nor the largest value is a knot.

    Parameters
    ----------
    cells : pandas.Series, shape (n,)
        Canonical cells.
    column : Column
        Its description.
    fold : ndarray of intp, shape (n,)
        Folds that decide how many knots the quantile function gets.
    rng : numpy.random.Generator
        Spreads rounded values evenly over their rounding interval.

    Returns
    -------
    Margin
    Coded
        States and scores of the n cells.
    """
    if isinstance(cells.dtype, pd.CategoricalDtype):
        return _fit_levels(cells, column)
    return _fit_numeric(np.asarray(cells.to_numpy(), dtype=np.float64), column, fold, rng)


def decode(margin: Margin, coded: Coded) -> pd.Series:
    """Turn states and scores into canonical cells.

    Parameters
    ----------
    margin : Margin
    coded : Coded
        Cells, shape (n,).

    Returns
    -------
    pandas.Series, shape (n,)
        Category, or float64 with NaN for missing; inside the safe range and on the column's grid.
    """
    if margin.levels is not None:
        return pd.Series(pd.Categorical.from_codes(coded.state, dtype=margin.levels), name=margin.id)
    atoms = np.append(margin.values, np.nan)
    result = atoms[coded.state]  # -1 is the appended NaN
    if margin.smooth != MISSING:
        inside = coded.state == margin.smooth
        drawn = np.interp(coded.score[inside], margin.knots, margin.heights)
        if margin.unit:
            # the ends lie half a unit outside the outermost values, so these get their full share
            first, last = margin.heights[0] / margin.unit + 0.5, margin.heights[-1] / margin.unit - 0.5
            drawn = np.clip(np.rint(drawn / margin.unit), np.rint(first), np.rint(last)) * margin.unit
        result[inside] = drawn
    return pd.Series(result, name=margin.id)


def normal_scores(values: Float64) -> Float64:
    """Return the normal scores of distinct values, ``Phi^-1((rank - 1/2) / n)``, shape (n,)."""
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return np.asarray(ndtri((ranks + 0.5) / max(len(values), 1)))


def _positions(shares: Float64) -> Float64:
    """Place ordered states at the normal score of the middle of their share."""
    upper = np.cumsum(shares)
    return np.asarray(ndtri(np.clip(upper - shares / 2, 1e-6, 1 - 1e-6)))


def _fit_levels(cells: pd.Series, column: Column) -> tuple[Margin, Coded]:
    dtype = pd.CategoricalDtype(cells.cat.categories, ordered=cells.cat.ordered)
    state = np.asarray(cells.cat.codes, dtype=np.intp)
    counts = np.bincount(state[state >= 0], minlength=len(dtype.categories)).astype(np.float64)
    shares = counts / max(counts.sum(), 1.0)
    position = _positions(shares)
    none = np.zeros(0)
    margin = Margin(
        column.id, shares, float((state < 0).mean()), position, np.zeros(len(shares)), MISSING, False, dtype, none, none, none, 0.0
    )
    return margin, Coded(state, np.append(position, 0.0)[state])


def _grid(column: Column) -> float:
    if column.kind in ("integer", "datetime"):
        return 1.0
    return 0.0 if column.decimals is None else float(10.0**-column.decimals)


def _safe_range(present: Float64, column: Column) -> tuple[float, float]:
    """Return the column's safe range, or that of the values."""
    if column.low is not None and column.high is not None:
        return column.low, column.high
    return safe_bounds(*tails(present), _grid(column))


def _fit_numeric(raw: Float64, column: Column, fold: Intp, rng: np.random.Generator) -> tuple[Margin, Coded]:
    seen = ~np.isnan(raw)
    present = raw[seen]
    low, high = _safe_range(present, column) if len(present) else (0.0, 0.0)
    distinct, counts = np.unique(present, return_counts=True)
    state = np.full(len(raw), MISSING, dtype=np.intp)
    score = np.zeros(len(raw))
    if len(distinct) <= _FEW_VALUES and len(present) >= 2 * len(distinct):
        margin = _discrete(present, column, low, high, float(1 - seen.mean()))
        state[seen] = np.searchsorted(margin.values, _bounded(present, column, low, high))
        return margin, Coded(state, np.append(margin.position, 0.0)[state])
    atoms = distinct[(counts >= max(_ATOM_ROWS, _ATOM_SHARE * len(present))) & (distinct >= low) & (distinct <= high)]
    smooth = len(atoms)
    place = np.searchsorted(atoms, present)
    is_atom = (place < smooth) & (np.append(atoms, np.inf)[place] == present)
    state[seen] = np.where(is_atom, place, smooth)
    rest = present[~is_atom]
    unit = _grid(column)
    spread = rest + (rng.random(len(rest)) - 0.5) * unit if unit else rest + 0.0
    knots, heights = fit_quantiles(spread, *range_ends(low, high, unit), fold[seen][~is_atom])
    below = np.append((np.sort(rest)[:, None] < atoms[None, :]).mean(axis=0) if len(rest) else np.zeros(smooth), 0.0)
    position = np.append(ndtri(np.clip(below[:-1], 0.001, 0.999)), 0.0)
    shares = np.bincount(state[seen], minlength=smooth + 1) / max(len(present), 1)
    margin = Margin(
        column.id, shares, float(1 - seen.mean()), position, below, smooth, True, None, np.append(atoms, np.nan), knots, heights, unit
    )
    score = np.append(position, 0.0)[state]
    score[state == smooth] = normal_scores(spread)
    return margin, Coded(state, score)


def _bounded(present: Float64, column: Column, low: float, high: float) -> Float64:
    """Move values outside the safe range to the nearest value of the column's grid inside it."""
    unit = _grid(column)
    kept = np.clip(present, low, high)
    return np.asarray(np.rint(kept / unit) * unit if unit else kept)


def _discrete(present: Float64, column: Column, low: float, high: float, missing: float) -> Margin:
    values, counts = np.unique(_bounded(present, column, low, high), return_counts=True)
    shares = counts / max(counts.sum(), 1)
    none = np.zeros(0)
    return Margin(column.id, shares, missing, _positions(shares), np.zeros(len(values)), MISSING, True, None, values, none, none, 0.0)
