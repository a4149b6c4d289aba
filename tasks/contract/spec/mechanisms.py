"""The SPEC's section of the mechanisms of treatment and outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tasks.contract.spec.section import Section

Chance = Annotated[float, Field(gt=0, lt=1)]


class MechanismsSpec(Section):
    """The models of treatment and outcome, and how A and Y are drawn."""

    treatment: Literal["randomized", "fitted", "tilted"] = Field(
        "randomized", description="design of the release: a randomized trial, the fitted propensity, or a tilted propensity"
    )
    probability: float = Field(0.5, gt=0, lt=1, description="P(treated) in the randomized design of two arms")
    shares: dict[str, float] = Field(
        default_factory=dict,
        description="share of each arm in the randomized design, by its label, summing to one; by default equal ones of more than two arms",
        examples=[{"placebo": 0.5, "low": 0.25, "high": 0.25}],
    )
    tilt: float = Field(1.0, ge=0, le=10, description="factor on logit g in the tilted design")
    learner: str = Field("stack", description="learner of g and Q: stack, glm, boosted, xgboost or a plug-in", examples=["glm"])
    params: dict[str, Any] = Field(default_factory=dict, description="parameters of the learner", examples=[{"squares": False}])
    folds: int = Field(5, ge=2, le=20, description="folds of the cross-fit")
    fit_rows: int = Field(
        100_000, ge=200, description="most rows a learner is fitted on in one fold (a hash sample); glm and xgboost go on to all rows"
    )
    repeats: Literal["auto"] | int = Field(
        "auto", description='number of cross-fits averaged, at most 50; "auto" is 3 up to 2,000 rows and 1 above'
    )
    propensity: Chance | dict[str, Chance] | None = Field(
        None,
        description="known P(treated) of a trial, or the chance of each arm by its label, summing to one; where left out, it is fitted",
        examples=[0.5, {"placebo": 0.5, "low": 0.25, "high": 0.25}],
    )
    truncation: Literal["auto"] | float = Field(
        "auto", description='propensities are truncated to [d, 1-d], 0 <= d < 0.5; "auto" is the rule of Gruber et al. 2022'
    )
    targeting: Literal["adaptive", "full"] = Field(
        "adaptive", description="whether targeting is weakened where overlap is poor (adaptive) or never (full)"
    )
    targets: tuple[Literal["ate", "att", "ato"], ...] = Field(
        ("ate",),
        min_length=1,
        description="effects that the release carries; without ate only overlap for the others is asked for. Effects of roles.subgroups "
        'are added beside ate. "att" and "ato" need the fitted design',
        examples=[["att"]],
    )
    outcome_range: tuple[float, float] | None = Field(
        None, description="lowest and highest outcome that can be drawn", examples=[[-50.0, 50.0]]
    )
    pool: float = Field(4.0, ge=1, le=20, description="rows of the covariate pool per released row; calibration chooses from the pool")

    @property
    def estimand(self) -> Literal["ate", "att", "ato"]:
        """The effect that the release is made for: the ATE where it is a target, else the first one."""
        return "ate" if "ate" in self.targets else self.targets[0]

    def known_propensity(self, labels: Sequence[str]) -> float | tuple[float, ...] | None:
        """Return the known P(A = 1) of two arms, or the chances of K arms in the order of their labels; None where g is to be fitted."""
        if not isinstance(self.propensity, dict):
            return self.propensity
        chances = tuple(self.propensity[label] for label in labels)
        return chances[1] if len(labels) == 2 else chances

    @model_validator(mode="after")
    def _ranges(self) -> MechanismsSpec:
        if self.outcome_range is not None and not self.outcome_range[0] < self.outcome_range[1]:
            raise ValueError("outcome_range must be [low, high] with low < high")
        if self.repeats != "auto" and not 1 <= self.repeats <= 50:
            raise ValueError('repeats must be "auto" or in [1, 50]')
        if len(set(self.targets)) < len(self.targets):
            raise ValueError("targets must not hold a target twice")
        if self.shares and (min(self.shares.values()) <= 0 or abs(sum(self.shares.values()) - 1.0) > 1e-6):
            raise ValueError("shares must be positive and sum to one")
        if isinstance(self.propensity, dict) and abs(sum(self.propensity.values()) - 1.0) > 1e-6:
            raise ValueError("propensity must sum to one over the arms")
        if self.truncation != "auto" and not 0 <= float(self.truncation) < 0.5:
            raise ValueError('truncation must be "auto" or in [0, 0.5)')
        return self
