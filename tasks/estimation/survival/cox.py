"""Cox's hazard ratios of the arms, which describe a table: whoever adjusts for nothing, and whose hazards cross, has no effect in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tasks.contract.nuisance import Float64
from tasks.estimation.survival.risk_sets import ArmRows, RiskSets, risk_sets

#: Newton's steps, the size of the last one, and a log ratio beyond which the likelihood has no maximum.
_STEPS, _TOLERANCE, _LARGEST = 50, 1e-10, 20.0


class CoxFit(NamedTuple):
    """Log hazard ratios of the arms beside the control; K arms.

    Attributes
    ----------
    coefficients : ndarray of float64, shape (K - 1,)
    covariance : ndarray of float64, shape (K - 1, K - 1)
        Inverse of the information.
    values : ndarray of float64, shape (n, K - 1)
        Influence values, row weights not multiplied in; their weighted squares give the robust variance.
    """

    coefficients: Float64
    covariance: Float64
    values: Float64


class Score(NamedTuple):
    """Gradient, shape (K - 1,), and information, shape (K - 1, K - 1), of the partial likelihood."""

    gradient: Float64
    information: Float64


class Ties(NamedTuple):
    """Terms of one stratum, one for each event: of an event time with d events the l-th of d.

    Attributes
    ----------
    time : ndarray of intp, shape (e,)
        Number of the event time.
    share : ndarray of float64, shape (e,)
        l / d.
    weight : ndarray of float64, shape (e,)
        Mean weight of the events at the time.
    left : ndarray of float64, shape (e, K)
        Weight at risk less l / d of that of the events: Efron (1977), DOI 10.1080/01621459.1977.10480613.
    """

    time: np.ndarray[tuple[int], np.dtype[np.intp]]
    share: Float64
    weight: Float64
    left: Float64


def fit_cox(rows: ArmRows, arms: int) -> CoxFit | None:
    """Fit the hazards of the arms as multiples of the control's, within strata: Cox (1972), DOI 10.1111/j.2517-6161.1972.tb00899.x.

    Ties by Efron's approximation. Weighted events count by their weight, ties by their mean one.

    Parameters
    ----------
    rows : ArmRows
    arms : int
        K.

    Returns
    -------
    CoxFit or None
        None where the likelihood has no maximum, as where an arm has no event.
    """
    sets = risk_sets(rows, arms)
    terms = [_ties(each) for each in sets]
    beta = np.zeros(arms)
    for _ in range(_STEPS):
        score = _score(sets, terms, beta)
        if not np.isfinite(score.information).all() or np.linalg.matrix_rank(score.information) < arms - 1:
            return None
        step = np.linalg.solve(score.information, score.gradient)
        beta[1:] += np.clip(step, -2.0, 2.0)
        if np.abs(beta).max() > _LARGEST:
            return None
        if np.abs(step).max() < _TOLERANCE:
            covariance: Float64 = np.asarray(np.linalg.inv(_score(sets, terms, beta).information), dtype=np.float64)
            total = float(rows.unit_weights.sum())
            return CoxFit(beta[1:], covariance, total * _residuals(rows, sets, terms, beta) @ covariance)
    return None


def robust_score(rows: ArmRows, arms: int) -> tuple[Float64, Float64]:
    """Return the score at equal hazards, shape (K - 1,), and its rows' residuals, shape (n, K - 1), row weights not multiplied in.

    Lin, Wei (1989), DOI 10.1080/01621459.1989.10478874.
    """
    sets, beta = risk_sets(rows, arms), np.zeros(arms)
    terms = [_ties(each) for each in sets]
    return _score(sets, terms, beta).gradient, _residuals(rows, sets, terms, beta)


def _ties(sets: RiskSets) -> Ties:
    time = np.repeat(np.arange(len(sets.events)), sets.events)
    number = np.arange(len(time)) - np.repeat(np.cumsum(sets.events) - sets.events, sets.events)
    share = number / sets.events[time]
    weight = (sets.died.sum(axis=1) / sets.events)[time]
    return Ties(time, share, weight, sets.at_risk[time] - share[:, None] * sets.died[time])


def _shares(terms: Ties, beta: Float64) -> tuple[Float64, Float64]:
    """Return each term's share of the arms in the hazard, shape (e, K), and the whole, shape (e,)."""
    parts = terms.left * np.exp(beta)
    whole = parts.sum(axis=1)
    return parts / whole[:, None], whole


def _score(sets: Sequence[RiskSets], terms: Sequence[Ties], beta: Float64) -> Score:
    arms = len(beta)
    gradient, information = np.zeros(arms), np.zeros((arms, arms))
    for stratum, each in zip(sets, terms, strict=True):
        share, _ = _shares(each, beta)
        weighted = each.weight[:, None] * share
        gradient += stratum.died.sum(axis=0) - weighted.sum(axis=0)
        information += np.diag(weighted.sum(axis=0)) - weighted.T @ share
    return Score(gradient[1:], information[1:, 1:])


def _residuals(rows: ArmRows, sets: Sequence[RiskSets], terms: Sequence[Ties], beta: Float64) -> Float64:
    """Return each row's part in the score, shape (n, K - 1): its derivative by the row's weight."""
    arms, values = len(beta), np.zeros((len(rows.a), len(beta) - 1))
    for stratum, each in zip(sets, terms, strict=True):
        share, whole = _shares(each, beta)
        s, event = len(stratum.events), rows.event[stratum.places]
        mean = np.column_stack([np.bincount(each.time, weights=share[:, k], minlength=s) for k in range(arms)]) / stratum.events[:, None]
        for arm in range(arms):
            of_arm = rows.a[stratum.places] == arm
            pull = (each.weight * np.exp(beta[arm]) / whole)[:, None] * ((np.arange(arms) == arm) - share)
            by_time = np.column_stack([np.bincount(each.time, weights=pull[:, k], minlength=s) for k in range(arms)])
            relief = np.column_stack([np.bincount(each.time, weights=each.share * pull[:, k], minlength=s) for k in range(arms)])
            until = np.concatenate((np.zeros((1, arms)), np.cumsum(by_time, axis=0)))
            last = stratum.last[of_arm]
            part = -until[last]
            with_event, at = event[of_arm], last[event[of_arm]] - 1
            part[with_event] += (np.arange(arms) == arm) - mean[at] + relief[at]
            values[stratum.places[of_arm]] = part[:, 1:]
    return values
