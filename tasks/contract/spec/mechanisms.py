"""The SPEC's section of the mechanisms of treatment and outcome."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from tasks.contract.spec.section import Section


class MechanismsSpec(Section):
    """The mechanisms of A and Y."""

    treatment: Literal["randomized", "fitted", "tilted"] = "randomized"
    probability: float = Field(0.5, gt=0, lt=1, description="P(A = 1) of the randomized design")
    tilt: float = Field(1.0, ge=0, le=10, description="factor on logit g of the tilted design")
    learner: str = "stack"
    params: dict[str, Any] = Field(default_factory=dict)
    folds: int = Field(5, ge=2, le=20)
    fit_rows: int = Field(100_000, ge=200, description="most rows a learner is fitted on in one fold (a hash sample)")
    repeats: Literal["auto"] | int = Field("auto", description='cross-fittings averaged; "auto" is 3 up to 2,000 rows and 1 above')
    propensity: float | None = Field(None, gt=0, lt=1, description="known P(treated), as in a trial; fitted where it is not given")
    truncation: Literal["auto"] | float = Field("auto", description='propensities are kept in [d, 1-d]; "auto" is Gruber et al. 2022')
    targeting: Literal["adaptive", "full"] = Field("adaptive", description="whether poor overlap may weaken targeting")
    targets: tuple[Literal["ate", "att"], ...] = Field(
        ("ate",), min_length=1, description="effects that Q* carries exactly; those of roles.subgroups always are"
    )
    outcome_range: tuple[float, float] | None = Field(None, description="range drawn outcomes are clipped to")
    pool: float = Field(4.0, ge=1, le=20, description="size of the covariate pool that calibration chooses from, per released row")

    @model_validator(mode="after")
    def _ranges(self) -> MechanismsSpec:
        if self.outcome_range is not None and not self.outcome_range[0] < self.outcome_range[1]:
            raise ValueError("outcome_range must be [low, high] with low < high")
        if self.repeats != "auto" and not 1 <= self.repeats <= 50:
            raise ValueError('repeats must be "auto" or in [1, 50]')
        if "ate" not in self.targets or len(set(self.targets)) < len(self.targets):
            raise ValueError('targets must hold "ate", and no target twice')
        if self.truncation != "auto" and not 0 <= float(self.truncation) < 0.5:
            raise ValueError('truncation must be "auto" or in [0, 0.5)')
        return self
