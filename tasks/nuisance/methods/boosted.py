"""Gradient-boosted trees with leaves of at least 20 rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.special

from tasks.contract.nuisance import Float64, Int8
from tasks.nuisance.bounds import arms_of, require_arms, within
from tasks.nuisance.ensembles import ArmEnsembles, ArmPropensities
from tasks.nuisance.forest import Rules, fit_forest
from tasks.nuisance.scoring.sums import Part, Scoring
from tasks.nuisance.trees import TreeColumns, TreeParams, fit_columns
from tasks.nuisance.walk import Forest


class Params(TreeParams):
    """Parameters of the boosted-trees learner."""


@dataclass(frozen=True)
class Ensemble:
    """Boosted trees of one target, or its mean where the rows were too few or all alike to grow a tree."""

    columns: TreeColumns
    forest: Forest | None
    mean: float
    kind: str

    def predict(self, covariates: pd.DataFrame) -> Float64:
        """Return E[target | W], shape (n,), inside the range of its kind."""
        if self.forest is None:
            return within(self.kind, np.full(len(covariates), self.mean))
        return self._mean(self.forest.total(self.columns.matrix(covariates)))

    def predict_product(self, rows: pd.DataFrame, others: pd.DataFrame) -> Float64:
        """Return predictions of every row with some columns of every other row, shape (n, m)."""
        if self.forest is None:
            return within(self.kind, np.full((len(rows), len(others)), self.mean))
        return self._mean(self.forest.product(self.columns.matrix(rows), self.columns.matrix(others)))

    def join(self, scoring: Scoring) -> Part:
        """Join a pass (:class:`tasks.nuisance.scoring.sums.ScoredPropensity`)."""
        if self.forest is None:
            return lambda sums: within(self.kind, np.full(sums.rows, self.mean))
        at = scoring.add_forest(self.columns, self.forest)
        return lambda sums: self._mean(sums.trees[at])

    def _mean(self, total: Float64) -> Float64:
        if self.kind == "binary":
            total = scipy.special.expit(total)
        elif self.kind == "count":
            total = np.exp(total)
        return within(self.kind, total)


@dataclass(frozen=True)
class ArmForests(ArmEnsembles):
    """A fitted Q: boosted trees of each arm."""

    arms: tuple[Ensemble, ...]

    def predict_product(self, rows: pd.DataFrame, others: pd.DataFrame, arm: int) -> Float64:
        """Return predictions of every row with some columns of every other row, shape (n, m).

        Parameters
        ----------
        rows : DataFrame, n rows
        others : DataFrame, m rows
            Alike but for the columns that replace those of ``rows``.
        arm : int
        """
        return self.arms[arm].predict_product(rows, others)


@dataclass(frozen=True)
class BoostedLearner:
    """Histogram gradient boosting for g, and for Q one ensemble per arm.

    One ensemble with the treatment as a feature shrinks the contrast towards zero wherever the covariates predict
    better than the treatment does; two ensembles do not. The number of trees is fixed (no row is lost to a validation
    split), the trees are small and their step is short. An arm with fewer than two leaves' worth of rows, or whose
    outcomes are all the same, is predicted by its mean. Nothing is random: one number of ``rng`` is spent on each ensemble.
    """

    params: Params

    def fit_propensity(
        self, covariates: pd.DataFrame, treatment: Int8, rng: np.random.Generator, weights: Float64 | None = None
    ) -> Ensemble | ArmPropensities:
        """Fit g."""
        arms = arms_of(treatment)
        require_arms(treatment, arms)
        if arms > 2:
            hits = ((treatment == arm).astype(np.float64) for arm in range(arms))
            return ArmPropensities(tuple(_grow(self.params, covariates, hit, "binary", rng, weights) for hit in hits))
        return _grow(self.params, covariates, treatment.astype(np.float64), "binary", rng, weights)

    def fit_outcome(
        self,
        covariates: pd.DataFrame,
        treatment: Int8,
        outcome: Float64,
        kind: str,
        rng: np.random.Generator,
        weights: Float64 | None = None,
    ) -> ArmForests:
        """Fit Q arm by arm."""
        require_arms(treatment, arms_of(treatment))
        arms = []
        for arm in range(arms_of(treatment)):
            rows = treatment == arm
            row_weights = None if weights is None else weights[rows]
            arms.append(_grow(self.params, covariates.loc[rows], outcome[rows], kind, rng, row_weights))
        return ArmForests(tuple(arms))


def build(params: Params) -> BoostedLearner:
    """Return the learner."""
    return BoostedLearner(params)


def _grow(
    params: Params, covariates: pd.DataFrame, target: Float64, kind: str, rng: np.random.Generator, weights: Float64 | None
) -> Ensemble:
    columns = fit_columns(covariates)
    rng.integers(2**31 - 1)  # keeps the next draw, such as that of a stack's folds, as it was
    mean = float(np.average(target, weights=weights))
    if len(target) < 2 * params.min_samples_leaf or not columns.names or float(np.ptp(target)) == 0.0:
        return Ensemble(columns, None, mean, kind)
    rules = Rules(params.iterations, params.learning_rate, params.leaves, params.min_samples_leaf, params.l2)
    forest = fit_forest(columns.matrix(covariates), columns.categorical, target, kind, rules, weights)
    return Ensemble(columns, forest, mean, kind)
