"""Boosted trees grown by XGBoost: beyond ``fit_rows`` on all rows, from a cache on disk."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xgboost

from tasks.contract.nuisance import Float64, FoldRows, Int8, OutcomeModel, PropensityModel
from tasks.nuisance.bounds import arms_of, require_arms, within
from tasks.nuisance.ensembles import ArmEnsembles, ArmPropensities
from tasks.nuisance.trees import TreeColumns, TreeParams, fit_columns

_LOSS = {"binary": "binary:logistic", "continuous": "reg:squarederror", "count": "reg:squarederror"}
_HESSIAN = {"binary": 0.25, "continuous": 1.0, "count": 1.0}  # the largest second derivative of a row's loss

Target = Callable[[FoldRows], tuple[Float64, Any]]
"""What is learnt of a batch, shape (n,), and which of its rows teach it."""


class Params(TreeParams):
    """Parameters of the learner that grows its trees by XGBoost."""


@dataclass(frozen=True)
class Ensemble:
    """Trees of one target as XGBoost writes them, or the target's mean where rows were too few or all alike."""

    columns: TreeColumns
    trees: bytes | None
    mean: float
    kind: str

    def predict(self, covariates: pd.DataFrame) -> Float64:
        """Return E[target | W], shape (n,), inside the range of its kind."""
        if self.trees is None:
            return within(self.kind, np.full(len(covariates), self.mean))
        return within(self.kind, _booster(self.trees).inplace_predict(self.columns.matrix(covariates)).astype(np.float64))


