"""Ridge-penalised GLMs with squares and treatment-covariate interactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from tasks.contract.nuisance import Float64, Int8, OutcomeModel, Predictions, PropensityModel
from tasks.nuisance.bounds import arms_of, on_simplex, require_arms, within
from tasks.nuisance.cells import Cells
from tasks.nuisance.descent import Problem
from tasks.nuisance.design import Design, arm_coefficients, eta_of, fit_design
from tasks.nuisance.folded import predict_folds, standard
from tasks.nuisance.multinomial import fit_multinomial, probabilities, shares_of
from tasks.nuisance.passes import FoldDesign, GlmRefinement
from tasks.nuisance.regressors import regressors
from tasks.nuisance.ridge import FAMILY, Family, fit_ridge, mean_of
from tasks.nuisance.scoring.sums import Part, Scoring

_REACH = float(np.log(2.0))  # how far the linear predictor of a count may lie outside that of the training rows


class Params(BaseModel):
    """Parameters of the GLM learner."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    squares: bool = Field(True, description="squares of numeric covariates with at least five distinct values")
    interactions: bool = Field(True, description="treatment-covariate interactions in Q")
    interaction_penalty: float = Field(4.0, ge=0.1, le=100, description="penalty of interactions relative to that of main effects")
    max_levels: int = Field(50, ge=2, le=1000, description="most levels of one category that get a column of their own")


@dataclass(frozen=True)
class LinearPropensity:
    """A fitted logistic g."""

    design: Design
    coefficients: Float64
    strength: float

    def predict(self, covariates: pd.DataFrame) -> Float64:
        """Return P(A = 1 | W), shape (n,), inside [1e-6, 1 - 1e-6]."""
        eta = self.coefficients[0] + self.design.matrix(covariates) @ self.coefficients[1:]
        return within("binary", mean_of("binomial", eta))

    def join(self, scoring: Scoring) -> Part:
        """Join a pass (:class:`tasks.nuisance.scoring.sums.ScoredPropensity`)."""
        at = scoring.add_linear(self.design, float(self.coefficients[0]), self.coefficients[1:])
        return lambda sums: within("binary", mean_of("binomial", sums.linear[at]))


@dataclass(frozen=True)
class MultinomialPropensity:
    """A fitted multinomial logistic g of more than two arms; ``coefficients`` of shape (1 + width, K - 1)."""

    design: Design
    coefficients: Float64
    strength: float

    def predict(self, covariates: pd.DataFrame) -> Float64:
        """Return P(A = k | W), shape (n, K), rows summing to one."""
        x = np.column_stack((np.ones(len(covariates)), self.design.matrix(covariates)))
        return on_simplex(probabilities(x, self.coefficients))

    def join(self, scoring: Scoring) -> Part:
        """Join a pass (:class:`tasks.nuisance.scoring.sums.ScoredPropensity`)."""
        places = [scoring.add_linear(self.design, float(column[0]), column[1:]) for column in self.coefficients.T]
        return lambda sums: on_simplex(shares_of(sums.linear[places].T))


@dataclass(frozen=True)
class LinearOutcome:
    """A fitted Q with canonical link; ``centre`` and ``scale`` undo the standardisation of a continuous outcome."""

    design: Design
    coefficients: Float64
    interactions: bool
    kind: str
    centre: float
    scale: float
    low: float
    high: float
    strength: float
    arms: int = 2

    def predict(self, covariates: pd.DataFrame, treatment: Int8) -> Float64:
        """Return E[Y | A, W], shape (n,)."""
        eta = eta_of(self.design.matrix(covariates), treatment, self.coefficients, self.interactions, self.arms)
        return self._mean(eta)

    def join_arm(self, scoring: Scoring, arm: int) -> Part:
        """Join a pass (:class:`tasks.nuisance.scoring.sums.ScoredOutcome`)."""
        intercept, slopes = arm_coefficients(self.coefficients, self.design.width, arm, self.interactions, self.arms)
        at = scoring.add_linear(self.design, intercept, slopes)
        return lambda sums: self._mean(sums.linear[at])

    def _mean(self, eta: Float64) -> Float64:
        if self.kind == "count":
            # a log link would otherwise multiply small extrapolations up
            eta = np.clip(eta, self.low, self.high)
        return within(self.kind, self.centre + self.scale * mean_of(FAMILY[self.kind], eta))

    def predict_product(self, rows: pd.DataFrame, others: pd.DataFrame, arm: int) -> Float64:
        """Return predictions of every row with some columns of every other row, shape (n, m): the link is a sum of both.

        Parameters
        ----------
        rows : DataFrame, n rows
            With those columns as in the first row of ``others``.
        others : DataFrame, m rows
            Alike but for those columns.
        arm : int
        """
        base, steps = (
            eta_of(self.design.matrix(frame), np.full(len(frame), arm, dtype=np.int8), self.coefficients, self.interactions, self.arms)
            for frame in (rows, others)
        )
        eta = base[:, None] + (steps - steps[0])
        return within(self.kind, self.centre + self.scale * mean_of(FAMILY[self.kind], eta))


