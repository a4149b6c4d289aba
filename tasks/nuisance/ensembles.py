"""Fitted g and Q of one ensemble of trees an arm, whoever grew them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from tasks.contract.nuisance import Float64, Int8
from tasks.nuisance.bounds import on_simplex
from tasks.nuisance.scoring.sums import Part, Scoring, join_all


class Ensemble(Protocol):
    """Fitted trees of one target."""

    def predict(self, covariates: pd.DataFrame) -> Float64:
        """Return E[target | W], shape (n,), inside the range of its kind."""
        ...


@dataclass(frozen=True)
class ArmEnsembles:
    """A fitted Q: one ensemble per arm."""

    arms: tuple[Ensemble, ...]

    def predict(self, covariates: pd.DataFrame, treatment: Int8) -> Float64:
        """Return E[Y | A, W], shape (n,)."""
        out = np.empty(len(covariates))
        for arm, ensemble in enumerate(self.arms):
            rows = treatment == arm
            if rows.all():
                return ensemble.predict(covariates)
            if rows.any():
                out[rows] = ensemble.predict(covariates.loc[rows])
        return out

    def join_arm(self, scoring: Scoring, arm: int) -> Part | None:
        """Join a pass (:class:`tasks.nuisance.scoring.sums.ScoredOutcome`); None where the ensemble does not."""
        parts = join_all(self.arms[arm : arm + 1], scoring)
        return None if parts is None else parts[0]


@dataclass(frozen=True)
class ArmPropensities:
    """A fitted g of more than two arms: one ensemble for each arm against the others, brought to sum one."""

    arms: tuple[Ensemble, ...]

    def predict(self, covariates: pd.DataFrame) -> Float64:
        """Return P(A = k | W), shape (n, K), rows summing to one."""
        return on_simplex(np.column_stack([ensemble.predict(covariates) for ensemble in self.arms]))

    def join(self, scoring: Scoring) -> Part | None:
        """Join a pass (:class:`tasks.nuisance.scoring.sums.ScoredPropensity`); None where an ensemble does not."""
        parts = join_all(self.arms, scoring)
        return None if parts is None else lambda sums: on_simplex(np.column_stack([part(sums) for part in parts]))
