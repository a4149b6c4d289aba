"""A cross-validated stack: convex weights over learners, from predictions of rows they have not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, field_validator

from tasks.contract.nuisance import Float64, FoldRows, Int8, Learner, OutcomeModel, PropensityModel, StreamedLearner
from tasks.contract.registry import resolve
from tasks.nuisance.bounds import arms_of, on_simplex, require_arms, within
from tasks.nuisance.folds import assign_folds
from tasks.nuisance.scoring.sums import Part, Scoring, join_all
from tasks.nuisance.simplex import convex_weights


class Params(BaseModel):
    """Parameters of the stack."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: tuple[str, ...] = Field(
        ("glm", "boosted"), min_length=1, description="learners; the first one stands alone where rows are few"
    )
    params: dict[str, dict[str, object]] = Field(default_factory=dict, description="parameters by member")
    inner_folds: int = Field(3, ge=2, le=10, description="folds of the out-of-fold predictions that weigh the members")
    fewest: int = Field(30, ge=10, description="rows of the smallest arm below which the first member stands alone")
    most: int = Field(20_000, ge=1_000, description="rows from which the members are weighed on one inner fold instead of all")

    @field_validator("members", mode="after")
    @classmethod
    def _no_stack_of_stacks(cls, members: tuple[str, ...]) -> tuple[str, ...]:
        if "stack" in members or len(set(members)) < len(members):
            raise ValueError("members must be distinct learners other than 'stack'")
        return members


@dataclass(frozen=True)
class StackedPropensity:
    """A convex combination of fitted g; ``places`` are those of the members' learners in the stack."""

    members: tuple[PropensityModel, ...]
    weights: tuple[float, ...]
    places: tuple[int, ...] = ()

    def predict(self, covariates: pd.DataFrame) -> Float64:
        """Return P(A = 1 | W), shape (n,), inside [1e-6, 1 - 1e-6]; of more than two arms P(A = k | W), shape (n, K)."""
        return self._combined([member.predict(covariates) for member in self.members])

    def join(self, scoring: Scoring) -> Part | None:
        """Join a pass (:class:`tasks.nuisance.scoring.sums.ScoredPropensity`); None where a member does not."""
        parts = join_all(self.members, scoring)
        return None if parts is None else lambda sums: self._combined([part(sums) for part in parts])

    def _combined(self, predictions: Sequence[Float64]) -> Float64:
        total = np.zeros(predictions[0].shape)
        for values, weight in zip(predictions, self.weights, strict=True):
            total += weight * values
        return within("binary", total) if total.ndim == 1 else on_simplex(total)


@dataclass(frozen=True)
class StackedOutcome:
    """A convex combination of fitted Q; ``places`` are those of the members' learners in the stack."""

    members: tuple[OutcomeModel, ...]
    weights: tuple[float, ...]
    kind: str
    places: tuple[int, ...] = ()

    def predict(self, covariates: pd.DataFrame, treatment: Int8) -> Float64:
        """Return E[Y | A, W], shape (n,)."""
        return self._combined([member.predict(covariates, treatment) for member in self.members])

    def join_arm(self, scoring: Scoring, arm: int) -> Part | None:
        """Join a pass (:class:`tasks.nuisance.scoring.sums.ScoredOutcome`); None where a member does not."""
        parts = join_all(self.members, scoring, arm)
        return None if parts is None else lambda sums: self._combined([part(sums) for part in parts])

    def _combined(self, predictions: Sequence[Float64]) -> Float64:
        total = np.zeros(len(predictions[0]))
        for values, weight in zip(predictions, self.weights, strict=True):
            total += weight * values
        return within(self.kind, total)


