"""Cells: every column as finitely many things that can stand in it, numbers included."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from tasks.contract.roles import Column
from tasks.covariates.margins import MISSING, Coded, Float64, Intp, Margin

UNKNOWN = -1
_EDGE = 1e-9


class Cells(NamedTuple):
    """The cells of one column, in order: levels or atoms, pieces of the continuous part, missing.

    Attributes
    ----------
    margin : Margin
        Between cells and canonical values.
    state : ndarray of intp, shape (c,)
        State of each cell; -1 for missing.
    low, high : ndarray of float64, shape (c,)
        For a piece of the continuous part its share of (0, 1) on the uniform scale of the margin; 0 for the others.
    piece : ndarray of intp, shape (c,)
        Number of the piece, from 0 upwards; -1 for the others.
    """

    margin: Margin
    state: Intp
    low: Float64
    high: Float64
    piece: Intp


def cut_evenly(margin: Margin, pieces: int) -> Cells:
    """Cut the continuous part of a column into pieces that equally many rows fall into.

    Parameters
    ----------
    margin : Margin
    pieces : int
        At least 1; ignored where the column has no continuous part.
    """
    edges = np.linspace(0.0, 1.0, pieces + 1)
    return _join(margin, edges[:-1], edges[1:])


def cut_at(margin: Margin, bounds: Float64) -> Cells:
    """Cut the continuous part of a column at the given values, shape (pieces - 1,), ascending."""
    inner = np.asarray(ndtr(np.interp(bounds, margin.heights, margin.knots)))
    edges = np.concatenate(([0.0], inner, [1.0]))
    return _join(margin, edges[:-1], edges[1:])


def _join(margin: Margin, low: Float64, high: Float64) -> Cells:
    states = [state for state in range(len(margin.shares)) if state != margin.smooth]
    if margin.smooth == MISSING:
        low = high = np.zeros(0)
    gone = [MISSING] if margin.missing > 0 else []
    plain = np.zeros(len(states))
    return Cells(
        margin,
        np.array([*states, *[margin.smooth] * len(low), *gone], dtype=np.intp),
        np.concatenate([plain, low, np.zeros(len(gone))]),
        np.concatenate([plain, high, np.zeros(len(gone))]),
        np.array([*[-1] * len(states), *range(len(low)), *[-1] * len(gone)], dtype=np.intp),
    )


def to_cells(cells: Cells, coded: Coded) -> Intp:
    """Return the cell that each coded value falls into, shape (n,); ``UNKNOWN`` for a missing one where the column knew none."""
    of_state = np.full(len(cells.margin.shares) + 1, UNKNOWN, dtype=np.intp)
    plain = cells.piece < 0
    of_state[cells.state[plain]] = np.flatnonzero(plain)
    result = of_state[coded.state]
    if cells.margin.smooth != MISSING:
        inside = coded.state == cells.margin.smooth
        pieces = cells.high[~plain]
        place = np.searchsorted(pieces[:-1], ndtr(coded.score[inside]), side="right")
        result[inside] = np.flatnonzero(~plain)[place]
    return result


def to_coded(cells: Cells, chosen: Intp, spot: Float64) -> Coded:
    """Return states and scores of chosen cells.

    Parameters
    ----------
    cells : Cells
    chosen : ndarray of intp, shape (n,)
    spot : ndarray of float64, shape (n,)
        In [0, 1): where in a piece of the continuous part the value lies.
    """
    state = cells.state[chosen]
    score = np.append(cells.margin.position, 0.0)[state]
    inside = cells.piece[chosen] >= 0
    low, high = cells.low[chosen[inside]], cells.high[chosen[inside]]
    score[inside] = ndtri(np.clip(low + spot[inside] * (high - low), _EDGE, 1 - _EDGE))
    return Coded(state, score)


def code(margin: Margin, values: pd.Series) -> Coded:
    """Code canonical values that the margin was not learnt from; an unknown level counts as missing.

    Parameters
    ----------
    margin : Margin
    values : pandas.Series, shape (n,)
        Category, or float64 with NaN for missing.
    """
    if margin.levels is not None:
        texts = values.astype(margin.levels)
        state = np.asarray(texts.cat.codes, dtype=np.intp)
        return Coded(state, np.append(margin.position, 0.0)[state])
    raw = np.asarray(values.to_numpy(), dtype=np.float64)
    seen = ~np.isnan(raw)
    state, score = np.full(len(raw), MISSING, dtype=np.intp), np.zeros(len(raw))
    if margin.smooth == MISSING:
        middle = (margin.values[1:] + margin.values[:-1]) / 2
        state[seen] = np.searchsorted(middle, raw[seen], side="right")
        return Coded(state, np.append(margin.position, 0.0)[state])
    atoms = margin.values[:-1]
    place = np.searchsorted(atoms, raw[seen])
    is_atom = (place < len(atoms)) & (np.append(atoms, np.inf)[place] == raw[seen])
    state[seen] = np.where(is_atom, place, margin.smooth)
    score = np.append(margin.position, 0.0)[state]
    inside = state == margin.smooth
    score[inside] = np.interp(raw[inside], margin.heights, margin.knots)
    return Coded(state, score)


def grid_unit(column: Column) -> float:
    """Return the grid of a numeric column's values, 0 where there is none."""
    if column.kind in ("integer", "datetime"):
        return 1.0
    return 0.0 if column.decimals is None else float(10.0**-column.decimals)
