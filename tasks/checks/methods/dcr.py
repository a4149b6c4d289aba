"""Distance to closest record: near copies, exact copies, closeness share, 5th percentile ratio."""

from __future__ import annotations

import math

import numpy as np
from pydantic import BaseModel, ConfigDict

from tasks.checks.evidence import DistanceEvidence, Evidence
from tasks.checks.metric import Metric, gate
from tasks.checks.null import SAME, allowance, closeness, coincidence_p, exceedance_p, hit, quantile_ratio, tally, training_side_p
from tasks.checks.refusal import refusal
from tasks.checks.reuse import near_radius
from tasks.contract.disclosure import few
from tasks.contract.spec import GatesSpec
from tasks.numerics.normal import Z95

#: A faithful law may put up to this many times the expected share of rows near the training rows; more counts as copying.
TOLERANCE = 3
#: The low quantile whose ratio is judged.
LOW_QUANTILE = 0.05


class Params(BaseModel):
    """No parameters: the thresholds are in ``gates`` of the SPEC."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DistanceCheck:
    """Compares what the release knows of the training rows with what it knows of the holdout."""

    def measure(self, evidence: Evidence, gates: GatesSpec) -> list[Metric]:
        """Return four gates and the numbers behind them; four refusals where the references are too small."""
        distance = evidence.distance
        if distance is None:
            return []
        fault = refusal(evidence, gates)
        if fault:
            return _refusals(fault, gates)
        return [
            *_near_copies(distance, gates),
            *_exact_copies(distance, gates),
            *_closeness(distance, gates),
            _low_quantile(distance, gates),
        ]


def build(params: Params) -> DistanceCheck:  # noqa: ARG001 - every method's build takes its Params
    """Return the check."""
    return DistanceCheck()


def _refusals(fault: str, gates: GatesSpec) -> list[Metric]:
    return [gate(name, None, gates, refused=True, detail=fault) for name in ("near_copies", "exact_copies", "closeness_z", "dcr_margin")]


def _near_copies(distance: DistanceEvidence, gates: GatesSpec) -> list[Metric]:
    """Judge rows closer to the training rows than 1 % of the holdout rows come: on the side of the training rows, and in number."""
    n = len(distance.training)
    order, radius = near_radius(distance)
    # a holdout row that coincides with a training row makes a radius of 0: nothing is nearer, exact_copies judges
    count = int(np.sum(distance.training < radius)) if radius > SAME else 0
    marked = hit(distance.pool_distances, distance.pool_rows, len(distance.pool_training), radius, strict=True)
    p_side = training_side_p(marked, distance.pool_training, distance.pool_holdout) if radius > SAME else 1.0
    p_number = exceedance_p(count, n, min(TOLERANCE * order, distance.n_holdout), distance.n_holdout)
    p = min(1.0, 2 * min(p_side, p_number))
    expected = order / (distance.n_holdout + 1)
    detail = (
        f"{count} of {n} rows are nearer to a training row than the nearest {order} of {distance.n_holdout} holdout rows "
        f"({count / n:.2%}, expected {expected:.2%}); "
        f"p {p_side:.2g} for their side, {p_number:.2g} for more than {TOLERANCE} times their number"
    )
    return [
        gate("near_copies", p, gates, detail=detail),
        Metric("near_copy_share", count / n, detail=f"expected {expected:.4f} when the release is as the holdout"),
        Metric("near_copy_share_p", exceedance_p(count, n, order, distance.n_holdout), detail="one-sided, against the holdout's own share"),
    ]


def _exact_copies(distance: DistanceEvidence, gates: GatesSpec) -> list[Metric]:
    """Judge rows that coincide with a training row, beyond what the support explains."""
    n = len(distance.training)
    marked = hit(distance.pool_distances, distance.pool_rows, len(distance.pool_training), SAME)
    training_hits, holdout_hits = int(distance.pool_training[marked].sum()), int(distance.pool_holdout[marked].sum())
    p = training_side_p(marked, distance.pool_training, distance.pool_holdout)
    second = None  # pairs of released rows say nothing of pairs of a row and a cluster
    if distance.unit == "rows":
        second = coincidence_p(training_hits, holdout_hits, distance.release_pairs, n, distance.n_training, distance.n_holdout)
    if second is not None:
        p = min(1.0, 2 * min(p, second))
    detail = (
        f"released rows coincide with {few(training_hits)} of {distance.n_training} training {distance.unit} "
        f"and {few(holdout_hits)} of {distance.n_holdout} holdout {distance.unit}; "
        f"{distance.release_pairs} pairs of released rows are identical"
    )
    share = float(np.mean(distance.training <= SAME))
    return [
        gate("exact_copies", p, gates, detail=detail),
        Metric("exact_copy_share", share, detail="released rows that coincide with a training row"),
        Metric(
            "holdout_copy_share",
            float(np.mean(distance.holdout_to_training <= SAME)),
            detail="holdout rows that coincide with a training row",
        ),
    ]


def _closeness(distance: DistanceEvidence, gates: GatesSpec) -> list[Metric]:
    counts = tally(distance.pool_distances, distance.pool_rows, distance.pool_training + distance.pool_holdout)
    seen = closeness(counts, distance.pool_training, distance.pool_holdout)
    half = Z95 * seen.sd
    allowed = allowance(counts, distance.pool_training, distance.pool_holdout, gates.closeness_margin)
    z = seen.z - allowed / seen.sd if seen.sd > 0 else seen.z
    detail = (
        f"{seen.share:.4f} of the rows are closest to a training row, {seen.null:.4f} expected, "
        f"{seen.null + allowed:.4f} allowed, sd {seen.sd:.4f}"
    )
    return [
        gate("closeness_z", z, gates, detail=detail),
        Metric("closeness_share", seen.share, low=seen.share - half, high=seen.share + half, detail=f"expected {seen.null:.4f}"),
    ]


def _low_quantile(distance: DistanceEvidence, gates: GatesSpec) -> Metric:
    """Judge the 5th percentile of distances to the training rows, released rows over holdout rows: one reference, so sizes don't matter."""
    seen = quantile_ratio(distance.training, distance.holdout_to_training, LOW_QUANTILE)
    detail = "fails below the bound where the one-sided 99 % upper limit is below 1 too"
    if float(np.quantile(distance.holdout_to_training, LOW_QUANTILE, method="inverted_cdf")) <= SAME:
        detail = "5 % of the holdout rows coincide with training rows: the ratio is not defined and counts as 1; exact_copies judges"
    high = seen.high if math.isfinite(seen.high) else None
    return gate("dcr_margin", seen.ratio, gates, low=seen.low, high=high, detail=detail)
