"""What is not known of the outcome's regression: the spread of models fitted on redrawn rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tasks.contract.nuisance import Float64, Int8, Learner


class Ensemble(tuple[Float64, ...]):
    """Predictions of the source's rows by models of one table redrawn by the Bayesian bootstrap; K arrays of shape (b, n): draw, row.

    E[Y | A = a, W] of every arm, the control first, in units of the outcome.
    """

    __slots__ = ()

    def __new__(cls, *arrays: Float64) -> Ensemble:
        """Take the arrays in the order of the arms."""
        return super().__new__(cls, arrays)

    def __getnewargs__(self) -> tuple[Float64, ...]:
        return tuple(self)

    @property
    def mean(self) -> tuple[Float64, ...]:
        """Mean predictions of every arm, shape (n,)."""
        return tuple(draws.mean(axis=0) for draws in self)

    def of(self, a: Int8) -> Float64:
        """Return each row's predictions of its own arm, shape (b, n)."""
        values = self[0]
        for arm in range(1, len(self)):
            values = np.where(a == arm, self[arm], values)
        return values

    def variance(self, weight0: Float64, weight: Float64, arm: int = 1) -> float:
        """Return the variance of ``mean(weight Q_arm - weight0 Q_0)`` over the source's rows, rows held fixed.

        That is the spread of the value over the draws. An average effect errs by what the errors of its rows have in common, so a model of
        each row's own squared error (direct prediction of the excess risk: Lahlou et al. 2023, arXiv 2102.08501) can't be summed up to it;
        and fold models differ too little, as folds are stratified by the outcome. docs/augment.md has the comparison.

        Parameters
        ----------
        weight0, weight : ndarray of float64, shape (n,)
            Weights of the rows' predictions.
        arm : int
            Which is held against the control.

        Returns
        -------
        float
            In squared units of the outcome.
        """
        return float(np.var((self[arm] @ weight - self[0] @ weight0) / len(weight0), ddof=1))


def redrawn(
    learner: Learner,
    table: tuple[pd.DataFrame, Int8, Float64],
    kind: str,
    at: pd.DataFrame,
    draws: int,
    rng: np.random.Generator,
    arms: int = 2,
) -> Ensemble:
    """Fit the outcome's regression on Bayesian bootstrap draws of a table (Rubin 1981, DOI 10.1214/aos/1176345338).

    Parameters
    ----------
    learner : Learner
    table : tuple of DataFrame, ndarray of int8, ndarray of float64; N rows each
        Canonical covariates, treatment and outcome.
    kind : {"binary", "continuous", "count"}
        Kind of the outcome.
    at : DataFrame, n rows
        Covariates to predict.
    draws : int
        Models, at least 2.
    rng : numpy.random.Generator
    arms : int
        K.

    Returns
    -------
    Ensemble
    """
    frame, a, y = table
    predictions: list[list[Float64]] = [[] for _ in range(arms)]
    for _ in range(draws):
        model = learner.fit_outcome(frame, a, y, kind, rng, rng.exponential(size=len(y)))
        for arm, of_arm in enumerate(predictions):
            of_arm.append(model.predict(at, np.full(len(at), arm, dtype=np.int8)))
    return Ensemble(*(np.stack(of_arm) for of_arm in predictions))
