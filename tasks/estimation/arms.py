"""Overlap of more than two arms, measured on cross-fitted propensities: arm by arm."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.estimation.overlap import QUANTILES, histogram
from tasks.targeting.influence import effective_size
from tasks.targeting.sample import prepare


class ArmOverlap(NamedTuple):
    """Overlap as one arm sees it.

    Attributes
    ----------
    arm : str
        Label.
    rows : int
        Rows of the arm.
    below : float
        Share of all rows with P(A = arm | W) below d, in [0, 1]: they are not comparable with this arm.
    ess : float
        Effective sample size of the arm's inverse-probability weights over the arm's rows, in (0, 1].
    largest_weight : float
        Largest share of one row in the arm's weights, in (0, 1].
    quantiles_inside, quantiles_outside : tuple of float
        Quantiles of P(A = arm | W) at :data:`tasks.estimation.overlap.QUANTILES`, among the arm's rows and among the others.
    """

    arm: str
    rows: int
    below: float
    ess: float
    largest_weight: float
    quantiles_inside: tuple[float, ...]
    quantiles_outside: tuple[float, ...]


class ArmsOverlap(NamedTuple):
    """Overlap of one data set of more than two arms.

    Attributes
    ----------
    n : int
        Rows of positive weight.
    bound : float
        d.
    outside : float
        Share of rows with P(A = k | W) below d for some arm k, in [0, 1].
    largest_weight : float
        Largest share of one row in its arm's weights.
    arms : tuple of ArmOverlap
        The control's first.
    weakest : str
        Label of the arm with the least effective share.
    histogram0, histogram1 : tuple of int or None
        Rows by equal bins of that arm's propensity over [0, 1], among the other arms and in it, rounded to fives; None where 1 to 4.
    """

    n: int
    bound: float
    outside: float
    largest_weight: float
    arms: tuple[ArmOverlap, ...]
    weakest: str
    histogram0: tuple[int | None, ...]
    histogram1: tuple[int | None, ...]

    @property
    def smallest_arm(self) -> int:
        """Rows of the smallest arm."""
        return min(arm.rows for arm in self.arms)

    @property
    def ess(self) -> float:
        """Least effective share of an arm."""
        return min(arm.ess for arm in self.arms)

    def as_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {**self._asdict(), "arms": [arm._asdict() for arm in self.arms], "smallest_arm": self.smallest_arm}


def overlap_of_arms(a: Int8, nuisances: Nuisances, bound: float, labels: Sequence[str], weights: Float64 | None = None) -> ArmsOverlap:
    """Measure overlap arm by arm.

    Parameters
    ----------
    a : ndarray of int8, shape (n,)
        Treatment, 0, ..., K - 1; every arm is there.
    nuisances : Nuisances
        Out-of-fold; the propensities are used.
    bound : float
        d, in [0, 1/K); weights are taken after truncation.
    labels : sequence of K str
        The control's first.
    weights : ndarray of float64, shape (n,), optional
        Row weights, not negative; shares and effective sizes follow them, counts don't.

    Returns
    -------
    ArmsOverlap

    Raises
    ------
    EstimationError
        If an arm is empty or a value is not valid.
    """
    sample = prepare(a, np.zeros_like(nuisances[0]), nuisances, "continuous", bound, weights)
    w, given = sample.weights, nuisances.propensities
    arms = []
    for arm, label in enumerate(labels):
        inside = (sample.a == arm) & (w > 0.0)
        inverse = w[inside] / sample.p[arm][inside]
        quantiles = [tuple(np.quantile(given[arm][rows], QUANTILES).tolist()) for rows in (inside, ~inside & (w > 0.0))]
        below = float(np.average(given[arm] < bound, weights=w))
        size, largest = effective_size(inverse) / len(inverse), float(np.max(inverse) / np.sum(inverse))
        arms.append(ArmOverlap(label, int(np.count_nonzero(inside)), below, size, largest, *quantiles))
    outside = functools.reduce(np.logical_or, [p < bound for p in given])
    largest = max(arm.largest_weight for arm in arms)
    at = min(range(len(arms)), key=lambda arm: arms[arm].ess)
    inside = sample.a == at
    counts = (histogram(given[at][~inside & (w > 0.0)]), histogram(given[at][inside & (w > 0.0)]))
    share = float(np.average(outside, weights=w))
    return ArmsOverlap(int(np.count_nonzero(w)), float(bound), share, largest, tuple(arms), arms[at].arm, *counts)
