"""Overlap of the two arms, measured on cross-fitted propensities."""

from __future__ import annotations

import functools
import math
from typing import Literal, NamedTuple

import numpy as np

from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.numerics.normal import Z95
from tasks.targeting.fluctuation import truncate_arms
from tasks.targeting.influence import effective_size
from tasks.targeting.sample import prepare, prepare_rows

#: Levels of the reported quantiles; the extremes are left out, for one row's g may be one row's secret.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
#: Bins of the reported histogram over [0, 1].
BINS = 20
#: Histogram cells with fewer rows are not shown.
MIN_CELL = 5


class CalibrationSlope(NamedTuple):
    """Slope of the logistic regression of A on logit g: 1 is calibrated, below 1 is overconfident.

    All three are NaN where the slope can't be identified: g does not vary, or separates the arms.
    """

    slope: float
    ci_low: float
    ci_high: float


class OverlapSummary(NamedTuple):
    """Overlap of one data set.

    Attributes
    ----------
    n : int
        Rows of positive weight.
    bound : float
        d.
    outside, below, above : float
        Share of rows with g outside [d, 1-d], below d, above 1-d; in [0, 1].
    arm0, arm1 : int
        Rows of each arm.
    ess0, ess1 : float
        Effective sample size of the arm's inverse-probability weights over the arm's rows, in (0, 1].
    largest_weight : float
        Largest share of one row in its arm's weights, in (0, 1].
    quantiles0, quantiles1 : tuple of float
        Quantiles of g at ``QUANTILES``, by arm.
    histogram0, histogram1 : tuple of int or None
        Rows by equal bins of g over [0, 1], by arm, rounded to fives; None where 1 to 4.
    calibration : CalibrationSlope
    """

    n: int
    bound: float
    outside: float
    below: float
    above: float
    arm0: int
    arm1: int
    ess0: float
    ess1: float
    largest_weight: float
    quantiles0: tuple[float, ...]
    quantiles1: tuple[float, ...]
    histogram0: tuple[int | None, ...]
    histogram1: tuple[int | None, ...]
    calibration: CalibrationSlope

    @property
    def smallest_arm(self) -> int:
        """Rows of the smaller arm."""
        return min(self.arm0, self.arm1)

    def as_dict(self) -> dict[str, object]:
        """Return plain values for JSON, None for what could not be identified."""
        plain = self._asdict()
        plain["calibration"] = {key: value if math.isfinite(value) else None for key, value in self.calibration._asdict().items()}
        return {**plain, "smallest_arm": self.smallest_arm}


def overlap(a: Int8, g: Float64, bound: float, weights: Float64 | None = None) -> OverlapSummary:
    """Measure overlap.

    Parameters
    ----------
    a : ndarray of int8, shape (n,)
        Treatment, 0 or 1; both arms present.
    g : ndarray of float64, shape (n,)
        Out-of-fold P(A = 1 | W), not truncated.
    bound : float
        d, in [0, 0.5); weights are taken after truncation to [d, 1-d].
    weights : ndarray of float64, shape (n,), optional
        Row weights, not negative; shares and effective sizes follow them, counts don't.

    Returns
    -------
    OverlapSummary

    Raises
    ------
    EstimationError
        If an arm is empty or a value is not valid.
    """
    zeros = np.zeros_like(g)
    rows = prepare_rows(a, zeros, Nuisances(g, zeros, zeros), "continuous", bound, weights)
    given = rows.sample.nuisances.g
    below, above = given < bound, 1.0 - given < bound
    arms = [(rows.treated == arm) & (rows.weights > 0.0) for arm in (0.0, 1.0)]
    inverse = [rows.weights[arms[0]] / rows.p0[arms[0]], rows.weights[arms[1]] / rows.p1[arms[1]]]
    return OverlapSummary(
        n=rows.n,
        bound=float(bound),
        outside=rows.mean((below | above).astype(np.float64)),
        below=rows.mean(below.astype(np.float64)),
        above=rows.mean(above.astype(np.float64)),
        arm0=len(inverse[0]),
        arm1=len(inverse[1]),
        ess0=effective_size(inverse[0]) / len(inverse[0]),
        ess1=effective_size(inverse[1]) / len(inverse[1]),
        largest_weight=max(float(np.max(w) / np.sum(w)) for w in inverse),
        quantiles0=_quantiles(given[arms[0]]),
        quantiles1=_quantiles(given[arms[1]]),
        histogram0=histogram(given[arms[0]]),
        histogram1=histogram(given[arms[1]]),
        calibration=calibration_slope(rows.treated, given, rows.weights),
    )


class TargetOverlap(NamedTuple):
    """Overlap as an estimand that is not the ATE needs it.

    Attributes
    ----------
    estimand : str
        ``"att"`` or ``"ato"``.
    outside : float
        ATT: the largest share of an arm's rows, beside the control, whose P(A = 0 | W) is below d. ATO: 0, for it needs none.
    ess : float
        Least effective number of rows that an arm lends, over the rows of the arm that they stand beside, at most 1: controls with
        weights g_k / g_0 over the rows of arm k (ATT); each arm with weights h / g_k over the smallest arm (ATO).
    """

    estimand: str
    outside: float
    ess: float


