"""Closeness beyond one number: how large its excess may be, and whether it hides in some of the columns."""

from __future__ import annotations

import math

import numpy as np
from pydantic import BaseModel, ConfigDict

from tasks.checks.evidence import DistanceEvidence, Evidence, GroupEvidence
from tasks.checks.joint import joint_closeness
from tasks.checks.metric import Metric, gate
from tasks.checks.null import closeness, tally
from tasks.checks.refusal import refusal
from tasks.contract.spec import GatesSpec
from tasks.numerics.normal import Z95

#: Most columns of a group that are named.
_SHOWN = 6


class Params(BaseModel):
    """No parameters: the thresholds are in ``gates`` of the SPEC."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ClosenessCheck:
    """Asks how much closer to training rows than to holdout rows the release can be, and looks at groups of columns."""

    def measure(self, evidence: Evidence, gates: GatesSpec) -> list[Metric]:
        """Return a gate on the excess, and one on groups of columns where they were compared; refusals where rows are too few."""
        distance = evidence.distance
        if distance is None:
            return []
        fault = refusal(evidence, gates)
        if fault:
            refused = [gate("closeness_excess", None, gates, refused=True, detail=fault)]
            if evidence.groups is not None:
                refused.append(gate("closeness_groups", None, gates, refused=True, detail=fault))
            return refused
        return [_excess(distance, gates), *([] if evidence.groups is None else _groups(evidence.groups, gates))]


def build(params: Params) -> ClosenessCheck:  # noqa: ARG001 - every method's build takes its Params
    """Return the check."""
    return ClosenessCheck()


def _excess(distance: DistanceEvidence, gates: GatesSpec) -> Metric:
    counts = tally(distance.pool_distances, distance.pool_rows, distance.pool_training + distance.pool_holdout)
    seen = closeness(counts, distance.pool_training, distance.pool_holdout)
    excess, half = seen.share - seen.null, Z95 * seen.sd
    return gate(
        "closeness_excess",
        excess,
        gates,
        low=excess - half,
        high=excess + half,
        detail=f"share {seen.share:.4f} less {seen.null:.4f} expected; 95 % limits of random relabelling",
    )


def _groups(groups: GroupEvidence, gates: GatesSpec) -> list[Metric]:
    rng = np.random.default_rng(groups.state)
    seen = joint_closeness(groups.counts, groups.training, gates.closeness_margin, rng)
    columns = groups.columns[seen.worst]
    named = ", ".join(columns[:_SHOWN]) + (f" and {len(columns) - _SHOWN} more" if len(columns) > _SHOWN else "")
    share = seen.share[seen.worst]
    text = (
        "no row stands alone there"
        if math.isnan(share)
        else f"{share:.4f} of the rows are closest to a training row, {seen.null:.4f} expected"
    )
    which = "all columns" if groups.names[seen.worst] == "all" else f"group '{groups.names[seen.worst]}' ({named})"
    detail = f"largest z {seen.z[seen.worst]:.2f} of {len(groups.names)} groups of columns, in {which}: {text}"
    metrics = [gate("closeness_groups", seen.p, gates, detail=detail)]
    return [*metrics, Metric("closeness_groups_z", seen.z[seen.worst], detail="the largest z over groups, beyond the margin")]
