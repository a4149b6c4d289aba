"""The SPEC's sections of single outcomes: kind, law and range."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tasks.contract.spec.section import Section


class OutcomeSpec(Section):
    """One outcome: ``[outcomes.NAME]``."""

    kind: Literal["auto", "binary", "continuous", "count"] = Field("auto", description="family of its mean, as roles.outcome_kind")
    law: str = Field("auto", min_length=1, description='law around its mean: tilt, scale, poisson, ...; "auto" chooses by CRPS')
    range: tuple[float, float] | None = Field(None, description="range of its values; mechanisms.outcome_range says the same")

    @model_validator(mode="after")
    def _ordered(self) -> OutcomeSpec:
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError("range must be [low, high] with low < high")
        return self
