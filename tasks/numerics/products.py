"""Products of tall matrices with themselves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
#: Rows multiplied at a time.
BLOCK = 2_048


def weighted_gram(x: Float64, information: Float64) -> Float64:
    """Return ``x' diag(information) x``, summed over blocks of rows: no second copy of x.

    Parameters
    ----------
    x : ndarray of float64, shape (n, p)
    information : ndarray of float64, shape (n,)
        Not negative.

    Returns
    -------
    ndarray of float64, shape (p, p)
        Symmetric to the last bit.
    """
    total = np.zeros((x.shape[1], x.shape[1]))
    root = np.sqrt(information)
    scaled = np.empty((min(BLOCK, len(x)), x.shape[1]))  # one buffer: a new one for each block would cost as much as the product
    for start in range(0, len(x), BLOCK):
        rows = x[start : start + BLOCK]
        block = np.multiply(rows, root[start : start + BLOCK, None], out=scaled[: len(rows)])
        # of a matrix with itself: numpy computes one triangle only
        total += block.T @ block
    return total
