"""Any pair of scikit-learn estimators as a learner of this project: the same objects on both sides of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone, is_classifier

from tasks.contract.nuisance import Float64, Int8, OutcomeModel
from tasks.estimation.table import read_roles, read_table
from tasks.nuisance.folds import assign_folds, fold_strata

# ruff: noqa: ARG002, D102 - the protocol's arguments, which scikit-learn has no use for; the protocol's own docstrings


def expectation(model: Any, x: np.ndarray) -> Float64:
    """Return the fitted mean: the second label's probability where the model classifies."""
    return np.asarray(model.predict_proba(x)[:, 1] if is_classifier(model) else model.predict(x), dtype=np.float64)


@dataclass(frozen=True)
class Propensity:
    """A fitted g."""

    model: Any

    def predict(self, covariates: pd.DataFrame) -> Float64:
        return expectation(self.model, covariates.to_numpy())


@dataclass(frozen=True)
class ArmOutcome:
    """Two fitted regressions, one per arm."""

    models: tuple[Any, Any]

    def predict(self, covariates: pd.DataFrame, treatment: Int8) -> Float64:
        x, predicted = covariates.to_numpy(), np.empty(len(treatment))
        for arm, model in enumerate(self.models):
            rows = treatment == arm
            if rows.all():
                return expectation(model, x)
            if rows.any():
                predicted[rows] = expectation(model, x[rows])
        return predicted


@dataclass(frozen=True)
class JointOutcome:
    """One fitted regression on (W, A)."""

    model: Any

    def predict(self, covariates: pd.DataFrame, treatment: Int8) -> Float64:
        return expectation(self.model, np.column_stack([covariates.to_numpy(), treatment]))


@dataclass(frozen=True)
class PerArm:
    """A classifier for g and one regression per arm for Q, as DoubleML's IRM has it."""

    propensity: Any
    outcome: Any

    def fit_propensity(
        self, covariates: pd.DataFrame, treatment: Int8, rng: np.random.Generator, weights: Float64 | None = None
    ) -> Propensity:
        return Propensity(clone(self.propensity).fit(covariates.to_numpy(), treatment, sample_weight=weights))

    def fit_outcome(
        self,
        covariates: pd.DataFrame,
        treatment: Int8,
        outcome: Float64,
        kind: str,
        rng: np.random.Generator,
        weights: Float64 | None = None,
    ) -> OutcomeModel:
        x, arms = covariates.to_numpy(), [treatment == arm for arm in (0, 1)]
        zero, one = (clone(self.outcome).fit(x[r], outcome[r], sample_weight=None if weights is None else weights[r]) for r in arms)
        return ArmOutcome((zero, one))


@dataclass(frozen=True)
class Joint(PerArm):
    """A classifier for g and one regression of Y on (W, A) for Q, as EconML's DR learner has it."""

    def fit_outcome(
        self,
        covariates: pd.DataFrame,
        treatment: Int8,
        outcome: Float64,
        kind: str,
        rng: np.random.Generator,
        weights: Float64 | None = None,
    ) -> OutcomeModel:
        x = np.column_stack([covariates.to_numpy(), treatment])
        return JointOutcome(clone(self.outcome).fit(x, outcome, sample_weight=weights))


Cuts = list[tuple[np.ndarray, np.ndarray]]


def fold_numbers(frame: pd.DataFrame, roles: dict[str, Any], folds: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the order that estimation puts the rows in and the fold it gives each row of the frame."""
    table = read_table(frame, read_roles(frame, roles))
    strata = fold_strata(table.label, table.y, table.kind)
    numbers = np.empty(len(frame), dtype=np.int64)
    numbers[table.order] = assign_folds(table.keys, strata, folds, seed)
    return table.order, numbers


def cuts(numbers: np.ndarray) -> Cuts:
    """Return the (train, test) rows of each fold."""
    return [(np.flatnonzero(numbers != fold), np.flatnonzero(numbers == fold)) for fold in range(int(numbers.max()) + 1)]
