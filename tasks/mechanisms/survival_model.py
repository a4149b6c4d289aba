"""The fitted mechanisms of a time to event: what released times and events come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64, Int8, Nuisances, Predictions
from tasks.contract.roles import Column
from tasks.contract.survival import Functional, TimesToEvent
from tasks.mechanisms.moments import features
from tasks.mechanisms.survival_law import TimesLaw
from tasks.mechanisms.targets import Targets
from tasks.nuisance.causes import cause_shares
from tasks.nuisance.survival_fold import Hazards, TimesFoldModel
from tasks.numerics.newton import halvings
from tasks.targeting.causes import incidence
from tasks.targeting.scores import expit
from tasks.targeting.survival import EDGE, survival

#: Largest miss of a target, as a share of its range.
_TOLERANCE = 1e-9
_BLOCK = 8_192


class View(NamedTuple):
    """What the mechanisms say of n rows.

    Attributes
    ----------
    nuisances : Nuisances
        g and the targeted restricted mean of every arm.
    values : ndarray of float64, shape (P - 1, K, n)
        Targeted S(t) at the declared times under every arm.
    causes : ndarray of float64, shape (J, P, K, n)
        Of each of J competing causes the targeted time lost, and F(t) at the declared times; J is 0 where an event has one cause.
    """

    nuisances: Nuisances
    values: Float64
    causes: Float64


@dataclass(frozen=True)
class TimesMechanisms:
    """g and the targeted hazards of any covariate rows, and where times lie within periods.

    Hazards are the means over the fold models, shifted on the logit scale: for each arm and each functional (the restricted mean, S(t) at
    the declared times) by one number times a fixed function of the period. The means over the source rows of the functionals equal those
    of the targeted estimate. So are the chances of competing causes, for the time lost to each and its incidence.

    Attributes
    ----------
    models : tuple of TimesFoldModel
    shifts : tuple of K tuples of P float
        By arm, the control first.
    outcome : TimesToEvent
    law : TimesLaw
    targets : Targets
        Of the release: the average effect.
    cause_shifts : tuple of J - 1 tuples of K tuples of P float
        By nested chance of a cause (:mod:`tasks.nuisance.causes`) and arm.
    """

    models: tuple[TimesFoldModel, ...]
    shifts: tuple[tuple[float, ...], ...]
    outcome: TimesToEvent
    law: TimesLaw
    targets: Targets
    cause_shifts: tuple[tuple[tuple[float, ...], ...], ...] = ()

    @property
    def kept_features(self) -> int:
        """How many of the last of :func:`times_features` carry the effects: g, restricted means, S(t), and of all causes but one F(t)."""
        arms, numbers = len(self.shifts), 1 + len(self.outcome.times)
        return 2 * arms - 1 + arms * (numbers - 1) + len(self.cause_shifts) * arms * numbers

    def propensities(self, covariates: pd.DataFrame) -> Sequence[Float64]:
        """Return P(A = k | W) of the arms beside the control, each of shape (n,)."""
        given = zip(*(model.propensities(covariates) for model in self.models), strict=True)
        return [np.mean(each, axis=0) for each in given]

    def hazards(self, covariates: pd.DataFrame, a: Int8 | None = None) -> Hazards:
        """Return the targeted hazard of the event, that of censoring, and the targeted chances of causes.

        Arms are those of :meth:`tasks.nuisance.survival_fold.TimesFoldModel.hazards`.
        """
        raw = mean_hazards(self.models, covariates, a)
        steps = directions(self.outcome)
        event = [shifted(hazard, steps, np.array(shift)) for hazard, shift in zip(raw.event, self.shifts, strict=True)]
        splits = [
            [shifted(chance, steps, np.array(shift)) for chance, shift in zip(of_arms, shifts, strict=True)]
            for of_arms, shifts in zip(raw.splits, self.cause_shifts, strict=True)
        ]
        return Hazards(np.stack(event), raw.censoring, np.array(splits).reshape(raw.splits.shape))

    def view(self, covariates: pd.DataFrame) -> View:
        """Return g, restricted means and survival probabilities of some rows."""
        functionals, parts = self.outcome.functionals, []
        for start in range(0, max(len(covariates), 1), _BLOCK):
            block = covariates.iloc[start : start + _BLOCK]
            hazards = self.hazards(block, uncounted(len(block)))
            curves = [survival(hazard) for hazard in hazards.event]
            values = np.array([[functional.value(curve) for curve in curves] for functional in functionals])
            parts.append((self.propensities(block), values, self._causes(hazards)))
        given = [np.concatenate(each) for each in zip(*(part[0] for part in parts), strict=True)]
        values, causes = np.concatenate([part[1] for part in parts], axis=2), np.concatenate([part[2] for part in parts], axis=3)
        return View(Nuisances(*given, *values[0]), values[1:], causes)

    def _causes(self, hazards: Hazards) -> Float64:
        """Return the time lost to each cause and its incidences, shape (J, P, K, n)."""
        wanted = self.outcome.of_cause
        if not self.outcome.causes:
            return np.zeros((0, len(wanted), *hazards.event.shape[:2]))
        shares = cause_shares(hazards.splits)
        return np.array([cause_values(hazards.event, share, wanted) for share in shares])

    def predict(self, covariates: pd.DataFrame) -> Nuisances:
        """Return g and the targeted restricted mean of every arm, each of shape (n,)."""
        return self.view(covariates).nuisances

    def predict_all(self, covariates: pd.DataFrame) -> Predictions:
        """Return the same as predictions of one outcome."""
        return Predictions(self.predict(covariates))

    def describe(self, covariates: pd.DataFrame, columns: Sequence[Column]) -> tuple[Predictions, Float64]:
        """Return predictions of some rows with their :func:`times_features`."""
        view = self.view(covariates)
        return Predictions(view.nuisances), times_features(covariates, view, columns)


def uncounted(n: int) -> Int8:
    """Return arms of n rows whose censoring is not looked at."""
    return np.full(n, -1, dtype=np.int8)


def mean_hazards(models: Sequence[TimesFoldModel], covariates: pd.DataFrame, a: Int8 | None = None) -> Hazards:
    """Return the means of both hazards, and of the chances of causes, over fold models, not targeted."""
    total: Hazards | None = None
    for model in models:
        one = model.hazards(covariates, a)
        total = one if total is None else Hazards(*(mine + theirs for mine, theirs in zip(total, one, strict=True)))
    assert total is not None  # there are at least two folds
    return Hazards(*(each / len(models) for each in total))


def cause_values(hazards: Float64, shares: Float64, functionals: Sequence[Functional]) -> Float64:
    """Return numbers of one cause's incidence under every arm, shape (P, K, n).

    Parameters
    ----------
    hazards, shares : ndarray of float64, shape (K, n, m)
        Hazards of events of all causes, and the chance that an event is of this one.
    functionals : sequence of P Functional
    """
    curves = [incidence(hazard, share) for hazard, share in zip(hazards, shares, strict=True)]
    return np.array([[functional.value(curve) for curve in curves] for functional in functionals])


def directions(outcome: TimesToEvent) -> Float64:
    """Return by which functions of the period hazards are shifted, shape (P, m).

    Of the restricted mean it is the share of time left to the horizon, of S(t) an indicator of the periods up to t.
    """
    starts = np.array((0.0, *outcome.edges[:-1]))
    left = np.maximum(outcome.horizon - starts, 0.0) / outcome.horizon
    return np.stack([left, *((starts < time).astype(np.float64) for time in outcome.times)])


def shifted(hazard: Float64, steps: Float64, shift: Float64) -> Float64:
    """Shift hazards of shape (n, m) on the logit scale along directions of shape (P, m)."""
    inside = np.clip(hazard, EDGE, 1.0 - EDGE)
    return np.asarray(np.clip(expit(np.log(inside) - np.log1p(-inside) + shift @ steps), EDGE, 1.0 - EDGE))


def solve_shifts(hazard: Float64, outcome: TimesToEvent, goal: Float64, share: Float64) -> tuple[float, ...]:
    """Find the shifts under which an arm's functionals have given means.

    Newton's method, halved until the misses shrink. S(t) falls in every logit of a hazard up to t, so the Jacobian is that of a curve's
    values to its hazards, restricted to the directions.

    Parameters
    ----------
    hazard : ndarray of float64, shape (n, m)
        Of the arm at the source rows.
    outcome : TimesToEvent
    goal : ndarray of float64, shape (P,)
    share : ndarray of float64, shape (n,)
        Weights of the rows, summing to one.

    Raises
    ------
    EstimationError
        If no shift meets the goals.
    """
    functionals, steps = outcome.functionals, directions(outcome)
    weights = np.stack([each.weights for each in functionals])
    constant = np.array([each.constant for each in functionals])
    scale = np.array([outcome.horizon, *(1.0 for _ in outcome.times)])

    def miss(shift: Float64) -> tuple[Float64, Float64]:
        moved = shifted(hazard, steps, shift)
        curves = survival(moved)
        mean = constant + weights @ (share @ curves)
        slopes = [-(share @ (curves * np.cumsum(moved * step, axis=1))) @ weights.T for step in steps]
        return (mean - goal) / scale, np.column_stack(slopes) / scale[:, None]

    return _solved(miss, len(functionals), "the survival curve")


def solve_splits(splits: Float64, hazard: Float64, outcome: TimesToEvent, goals: Float64, share: Float64) -> tuple[tuple[float, ...], ...]:
    """Find the shifts of the nested chances of causes under which the times lost and the incidences of an arm have given means.

    One cause after the other, by Newton's method: F of a cause is linear in its chances, given the hazards and the causes before it.

    Parameters
    ----------
    splits : ndarray of float64, shape (J - 1, n, m)
        Of the arm at the source rows.
    hazard : ndarray of float64, shape (n, m)
        Targeted hazard of events of every cause.
    outcome : TimesToEvent
    goals : ndarray of float64, shape (J, P)
        The last cause's follow from the others'.
    share : ndarray of float64, shape (n,)
        Weights of the rows, summing to one.

    Returns
    -------
    tuple of J - 1 tuples of P float

    Raises
    ------
    EstimationError
        If no shift meets the goals.
    """
    functionals, steps = outcome.of_cause, directions(outcome)
    weights = np.stack([each.weights for each in functionals])
    # what an event in a period adds to each number
    later = np.cumsum(weights[:, ::-1], axis=1)[:, ::-1]
    scale = np.array([outcome.horizon, *(1.0 for _ in outcome.times)])
    left, shifts = np.diff(-survival(hazard), axis=1, prepend=-1.0), []
    for number, chance in enumerate(splits):

        def miss(shift: Float64, chance: Float64 = chance, left: Float64 = left, goal: Float64 = goals[number]) -> tuple[Float64, Float64]:
            moved = shifted(chance, steps, shift)
            gained = (share @ (left * moved), share @ (left * moved * (1.0 - moved)))
            return (later @ gained[0] - goal) / scale, (later * gained[1]) @ steps.T / scale[:, None]

        shift = _solved(miss, len(functionals), f"the incidence of cause '{outcome.causes[number]}'")
        left = left * (1.0 - shifted(chance, steps, np.array(shift)))
        shifts.append(shift)
    return tuple(shifts)


def _solved(miss: Callable[[Float64], tuple[Float64, Float64]], count: int, what: str) -> tuple[float, ...]:
    """Find where misses are zero: Newton's method, halved until they shrink; ``miss`` returns them with their Jacobian."""
    at = np.zeros(count)
    gap, jacobian = miss(at)
    for _ in range(100):
        if float(np.abs(gap).max()) <= 1e-13:
            break
        change = np.linalg.lstsq(jacobian, -gap, rcond=1e-12)[0]
        for length in halvings(1e-6):
            beyond, following = miss(at + length * change)
            if float(np.linalg.norm(beyond)) < float(np.linalg.norm(gap)):
                break
        else:
            break
        at, gap, jacobian = at + length * change, beyond, following
    if float(np.abs(gap).max()) > _TOLERANCE:
        raise EstimationError(
            f"means of {what} must be met to {_TOLERANCE:g} of their range; got {float(np.abs(gap).max()):.2g}.",
            "Declare fewer times, or times further apart (outcomes.NAME.times).",
        )
    return tuple(float(value) for value in at)


def times_features(covariates: pd.DataFrame, view: View, columns: Sequence[Column]) -> Float64:
    """Return the directions in which a release's covariates must agree with the source's.

    Those of any outcome, then S*(t) of every arm, then of all competing causes but the last the time lost and F*(t) of every arm.
    """
    of_any = features(covariates, view.nuisances, columns)
    of_causes = view.causes[:-1].reshape(-1, len(covariates))
    return np.column_stack((of_any, *(values for each in view.values for values in each), *of_causes))
