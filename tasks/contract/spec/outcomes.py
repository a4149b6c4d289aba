"""The SPEC's sections of single outcomes: kind, law and range."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tasks.contract.spec.section import Section


class OutcomeSpec(Section):
    """The outcome column NAME."""

    kind: Literal["auto", "binary", "continuous", "count"] = Field(
        "auto", description="kind of the outcome; the same key as roles.outcome_kind"
    )
    law: str = Field(
        "auto",
        min_length=1,
        description='law of the outcome around its mean; docs/methods.md lists them, "auto" chooses by cross-validated CRPS',
    )
    range: tuple[float, float] | None = Field(
        None, description="lowest and highest value; the same key as mechanisms.outcome_range", examples=[[-50.0, 50.0]]
    )

    @model_validator(mode="after")
    def _ordered(self) -> OutcomeSpec:
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError("range must be [low, high] with low < high")
        return self
