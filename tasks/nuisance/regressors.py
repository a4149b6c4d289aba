"""Regressors of many rows, arm by arm: products with the wide matrix of a regression that is never laid out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.nuisance import Float64, Int8
from tasks.nuisance.cells import cells_of
from tasks.nuisance.design import Design, arm_codes, with_treatment
from tasks.numerics.products import BLOCK

Intp = npt.NDArray[np.intp]
#: Rows, and rows per column, from which a regression is one of many rows (:func:`tasks.nuisance.ridge.fit_ridge`).
MANY_ROWS, MANY_PER_COLUMN = 5_000, 20


@dataclass(frozen=True)
class Regressors:
    """The matrix x of a regression, shape (n, p), as a few columns and what every arm makes of them.

    A row of arm k is ``columns[:, i] @ maps[k]``. With treatment-covariate interactions p is K times the number of columns, and products
    with x take a K-th of the time.

    Attributes
    ----------
    columns : ndarray of float64, shape (c, n)
        The rows of one arm next to one another.
    ends : tuple of int, K + 1 of them
        Where the rows of each arm start; last n.
    maps : ndarray of float64, shape (K, c, p)
    order : ndarray of intp, shape (n,), or None
        Which row of a table stands at each place; None where they stand as they are in the table.
    """

    columns: Float64
    ends: tuple[int, ...]
    maps: Float64
    order: Intp | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Return n and p."""
        return self.columns.shape[1], self.maps.shape[2]

    def sorted(self, values: Float64) -> Float64:
        """Return a vector of a table's rows, shape (n,), in the order of these."""
        return values if self.order is None else values[self.order]

    def every(self, step: int) -> tuple[Regressors, Intp]:
        """Return every step-th row of the table, in the order of these, and where they stand here."""
        places = np.arange(0, self.shape[0], step) if self.order is None else np.flatnonzero(self.order % step == 0)
        ends = np.searchsorted(places, self.ends)
        return Regressors(np.take(self.columns, places, axis=1), tuple(int(end) for end in ends), self.maps), places

    def __matmul__(self, coefficients: Float64) -> Float64:
        """Return ``x @ coefficients``, shape (n,) or (n, k)."""
        return np.concatenate([part.T @ (of @ coefficients) for part, of in zip(self._parts(), self.maps, strict=True)])

    def score(self, residual: Float64) -> Float64:
        """Return ``x' residual``, shape (p,)."""
        sums = [part @ residual[first : first + part.shape[1]] for part, first in zip(self._parts(), self.ends)]
        return np.asarray(np.sum([of.T @ each for of, each in zip(self.maps, sums, strict=True)], axis=0))

    def gram(self, information: Float64) -> Float64:
        """Return ``x' diag(information) x``, shape (p, p), symmetric to the last bit; ``information`` of shape (n,), not negative."""
        root = np.sqrt(information)
        total = np.zeros((self.shape[1], self.shape[1]))
        scaled = np.empty((len(self.columns), min(BLOCK, self.columns.shape[1])))
        for of, first, last in zip(self.maps, self.ends, self.ends[1:]):
            inner = np.zeros((len(self.columns), len(self.columns)))
            for start in range(first, last, BLOCK):
                rows = slice(start, min(start + BLOCK, last))
                block = np.multiply(self.columns[:, rows], root[rows], out=scaled[:, : rows.stop - rows.start])
                # of a matrix with itself: numpy computes one triangle only
                inner += block @ block.T
            total += of.T @ inner @ of
        return (total + total.T) / 2.0

    def squares(self, vectors: Float64, kept: Float64) -> Float64:
        """Return ``sum_j kept_fj (x_i' v_j)^2`` for every row and factor, shape (n, f): leverages, from a decomposition.

        Parameters
        ----------
        vectors : ndarray of float64, shape (p, q)
        kept : ndarray of float64, shape (f, q)
        """
        out = np.empty((self.columns.shape[1], len(kept)))
        for of, first, last in zip(self.maps, self.ends, self.ends[1:]):
            inner = of @ vectors
            for start in range(first, last, BLOCK):
                rows = slice(start, min(start + BLOCK, last))
                out[rows] = np.square(self.columns[:, rows].T @ inner) @ kept.T
        return out

    def _parts(self) -> list[Float64]:
        return [self.columns[:, first:last] for first, last in zip(self.ends, self.ends[1:])]


def plain_regressors(x: Float64) -> Regressors:
    """Return a matrix, shape (n, p), as regressors."""
    return Regressors(x.T, (0, len(x)), np.eye(x.shape[1])[None])


def many_rows(n: int, p: int) -> bool:
    """Return whether n rows are many for p columns."""
    return n >= max(MANY_ROWS, MANY_PER_COLUMN * p)


def thinning(n: int) -> int:
    """Return the step that leaves :data:`MANY_ROWS` of n rows."""
    return n // MANY_ROWS


def regressors(
    design: Design, covariates: pd.DataFrame, treatment: Int8 | None, interactions: bool = True, arms: int = 2
) -> Float64 | Regressors:
    """Return what a regression on a design is fitted to: regressors where rows are many, else the matrix laid out.

    Parameters
    ----------
    design : Design
    covariates : DataFrame, n rows
    treatment : ndarray of int8, shape (n,), or None
        None for a regression without it: intercept and covariates.
    interactions : bool
        As in :func:`tasks.nuisance.design.with_treatment`.
    arms : int
        K.
    """
    n, width = len(covariates), design.width
    if not many_rows(n, 1 + width if treatment is None else _coefficients(width, interactions, arms)):
        x = design.matrix(covariates)
        return np.column_stack((np.ones(n), x)) if treatment is None else with_treatment(x, treatment, interactions, arms)
    if treatment is None:
        return Regressors(design.columns(covariates, intercept=True), (0, n), np.eye(1 + width)[None])
    order = np.argsort(treatment, kind="stable")
    columns = design.columns(cells_of(covariates).take(order), intercept=True)
    ends = np.searchsorted(treatment[order], np.arange(arms + 1))
    return Regressors(columns, tuple(int(end) for end in ends), _maps(width, interactions, arms), order)


def _coefficients(width: int, interactions: bool, arms: int) -> int:
    return arms + (arms * width if interactions else width)


def _maps(width: int, interactions: bool, arms: int) -> Float64:
    """Return how coefficients of the regression become those of each arm, intercept first: shape (K, 1 + width, p)."""
    maps = np.zeros((arms, 1 + width, _coefficients(width, interactions, arms)))
    maps[:, 0, 0] = 1.0
    maps[:, 0, 1:arms] = arm_codes(arms)
    slopes = np.arange(width)
    maps[:, 1 + slopes, arms + slopes] = 1.0
    if interactions:
        for at, sides in enumerate(arm_codes(arms).T):
            maps[:, 1 + slopes, arms + (at + 1) * width + slopes] = sides[:, None]
    return maps