@dataclass(frozen=True)
class XgboostLearner:
    """The trees of ``boosted``, grown by XGBoost: g, and Q by one ensemble per arm; a count by squared loss.

    It is a :class:`tasks.contract.nuisance.StreamedLearner`: of a table beyond ``fit_rows`` the sample decides columns and levels, then
    all training rows are binned into a cache on disk and every tree is grown on all of them. Bins are quantile sketches of the
    partitions in turn, so another cut of the table gives slightly other trees.

    References
    ----------
    Chen, Guestrin (2016), doi:10.1145/2939672.2939785.
    """

    params: Params

    def fit_propensity(
        self,
        covariates: pd.DataFrame,
        treatment: Int8,
        rng: np.random.Generator,  # noqa: ARG002, nothing is drawn
        weights: Float64 | None = None,
    ) -> Ensemble | ArmPropensities:
        """Fit g."""
        arms = arms_of(treatment)
        require_arms(treatment, arms)
        hits = [(treatment == arm).astype(np.float64) for arm in range(arms)]
        if arms == 2:
            return self._grow(covariates, hits[1], "binary", weights)
        return ArmPropensities(tuple(self._grow(covariates, hit, "binary", weights) for hit in hits))

    def fit_outcome(
        self,
        covariates: pd.DataFrame,
        treatment: Int8,
        outcome: Float64,
        kind: str,
        rng: np.random.Generator,  # noqa: ARG002, nothing is drawn
        weights: Float64 | None = None,
    ) -> ArmEnsembles:
        """Fit Q arm by arm."""
        arms = arms_of(treatment)
        require_arms(treatment, arms)
        grown = []
        for arm in range(arms):
            rows = treatment == arm
            grown.append(self._grow(covariates.loc[rows], outcome[rows], kind, None if weights is None else weights[rows]))
        return ArmEnsembles(tuple(grown))

    def refit(
        self,
        propensity: PropensityModel | None,
        outcome: OutcomeModel | None,
        batches: Callable[[], Iterator[FoldRows]],
        fold: int,
        heaviest: float,
    ) -> tuple[PropensityModel | None, OutcomeModel | None]:
        """Grow the trees of a sample's fit again on all rows outside a fold."""

        def of_treatment(arm: int) -> Target:
            return lambda rows: ((rows.treatment == arm).astype(np.float64), rows.fold != fold)

        def of_outcome(arm: int) -> Target:
            return lambda rows: (rows.outcome, (rows.fold != fold) & (rows.treatment == arm) & np.isfinite(rows.outcome))

        if not isinstance(outcome, ArmEnsembles | None) or not isinstance(propensity, Ensemble | ArmPropensities | None):
            raise TypeError(f"models to be refitted must be those of this learner; got {type(outcome).__name__}.")
        if isinstance(propensity, Ensemble):
            propensity = self._stream(propensity, batches, of_treatment(1), heaviest)
        elif propensity is not None:
            propensity = ArmPropensities(self._stream_arms(propensity.arms, batches, of_treatment, heaviest))
        if outcome is not None:
            outcome = ArmEnsembles(self._stream_arms(outcome.arms, batches, of_outcome, heaviest))
        return propensity, outcome

    def _stream_arms(
        self,
        arms: Sequence[object],
        batches: Callable[[], Iterator[FoldRows]],
        target: Callable[[int], Target],
        heaviest: float,
    ) -> tuple[Ensemble, ...]:
        ensembles = [each for each in arms if isinstance(each, Ensemble)]
        if len(ensembles) < len(arms):
            raise TypeError("models to be refitted must be those of this learner; got ensembles of another one.")
        return tuple(self._stream(each, batches, target(arm), heaviest) for arm, each in enumerate(ensembles))

    def _grow(self, covariates: pd.DataFrame, target: Float64, kind: str, weights: Float64 | None) -> Ensemble:
        columns, mean = fit_columns(covariates), float(np.average(target, weights=weights))
        if len(target) < 2 * self.params.min_samples_leaf or not columns.names or float(np.ptp(target)) == 0.0:
            return Ensemble(columns, None, mean, kind)
        matrix = xgboost.QuantileDMatrix(
            columns.matrix(covariates), target, weight=weights, feature_types=_types(columns), enable_categorical=True, nthread=1
        )
        return Ensemble(columns, self._train(matrix, kind, 1.0 if weights is None else float(weights.max())), mean, kind)

    def _stream(self, sample: Ensemble, batches: Callable[[], Iterator[FoldRows]], target: Target, heaviest: float) -> Ensemble:
        if sample.trees is None:
            return sample
        with tempfile.TemporaryDirectory(prefix="waymint-xgboost-") as folder:
            rows = _Batches(sample.columns, batches, target, Path(folder))
            matrix = xgboost.ExtMemQuantileDMatrix(rows, enable_categorical=True, nthread=1)
            trees = self._train(matrix, sample.kind, heaviest)
            del matrix  # its pages lie in the folder
        return Ensemble(sample.columns, trees, sample.mean, sample.kind)

    def _train(self, matrix: xgboost.DMatrix, kind: str, heaviest: float) -> bytes:
        settings = {
            "objective": _LOSS[kind],
            "eta": self.params.learning_rate,
            "max_leaves": self.params.leaves,
            "max_depth": 0,
            "grow_policy": "lossguide",
            "tree_method": "hist",
            "reg_lambda": self.params.l2,
            # XGBoost counts second derivatives: so many at their largest are as many rows, or more
            "min_child_weight": self.params.min_samples_leaf * heaviest * _HESSIAN[kind],
            "nthread": 1,
            "verbosity": 0,
        }
        return bytes(xgboost.train(settings, matrix, self.params.iterations).save_raw("ubj"))


class _Batches(xgboost.DataIter):
    """The rows that teach a target, batch by batch, as XGBoost asks for them."""

    def __init__(self, columns: TreeColumns, batches: Callable[[], Iterator[FoldRows]], target: Target, folder: Path) -> None:
        self._columns, self._batches, self._target = columns, batches, target
        self._here = batches()
        super().__init__(cache_prefix=str(folder / "page"))

    def next(self, input_data: Callable[..., None]) -> bool:
        """Hand over the next batch that has such rows; return whether there was one."""
        for rows in self._here:
            target, used = self._target(rows)
            used = np.flatnonzero(used if rows.weights is None else used & (rows.weights > 0.0))
            if len(used):
                weights = None if rows.weights is None else rows.weights[used]
                cells = np.ascontiguousarray(self._columns.matrix(rows.covariates.iloc[used]))
                input_data(data=cells, label=target[used], weight=weights, feature_types=_types(self._columns))
                return True
        return False

    def reset(self) -> None:
        """Start again."""
        self._here = self._batches()


def build(params: Params) -> XgboostLearner:
    """Return the learner."""
    return XgboostLearner(params)


def _types(columns: TreeColumns) -> list[str]:
    return ["c" if categorical else "q" for categorical in columns.categorical]


@functools.lru_cache(maxsize=64)
def _booster(trees: bytes) -> Any:
    booster = xgboost.Booster({"nthread": 1, "verbosity": 0})
    booster.load_model(bytearray(trees))
    return booster