def target_overlap(
    a: Int8, nuisances: Nuisances, bound: float, estimand: Literal["att", "ato"], weights: Float64 | None = None
) -> TargetOverlap:
    """Measure the overlap that the ATT or the ATO needs.

    Parameters
    ----------
    a : ndarray of int8, shape (n,)
        Treatment, 0, ..., K - 1; every arm is there.
    nuisances : Nuisances
        Out-of-fold; the propensities are used.
    bound : float
        d, in [0, 1/K).
    estimand : {"att", "ato"}
    weights : ndarray of float64, shape (n,), optional
        Row weights, not negative.
    """
    sample = prepare(a, np.zeros_like(nuisances[0]), nuisances, "continuous", bound, weights)
    p, w = truncate_arms(nuisances, 0.0), sample.weights
    rows = [(sample.a == arm) & (w > 0.0) for arm in range(nuisances.arms)]
    if estimand == "ato":
        h = 1.0 / functools.reduce(np.add, [1.0 / each for each in p])
        fewest = min(int(np.count_nonzero(each)) for each in rows)
        sizes = [effective_size((w * h / p[arm])[each]) for arm, each in enumerate(rows)]
        return TargetOverlap(estimand, 0.0, min(1.0, min(sizes) / fewest))
    outside, ess = 0.0, 1.0
    for arm in range(1, nuisances.arms):
        outside = max(outside, float(np.average(p[0][rows[arm]] < bound, weights=w[rows[arm]])))
        odds = np.minimum(p[arm] / p[0], (1.0 - bound) / max(bound, 1e-9))
        ess = min(ess, effective_size((w * odds)[rows[0]]) / int(np.count_nonzero(rows[arm])))
    return TargetOverlap(estimand, outside, ess)


def calibration_slope(treated: Float64, g: Float64, weights: Float64) -> CalibrationSlope:
    """Regress A on logit g (Cox 1958, DOI 10.1093/biomet/45.3-4.562), with a robust 95 % interval.

    Parameters
    ----------
    treated, g, weights : ndarray of float64, shape (n,)
        A as 0/1, P(A = 1 | W), row weights.

    Returns
    -------
    CalibrationSlope
    """
    unit = np.clip(g, 1e-9, 1.0 - 1e-9)
    x = np.log(unit) - np.log1p(-unit)
    unknown = CalibrationSlope(math.nan, math.nan, math.nan)
    if float(np.ptp(x)) < 1e-6:
        return unknown
    design = np.column_stack([np.ones_like(x), x])
    beta = np.zeros(2)
    for _ in range(50):
        mean = 1.0 / (1.0 + np.exp(-np.clip(design @ beta, -700.0, 700.0)))
        information = design.T @ (design * (weights * mean * (1.0 - mean))[:, None])
        if np.linalg.cond(information) > 1e12:
            return unknown
        step = np.linalg.solve(information, design.T @ (weights * (treated - mean)))
        beta = beta + step
        if float(np.max(np.abs(step))) < 1e-10:
            break
    else:
        return unknown
    scores = design * (weights * (treated - mean))[:, None]
    bread = np.linalg.inv(information)
    se = math.sqrt(float((bread @ (scores.T @ scores) @ bread)[1, 1]))
    slope = float(beta[1])
    return CalibrationSlope(slope, slope - Z95 * se, slope + Z95 * se)


def _quantiles(g: Float64) -> tuple[float, ...]:
    return tuple(float(q) for q in np.quantile(g, QUANTILES))


def histogram(g: Float64) -> tuple[int | None, ...]:
    """Count by bin: cells of 1 to 4 rows are suppressed, all others rounded to fives, so that subtraction reveals nothing."""
    counts = np.histogram(g, bins=BINS, range=(0.0, 1.0))[0].tolist()
    return tuple(None if 0 < count < MIN_CELL else MIN_CELL * round(count / MIN_CELL) for count in counts)


def weighted_shares(a: Int8, g: Float64, weights: Float64, arms: tuple[int, int]) -> dict[str, list[float | None]]:
    """Return the share of all survey weight by bin of g and arm, as the histograms count rows.

    Parameters
    ----------
    a : ndarray of int8, shape (n,)
        Treatment.
    g : ndarray of float64, shape (n,)
        Propensity of the second of the arms.
    weights : ndarray of float64, shape (n,)
        Not negative.
    arms : tuple of two int
        Numbers of the arms; of more than two the first stands for all but the second.

    Returns
    -------
    dict
        ``"share0"`` and ``"share1"``, to three decimals; None where one to four rows lie.
    """
    inside = a == arms[1]
    shares = {}
    for name, rows in (("share0", ~inside & (weights > 0.0)), ("share1", inside & (weights > 0.0))):
        sums = np.histogram(g[rows], bins=BINS, range=(0.0, 1.0), weights=weights[rows])[0] / float(weights.sum())
        shares[name] = [None if count is None else round(float(share), 3) for count, share in zip(histogram(g[rows]), sums, strict=True)]
    return shares
