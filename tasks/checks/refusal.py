"""When a gate that asks the holdout gives no number."""

from __future__ import annotations

from tasks.checks.evidence import DistanceEvidence, Evidence
from tasks.contract.spec import GatesSpec

SPENT = "the holdout's budget is spent: it is not asked any more, see holdout_budget"


def refusal(evidence: Evidence, gates: GatesSpec) -> str:
    """Return why the holdout can't be queried; an empty text where it can.

    Parameters
    ----------
    evidence : Evidence
        With distances.
    gates : GatesSpec
    """
    return SPENT if evidence.spent else too_few(evidence.distance, gates) if evidence.distance is not None else ""


def too_few(distance: DistanceEvidence, gates: GatesSpec) -> str:
    """Say which side of the comparison has too few rows, or nothing."""
    if len(distance.training) and min(distance.n_training, distance.n_holdout) >= gates.min_reference_rows:
        return ""
    return (
        f"{distance.n_training} training and {distance.n_holdout} holdout {distance.unit}; a distance gate needs at least "
        f"{gates.min_reference_rows} of each and a released row (gates.min_reference_rows)"
    )
