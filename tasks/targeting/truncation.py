"""How far targeting may go where overlap is poor: the truncation of the clever covariates, chosen from the data."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.numerics.blocked import kept
from tasks.targeting.fluctuation import Fluctuation, fluctuate, truncate_arms

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
    """A chosen truncation and the evidence for it.

    Attributes
    ----------
    bound : float
        d: the clever covariates use propensities in [d, 1-d].
    full : float
        The truncation of full targeting, the least candidate.
    price : float
        Variance of the estimate under full targeting over that under the most cautious one.
    change : float
        What the choice did to the ATE: estimate at the chosen bound minus that of full targeting, in units of the outcome. Of more
        than two arms: to that contrast with the control whose ``excess`` is largest.
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
    """One truncation: its step, the effects of arms 1 to K - 1 against the control with their variances, and its clever covariates."""

    bound: float
    step: Fluctuation
    effects: tuple[float, ...]
    variances: tuple[float, ...]
    clever: tuple[Float64, ...]


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
    larger difference shows bias; of more than two arms in any contrast with the control. The standard error of a difference is
    that under the null hypothesis that Q is right,

        v = sum w_i^2 ( g_1 h_1^2 sigma_1^2 + g_0 h_0^2 sigma_0^2 ),   h_a the difference of the clever covariates,

    summed over all rows whatever arm they got: the empirical one leans on the few rows that happened to be treated against the odds,
    and is blown up by the very bias that is looked for.

    Lepski (1991), DOI 10.1137/1135065; truncation by the data: Bembom, van der Laan (2008), U.C. Berkeley Biostatistics 230; Ju,
    Schwab, van der Laan (2019), DOI 10.1177/0962280218774817.

    Parameters
    ----------
    a : ndarray of int8, shape (n,)
        Treatment, 0, ..., K - 1.
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
    share = np.full_like(y, 1.0 / len(y)) if weights is None else weights / weights.sum()
    # sums that don't know which arm is which: swapping the labels must change the sign of the estimate and nothing else
    cautious = min(float(np.sum(share[a == arm])) for arm in range(nuisances.arms)) / CAUTIOUS_WEIGHT
    least = _candidate(a, y, nuisances, kind, full, weights, share, bounds)
    if cautious <= full:
        return Truncation(full, full, 1.0, 0.0, 0.0, 0.0, "overlap suffices"), least.step
    *between, last = (float(bound) for bound in np.geomspace(max(full, 1e-3), cautious, CANDIDATES)[1:])
    most = _candidate(a, y, nuisances, kind, last, weights, share, bounds)
    prices = (one / other if other > 0.0 else 1.0 for one, other in zip(least.variances, most.variances, strict=True))
    price = max(prices)
    if price < DEAR:
        return Truncation(full, full, price, 0.0, 0.0, 0.0, "overlap suffices"), least.step
    candidates = [least, *(_candidate(a, y, nuisances, kind, bound, weights, share, bounds) for bound in between), most]
    spread = _spread(a, y, nuisances, kind, candidates[-1], cautious, share)
    at = len(candidates) - 1
    while at and any(_differs(candidates[at], one, nuisances, spread, share) for one in candidates[:at]):
        at -= 1
    chosen = candidates[at]
    reason: Reason = "no bias seen" if at == len(candidates) - 1 else "bias of stronger truncation seen"
    changes = [_change(chosen, least, arm, nuisances, spread, share) for arm in range(1, nuisances.arms)]
    change, se = max(changes, key=lambda each: each[0] ** 2 - each[1] ** 2)
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
    stars, held = kept(*step.apply(nuisances)), truncate_arms(nuisances, bound)
    effects, variances = [], []
    for arm in range(1, nuisances.arms):
        effect = float(share @ (stars[arm] - stars[0]))
        residual = np.where(a == arm, (y - stars[arm]) / held[arm], np.where(a == 0, -(y - stars[0]) / held[0], 0.0))
        influence = stars[arm] - stars[0] - effect + residual
        effects.append(effect)
        variances.append(float(np.sum((share * influence) ** 2)))
    return _Candidate(bound, step, tuple(effects), tuple(variances), tuple(1.0 / p for p in held))


def _spread(
    a: Int8, y: Float64, nuisances: Nuisances, kind: str, cautious: _Candidate, bound: float, share: Float64
) -> tuple[Float64, ...]:
    """Return Var(Y | A = a, W) of every arm, shape (n,) each: of the kind's law, scaled on rows that no candidate gives a large weight."""
    values = []
    for arm, (star, p) in enumerate(zip(cautious.step.apply(nuisances), truncate_arms(nuisances, 0.0), strict=True)):
        shape = star * (1.0 - star) if kind == "binary" else np.maximum(star, 1e-12) if kind == "count" else np.ones_like(y)
        rows = (a == arm) & (p >= bound) & (share > 0.0)
        if np.count_nonzero(rows) < FEWEST:
            rows = (a == arm) & (share > 0.0)
        scale = float(share[rows] @ (y[rows] - star[rows]) ** 2) / max(float(share[rows] @ shape[rows]), 1e-300)
        values.append(shape * scale)
    return tuple(values)


def _differs(one: _Candidate, other: _Candidate, nuisances: Nuisances, spread: tuple[Float64, ...], share: Float64) -> bool:
    """Return whether two candidates' estimates of some contrast with the control differ by more than chance allows."""
    changes = (_change(one, other, arm, nuisances, spread, share) for arm in range(1, nuisances.arms))
    return any(abs(change) > EVIDENCE * se for change, se in changes)


def _change(
    one: _Candidate, other: _Candidate, arm: int, nuisances: Nuisances, spread: tuple[Float64, ...], share: Float64
) -> tuple[float, float]:
    """Return the difference of two candidates' estimates of an arm against the control, and its standard error if Q were right."""
    p = truncate_arms(nuisances, 0.0)
    sums = [float(np.sum(share**2 * (p[k] * (one.clever[k] - other.clever[k]) ** 2 * spread[k]))) for k in (0, arm)]
    return one.effects[arm - 1] - other.effects[arm - 1], float(np.sqrt(sums[0] + sums[1]))
