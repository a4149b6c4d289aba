"""The one question that each release puts to the holdout: how much better it knows the training rows."""

from __future__ import annotations

import math

import numpy as np

from tasks.checks.evidence import DistanceEvidence, Evidence
from tasks.checks.joint import joint_closeness
from tasks.checks.null import SAME, allowance, closeness, hit, side_z, tally
from tasks.checks.refusal import too_few
from tasks.contract.spec import GatesSpec

#: Near is closer than this share of the holdout rows come to the training rows.
NEAR = 0.01


def near_radius(distance: DistanceEvidence) -> tuple[int, float]:
    """Return the rank k of the holdout distance that bounds "near", and that distance."""
    order = max(1, math.floor(NEAR * (distance.n_holdout + 1)))
    return order, float(np.sort(distance.holdout_to_training)[order - 1])


def training_knowledge(evidence: Evidence, gates: GatesSpec) -> float | None:
    """Return how much better a release knows the training rows than the holdout, in standard deviations of random relabelling.

    The largest of three z: of the closeness share beyond its margin, of the largest group of columns beyond the same margin, and of the
    side that near copies lie on. Each is the difference between the means of one function of a row over the training rows and over the
    holdout (how many released rows it is the closest to; whether one comes near it), divided by that difference's standard deviation when
    labels are random.

    Parameters
    ----------
    evidence : Evidence
    gates : GatesSpec

    Returns
    -------
    float or None
        None where there are too few rows, or no distances.
    """
    distance = evidence.distance
    if distance is None or too_few(distance, gates):
        return None
    counts = tally(distance.pool_distances, distance.pool_rows, distance.pool_training + distance.pool_holdout)
    seen = closeness(counts, distance.pool_training, distance.pool_holdout)
    allowed = allowance(counts, distance.pool_training, distance.pool_holdout, gates.closeness_margin)
    most = seen.z - allowed / seen.sd if seen.sd > 0 else seen.z
    _, radius = near_radius(distance)
    # at a radius of 0 rows that coincide are near
    marked = hit(distance.pool_distances, distance.pool_rows, len(distance.pool_training), max(radius, SAME), strict=radius > SAME)
    most = max(most, side_z(marked, distance.pool_training, distance.pool_holdout))
    groups = evidence.groups
    if groups is not None and min(groups.sides) > 0:
        z = joint_closeness(groups.counts, groups.training, gates.closeness_margin, np.random.default_rng(groups.state)).z
        most = max(most, *z)
    return float(most)
