"""The fitted mechanisms of a time to event: what released times and events come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64, Nuisances, Predictions
from tasks.contract.roles import Column
from tasks.contract.survival import TimesToEvent
from tasks.mechanisms.moments import features
from tasks.mechanisms.survival_law import TimesLaw
from tasks.mechanisms.targets import Targets
from tasks.nuisance.survival_fold import Hazards, TimesFoldModel
from tasks.numerics.newton import halvings
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
    """

    nuisances: Nuisances
    values: Float64


@dataclass(frozen=True)
class TimesMechanisms:
    """g and the targeted hazards of any covariate rows, and where times lie within periods.

    Hazards are the means over the fold models, shifted on the logit scale: for each arm and each functional (the restricted mean, S(t) at
    the declared times) by one number times a fixed function of the period. The means over the source rows of the functionals equal those
    of the targeted estimate.

    Attributes
    ----------
    models : tuple of TimesFoldModel
    shifts : tuple of K tuples of P float
        By arm, the control first.
    outcome : TimesToEvent
    law : TimesLaw
    targets : Targets
        Of the release: the average effect.
    """

    models: tuple[TimesFoldModel, ...]
    shifts: tuple[tuple[float, ...], ...]
    outcome: TimesToEvent
    law: TimesLaw
    targets: Targets

    def propensities(self, covariates: pd.DataFrame) -> Sequence[Float64]:
        """Return P(A = k | W) of the arms beside the control, each of shape (n,)."""
        given = zip(*(model.propensities(covariates) for model in self.models), strict=True)
        return [np.mean(each, axis=0) for each in given]

    def hazards(self, covariates: pd.DataFrame) -> Hazards:
        """Return the targeted hazard of the event and that of censoring, each of shape (K, n, m)."""
        raw = mean_hazards(self.models, covariates)
        steps = directions(self.outcome)
        event = [shifted(hazard, steps, np.array(shift)) for hazard, shift in zip(raw.event, self.shifts, strict=True)]
        return Hazards(np.stack(event), raw.censoring)

    def view(self, covariates: pd.DataFrame) -> View:
        """Return g, restricted means and survival probabilities of some rows."""
        functionals, parts = self.outcome.functionals, []
        for start in range(0, max(len(covariates), 1), _BLOCK):
            block = covariates.iloc[start : start + _BLOCK]
            curves = [survival(hazard) for hazard in self.hazards(block).event]
            values = np.array([[functional.value(curve) for curve in curves] for functional in functionals])
            parts.append((self.propensities(block), values))
        given = [np.concatenate(each) for each in zip(*(part[0] for part in parts), strict=True)]
        values = np.concatenate([part[1] for part in parts], axis=2)
        return View(Nuisances(*given, *values[0]), values[1:])

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


def mean_hazards(models: Sequence[TimesFoldModel], covariates: pd.DataFrame) -> Hazards:
    """Return the means of both hazards over fold models, not targeted."""
    total: Hazards | None = None
    for model in models:
        one = model.hazards(covariates)
        total = one if total is None else Hazards(total.event + one.event, total.censoring + one.censoring)
    assert total is not None  # there are at least two folds
    return Hazards(total.event / len(models), total.censoring / len(models))


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

    at = np.zeros(len(functionals))
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
            f"means of the survival curve must be met to {_TOLERANCE:g} of their range; got {float(np.abs(gap).max()):.2g}.",
            "Declare fewer times, or times further apart (outcomes.NAME.times).",
        )
    return tuple(float(value) for value in at)


def times_features(covariates: pd.DataFrame, view: View, columns: Sequence[Column]) -> Float64:
    """Return the directions in which a release's covariates must agree with the source's: those of any outcome, then S*(t) of every arm."""
    of_any = features(covariates, view.nuisances, columns)
    return np.column_stack((of_any, *(values for each in view.values for values in each)))
