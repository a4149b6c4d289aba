"""Gradient boosting of trees over binned columns: the trees that scikit-learn's histogram gradient boosting grows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.special

from tasks.contract.nuisance import Float64
from tasks.nuisance.growth import KINDS, grow
from tasks.nuisance.walk import MISSING, Forest

_MOST_BINS = 255  # of a column, missing cells not counted
_EDGE = 10.0 * float(np.finfo(np.float64).eps)


class Rules(NamedTuple):
    """How trees grow.

    Attributes
    ----------
    iterations : int
        Number of trees.
    rate : float
        What each leaf is multiplied by.
    leaves : int
        Most leaves of a tree.
    fewest : int
        Fewest rows of a leaf.
    l2 : float
        Added to the sum of second derivatives wherever a leaf's value is found.
    """

    iterations: int
    rate: float
    leaves: int
    fewest: int
    l2: float


def fit_forest(
    matrix: Float64, categorical: npt.NDArray[np.bool_], target: Float64, kind: str, rules: Rules, weights: Float64 | None = None
) -> Forest:
    """Boost trees by second-order steps, splitting the leaf that gains most.

    Parameters
    ----------
    matrix : ndarray of float64, shape (n, d)
        NaN where missing.
    categorical : ndarray of bool, shape (d,)
        Which columns hold codes 0, 1, ..., at most 250 of them.
    target : ndarray of float64, shape (n,)
        0 or 1, a number, or a count.
    kind : {"binary", "continuous", "count"}
        Loss: logistic, squared, or Poisson with a log link.
    rules : Rules
        How trees grow.
    weights : ndarray of float64, shape (n,), optional
        Row weights.

    Returns
    -------
    Forest
        Its sums are on the scale of the link.

    References
    ----------
    Friedman (2001), doi:10.1214/aos/1013203451; Chen, Guestrin (2016), doi:10.1145/2939672.2939785, equations 5 to 7;
    Fisher (1958), doi:10.1080/01621459.1958.10501479, for categories ordered by their means.
    """
    # categories first: of two equal gains the earlier column's wins
    order = np.argsort(~categorical, kind="stable")
    cells = np.empty((len(order), len(matrix)), dtype=np.uint8)
    edges = [_bin(matrix[:, at], bool(categorical[at]), weights, into) for at, into in zip(order, cells, strict=True)]
    starts = np.cumsum([0, *(len(bounds) for bounds in edges)], dtype=np.int32)
    gaps = (cells == np.diff(starts)[:, None] + 1).any(axis=1)
    # a column has one bin more than edges, and one for missing cells
    offset = starts.astype(np.int64) + 2 * np.arange(len(order) + 1)
    w = np.empty(0) if weights is None else np.array(weights, dtype=np.float64)
    baseline = _baseline(target, kind, weights)
    raw = np.full(len(target), baseline)
    most = rules.iterations * (rules.leaves - 1)
    column, span = np.empty(most, dtype=np.int32), np.empty((most, 3), dtype=np.uint8)
    bins, value = np.empty((most, 8), dtype=np.uint32), np.empty(most + rules.iterations)
    ends = np.zeros((rules.iterations + 1, 2), dtype=np.int32)
    grow(
        cells,
        offset,
        gaps,
        categorical[order],
        np.array(target, dtype=np.float64),
        w,
        KINDS[kind],
        raw,
        rules.rate,
        rules.leaves,
        (rules.fewest, rules.l2),
        column,
        bins,
        span,
        value,
        ends,
    )
    splits, leaves = int(ends[-1, 0]), int(ends[-1, 1])
    return _pruned(order, edges, column[:splits], bins[:splits], span[:splits], value[:leaves], ends, baseline)


def _pruned(
    order: npt.NDArray[np.intp],
    edges: list[Float64],
    column: npt.NDArray[np.int32],
    bins: npt.NDArray[np.uint32],
    span: npt.NDArray[np.uint8],
    value: Float64,
    ends: npt.NDArray[np.int32],
    baseline: float,
) -> Forest:
    """Keep the columns and edges that some split uses."""
    table = np.unpackbits(bins.astype("<u4").view(np.uint8), axis=1, bitorder="little").astype(bool)
    used = np.unique(column)
    kept = []
    for at in used:
        of_column = np.flatnonzero(column == at)
        size = len(edges[at])
        telling = np.flatnonzero((table[of_column, :size] != table[of_column, 1 : size + 1]).any(axis=0))
        kept.append(edges[at][telling])
        missing = table[of_column, MISSING]
        table[of_column, : len(telling)] = table[np.ix_(of_column, telling)]
        table[of_column, len(telling)] = table[of_column, size]
        table[of_column, len(telling) + 1 :] = False
        table[of_column, MISSING] = missing
    return Forest(
        columns=order[used].astype(np.int32),
        starts=np.cumsum([0, *(len(bounds) for bounds in kept)], dtype=np.int32),
        edges=np.concatenate([np.empty(0), *kept]),
        splits=ends[:, 0].copy(),
        leaves=ends[:, 1].copy(),
        column=np.searchsorted(used, column).astype(np.int32),
        bins=np.packbits(table, axis=1, bitorder="little").view("<u4").astype(np.uint32),
        span=span.copy(),
        value=value.copy(),
        baseline=baseline,
    )


def _baseline(target: Float64, kind: str, weights: Float64 | None) -> float:
    """Return the best constant on the scale of the link."""
    mean = float(np.average(target, weights=weights))
    if kind == "continuous":
        return mean
    if kind == "count":
        return float(np.log(max(mean, _EDGE)))
    mean = min(max(mean, _EDGE), 1.0 - _EDGE)
    return float(scipy.special.logit(mean))


def _bin(cells: Float64, categorical: bool, weights: Float64 | None, into: npt.NDArray[np.uint8]) -> Float64:
    """Write the bin of each cell of a column, missing ones after the others; return the bounds between the bins."""
    # most columns have few values: counting them takes a fraction of the time of sorting the cells
    codes, values = pd.factorize(cells)
    places = np.argsort(values)
    edges = _edges(cells, values[places], codes, places, categorical, weights)
    bins = np.full(len(values) + 1, len(edges) + 1, dtype=np.uint8)
    bins[:-1] = np.searchsorted(edges, values)
    # the last entry answers for missing cells, whose code is -1
    np.take(bins, codes, out=into, mode="wrap")
    return edges


def _edges(
    cells: Float64,
    values: Float64,
    codes: npt.NDArray[np.intp],
    places: npt.NDArray[np.intp],
    categorical: bool,
    weights: Float64 | None,
) -> Float64:
    """Return the bounds between a column's bins: between codes, between its values, or else at its 255 quantiles.

    Parameters
    ----------
    cells : ndarray of float64, shape (n,)
    values : ndarray of float64, shape (v,)
        Its values in their order, missing ones left out.
    codes : ndarray of intp, shape (n,)
        Which value each cell has, before they were put in order; -1 where it is missing.
    places : ndarray of intp, shape (v,)
        Number of each value among the codes.
    categorical : bool
    weights : ndarray of float64, shape (n,), or None
        Cells of weight 0 have no part.
    """
    if categorical:
        return np.arange(float(values[-1])) if len(values) else np.empty(0)
    seen = codes >= 0 if weights is None else (codes >= 0) & (weights != 0.0)
    counts = np.bincount(codes[seen], minlength=len(values))[places]
    values, counts = values[counts > 0], counts[counts > 0]
    if len(values) <= _MOST_BINS:
        return np.asarray((values[:-1] + values[1:]) / 2.0)
    held = counts.cumsum().astype(np.float64) if weights is None else _held(cells[seen], values, weights[seen])
    # the quantile with averages where the distribution function is level
    wanted = np.linspace(0.0, 100.0, _MOST_BINS + 1)[1:-1] / 100.0 * held[-1]
    at = np.minimum(np.searchsorted(held, wanted), len(values) - 1)
    level = held[at] - wanted <= float(np.finfo(np.float64).eps)
    middles = np.where(level, (values[at] + values[np.minimum(at + 1, len(values) - 1)]) / 2.0, values[at])
    return np.unique(middles)


def _held(cells: Float64, values: Float64, weights: Float64) -> Float64:
    """Return the weight at or below each distinct value."""
    order = np.argsort(cells)
    total = weights[order].cumsum()
    return np.asarray(total[np.searchsorted(cells[order], values, side="right") - 1])
