"""The SPEC's section of what is drawn."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tasks.contract.spec.section import Section


class ReleaseSpec(Section):
    """What is drawn."""

    rows: int = Field(10_000, ge=1, le=1_000_000_000)
    copies: int = Field(1, ge=1, le=100)
    mode: Literal["hybrid", "full"] = "hybrid"
    part_rows: int = Field(100_000, ge=100, description="rows of one Parquet part")
    draws: Literal["iid", "balanced"] = Field(
        "iid", description="balanced: treatments and outcomes drawn so that the release's own estimate hardly varies with the draw"
    )
    include_nuisances: bool = Field(
        False,
        description="add columns waymint_g, waymint_q0, waymint_q1, the mechanisms' truth of each row, and mechanisms.json, the law around "
        "it: 'waymint simulate' can start from such a release",
    )

    @model_validator(mode="after")
    def _known(self) -> ReleaseSpec:
        if self.draws == "balanced" and self.mode == "full":
            raise ValueError('draws "balanced" needs mode "hybrid": in mode "full" treatment and outcome are not drawn from mechanisms')
        if self.include_nuisances and self.mode == "full":
            raise ValueError('include_nuisances needs mode "hybrid": in mode "full" no mechanism is known')
        return self
