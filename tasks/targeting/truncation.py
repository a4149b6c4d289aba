"""How far targeting may go where overlap is poor: the truncation of the clever covariates, chosen from the data."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.targeting.fluctuation import Fluctuation, fluctuate, truncate

#: Largest stabilised weight P(A = a) / P(A = a | W) of the most cautious candidate.
CAUTIOUS_WEIGHT = 1.5
#: Overlap is poor where full targeting multiplies the variance of the cautious estimate by this or more.
DEAR = 1.5
#: Standard errors by which a candidate must differ from a less truncated one to be taken for biased.
EVIDENCE = 3.0
#: Candidates between the full and the cautious truncation, both included.
CANDIDATES = 4
#: Fewest well-supported rows of an arm that its residual spread is learnt from.
FEWEST = 20

Reason = Literal["overlap suffices", "no bias seen", "bias of stronger truncation seen"]


class Truncation(NamedTuple):
    """A chosen truncation and what speaks for it.

    Attributes
    ----------
    bound : float
        d: the clever covariates use propensities in [d, 1-d].
    full : float
        The truncation of full targeting, the least candidate.
    price : float
        Variance of the estimate under full targeting over that under the most cautious one.
    change : float
        What the choice did to the ATE: estimate at the chosen bound minus that of full targeting, in units of the outcome.
    change_se : float
        Standard error of that change if Q were right: what of it may be chance.
    excess : float
        Estimate of the squared bias that the choice leaves, max(0, change^2 - change_se^2): to be added to the variance.
    reason : str
    """

    bound: float
    full: float
    price: float
    change: float
    change_se: float
    excess: float
    reason: Reason


class _Candidate(NamedTuple):
    bound: float
    step: Fluctuation
    ate: float
    variance: float
    h0: Float64
    h1: Float64


def choose_truncation(
    a: Int8,
    y: Float64,
    nuisances: Nuisances,
    kind: str,
    full: float,
    weights: Float64 | None = None,
    bounds: tuple[float, float] | None = None,
) -> tuple[Truncation, Fluctuation]:
    """Choose the truncation of the clever covariates by Lepski's method, where full targeting is dear.

    Under poor overlap the efficient estimate is dearer than the plug-in: a few rows with weights 1/g decide it. The candidates
    d_1 < ... < d_4 run from the full truncation to ``min P(A=a) / 1.5``, where no weight is more than 1.5 times that of a trial of the
    same arms. Where full targeting costs less than 1.5 times the variance of the most cautious candidate, it is taken in full. Else
    the largest d is taken whose estimate lies within 3 standard errors of every less truncated one's: those are less biased, so a
    larger difference shows bias. The standard error of a difference is that under the null hypothesis that Q is right,

        v = sum w_i^2 ( g h1^2 sigma1^2 + (1-g) h0^2 sigma0^2 ),   h_a the difference of the clever covariates,

    summed over all rows whatever arm they got: the empirical one leans on the few rows that happened to be treated against the odds,
    and is blown up by the very bias that is looked for.

    Lepski (1991), DOI 10.1137/1135065; truncation by the data: Bembom, van der Laan (2008), U.C. Berkeley Biostatistics 230; Ju,
    Schwab, van der Laan (2019), DOI 10.1177/0962280218774817.

    Parameters
    ----------
    a : ndarray of int8, shape (n,)
        Treatment, 0 or 1.
    y : ndarray of float64, shape (n,)
        Outcome.
    nuisances : Nuisances
        Out-of-fold predictions.
    kind : {"binary", "continuous", "count"}
        Kind of the outcome.
    full : float
        d of full targeting, in [0, 0.5): :func:`tasks.targeting.fluctuation.truncation_bound`.
    weights : ndarray of float64, shape (n,), optional
        Row weights, not negative.
    bounds : tuple of two float, optional
        Range of Q*: :func:`tasks.targeting.fluctuation.fluctuate`.

    Returns
    -------
    tuple of Truncation and Fluctuation
        The choice, and the step fitted with it.

    Raises
    ------
    EstimationError
        If an arm has no row of positive weight.
    """
    share = np.full(len(y), 1.0 / len(y)) if weights is None else weights / weights.sum()
    # sums that don't know which arm is which: swapping the labels must change the sign of the estimate and nothing else
    cautious = min(float(np.sum(share[a == 0])), float(np.sum(share[a == 1]))) / CAUTIOUS_WEIGHT
    least = _candidate(a, y, nuisances, kind, full, weights, share, bounds)
    if cautious <= full:
        return Truncation(full, full, 1.0, 0.0, 0.0, 0.0, "overlap suffices"), least.step
    *between, last = (float(bound) for bound in np.geomspace(max(full, 1e-3), cautious, CANDIDATES)[1:])
    most = _candidate(a, y, nuisances, kind, last, weights, share, bounds)
    price = least.variance / most.variance if most.variance > 0.0 else 1.0
    if price < DEAR:
        return Truncation(full, full, price, 0.0, 0.0, 0.0, "overlap suffices"), least.step
    candidates = [least, *(_candidate(a, y, nuisances, kind, bound, weights, share, bounds) for bound in between), most]
    spread = _spread(a, y, nuisances, kind, candidates[-1], cautious, share)
    at = len(candidates) - 1
    while at:
        this, others = candidates[at], candidates[:at]
        if not any(abs(this.ate - one.ate) > EVIDENCE * _null_se(this, one, nuisances.g, spread, share) for one in others):
            break
        at -= 1
    chosen = candidates[at]
    change, se = chosen.ate - least.ate, _null_se(chosen, least, nuisances.g, spread, share)
    reason: Reason = "no bias seen" if at == len(candidates) - 1 else "bias of stronger truncation seen"
    return Truncation(chosen.bound, full, price, change, se, max(0.0, change**2 - se**2), reason), chosen.step


def _candidate(
    a: Int8,
    y: Float64,
    nuisances: Nuisances,
    kind: str,
    bound: float,
    weights: Float64 | None,
    share: Float64,
    bounds: tuple[float, float] | None,
) -> _Candidate:
    step = fluctuate(a, y, nuisances, kind, bound, weights, None, bounds)
    q0, q1 = step.apply(*nuisances)
    p0, p1 = truncate(nuisances.g, bound)
    ate = float(share @ (q1 - q0))
    influence = q1 - q0 - ate + np.where(a == 1, (y - q1) / p1, -(y - q0) / p0)
    return _Candidate(bound, step, ate, float(np.sum((share * influence) ** 2)), 1.0 / p0, 1.0 / p1)


def _spread(
    a: Int8, y: Float64, nuisances: Nuisances, kind: str, cautious: _Candidate, bound: float, share: Float64
) -> tuple[Float64, Float64]:
    """Return Var(Y | A = a, W) of both arms, shape (n,) each: of the kind's law, scaled on rows that no candidate gives a large weight."""
    stars = cautious.step.apply(*nuisances)
    values = []
    for arm, (star, p) in enumerate(zip(stars, truncate(nuisances.g, 0.0))):
        shape = star * (1.0 - star) if kind == "binary" else np.maximum(star, 1e-12) if kind == "count" else np.ones(len(y))
        rows = (a == arm) & (p >= bound) & (share > 0.0)
        if np.count_nonzero(rows) < FEWEST:
            rows = (a == arm) & (share > 0.0)
        scale = float(share[rows] @ (y[rows] - star[rows]) ** 2) / max(float(share[rows] @ shape[rows]), 1e-300)
        values.append(shape * scale)
    return values[0], values[1]


def _null_se(one: _Candidate, other: _Candidate, g: Float64, spread: tuple[Float64, Float64], share: Float64) -> float:
    """Return the standard error of the difference of two candidates' estimates if Q were right."""
    p0, p1 = truncate(g, 0.0)
    control = p0 * (one.h0 - other.h0) ** 2 * spread[0]
    treated = p1 * (one.h1 - other.h1) ** 2 * spread[1]
    return float(np.sqrt(np.sum(share**2 * control) + np.sum(share**2 * treated)))
