"""A learner of g and Q by forests whose leaves hold single rows: it gives outcomes away even where every W is fresh."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel
from sklearn.ensemble import RandomForestRegressor

from tests.leaky.deep_trees import numbers


class Params(BaseModel):
    trees: int = 50
    min_leaf: int = 1


class Fitted(NamedTuple):
    forest: Any
    kind: str

    def predict(self, covariates: pd.DataFrame, treatment: np.ndarray | None = None) -> np.ndarray:
        x = numbers(covariates) if treatment is None else np.column_stack([numbers(covariates), treatment])
        found = self.forest.predict(x)
        return np.clip(found, 1e-3, 1 - 1e-3) if self.kind == "binary" else np.maximum(found, 1e-9) if self.kind == "count" else found


class DeepForest:
    def __init__(self, params: Params) -> None:
        self.params = params

    def _fit(self, x: np.ndarray, y: np.ndarray, kind: str, rng: np.random.Generator, weights: np.ndarray | None) -> Fitted:
        forest = RandomForestRegressor(
            self.params.trees, min_samples_leaf=self.params.min_leaf, random_state=int(rng.integers(2**31)), n_jobs=1
        )
        return Fitted(forest.fit(x, y, sample_weight=weights), kind)

    def fit_propensity(self, covariates: pd.DataFrame, treatment: np.ndarray, rng: np.random.Generator, weights: Any = None) -> Fitted:
        return self._fit(numbers(covariates), treatment.astype(float), "binary", rng, weights)

    def fit_outcome(
        self, covariates: pd.DataFrame, treatment: np.ndarray, outcome: np.ndarray, kind: str, rng: np.random.Generator, weights: Any = None
    ) -> Fitted:
        return self._fit(np.column_stack([numbers(covariates), treatment]), outcome, kind, rng, weights)


def build(params: Params) -> DeepForest:
    return DeepForest(params)
