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
    arms = overlap.arms or (
        ("control", overlap.control, overlap.ess_control),
        ("treated", overlap.treated, overlap.ess_treated),
    )
    weakest, _, share = min(reversed(arms), key=lambda arm: arm[2])
    shares, sizes = _listed([(name, f"{ess:.3f}") for name, _, ess in arms]), _listed([(name, str(rows)) for name, rows, _ in arms])
    detail = f"effective share of the {weakest} arm; {shares}"
    if overlap.ess is not None:
        share, detail = overlap.ess, f"effective rows that the {overlap.estimand.upper()} rests on, for each row that they stand beside"
    return [
        gate("source_overlap", overlap.outside, gates, detail=_detail(overlap)),
        gate("source_ess", share, gates, detail=detail),
        gate("min_arm", float(min(rows for _, rows, _ in arms)), gates, detail=f"rows by arm: {sizes}" if overlap.arms else _two(overlap)),
    ]


def _listed(values: list[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {value}" for name, value in reversed(values))


def _two(overlap: OverlapEvidence) -> str:
    return f"{overlap.treated} treated and {overlap.control} control rows"


def _detail(overlap: OverlapEvidence) -> str:
    if overlap.estimand == "att":
        return f"share of a treated arm's rows whose chance to be a control is below {overlap.bound:.4g}"
    if overlap.estimand == "ato":
        return "the effect in the overlap asks for none elsewhere"
    if overlap.arms:
        return f"share of {overlap.rows} rows with a propensity of some arm below {overlap.bound:.4g}"
    return f"share of {overlap.rows} rows with g outside [{overlap.bound:.4g}, {1 - overlap.bound:.4g}]"


def _information(name: str, overlap: OverlapEvidence) -> list[Metric]:
    metrics = [Metric(f"{name}_largest_weight", overlap.largest_weight, detail="share of its arm's weights that one row carries")]
    if name == "release":
        metrics.append(
            Metric(
                "release_ess",
                min([overlap.ess_treated, overlap.ess_control, *(ess for _, _, ess in overlap.arms)]),
                detail="smallest effective share of an arm",
            )
        )
    if overlap.slope is not None:
        metrics.append(Metric(f"{name}_calibration_slope", overlap.slope, detail="of g: 1 where calibrated, below 1 where too extreme"))
    return metrics
