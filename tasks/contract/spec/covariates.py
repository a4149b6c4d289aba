"""The SPEC's section of the covariates' synthesizer."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from tasks.contract.spec.section import Section

#: The synthesizer "auto" changes at this many rows: trees that are walked row by row give way to compiled ones fitted in one pass.
AUTO, MANY_ROWS = "auto", 1_000_000


class CovariatesSpec(Section):
    """The synthesizer of W."""

    synthesizer: str = Field(
        "auto",
        description='name of a synthesizer; "auto" is forest, and chain for sources of 1,000,000 rows and more',
        examples=["forest"],
    )
    params: dict[str, Any] = Field(
        default_factory=dict, description="parameters of the synthesizer; docs/spec.md lists them", examples=[{"min_leaf": 30}]
    )
    fit_rows: int | None = Field(
        None,
        ge=200,
        description="most training rows the synthesizer is fitted on (a hash sample); where left out: 50,000, for chain 1,000,000",
        examples=[50_000],
    )

    @model_validator(mode="after")
    def _params_are_of_one(self) -> CovariatesSpec:
        if self.params and self.synthesizer == AUTO:
            raise ValueError("params need a synthesizer that is named")
        return self

    def resolved(self, rows: int) -> CovariatesSpec:
        """Return the section with the synthesizer that "auto" is for a source of so many rows."""
        name = "chain" if rows >= MANY_ROWS else "forest"
        return self.model_copy(update={"synthesizer": name}) if self.synthesizer == AUTO else self
