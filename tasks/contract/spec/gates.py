"""The SPEC's section of thresholds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasks.contract.spec.section import Off, Section

# bounds stand on the number, not on the field, where False would have to meet them; strict, so that true is no 1.0
PValue = Annotated[float, Field(gt=0, lt=1, strict=True)] | Off
Share = Annotated[float, Field(ge=0, le=1, strict=True)] | Off
Positive = Annotated[float, Field(gt=0, strict=True)] | Off
Margin = Annotated[float, Field(ge=0, lt=1, strict=True)] | Off
Rows = Annotated[int, Field(ge=2, strict=True)] | Off
Count = Annotated[int, Field(ge=1, le=1000, strict=True)] | Off


class GatesSpec(Section):
    """Thresholds; ``false`` switches a gate off and the manifest says so. docs/gates.md gives the reason for each number."""

    near_copies: PValue = Field(0.01, description="smallest p-value of the excess of near copies that passes")
    exact_copies: PValue = Field(0.01, description="smallest p-value of the excess of exact copies that passes")
    closeness_z: Positive = Field(2.33, description="largest z of the share closer to seed than to holdout, beyond the margin")
    closeness_margin: float = Field(0.05, ge=0, lt=1, description="share of rows that may lean to the seed as if copied")
    closeness_excess: Share = Field(
        0.05, description="largest share of rows beyond the null that lean to the seed; inconclusive where only the interval's end is above"
    )
    closeness_groups: PValue = Field(0.01, description="smallest p-value of the largest z over groups of columns that passes")
    holdout_budget: Count = Field(10, description="releases of one source that the same holdout may fail before it is spent")
    holdout_query: Positive = Field(4.0, description="threshold T of Thresholdout, in standard deviations of the null")
    holdout_noise: float = Field(0.1, gt=0, le=10, description="noise scale sigma of Thresholdout, in the same unit")
    dcr_margin: Margin = Field(0.2, description="5th percentile DCR ratio must be at least 1 - margin")
    min_reference_rows: int = Field(100, ge=20, description="fewest seed and holdout rows a distance gate may judge on")
    distance_rows: int = Field(20_000, ge=100, description="most rows of release and references the distance gates use (hash samples)")
    source_overlap: Share = Field(0.1, description="largest share of source rows with g outside [d, 1-d]")
    release_overlap: Share = Field(0.1, description="largest share of release rows with g outside [d, 1-d]")
    overlap_bound: float | Literal["auto"] = Field("auto", description="d of the overlap gates")
    source_ess: Share = Field(0.2, description="smallest effective share of an arm of the source")
    min_arm: Rows = Field(50, description="fewest source rows in an arm")
    calibration: Share = Field(0.05, description="how far calibration may give up: 0 meets every mean of the source, 1 none")
    fidelity: Positive = Field(2.58, description="largest |ATE_release - ATE_source| in combined standard errors")
    levels: bool = Field(True, description="no value outside the source's levels and safe ranges")
    columns: bool = Field(True, description="names, order and types as in the source")
    membership_tpr: Share = Field(False, description="largest share of seed rows an attacker may recognise at 1 % false positives")
    membership_auc: Share = Field(False, description="largest area under the curve of a membership attack")
    attribute_advantage: Share = Field(False, description="largest gain of linear reconstruction on seed rows over holdout rows")
    linkability_advantage: Share = Field(False, description="largest gain of a linkability attack on seed rows over holdout rows")
    singling_out_advantage: Share = Field(False, description="largest gain of a singling-out attack on seed rows over holdout rows")
    inconclusive: Literal["warn", "fail"] = Field("warn", description="whether a gate that can't tell warns or fails")
