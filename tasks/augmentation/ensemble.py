"""What is not known of the outcome's regression: the spread of models fitted on redrawn rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.contract.nuisance import Float64, Int8, Learner


class Ensemble(NamedTuple):
    """Predictions of the source's rows by models of one table redrawn by the Bayesian bootstrap; arrays of shape (b, n): draw, row.

    Attributes
    ----------
    q0, q1 : ndarray of float64
        E[Y | A = 0, W] and E[Y | A = 1, W], in units of the outcome.
    """

    q0: Float64
    q1: Float64

    @property
    def mean(self) -> tuple[Float64, Float64]:
        """Mean predictions of either arm, shape (n,)."""
        return self.q0.mean(axis=0), self.q1.mean(axis=0)

    def variance(self, weight0: Float64, weight1: Float64) -> float:
        """Return the variance of ``mean(weight1 Q1 - weight0 Q0)`` over the source's rows, rows held fixed.

        That is the spread of the value over the draws. An average effect errs by what the errors of its rows have in common, so a model of
        each row's own squared error (direct prediction of the excess risk: Lahlou et al. 2023, arXiv 2102.08501) can't be summed up to it;
        and fold models differ too little, as folds are stratified by the outcome. docs/augment.md has the comparison.

        Parameters
        ----------
        weight0, weight1 : ndarray of float64, shape (n,)
            Weights of the rows' predictions.

        Returns
        -------
        float
            In squared units of the outcome.
        """
        return float(np.var((self.q1 @ weight1 - self.q0 @ weight0) / len(weight0), ddof=1))


def redrawn(
    learner: Learner,
    table: tuple[pd.DataFrame, Int8, Float64],
    kind: str,
    at: pd.DataFrame,
    draws: int,
    rng: np.random.Generator,
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

    Returns
    -------
    Ensemble
    """
    frame, a, y = table
    found0, found1 = [], []
    for _ in range(draws):
        model = learner.fit_outcome(frame, a, y, kind, rng, rng.exponential(size=len(y)))
        found0.append(model.predict(at, np.zeros(len(at), dtype=np.int8)))
        found1.append(model.predict(at, np.ones(len(at), dtype=np.int8)))
    return Ensemble(np.stack(found0), np.stack(found1))
