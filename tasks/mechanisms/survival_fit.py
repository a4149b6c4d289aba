"""Targeting a release's hazards: the means of curves that they are shifted to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.contract.survival import TimesToEvent
from tasks.mechanisms.survival_law import TimesLaw
from tasks.mechanisms.survival_model import TimesMechanisms, directions, shifted, solve_shifts, solve_splits
from tasks.mechanisms.targeting import Targeting
from tasks.mechanisms.targets import Targets
from tasks.nuisance.causes import cause_shares
from tasks.nuisance.survival_fold import Counts, Hazards, TimesFoldModel, data_of_cause
from tasks.targeting.causes import target_incidence
from tasks.targeting.fluctuation import truncate_arms
from tasks.targeting.survival import ArmData, survival, target_hazard, uncensored

Intp = npt.NDArray[np.intp]


class SourceTimes(NamedTuple):
    """Source rows with their out-of-fold predictions; n rows.

    Attributes
    ----------
    a : ndarray of int8, shape (n,)
    counts : Counts
        Of periods, shape (n, m), and causes.
    nuisances : Nuisances
    hazards : Hazards
        Out of fold.
    weights : ndarray of float64, shape (n,), or None
    """

    a: Int8
    counts: Counts
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
    total = Hazards(np.zeros(shape), np.zeros(shape), np.zeros((len(models[0].splits), *shape)))
    for model, rows in zip(models, places, strict=True):
        for sums, values in zip(total, model.hazards(covariates.iloc[rows]), strict=True):
            sums[..., rows, :] += values / repeats
    return total


def _of_arms(rows: SourceTimes, bound: float) -> list[ArmData]:
    """Return what each arm's curve is estimated from."""
    n = len(rows.a)
    w = np.ones(n) if rows.weights is None else rows.weights * (n / rows.weights.sum())
    arms = []
    for arm, share in enumerate(truncate_arms(rows.nuisances, bound)):
        kept = uncensored(rows.hazards.censoring[arm], share, bound)
        arms.append(ArmData(rows.a == arm, rows.counts.periods, share, rows.hazards.event[arm], kept, w))
    return arms


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
    functionals = outcome.functionals
    goals = []
    for data in _of_arms(rows, bound):
        curves = survival(target_hazard(data, functionals))
        goals.append([float(data.mean(functional.value(curves))) for functional in functionals])
    return np.array(goals)


def cause_goals(rows: SourceTimes, outcome: TimesToEvent, goals: Float64, bound: float) -> Float64:
    """Return the targeted means of the time lost to each cause, and of its incidences, under every arm, shape (K, J, P).

    Each cause is targeted by itself (:func:`tasks.targeting.causes.target_incidence`). Their sums are then those of the survival curve:
    the horizon less the restricted mean, and 1 - S(t).

    Parameters
    ----------
    rows : SourceTimes
    outcome : TimesToEvent
        With J causes.
    goals : ndarray of float64, shape (K, P)
        Of the survival curve.
    bound : float
        As in :func:`curve_goals`.
    """
    of_all = np.array([outcome.horizon, *(1.0 for _ in outcome.times)]) - goals
    means = []
    for arm, data in enumerate(_of_arms(rows, bound)):
        shares = cause_shares(rows.hazards.splits[:, arm])
        sources = (data_of_cause(data, rows.counts, number, share) for number, share in enumerate(shares, start=1))
        points = np.array([target_incidence(source, outcome.of_cause).points for source in sources])
        means.append(points * (of_all[arm] / points.sum(axis=0)))
    return np.array(means)


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
        Averaged over the fold models, at the same rows; that of censoring is not looked at.
    law : TimesLaw
    """
    outcome, n = law.outcome, len(rows.a)
    share = np.full(n, 1.0 / n) if rows.weights is None else rows.weights / rows.weights.sum()
    goals = curve_goals(rows, outcome, targeting.truncation.bound)
    goals[:, 0] = [float(share @ mean[:n]) for mean in targeting.outcomes]
    shifts = tuple(solve_shifts(hazard, outcome, goal, share) for hazard, goal in zip(raw.event, goals, strict=True))
    cause_shifts: tuple[tuple[tuple[float, ...], ...], ...] = ()
    if outcome.causes:
        steps, of_causes = directions(outcome), cause_goals(rows, outcome, goals, targeting.truncation.bound)
        moved = (shifted(hazard, steps, np.array(shift)) for hazard, shift in zip(raw.event, shifts, strict=True))
        arms = zip(raw.splits.swapaxes(0, 1), moved, of_causes, strict=True)
        of_arms = [solve_splits(splits, hazard, outcome, goal, share) for splits, hazard, goal in arms]
        cause_shifts = tuple(zip(*of_arms, strict=True))
    return TimesMechanisms(tuple(models), shifts, outcome, law, Targets(arms=len(goals)), cause_shifts)
