"""Drawing a release from a weighted pool, no row twice."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64


class Inclusion(NamedTuple):
    """Inclusion probabilities of pool rows.

    Attributes
    ----------
    probability : ndarray of float64, shape (N,)
        In [0, 1], sum n.
    certain : float
        Share of pool rows that are taken for certain.
    moved : float
        Share of the weight that lay above 1 / n in a row and was spread over the others.
    """

    probability: Float64
    certain: float
    moved: float


def inclusion(weights: Float64, n: int) -> Inclusion:
    """Turn weights into inclusion probabilities: n times the weight, those above 1 capped and the rest raised in proportion.

    Parameters
    ----------
    weights : ndarray of float64, shape (N,)
        Not negative, with a positive sum.
    n : int
        Rows wanted, at most the number of positive weights.

    Returns
    -------
    Inclusion

    Raises
    ------
    EstimationError
        If fewer than n rows have a positive weight.
    """
    usable = int(np.count_nonzero(weights > 0.0))
    if n > usable:
        raise EstimationError(f"pool of calibration must be at least {n} usable rows; got {usable}.", "Draw a larger pool.")
    share = weights / weights.sum()
    moved = float(np.maximum(share - 1.0 / n, 0.0).sum()) if n else 0.0
    certain = np.zeros(len(share), dtype=bool)
    probability = n * share
    # every pass caps at least one more row, and the sum of what is left shrinks
    while True:
        over = (probability > 1.0) & ~certain
        if not over.any():
            break
        certain |= over
        left = n - int(certain.sum())
        rest = float(share[~certain].sum())
        probability = np.where(certain, 1.0, share * (left / rest if rest > 0.0 else 0.0))
    return Inclusion(np.minimum(probability, 1.0), float(np.mean(probability >= 1.0)), moved)


def systematic_sample(weights: Float64, n: int, rng: np.random.Generator, order_by: Float64 | None = None) -> npt.NDArray[np.int64]:
    """Draw n different rows with inclusion probabilities proportional to the weights, as far as 1 allows.

    The rows are laid end to end, each as long as its inclusion probability, and read off at unit steps from a random start. Laid in the
    order of a variable, the sample is stratified by it implicitly: its mean barely varies.

    Parameters
    ----------
    weights : ndarray of float64, shape (N,)
        Not negative.
    n : int
        Rows wanted.
    rng : numpy.random.Generator
        Spent on the order of ties (or of all rows), the start and the order of the result.
    order_by : ndarray of float64, shape (N,), optional
        Variable to stratify by, for instance Q*1 - Q*0; without it the order is random.

    Returns
    -------
    ndarray of int64, shape (n,)
        Row numbers, all different, in random order.

    Raises
    ------
    EstimationError
        If fewer than n rows have a positive weight.
    """
    probability = inclusion(weights, n).probability
    shuffled = rng.permutation(len(weights))
    laid = shuffled if order_by is None else shuffled[np.argsort(order_by[shuffled], kind="stable")]
    start = float(rng.random())
    ends = np.cumsum(probability[laid])
    # rounding of the sum must not lose or add a row
    ends *= n / ends[-1] if n else 1.0
    passed = np.floor(ends - start).astype(np.int64) + 1
    passed[-1:] = n
    passed = np.minimum(np.maximum(passed, 0), n)
    taken = laid[np.diff(passed, prepend=0) > 0]
    if len(taken) < n:
        # a certain row's piece may round to a hair over 1 and be stepped on twice: the next free row takes the place
        spare = laid[np.diff(passed, prepend=0) == 0]
        spare = spare[np.argsort(-probability[spare], kind="stable")]
        taken = np.concatenate((taken, spare[: n - len(taken)]))
    return np.asarray(rng.permutation(taken), dtype=np.int64)