@dataclass(frozen=True)
class StackLearner:
    """Super learner: least squares (continuous, count) or log loss (binary) decides the weights.

    The inner folds are assigned by the positions of the training rows (which :func:`tasks.nuisance.crossfit.fit_fold`
    puts in the order of their keys) and a number drawn from ``rng``. Members of weight zero are not fitted again. From ``most`` rows on
    one inner fold decides: 6,667 rows or more leave a weight little sampling error, and the others would cost as much again.
    """

    params: Params
    members: tuple[Learner, ...]

    def fit_propensity(
        self, covariates: pd.DataFrame, treatment: Int8, rng: np.random.Generator, weights: Float64 | None = None
    ) -> StackedPropensity:
        """Fit g."""
        arms = arms_of(treatment)
        require_arms(treatment, arms)
        seed = int(rng.integers(2**62))
        share = np.eye(1, len(self.members))[0]
        if self._weighs(treatment):
            held = np.full((len(treatment), len(self.members)), np.nan)
            for fold, train in self._folds(treatment, treatment, seed):
                for at, member in enumerate(self.members):
                    row_weights = None if weights is None else weights[train]
                    model = member.fit_propensity(covariates.loc[train], treatment[train], rng, row_weights)
                    predicted = model.predict(covariates.loc[fold])
                    held[fold, at] = predicted if arms == 2 else np.take_along_axis(predicted, treatment[fold, None], axis=1)[:, 0]
            # of more than two arms the probability of the arm that each row has: its log loss is that of an event that happened
            target = treatment.astype(np.float64) if arms == 2 else np.ones(len(treatment))
            share = _shares(held, target, "binary", weights)
        used = _used(share)
        fitted = tuple(self.members[at].fit_propensity(covariates, treatment, rng, weights) for at in used)
        return StackedPropensity(fitted, _renormed(share, used), tuple(used))

    def fit_outcome(
        self,
        covariates: pd.DataFrame,
        treatment: Int8,
        outcome: Float64,
        kind: str,
        rng: np.random.Generator,
        weights: Float64 | None = None,
    ) -> StackedOutcome:
        """Fit Q."""
        arms = arms_of(treatment)
        require_arms(treatment, arms)
        seed = int(rng.integers(2**62))
        share = np.eye(1, len(self.members))[0]
        if self._weighs(treatment):
            held = np.full((len(treatment), len(self.members)), np.nan)
            strata = treatment + arms * (outcome > 0.5) if kind == "binary" else treatment
            for fold, train in self._folds(treatment, strata, seed):
                for at, member in enumerate(self.members):
                    row_weights = None if weights is None else weights[train]
                    model = member.fit_outcome(covariates.loc[train], treatment[train], outcome[train], kind, rng, row_weights)
                    held[fold, at] = model.predict(covariates.loc[fold], treatment[fold])
            share = _shares(held, outcome, kind, weights)
        used = _used(share)
        fitted = tuple(self.members[at].fit_outcome(covariates, treatment, outcome, kind, rng, weights) for at in used)
        return StackedOutcome(fitted, _renormed(share, used), kind, tuple(used))

    def _weighs(self, treatment: Int8) -> bool:
        """Return whether there are enough rows to weight the members."""
        return len(self.members) > 1 and int(np.bincount(treatment).min()) >= self.params.fewest

    def _folds(
        self, treatment: Int8, strata: npt.NDArray[np.integer], seed: int
    ) -> list[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
        positions = np.arange(len(treatment), dtype=np.uint64)
        folds = assign_folds(positions, strata.astype(np.int64), self.params.inner_folds, seed)
        used = self.params.inner_folds if len(treatment) < self.params.most else 1
        return [(folds == fold, folds != fold) for fold in range(used)]


@dataclass(frozen=True)
class StreamedStack(StackLearner):
    """A stack with members that go on to all rows of a table beyond ``fit_rows``.

    The sample decides the members' weights and fits the others.
    """

    def refit(
        self,
        propensity: PropensityModel | None,
        outcome: OutcomeModel | None,
        batches: Callable[[], Iterator[FoldRows]],
        fold: int,
        heaviest: float,
    ) -> tuple[PropensityModel | None, OutcomeModel | None]:
        """Fit such members again on all rows outside a fold (:class:`tasks.contract.nuisance.StreamedLearner`)."""
        for at, member in enumerate(self.members):
            if isinstance(member, StreamedLearner):
                g, q = member.refit(_member(propensity, at), _member(outcome, at), batches, fold, heaviest)
                propensity, outcome = _with_member(propensity, at, g), _with_member(outcome, at, q)
        return propensity, outcome


def build(params: Params) -> StackLearner:
    """Return the learner, its members resolved by name."""
    members = tuple(cast("Learner", resolve("learner", name, params.params.get(name))) for name in params.members)
    return (StreamedStack if any(isinstance(member, StreamedLearner) for member in members) else StackLearner)(params, members)


def _member(stacked: object, at: int) -> Any:
    """Return what a learner fitted of a stack, None where it has no weight."""
    if isinstance(stacked, StackedPropensity | StackedOutcome) and at in stacked.places:
        return stacked.members[stacked.places.index(at)]
    return None


def _with_member(stacked: Any, at: int, model: object) -> Any:
    """Return a stack with another model of one learner."""
    if model is None:
        return stacked
    place = stacked.places.index(at)
    return replace(stacked, members=(*stacked.members[:place], model, *stacked.members[place + 1 :]))


def _shares(held: Float64, target: Float64, kind: str, weights: Float64 | None) -> Float64:
    """Return the members' weights by the rows that were predicted out of fold, shape (members,)."""
    rows = ~np.isnan(held[:, 0])
    return convex_weights(held[rows], target[rows], kind, None if weights is None else weights[rows])


def _used(share: Float64) -> list[int]:
    """Members to keep: a weight below 0.1 % costs time and does not change the prediction visibly."""
    return [at for at, weight in enumerate(share) if weight >= 1e-3]


def _renormed(share: Float64, used: list[int]) -> tuple[float, ...]:
    kept = share[used] / share[used].sum()
    return tuple(float(weight) for weight in kept)
