"""Survival curves of every arm from hazards and g: plug-in, one-step and targeted, with influence values.

The efficient influence function of psi = E[Phi(S_a(.|W))], Phi linear in the curve with weights c_j, is

    D = Phi(S_a(.|W)) - psi - 1(A = a) / g_a(W) sum_u R_u(W) / (S_a(t_u|W) G_a(u|W)) (dN_u - Y_u lambda_a(u|W)),

with R_u = sum_{j >= u} c_j S_a(t_j|W), dN_u the event in period u, Y_u the share of the period at risk, and G_a the probability of being
uncensored in the middle of it: Moore, van der Laan (2009), DOI 10.1002/sim.3672; Cai, van der Laan (2020), DOI 10.1111/biom.13172.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.contract.nuisance import Float64
from tasks.contract.survival import Functional, Periods
from tasks.targeting.scores import expit, solve_several

#: Hazards are kept this far from 0 and 1.
EDGE = 1e-6
#: Targeting ends where the mean of each influence function is below this share of its standard error.
SOLVED = 0.01
#: Most rounds of targeting.
ROUNDS = 50


class ArmData(NamedTuple):
    """What one arm's curve is estimated from.

    Attributes
    ----------
    here : ndarray of bool, shape (n,)
        Rows of the arm.
    periods : Periods
        Of all rows, shape (n, m); those of other arms are not used.
    share : ndarray of float64, shape (n,)
        P(A = a | W), truncated.
    hazard : ndarray of float64, shape (n, m)
        Hazard of the event under the arm.
    uncensored : ndarray of float64, shape (n, m)
        G_a: probability of being uncensored in the middle of each period, truncated.
    weights : ndarray of float64, shape (n,)
        Row weights of mean 1.
    """

    here: npt.NDArray[np.bool_]
    periods: Periods
    share: Float64
    hazard: Float64
    uncensored: Float64
    weights: Float64

    def mean(self, values: Float64) -> Float64:
        """Return weighted means over rows."""
        return np.asarray(self.weights @ values / self.weights.sum())


class CurveEstimate(NamedTuple):
    """Numbers of one arm's curve with their influence values.

    Attributes
    ----------
    points : ndarray of float64, shape (P,)
        One for each functional.
    values : ndarray of float64, shape (n, P)
        Influence values, row weight not multiplied in.
    curve : ndarray of float64, shape (m,)
        S_a at the grid's times.
    curve_values : ndarray of float64, shape (n, m)
        Influence values of the curve.
    residual : float
        Largest mean of an influence function over its standard error that is left: 0 but for rounding where the scores are solved.
    """

    points: Float64
    values: Float64
    curve: Float64
    curve_values: Float64
    residual: float


def uncensored(hazard: Float64, share: Float64, bound: float) -> Float64:
    """Return G in the middle of each period, with g G at least ``bound``, shape (n, m).

    Parameters
    ----------
    hazard : ndarray of float64, shape (n, m)
        Hazard of censoring under the arm.
    share : ndarray of float64, shape (n,)
        P(A = a | W), truncated.
    bound : float
        In (0, 1).
    """
    kept = np.cumprod(1.0 - hazard, axis=1)
    middle = kept / np.sqrt(1.0 - np.minimum(hazard, 1.0 - EDGE))
    return np.asarray(np.maximum(middle, np.minimum(1.0, bound / share)[:, None]))


def survival(hazard: Float64) -> Float64:
    """Return S(t_j | W) = prod_{u <= j} (1 - lambda(u | W)), shape (n, m)."""
    return np.asarray(np.cumprod(1.0 - hazard, axis=1), dtype=np.float64)


def clever(data: ArmData, curves: Float64, functional: Functional) -> Float64:
    """Return R_u / (g S_u G_u), shape (n, m): minus the clever covariate of one functional."""
    after = np.cumsum((curves * functional.weights)[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(after / (data.share[:, None] * curves * data.uncensored))


def pseudo_outcomes(data: ArmData, functionals: Sequence[Functional]) -> Float64:
    """Return what the arm's rows would have as outcomes if none were censored, as far as the hazards know, shape (n, P).

    y = Phi(S_a(.|W)) - sum_u R_u / (S_u G_u) (dN_u - Y_u lambda_u) has the mean Phi(S_a(.|W)) given W where either hazard is right: Rubin,
    van der Laan (2007), DOI 10.2202/1557-4679.1052. With it as outcome, the efficient influence function of a mean is that of Phi, so
    every estimator of a mean estimates Phi. Rows of other arms have Phi itself.
    """
    curves = survival(data.hazard)
    gap = _gap(data, data.hazard)
    return np.column_stack([f.value(curves) - data.share * np.sum(clever(data, curves, f) * gap, axis=1) for f in functionals])


def estimate_curve(data: ArmData, functionals: Sequence[Functional]) -> CurveEstimate:
    """Return the one-step (AIPW) estimate: the plug-in of the hazards plus the mean of the influence function."""
    curves = survival(data.hazard)
    values = _influence(data, curves, data.hazard, functionals)
    curve_values = curve_influence(data, curves, data.hazard)
    points, curve = data.mean(values), data.mean(curve_values)
    return CurveEstimate(points, values - points, curve, curve_values - curve, 0.0)


def target_hazard(data: ArmData, functionals: Sequence[Functional]) -> Float64:
    """Fluctuate hazards on the logit scale until they solve the scores of all functionals at once.

    Parameters
    ----------
    data : ArmData
    functionals : sequence of Functional
        Each gets a clever covariate with a coefficient of its own, in every round.

    Returns
    -------
    ndarray of float64, shape (n, m)
    """
    hazard = data.hazard
    for _ in range(ROUNDS):
        curves = survival(hazard)
        if _residual(data, curves, hazard, functionals) <= SOLVED:
            break
        h = np.stack([clever(data, curves, functional) for functional in functionals], axis=2)
        hazard = np.clip(expit(logit(hazard) - h @ solve_coefficients(data, hazard, h)), EDGE, 1.0 - EDGE)
    return hazard


def target_curve(data: ArmData, functionals: Sequence[Functional]) -> CurveEstimate:
    """Return the TMLE: plug-ins of the targeted hazards, so curves fall and stay in [0, 1]."""
    hazard = target_hazard(data, functionals)
    curves = survival(hazard)
    plug_in = np.column_stack([functional.value(curves) for functional in functionals])
    points, curve = data.mean(plug_in), data.mean(curves)
    values = _influence(data, curves, hazard, functionals) - points
    residual = _residual(data, curves, hazard, functionals)
    return CurveEstimate(points, values, curve, curve_influence(data, curves, hazard) - curve, residual)


def solve_coefficients(data: ArmData, hazard: Float64, h: Float64) -> Float64:
    """Return the coefficients of the clever covariates (with their sign turned) that solve the scores over the arm's person-periods."""
    at_risk = data.here[:, None] & (data.periods.risk > 0.0)
    w = (data.weights[:, None] * data.periods.risk)[at_risk]
    x = -h[at_risk]
    # clever covariates of a probability and of a time differ in size by the length of the horizon
    scale = np.sqrt(np.maximum(w @ x**2 / w.sum(), EDGE))
    ends = data.periods.ends[at_risk].astype(np.float64)
    epsilon = solve_several(ends, logit(hazard[at_risk]), x / scale, w, 1e-10 * float(w.sum()), 0.0)
    return np.asarray(np.array(epsilon) / scale, dtype=np.float64)


