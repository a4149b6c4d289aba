"""Frames as attackers' models take them: a float matrix for trees, small integer codes for marginal queries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tasks.audit.case import Float64, Int64


def matrix(frame: pd.DataFrame) -> Float64:
    """Return numbers for trees, shape (n, d): numeric cells as they are, categories as codes, missing as -1 beyond the rest.

    Parameters
    ----------
    frame : pandas.DataFrame, shape (n, d)
        Canonical columns; frames to be compared have the same categories.

    Returns
    -------
    ndarray of float64
        NaN where a numeric cell is missing: the trees of scikit-learn take it.
    """
    out = np.empty(frame.shape)
    for at, name in enumerate(frame.columns):
        cells = frame[name]
        codes = isinstance(cells.dtype, pd.CategoricalDtype)
        out[:, at] = cells.cat.codes.to_numpy() if codes else cells.to_numpy(dtype=np.float64)
    return out


def discretise(frames: Sequence[pd.DataFrame], by: pd.DataFrame, bins: int) -> list[Int64]:
    """Return every column as codes 0, 1, ...: categories as they are, numbers by quantiles, missing as a code of its own.

    Parameters
    ----------
    frames : sequence of pandas.DataFrame
        The same canonical columns.
    by : pandas.DataFrame
        The frame whose quantiles cut the numbers: one an attacker has.
    bins : int
        Most bins of a numeric column.

    Returns
    -------
    list of ndarray of int64
        One (n, d) array for each frame.
    """
    out = [np.empty(frame.shape, dtype=np.int64) for frame in frames]
    for at, name in enumerate(by.columns):
        if isinstance(by[name].dtype, pd.CategoricalDtype):
            for codes, frame in zip(out, frames):
                codes[:, at] = frame[name].cat.codes.to_numpy() + 1
            continue
        present = by[name].dropna().to_numpy(dtype=np.float64)
        values = np.unique(present)
        cuts = np.unique(np.quantile(present, np.linspace(0, 1, bins + 1)[1:-1])) if len(values) > bins else values[1:]
        for codes, frame in zip(out, frames):
            cells = frame[name].to_numpy(dtype=np.float64)
            codes[:, at] = np.where(np.isnan(cells), 0, 1 + np.searchsorted(cuts, cells, side="right"))
    return out
