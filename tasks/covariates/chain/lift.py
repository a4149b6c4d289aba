"""Where boosted chances of states start: at what is linear in the columns drawn before."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tasks.covariates.chain.boost import JUDGED_ROWS, fewest
from tasks.covariates.chain.losses import ClassLoss
from tasks.covariates.chain.rows import evenly
from tasks.covariates.chain.views import Float32
from tasks.covariates.margins import Intp
from tasks.covariates.predictors import Tilt

_LEAST_ODDS = 0.1
_STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


class Lift(NamedTuple):
    """Logits by linear predictions of the common states: with few rows they fit a weak dependence on many columns better than trees.

    Attributes
    ----------
    place : ndarray of intp, shape (k,)
        The common states among those that occur.
    classes : int
        States that occur.
    strength : float
        In [0, 1].
    """

    place: Intp
    classes: int
    strength: float

    def start(self, odds: Float32) -> Float32:
        """Return what logits start from beside log shares.

        Parameters
        ----------
        odds : ndarray of float32, shape (n, k)
            How many times its share a state's chance is.

        Returns
        -------
        ndarray of float32, shape (n, classes)
            Of the second class against the first, shape (n, 1), where there are two.
        """
        logs = np.zeros((len(odds), self.classes), dtype=np.float32)
        logs[:, self.place] = np.float32(self.strength) * np.log(np.clip(odds, _LEAST_ODDS, 1 / _LEAST_ODDS))
        return logs[:, 1:] - logs[:, :1] if self.classes == 2 else logs


def fit_lift(support: Intp, tilt: Tilt, loss: ClassLoss, odds: list[Float32], learn: list[Intp], held: list[Intp]) -> Lift:
    """Choose how far linear predictions are believed: by held-out likelihood, the least that is as good as the best.

    Parameters
    ----------
    support : ndarray of intp, shape (classes,)
        States that occur, in ascending order; missing is the number after the last state.
    tilt : Tilt
        The states that have linear predictions.
    loss : ClassLoss
        Of the n rows.
    odds : list of ndarray of float32, shape (n, k)
        Linear predictions of each fold.
    learn, held : list of ndarray of intp
        For each fold the rows that it learnt from, and those it is judged by.
    """
    lift = Lift(np.searchsorted(support, tilt.states), loss.classes, 1.0)
    judged = [evenly(rows, JUDGED_ROWS) for rows in held]
    starts = [lift.start(part[rows]) for part, rows in zip(odds, judged)]
    base = [loss.base(rows) for rows in learn]
    trials = [np.concatenate([loss.loss(rows, base[k] + strength * starts[k]) for k, rows in enumerate(judged)]) for strength in _STRENGTHS]
    return lift._replace(strength=_STRENGTHS[fewest(trials, int(np.argmin([trial.mean() for trial in trials])))])
