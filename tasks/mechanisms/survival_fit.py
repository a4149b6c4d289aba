"""Targeting a release's hazards: the means of curves that they are shifted to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.contract.survival import Periods, TimesToEvent
from tasks.mechanisms.survival_law import TimesLaw
from tasks.mechanisms.survival_model import TimesMechanisms, solve_shifts
from tasks.mechanisms.targeting import Targeting
from tasks.mechanisms.targets import Targets
from tasks.nuisance.survival_fold import Hazards, TimesFoldModel
from tasks.targeting.fluctuation import truncate_arms
from tasks.targeting.survival import ArmData, survival, target_hazard, uncensored

Intp = npt.NDArray[np.intp]


class SourceTimes(NamedTuple):
    """Source rows with their out-of-fold predictions; n rows.

    Attributes
    ----------
    a : ndarray of int8, shape (n,)
    periods : Periods
        Shape (n, m).
    nuisances : Nuisances
    hazards : Hazards
        Out of fold, shape (K, n, m).
    weights : ndarray of float64, shape (n,), or None
    """

    a: Int8
    periods: Periods
    nuisances: Nuisances
    hazards: Hazards
    weights: Float64 | None


def held_hazards(models: Sequence[TimesFoldModel], places: Sequence[Intp], covariates: pd.DataFrame, repeats: int) -> Hazards:
    """Predict each row's hazards by the models that have not seen it, averaged over repeats.

    Parameters
    ----------
    models : sequence of TimesFoldModel
        Of all folds of all repeats.
    places : sequence of ndarray of intp
        Rows of each model's own fold.
    covariates : DataFrame, n rows
    repeats : int
    """
    shape = (models[0].arms, len(covariates), len(models[0].outcome.edges))
    total = Hazards(np.zeros(shape), np.zeros(shape))
    for model, rows in zip(models, places, strict=True):
        for sums, values in zip(total, model.hazards(covariates.iloc[rows]), strict=True):
            sums[:, rows] += values / repeats
    return total


def curve_goals(rows: SourceTimes, outcome: TimesToEvent, bound: float) -> Float64:
    """Return the targeted means of all functionals under every arm, shape (K, P).

    The hazards of each arm are fluctuated until they solve the efficient scores of all functionals at once
    (:func:`tasks.targeting.survival.target_hazard`), so that a curve's values fit together.

    Parameters
    ----------
    rows : SourceTimes
    outcome : TimesToEvent
    bound : float
        Propensities, and propensities times the chance to be uncensored, are kept at least so large.
    """
    functionals, n = outcome.functionals, len(rows.a)
    w = np.ones(n) if rows.weights is None else rows.weights * (n / rows.weights.sum())
    goals = []
    for arm, share in enumerate(truncate_arms(rows.nuisances, bound)):
        kept = uncensored(rows.hazards.censoring[arm], share, bound)
        data = ArmData(rows.a == arm, rows.periods, share, rows.hazards.event[arm], kept, w)
        curves = survival(target_hazard(data, functionals))
        goals.append([float(data.mean(functional.value(curves))) for functional in functionals])
    return np.array(goals)


def assemble_times(
    models: Sequence[TimesFoldModel],
    targeting: Targeting,
    rows: SourceTimes,
    raw: Hazards,
    law: TimesLaw,
) -> TimesMechanisms:
    """Shift the averaged hazards until their curves have the targeted means.

    The restricted means are those of the targeted estimate of the average effect, which a release is judged by; S(t) those of
    :func:`curve_goals`.

    Parameters
    ----------
    models : sequence of TimesFoldModel
    targeting : Targeting
        Of the restricted means, by their pseudo-outcomes.
    rows : SourceTimes
    raw : Hazards
        Averaged over the fold models, at the same rows.
    law : TimesLaw
    """
    outcome, n = law.outcome, len(rows.a)
    share = np.full(n, 1.0 / n) if rows.weights is None else rows.weights / rows.weights.sum()
    goals = curve_goals(rows, outcome, targeting.truncation.bound)
    goals[:, 0] = [float(share @ mean[:n]) for mean in targeting.outcomes]
    shifts = tuple(solve_shifts(hazard, outcome, goal, share) for hazard, goal in zip(raw.event, goals, strict=True))
    return TimesMechanisms(tuple(models), shifts, outcome, law, Targets(arms=len(goals)))
