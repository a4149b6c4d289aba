"""The SPEC's section of ``waymint augment``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasks.contract.spec.section import Off, Section


class AugmentSpec(Section):
    """What ``waymint augment`` adds."""

    outcome: str = Field(
        "self", min_length=1, description='where outcomes come from: "self", the URI of another table, or a release STORE/NAME[@VERSION]'
    )
    averaging: Literal["real", "pooled"] = Field("real", description="rows that effects are averaged over: those of the source, or all")
    most: float = Field(0.9, gt=0, lt=1, description="largest share of added rows among all rows")
    flip: float = Field(0.0, ge=0, le=0.5, description="share of the other table's binary outcomes that is flipped, for a test")
    draws: int = Field(20, ge=5, le=500, description="bootstrap draws of the outcome model, for its error")
    fit_rows: int = Field(20_000, ge=200, description="most rows of a table that the bootstrap draws are fitted on (a hash sample)")
    leaf: int = Field(20, ge=20, description="fewest source rows in a region that the report describes")
    worth: Annotated[float, Field(gt=0, strict=True)] | Off = Field(
        1.1, description="gate: largest expected squared error of augmenting over that of the best other way"
    )
