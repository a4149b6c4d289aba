"""Incidence of one cause where causes compete, in every arm, from cause-specific hazards and g: one-step and targeted.

Let l_1 be the hazard of the cause of interest and l_2 that of all others. Then S(t_u) = prod_{v <= u} (1 - l_1 - l_2) and
F(t_u) = sum_{v <= u} S(t_{v-1}) l_1(v). The efficient influence function of psi = E[Phi(F_a(.|W))], Phi linear in F with weights c_j, is

    D = Phi(F_a(.|W)) - psi + 1(A = a) / g_a(W) sum_u 1 / G_a(u|W) sum_k H_k(u|W) (dN_k(u) - Y_u l_k(u|W)),
    H_1(u) = sum_{j >= u} c_j (1 - (F(t_j) - F(t_u)) / S(t_u)),    H_2(u) = - sum_{j >= u} c_j (F(t_j) - F(t_u)) / S(t_u),

dN_k, Y_u and G_a as in :mod:`tasks.targeting.survival`: Rytgaard, van der Laan (2024), DOI 10.1007/s10985-022-09576-2. With one cause, F is
1 - S and D that of survival.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.contract.nuisance import Float64
from tasks.contract.survival import Functional, Periods
from tasks.targeting.scores import expit
from tasks.targeting.survival import EDGE, ROUNDS, SOLVED, ArmData, CurveEstimate, logit, solve_coefficients


class CauseData(NamedTuple):
    """What one arm's incidence is estimated from.

    Attributes
    ----------
    here : ndarray of bool, shape (n,)
        Rows of the arm.
    periods : tuple of two Periods
        Of all rows, shape (n, m): events of the cause of interest, and of all others, with the same time at risk.
    share : ndarray of float64, shape (n,)
        P(A = a | W), truncated.
    hazards : ndarray of float64, shape (2, n, m)
        Hazards of the two under the arm; their sum is below 1.
    uncensored : ndarray of float64, shape (n, m)
        As in :class:`tasks.targeting.survival.ArmData`.
    weights : ndarray of float64, shape (n,)
        Row weights of mean 1.
    """

    here: npt.NDArray[np.bool_]
    periods: tuple[Periods, Periods]
    share: Float64
    hazards: Float64
    uncensored: Float64
    weights: Float64

    def of(self, cause: int) -> ArmData:
        """Return the data of one cause's hazard, 0 or 1."""
        return ArmData(self.here, self.periods[cause], self.share, self.hazards[cause], self.uncensored, self.weights)

    def mean(self, values: Float64) -> Float64:
        """Return weighted means over rows."""
        return np.asarray(self.weights @ values / self.weights.sum())


class Curves(NamedTuple):
    """Curves of rows; arrays of shape (n, m) at the ends of the periods.

    Attributes
    ----------
    free : ndarray of float64
        S: free of events of every cause.
    incidence : ndarray of float64
        F: had an event of the cause of interest.
    """

    free: Float64
    incidence: Float64


def curves_of(hazards: Float64) -> Curves:
    """Return S and F of hazards of shape (2, n, m)."""
    free = np.cumprod(1.0 - hazards.sum(axis=0), axis=1)
    before = np.column_stack((np.ones(len(free)), free[:, :-1]))
    return Curves(free, np.cumsum(before * hazards[0], axis=1))


def bounded(hazards: Float64) -> Float64:
    """Return hazards of shape (2, n, m) inside [EDGE, 1), their sum at most 1 - EDGE."""
    inside = np.maximum(hazards, EDGE)
    return np.asarray(inside * np.minimum(1.0, (1.0 - EDGE) / inside.sum(axis=0)))


def incidence(hazard: Float64, share: Float64) -> Float64:
    """Return F of a cause that has a share of the hazard of all, both of shape (n, m)."""
    free = np.cumprod(1.0 - hazard, axis=1)
    before = np.column_stack((np.ones(len(free)), free[:, :-1]))
    return np.asarray(np.cumsum(before * hazard * share, axis=1))


def gradients(curves: Curves, functional: Functional) -> Float64:
    """Return H_1 and H_2 of one functional, shape (2, n, m)."""
    weights = functional.weights
    later = np.cumsum((curves.incidence * weights)[:, ::-1], axis=1)[:, ::-1]
    total = np.cumsum(weights[::-1])[::-1]
    lost = (later - total * curves.incidence) / np.maximum(curves.free, EDGE)
    return np.stack((total - lost, -lost))