@dataclass(frozen=True)
class GlmLearner:
    """Ridge GLMs: (multinomial) logistic g; Q with identity, logit or log link for continuous, binary or count outcomes.

    Intercept and treatment effects are never penalised; interactions enter as ``(A - 1/2) x`` with centred x (more arms as
    :func:`tasks.nuisance.design.arm_codes`), so renaming the arms renames their Q and changes nothing else. The strength is chosen by
    approximate leave-one-out; nothing is drawn, ``rng`` is not used.
    """

    params: Params

    def fit_propensity(
        self,
        covariates: pd.DataFrame,
        treatment: Int8,
        rng: np.random.Generator,  # noqa: ARG002, the Learner protocol
        weights: Float64 | None = None,
    ) -> LinearPropensity | MultinomialPropensity:
        """Fit g."""
        arms = arms_of(treatment)
        require_arms(treatment, arms)
        design = self.design(covariates)
        if arms > 2:
            x = np.column_stack((np.ones(len(treatment)), design.matrix(covariates)))
            several = fit_multinomial(x, treatment, arms, self._propensity_penalty(design), weights)
            return MultinomialPropensity(design, several.coefficients, several.strength)
        penalty = self._propensity_penalty(design)
        fit = fit_ridge(regressors(design, covariates, None), treatment.astype(np.float64), penalty, "binomial", weights)
        return LinearPropensity(design, fit.coefficients, fit.strength)

    def fit_outcome(
        self,
        covariates: pd.DataFrame,
        treatment: Int8,
        outcome: Float64,
        kind: str,
        rng: np.random.Generator,  # noqa: ARG002, the Learner protocol
        weights: Float64 | None = None,
    ) -> LinearOutcome:
        """Fit Q: one regression for all arms."""
        arms = arms_of(treatment)
        require_arms(treatment, arms)
        design = self.design(covariates)
        x = regressors(design, covariates, treatment, self.params.interactions, arms)
        penalty = self._outcome_penalty(design, arms)
        family: Family = FAMILY[kind]
        centre, scale = standard(outcome, weights) if kind == "continuous" else (0.0, 1.0)
        fit = fit_ridge(x, (outcome - centre) / scale, penalty, family, weights)
        eta = x @ fit.coefficients
        low, high = float(eta.min()) - _REACH, float(eta.max()) + _REACH
        return LinearOutcome(design, fit.coefficients, self.params.interactions, kind, centre, scale, low, high, fit.strength, arms)

    def predict_folds(
        self,
        covariates: pd.DataFrame,
        treatment: Int8,
        outcome: Float64,
        kind: str,
        folds: Int8,
        further: Sequence[tuple[Float64, str]] = (),
    ) -> Predictions:
        """Return out-of-fold predictions of a small table (:func:`tasks.nuisance.folded.predict_folds`)."""
        return predict_folds(self, _REACH, covariates, treatment, ((outcome, kind), *further), folds)

    @property
    def interacts(self) -> bool:
        """Whether Q has treatment-covariate interactions."""
        return self.params.interactions

    def design(self, covariates: pd.DataFrame | Cells) -> Design:
        """Fit the design on training rows."""
        return fit_design(covariates, self.params.squares, self.params.max_levels)

    def penalties(self, design: Design) -> tuple[Float64, Float64]:
        """Return the relative penalties of the columns of g and of Q."""
        return self._propensity_penalty(design), self._outcome_penalty(design)

    def refinement(
        self, propensities: Sequence[PropensityModel | None], outcomes: Sequence[OutcomeModel], rows: Sequence[int], kind: str
    ) -> GlmRefinement:
        """Return the passes over all rows that go on from models of a sample (:class:`tasks.nuisance.passes.GlmRefinement`).

        What the sample decided stays: the map from covariates to columns (centres, scales, fills, ranges, levels), the units of a
        continuous outcome, and the penalty as a whole: the strength per row falls as rows are added. Coefficients are fitted to
        all rows exactly.
        """
        folds = []
        for g, q, n in zip(propensities, outcomes, rows, strict=True):
            if not isinstance(q, LinearOutcome) or not isinstance(g, LinearPropensity | None):
                raise TypeError(f"models of a refinement must be those of this learner; got {type(g).__name__} and {type(q).__name__}.")
            problem = None
            if g is not None:
                problem = Problem(g, "binomial", self._propensity_penalty(g.design), g.strength * n, None)
            penalty = self._outcome_penalty(q.design)
            other = Problem(
                q, FAMILY[kind], penalty, q.strength * n, q.interactions, q.centre, q.scale, _REACH if kind == "count" else None
            )
            folds.append(FoldDesign(q.design, problem, other))
        return GlmRefinement(tuple(folds))

    def _propensity_penalty(self, design: Design) -> Float64:
        return np.concatenate(([0.0], np.ones(design.width)))

    def _outcome_penalty(self, design: Design, arms: int = 2) -> Float64:
        penalty = np.concatenate((np.zeros(arms), np.ones(design.width)))
        products = np.full((arms - 1) * design.width, self.params.interaction_penalty)
        return np.concatenate((penalty, products)) if self.params.interactions else penalty


def build(params: Params) -> GlmLearner:
    """Return the learner."""
    return GlmLearner(params)
