"""Sums of curves' influence values that add up over folds: curves of a table with their standard errors, without its rows."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from tasks.contract.nuisance import Float64
from tasks.contract.rng import UInt64

#: Rows predicted at a time: hazards are K m numbers a row.
BLOCK = 8_192


class CurveSums(NamedTuple):
    """Sums over rows of influence values d of curves with row weights w; they add up over folds. Arrays of shape (K, m).

    Attributes
    ----------
    weight, squares : ndarray of float64
        Sums of w and of w^2.
    total : ndarray of float64
        Sums of w d.
    crossed, spread : ndarray of float64
        Sums of w^2 d and of w^2 d^2.
    clusters : ndarray of float64
        Clusters that the sums are over in place of rows: w and w d are then summed within each first. 0 where rows come in none.
    """

    weight: Float64
    squares: Float64
    total: Float64
    crossed: Float64
    spread: Float64
    clusters: Float64

    def plus(self, other: CurveSums) -> CurveSums:
        """Return the sums over both sets of rows."""
        return CurveSums(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def over(self, repeats: int) -> CurveSums:
        """Return the means of sums over several repeats, which describe the same rows."""
        return CurveSums(*(values / repeats for values in self))

    def estimate(self) -> tuple[Float64, Float64]:
        """Return the curves and their standard errors."""
        mean = self.total / self.weight
        variance = (self.spread - 2.0 * mean * self.crossed + mean**2 * self.squares) / self.weight**2
        small = np.where(self.clusters > 1.0, self.clusters / np.maximum(self.clusters - 1.0, 1.0), 1.0)
        return mean, np.sqrt(np.maximum(small * variance, 0.0))


def curves_key(nuisances: str) -> str:
    """Return where the sums of a partition's curves lie, beside its nuisances."""
    return f"{nuisances.removesuffix('.parquet')}-curves.model"


def curve_sums(values: Float64, w: Float64, clusters: UInt64 | None = None) -> CurveSums:
    """Return the sums of one arm's influence values, shape (n, m), as arrays of shape (m,); whole clusters of rows are given."""
    ones = np.ones(values.shape[1])
    if clusters is None:
        return CurveSums(w.sum() * ones, (w**2).sum() * ones, w @ values, w**2 @ values, w**2 @ values**2, 0.0 * ones)
    place = np.unique(clusters, return_inverse=True)[1]
    size: Float64 = np.bincount(place, weights=w).astype(np.float64)
    sums = np.column_stack([np.bincount(place, weights=w * column) for column in values.T]).astype(np.float64)
    spread: Float64 = np.sum(sums**2, axis=0)
    return CurveSums(size.sum() * ones, (size**2).sum() * ones, w @ values, size @ sums, spread, len(size) * ones)


def blocks(size: int, clusters: UInt64 | None = None) -> list[slice]:
    """Cut rows into blocks of about :data:`BLOCK`.

    Parameters
    ----------
    size : int
    clusters : ndarray of uint64, shape (size,), optional
        Hash of each row's cluster; rows of one stand together, and a block holds whole ones.
    """
    begins = np.arange(size)
    if clusters is not None:
        begins = np.maximum.accumulate(np.where(np.append(True, clusters[1:] != clusters[:-1]), begins, 0))
    cuts = [0, *(1 + np.flatnonzero(np.diff(begins // BLOCK))).tolist(), size]
    return [slice(first, last) for first, last in itertools.pairwise(cuts)]
