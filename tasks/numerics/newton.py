"""Steps of Newton's method: solved, and the lengths at which they are tried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.linalg

Float64 = npt.NDArray[np.float64]


class Factor(NamedTuple):
    """Cholesky factor of a penalised information matrix, as :func:`scipy.linalg.cho_solve` takes it."""

    matrix: Float64
    lower: bool


def factor(gram: Float64, diagonal: Float64) -> Factor:
    """Factor ``gram + diag(diagonal)``, with a trace of ridge on all columns.

    Parameters
    ----------
    gram : ndarray of float64, shape (p, p)
        Information, positive semi-definite.
    diagonal : ndarray of float64, shape (p,)
        Penalties, not negative.
    """
    hessian = gram.copy()
    hessian[np.diag_indices_from(hessian)] += diagonal + trace_of_ridge(gram)
    matrix, lower = scipy.linalg.cho_factor(hessian, lower=True, check_finite=False)
    return Factor(matrix, bool(lower))


def trace_of_ridge(gram: Float64) -> float:
    """Return what is added to every column's penalty: free columns may be collinear in a fold, and this picks the short solution."""
    return 1e-9 * max(float(np.trace(gram)) / len(gram), 1e-12)


def newton_step(gram: Float64, diagonal: Float64, gradient: Float64) -> Float64:
    """Return minus (gram + diag(diagonal))^-1 gradient, shape (p,)."""
    return -np.asarray(scipy.linalg.cho_solve(factor(gram, diagonal), gradient, check_finite=False))


def halvings(shortest: float, longest: float = 1.0) -> Iterator[float]:
    """Yield the lengths of a step to be tried, each half the one before, until one is not above the shortest."""
    length = longest
    while length > shortest:
        yield length
        length /= 2.0