def _influence(data: ArmData, curves: Float64, hazard: Float64, functionals: Sequence[Functional]) -> Float64:
    """Return D + psi of each functional, shape (n, P)."""
    gap = _gap(data, hazard)
    return np.column_stack([f.value(curves) - np.sum(clever(data, curves, f) * gap, axis=1) for f in functionals])


def curve_influence(data: ArmData, curves: Float64, hazard: Float64) -> Float64:
    """Return D + S of every time of the grid, shape (n, m): influence values of the curve, its value not taken off."""
    gap = _gap(data, hazard) / (data.share[:, None] * curves * data.uncensored)
    return np.asarray(curves * (1.0 - np.cumsum(gap, axis=1)))


def _gap(data: ArmData, hazard: Float64) -> Float64:
    """Return 1(A = a) (dN - Y lambda), shape (n, m)."""
    return np.where(data.here[:, None], data.periods.ends - data.periods.risk * hazard, 0.0)


def _residual(data: ArmData, curves: Float64, hazard: Float64, functionals: Sequence[Functional]) -> float:
    values = _influence(data, curves, hazard, functionals)
    plug_in = np.column_stack([functional.value(curves) for functional in functionals])
    left = np.abs(data.mean(values - plug_in))
    centred = values - data.mean(values)
    se = np.sqrt(data.mean(centred**2) / max(int(np.count_nonzero(data.weights)), 1))
    return float(np.max(left / np.maximum(se, 1e-300)))


def logit(p: Float64) -> Float64:
    """Return the log odds of probabilities, kept off 0 and 1."""
    inside = np.clip(p, EDGE, 1.0 - EDGE)
    return np.asarray(np.log(inside) - np.log1p(-inside))
