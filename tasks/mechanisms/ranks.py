"""How several outcomes of a row hang together: a Gaussian copula, by arm, of the uniform numbers that their laws are driven by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtr

from tasks.contract.nuisance import Float64, Int8
from tasks.mechanisms.laws.protocol import OutcomeLaw
from tasks.numerics.correlation import FEWEST_PAIRS, spearman

#: Most rows of an arm that a correlation is found on, outcomes that each row's law is laid out in, and sets of normal numbers.
_ROWS, _STEPS, _SETS = 4_000, 64, 8
_MOST, _HALVINGS = 0.995, 14


class RankLaw(NamedTuple):
    """Correlations of the normal scores that a row's outcomes are driven by.

    Attributes
    ----------
    correlations : tuple of K ndarray of float64, shape (p, p)
        By arm, the control first: positive definite, 1 on the diagonal.
    """

    correlations: tuple[Float64, ...]

    def root(self, arm: int) -> Float64:
        """Return the lower triangular L with L L' the correlations of an arm: scores are L e with e independent."""
        return np.asarray(np.linalg.cholesky(self.correlations[arm]), dtype=np.float64)


def lay_out(law: OutcomeLaw, a: Int8, mean: Float64, covariates: pd.DataFrame, steps: int, rng: np.random.Generator) -> Float64:
    """Return outcomes of each row's law at random ranks of equal stretches, ascending, shape (n, steps).

    A stretch at random gives the row's law exactly, and a higher stretch never a lower outcome.
    """
    inverted = law.invert(a, mean, covariates, rng)
    return np.sort(np.column_stack([inverted.quantile((step + rng.random(len(a))) / steps) for step in range(steps)]), axis=1)


def step_at(steps: Float64, u: Float64) -> Float64:
    """Return each row's outcome at rank u among those of :func:`lay_out`, shape (n,)."""
    return np.asarray(steps[np.arange(len(u)), np.minimum((u * steps.shape[1]).astype(np.intp), steps.shape[1] - 1)])


def fit_ranks(
    laws: Sequence[OutcomeLaw],
    a: Int8,
    y: Float64,
    mean: Float64,
    covariates: pd.DataFrame,
    arms: int,
    ordered: bool,
    rng: np.random.Generator,
    weights: Float64 | None = None,
) -> RankLaw:
    """Find the correlations under which drawn outcomes hang together as the source's do.

    For each pair of outcomes and each arm the correlation is that under which the Spearman correlation of drawn residuals Y - Q* is the
    source's; 0 where fewer than 30 rows have both. It is found by bisection on simulated rows, so ties, atoms and bounds of the laws are
    accounted for: the correlation of their randomised ranks alone would be too weak.

    Parameters
    ----------
    laws : sequence of p OutcomeLaw
    a : ndarray of int8, shape (n,)
        Treatment, 0, ..., K - 1.
    y : ndarray of float64, shape (n, p)
        Outcomes, NaN where missing.
    mean : ndarray of float64, shape (n, p)
        Out-of-fold Q* of the row's own arm.
    covariates : DataFrame, n rows
    arms : int
        K.
    ordered : bool
        Whether outcomes are visits in their order: the correlation of two is then the product of those of all neighbours between
        them (autoregressive).
    rng : numpy.random.Generator
    weights : ndarray of float64, shape (n,), optional
        Row weights.

    Returns
    -------
    RankLaw

    References
    ----------
    Nelsen (2006), An introduction to copulas, DOI 10.1007/0-387-28678-0.
    """
    used = np.ones(len(a), dtype=bool) if weights is None else weights > 0.0
    given = (a, y, mean, covariates, ordered, rng, weights)
    return RankLaw(tuple(_of_arm(laws, np.flatnonzero((a == arm) & used)[:_ROWS], *given) for arm in range(arms)))


def _of_arm(
    laws: Sequence[OutcomeLaw],
    rows: npt.NDArray[np.intp],
    a: Int8,
    y: Float64,
    mean: Float64,
    covariates: pd.DataFrame,
    ordered: bool,
    rng: np.random.Generator,
    weights: Float64 | None,
) -> Float64:
    count, frame = len(laws), covariates.iloc[rows].reset_index(drop=True)
    steps = [lay_out(law, a[rows], mean[rows, at], frame, _STEPS, rng) - mean[rows, at, None] for at, law in enumerate(laws)]
    normal = rng.normal(size=(2, _SETS, len(rows)))
    rest, correlation = y[rows] - mean[rows], np.eye(count)
    for second in range(1, count):
        for first in range(second - 1, -1, -1):
            if ordered and first < second - 1:
                rho = correlation[first, second - 1] * correlation[second - 1, second]
            else:
                both = ~np.isnan(rest[:, [first, second]]).any(axis=1)
                weight = None if weights is None else weights[rows][both]
                rho = _rho(rest[both, first], rest[both, second], steps[first][both], steps[second][both], normal[:, :, both], weight)
            correlation[first, second] = correlation[second, first] = rho
    return positive(correlation)


def _rho(first: Float64, second: Float64, steps: Float64, others: Float64, normal: Float64, weight: Float64 | None) -> float:
    """Return the correlation of scores under which residuals have the Spearman correlation of those given."""
    if len(first) < FEWEST_PAIRS:
        return 0.0
    wanted = spearman(first, second, weight)
    drawn = [step_at(steps, ndtr(e)) for e in normal[0]]

    def reached(rho: float) -> float:
        scores = (rho * one + np.sqrt(1.0 - rho * rho) * other for one, other in zip(*normal, strict=True))
        return float(np.mean([spearman(x, step_at(others, ndtr(z)), weight) for x, z in zip(drawn, scores, strict=True)]))

    low, high = -_MOST, _MOST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if reached(middle) < wanted else (low, middle)
    return (low + high) / 2.0


def positive(correlation: Float64) -> Float64:
    """Return a positive definite matrix near a symmetric one with unit diagonal: pairs found one by one need not fit together."""
    values, vectors = np.linalg.eigh(correlation)
    if values.min() > 1e-6:
        return correlation
    fitted = vectors * np.maximum(values, 1e-6) @ vectors.T
    size = np.sqrt(np.diag(fitted))
    return np.asarray(fitted / np.outer(size, size))
