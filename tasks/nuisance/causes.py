"""Which of several competing causes an event has, given its period: nested chances, fitted on events alone.

The cause-specific hazard of cause j is lambda pi_j, pi_j the chance that an event in the period is of cause j. With s_j the chance that it
is of cause j where it is of none before, pi_j = s_j (1 - s_1) ... (1 - s_{j-1}), and the last cause has what is left. So the chances of J
causes are J - 1 regressions of binary outcomes, which every learner fits, and they sum to one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64, Learner, OutcomeModel
from tasks.contract.survival import EventRows, Grid
from tasks.nuisance.bounds import require_arms
from tasks.nuisance.hazards import predict_hazard, with_period
from tasks.targeting.survival import EDGE


def fit_splits(
    learner: Learner, rows: EventRows, covariates: pd.DataFrame, grid: Grid, causes: int, arms: int, rng: np.random.Generator
) -> tuple[OutcomeModel, ...]:
    """Fit the nested chances of all causes but the last.

    Parameters
    ----------
    learner : Learner
    rows : EventRows
        With ``cause`` from 0 (none) to J.
    covariates : DataFrame, n rows
    grid : Grid
    causes, arms : int
        J, 1 where causes do not compete, and K.
    rng : numpy.random.Generator

    Returns
    -------
    tuple of J - 1 OutcomeModel

    Raises
    ------
    EstimationError
        If the events lack a cause.
    """
    if causes < 2 or rows.cause is None:
        return ()
    period = grid.period(rows.time)
    came, models = rows.event & (period < len(grid.edges)), []
    for cause in range(1, causes):
        at = np.flatnonzero(came & (rows.cause >= cause))
        of_cause = rows.cause[at] == cause
        if of_cause.all() or not of_cause.any():
            raise EstimationError("training rows must have events of every cause; got none of one.", "Recode rare causes as one.")
        require_arms(rows.a[at], arms)
        frame = with_period(covariates.iloc[at], period[at], grid)
        weights = None if rows.weights is None else rows.weights[at]
        models.append(learner.fit_outcome(frame, rows.a[at], of_cause.astype(np.float64), "binary", rng, weights))
    return tuple(models)


def predict_splits(models: Sequence[OutcomeModel], covariates: pd.DataFrame, grid: Grid, arms: int) -> Float64:
    """Predict the nested chances of every row under every arm in every period.

    Parameters
    ----------
    models : sequence of J - 1 OutcomeModel
    covariates : DataFrame, n rows
    grid : Grid
    arms : int
        K.

    Returns
    -------
    ndarray of float64, shape (J - 1, K, n, m)
        Inside (0, 1).
    """
    if not models:
        return np.zeros((0, arms, len(covariates), len(grid.edges)))
    return np.clip(np.stack([predict_hazard(model, covariates, grid, arms) for model in models]), EDGE, 1.0 - EDGE)


def cause_shares(splits: Float64) -> Float64:
    """Return pi_1, ..., pi_J of nested chances of shape (J - 1, ...), shape (J, ...); they sum to one."""
    left = np.cumprod(1.0 - splits, axis=0)
    before = np.concatenate((np.ones((1, *splits.shape[1:])), left))
    return np.concatenate((before[:-1] * splits, before[-1:]))
