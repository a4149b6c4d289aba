"""Overlap of the arms: is the question answerable in the source, and stays it so in the release."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks.checks.evidence import Evidence, OverlapEvidence
from tasks.checks.metric import Metric, gate
from tasks.contract.spec import GatesSpec


class Params(BaseModel):
    """No parameters: the thresholds are in ``gates`` of the SPEC."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OverlapCheck:
    """Judges propensities, weights and arms of the source, and propensities of the release."""

    def measure(self, evidence: Evidence, gates: GatesSpec) -> list[Metric]:
        """Return the gates of whichever table was measured."""
        metrics: list[Metric] = []
        if evidence.source is not None:
            metrics += _source(evidence.source, gates) + _information("source", evidence.source)
        if evidence.release is not None:
            metrics.append(gate("release_overlap", evidence.release.outside, gates, detail=_detail(evidence.release)))
            metrics += _information("release", evidence.release)
        return metrics


def build(params: Params) -> OverlapCheck:  # noqa: ARG001 - every method's build takes its Params
    """Return the check."""
    return OverlapCheck()


def _source(overlap: OverlapEvidence, gates: GatesSpec) -> list[Metric]:
    arm = "treated" if overlap.ess_treated <= overlap.ess_control else "control"
    return [
        gate("source_overlap", overlap.outside, gates, detail=_detail(overlap)),
        gate(
            "source_ess",
            min(overlap.ess_treated, overlap.ess_control),
            gates,
            detail=f"effective share of the {arm} arm; treated {overlap.ess_treated:.3f}, control {overlap.ess_control:.3f}",
        ),
        gate(
            "min_arm",
            float(min(overlap.treated, overlap.control)),
            gates,
            detail=f"{overlap.treated} treated and {overlap.control} control rows",
        ),
    ]


def _detail(overlap: OverlapEvidence) -> str:
    return f"share of {overlap.rows} rows with g outside [{overlap.bound:.4g}, {1 - overlap.bound:.4g}]"


def _information(name: str, overlap: OverlapEvidence) -> list[Metric]:
    metrics = [Metric(f"{name}_largest_weight", overlap.largest_weight, detail="share of its arm's weights that one row carries")]
    if name == "release":
        metrics.append(Metric("release_ess", min(overlap.ess_treated, overlap.ess_control), detail="smallest effective share of an arm"))
    if overlap.slope is not None:
        metrics.append(Metric(f"{name}_calibration_slope", overlap.slope, detail="of g: 1 where calibrated, below 1 where too extreme"))
    return metrics
