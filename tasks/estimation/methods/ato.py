"""ATO: the overlap-weighted effect."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from tasks.contract.errors import EstimationError
from tasks.numerics.blocked import chosen
from tasks.targeting.influence import Influence, InfluenceEstimator, effective_size
from tasks.targeting.sample import Rows, Treatment

#: Propensities of more than two arms are taken to be at least this, so that their inverses are finite.
_LEAST = 1e-12


class Params(BaseModel):
    """ATO has no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class OverlapEffect(InfluenceEstimator):
    """ATO = E[g(1-g) tau(W)] / E[g(1-g)] (Li, Morgan, Zaslavsky 2018, DOI 10.1080/01621459.2016.1260466).

    The estimand moves with g, so its efficient influence function has a term for the error of g (Crump, Hotz, Imbens, Mitnik
    2006, NBER technical paper 330): h phi + h' (A - g) tau, with h = g(1-g). Summed up, everything collapses to the residual form of
    Robinson (1988), DOI 10.2307/1912705, with m = g Q1 + (1-g) Q0:

        ATO = sum (A - g)(Y - m) / sum (A - g)^2,   values ((A - g)(Y - m) - (A - g)^2 ATO) / mean (A - g)^2.

    Of more than two arms h = 1 / sum_k 1/g_k (Li, Li 2019, DOI 10.1214/19-AOAS1282), the same population for every pair, so that
    effects are transitive. With s = h / g_A the same derivation gives, for arms k and c,

        sum [ (1(A = k) - 1(A = c)) s (Y - Q_A) + s^2 (Q_k - Q_c) ] / sum s^2,   which is the form above where K = 2.

    Where outcomes are missing, of all rows' population, with pi_A the chance that a row's outcome is known,

        sum [ (1(A = k) - 1(A = c)) s delta / pi_A (Y - Q_A) + s^2 (Q_k - Q_c) ] / sum s^2.

    Nothing is divided by g alone, so nothing is truncated and ``clipped`` is 0. Weights, for the effective size: s in the two arms.
    """

    def influence(self, rows: Rows) -> Influence:
        """Return the estimate and its influence values."""
        whole = rows.sample.treatment
        if whole is not None:
            return _of_observed(rows, whole)
        if rows.sample.nuisances.arms > 2:
            return _of_several(rows)
        p0 = 1.0 - rows.sample.nuisances.g
        p1 = 1.0 - p0  # exact complements, see tasks.targeting.fluctuation.truncate
        tilt = rows.treated * p0 - rows.control * p1
        spread = rows.mean(tilt**2)
        _require_overlap(spread)
        numerator = tilt * (rows.y - (p1 * rows.q1 + p0 * rows.q0))
        point = rows.mean(numerator) / spread
        values = (numerator - tilt**2 * point) / spread
        return Influence("ato", "aipw", point, values, effective_size(rows.weights * np.abs(tilt)), 0.0)


def _of_several(rows: Rows) -> Influence:
    """Return the effect in the overlap population of more than two arms."""
    p = [np.maximum(each, _LEAST) for each in rows.sample.nuisances.propensities]
    total = functools.reduce(np.add, [1.0 / each for each in p])
    share = 1.0 / (chosen(rows.sample.a, p) * total)
    spread = rows.mean(share**2)
    _require_overlap(spread)
    tilt = (rows.treated - rows.control) * share
    numerator = tilt * (rows.y - rows.sample.nuisances.observed(rows.sample.a)) + share**2 * (rows.q1 - rows.q0)
    point = rows.mean(numerator) / spread
    values = (numerator - share**2 * point) / spread
    return Influence("ato", "aipw", point, values, effective_size(rows.weights * np.abs(tilt)), 0.0)


def _of_observed(rows: Rows, whole: Treatment) -> Influence:
    """Return the effect in the overlap population of all rows, some of which lack the outcome."""
    p = [np.maximum(each, _LEAST) for each in whole.p]
    overlap = 1.0 / functools.reduce(np.add, [1.0 / each for each in p])
    share = overlap / chosen(whole.a, p)
    spread = rows.mean(share**2)
    _require_overlap(spread)
    numerator = rows.residuals(overlap) + share**2 * (rows.q1 - rows.q0)
    point = rows.mean(numerator) / spread
    weights = overlap * (rows.treated / rows.p1 + rows.control / rows.p0)
    return Influence("ato", "aipw", point, (numerator - share**2 * point) / spread, effective_size(rows.weights * weights), rows.clipped)


def _require_overlap(spread: float) -> None:
    if spread < np.finfo(np.float64).tiny:
        raise EstimationError(
            "overlap of the rows must be above 0; got g = A in every row.", "Choose another estimand or a coarser learner."
        )


def build(params: Params) -> OverlapEffect:
    """Return the estimator."""
    del params
    return OverlapEffect()