def cause_outcomes(data: CauseData, curves: Curves, functionals: Sequence[Functional]) -> Float64:
    """Return what the arm's rows would have as outcomes if none were censored, as far as the hazards know, shape (n, P).

    Phi(F_a(.|W)) + sum_u 1 / G_a(u|W) sum_k H_k(u|W) (dN_k(u) - Y_u l_k(u|W)), as :func:`tasks.targeting.survival.pseudo_outcomes` for
    survival. Rows of other arms have Phi itself.
    """
    gaps = data.share[:, None] * _gaps(data, data.hazards)
    return np.column_stack([f.value(curves.incidence) + np.sum(gradients(curves, f) * gaps, axis=(0, 2)) for f in functionals])


def estimate_incidence(data: CauseData, functionals: Sequence[Functional]) -> CurveEstimate:
    """Return the one-step (AIPW) estimate: the plug-in of the hazards plus the mean of the influence function."""
    curves = curves_of(data.hazards)
    values, curve_values = _influence(data, curves, data.hazards, functionals), incidence_influence(data, curves, data.hazards)
    points, curve = data.mean(values), data.mean(curve_values)
    return CurveEstimate(points, values - points, curve, curve_values - curve, 0.0)


def target_incidence(data: CauseData, functionals: Sequence[Functional]) -> CurveEstimate:
    """Return the TMLE: plug-ins of hazards that solve the scores of all functionals, so incidences rise and stay in [0, 1].

    Both hazards are fluctuated in turn on the logit scale, with a coefficient of its own for each functional in every round. A cause
    without events in the arm has the hazard that its rows then suggest: none.
    """
    present = [bool(periods.ends[data.here].any()) for periods in data.periods]
    hazards = bounded(np.stack([each if some else np.zeros_like(each) for each, some in zip(data.hazards, present)]))
    for _ in range(ROUNDS):
        if _residual(data, hazards, functionals) <= SOLVED:
            break
        for cause in (place for place, some in enumerate(present) if some):
            curves = curves_of(hazards)
            h = np.stack([-gradients(curves, functional)[cause] for functional in functionals], axis=2)
            h /= (data.share[:, None] * data.uncensored)[:, :, None]
            moved = expit(logit(hazards[cause]) - h @ solve_coefficients(data.of(cause), hazards[cause], h))
            hazards = bounded(np.stack((moved, hazards[1]) if cause == 0 else (hazards[0], moved)))
    curves = curves_of(hazards)
    points = data.mean(np.column_stack([functional.value(curves.incidence) for functional in functionals]))
    curve, values = data.mean(curves.incidence), _influence(data, curves, hazards, functionals)
    residual = _residual(data, hazards, functionals)
    return CurveEstimate(points, values - points, curve, incidence_influence(data, curves, hazards) - curve, residual)


def _gaps(data: CauseData, hazards: Float64) -> Float64:
    """Return 1(A = a) (dN_k - Y l_k) / (g G), shape (2, n, m)."""
    risk, ends = data.periods[0].risk, np.stack([periods.ends for periods in data.periods])
    return np.where(data.here[:, None], (ends - risk * hazards) / (data.share[:, None] * data.uncensored), 0.0)


def _influence(data: CauseData, curves: Curves, hazards: Float64, functionals: Sequence[Functional]) -> Float64:
    """Return D + psi of each functional, shape (n, P)."""
    gaps = _gaps(data, hazards)
    return np.column_stack([f.value(curves.incidence) + np.sum(gradients(curves, f) * gaps, axis=(0, 2)) for f in functionals])


def incidence_influence(data: CauseData, curves: Curves, hazards: Float64) -> Float64:
    """Return D + F of every time of the grid, shape (n, m).

    Of F(t_j): sum_{u <= j} gap_1(u) + (gap_1 + gap_2)(u) (F(t_u) - F(t_j)) / S(t_u), by sums up to j.
    """
    gaps = _gaps(data, hazards)
    every = gaps.sum(axis=0) / np.maximum(curves.free, EDGE)
    direct = np.cumsum(gaps[0] + every * curves.incidence, axis=1)
    return np.asarray(curves.incidence * (1.0 - np.cumsum(every, axis=1)) + direct)


def _residual(data: CauseData, hazards: Float64, functionals: Sequence[Functional]) -> float:
    """Return the largest mean of an influence function in standard errors."""
    curves = curves_of(hazards)
    values = _influence(data, curves, hazards, functionals)
    plug_in = np.column_stack([functional.value(curves.incidence) for functional in functionals])
    left, centred = np.abs(data.mean(values - plug_in)), values - data.mean(values)
    se = np.sqrt(data.mean(centred**2) / max(int(np.count_nonzero(data.weights)), 1))
    return float(np.max(left / np.maximum(se, 1e-300)))
