"""The SPEC's section of column roles."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tasks.contract.spec.section import Section

Label = str | int | float | bool
Kind = Literal["continuous", "integer", "boolean", "categorical", "datetime"]


class RolesSpec(Section):
    """Which column plays which part."""

    treatment: str = Field(min_length=1)
    treated: Label = Field(1, description="the label that means 'treated'")
    outcome: str = Field(min_length=1)
    outcome_kind: Literal["auto", "binary", "continuous", "count"] = "auto"
    event: Label | None = Field(None, description="label of a two-valued outcome that counts as 1; not needed for 0/1 and yes/no pairs")
    covariates: Literal["*"] | tuple[str, ...] = Field("*", description='a list of columns, or "*" for all others')
    exclude: tuple[str, ...] = Field((), description='columns left out of "*"')
    kinds: dict[str, Kind] = Field(default_factory=dict, description="overrides of detected covariate kinds")
    subgroups: tuple[str, ...] = Field((), description="declared GATE columns")
    missing_outcome: Literal["error", "drop"] = "error"
    missing_treatment: Literal["error", "drop"] = "error"
    max_levels: int = Field(200, ge=2, le=5000, description="most levels a categorical covariate may have")

    @model_validator(mode="after")
    def _distinct(self) -> RolesSpec:
        if self.treatment == self.outcome:
            raise ValueError("treatment and outcome must be two different columns")
        if isinstance(self.covariates, tuple):
            if not self.covariates:
                raise ValueError("covariates must name at least one column")
            if len(set(self.covariates)) != len(self.covariates):
                raise ValueError("covariates must not name a column twice")
            if {self.treatment, self.outcome} & set(self.covariates):
                raise ValueError("covariates must not contain the treatment or the outcome")
        return self
