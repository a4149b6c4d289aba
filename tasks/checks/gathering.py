"""From arrays and records to what the gates judge on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tasks.checks.evidence import (
    CalibrationEvidence,
    DistanceEvidence,
    FidelityEvidence,
    Float64,
    GroupEvidence,
    Int64,
    IsolationEvidence,
)
from tasks.checks.joint import single_counts
from tasks.checks.measured import Groups
from tasks.checks.null import tally
from tasks.distance.isolation import is_tracked, merge


def distance_evidence(counts: Mapping[str, Any], arrays: Mapping[str, Any], holdout_rows: int) -> DistanceEvidence:
    """Return the evidence of distances.

    Parameters
    ----------
    counts : mapping of str to ndarray
        ``pool_training``, ``pool_holdout``, ``release_pairs``.
    arrays : mapping of str to ndarray
        Of the distance step; empty where nothing was compared.
    holdout_rows : int
        Rows of the holdout that are judged on.
    """
    none = np.empty((0, 1))
    distances = arrays or {
        "training": np.empty(0),
        "holdout_to_training": np.empty(holdout_rows),
        "pool_distances": none,
        "pool_rows": none.astype(np.int64),
    }
    return DistanceEvidence(
        training=distances["training"],
        holdout_to_training=distances["holdout_to_training"],
        pool_training=counts["pool_training"],
        pool_holdout=counts["pool_holdout"],
        pool_distances=distances["pool_distances"],
        pool_rows=distances["pool_rows"],
        release_pairs=int(counts["release_pairs"]),
    )


def unit_evidence(counts: Mapping[str, Any], arrays: Mapping[str, Any], holdout_units: int) -> DistanceEvidence:
    """Return the evidence of distances where a unit is a cluster: what is near a row of it is near the cluster.

    Released rows and held-out rows are one of each cluster; closest pool rows are replaced by their clusters, each of which counts once.

    Parameters
    ----------
    counts : mapping of str to ndarray
        ``pool_unit``, ``unit_training``: of :class:`tasks.checks.pool.UnitPool`.
    arrays : mapping of str to ndarray
        Of the distance step; empty where nothing was compared.
    holdout_units : int
        Clusters of the holdout that are judged on.
    """
    training = counts["unit_training"].astype(np.int64)
    none = np.empty((0, 1))
    if not arrays:
        return DistanceEvidence(
            np.empty(0), np.empty(holdout_units), training, 1 - training, none, none.astype(np.int64), 0, unit="clusters"
        )
    units = counts["pool_unit"][arrays["pool_rows"]]
    distances = arrays["pool_distances"].copy()
    for place in range(1, units.shape[1]):
        distances[(units[:, :place] == units[:, [place]]).any(axis=1), place] = np.inf
    return DistanceEvidence(arrays["training"], arrays["holdout_to_training"], training, 1 - training, distances, units, 0, unit="clusters")


def _unit_counts(distances: Float64, rows: Int64, of: Int64, unit: Int64) -> Float64:
    """Count, for each cluster, the released rows closest to a row of it that no other cluster has alike; shape (units,)."""
    pairs = np.unique(np.column_stack([of, unit]), axis=0)
    owners = np.bincount(pairs[:, 0])
    counts = tally(distances, rows, np.ones(len(owners), dtype=np.int64))
    single = owners[pairs[:, 0]] == 1
    sums = np.bincount(pairs[single, 1], weights=counts[pairs[single, 0]], minlength=int(unit.max()) + 1)
    return np.asarray(sums, dtype=np.float64)


def group_evidence(groups: Groups, rows: Mapping[str, Any], arrays: Mapping[str, Any], state: int) -> GroupEvidence:
    """Return the evidence of closeness in groups of columns.

    Parameters
    ----------
    groups : Groups
    rows : mapping of str to ndarray
        ``training`` and ``of``, and where a unit is a cluster ``unit``; see :class:`Groups`.
    arrays : mapping of str to ndarray
        Of the distance step.
    state : int
        Seed of the relabellings.
    """
    of, training, unit = rows["of"], rows["training"], rows.get("unit")
    near = [(arrays[f"group_distances_{number}"], arrays[f"group_rows_{number}"], of[:, number]) for number in range(of.shape[1])]
    if unit is None:
        counts = [single_counts(*each) for each in near]
    else:
        counts = [_unit_counts(*each, unit) for each in near]
        training = np.bincount(unit, weights=training) > 0
    return GroupEvidence(groups.names, groups.columns, np.column_stack(counts), training, state)


def isolation_evidence(watched: Mapping[str, Any], parts: Sequence[Float64]) -> IsolationEvidence:
    """Return the evidence of isolated rows.

    Parameters
    ----------
    watched : mapping of str to ndarray
        ``isolated`` and ``training`` of the distance step, shape (k,).
    parts : sequence of ndarray, shape (k, NEAREST)
        How near every drawn part comes to those rows.
    """
    tracked, isolated = is_tracked(merge(parts)), watched["isolated"]
    return IsolationEvidence(
        tracked=tracked[isolated],
        training=watched["training"][isolated],
        others=int(np.sum(~isolated)),
        others_tracked=int(np.sum(tracked[~isolated])),
    )


def calibration_evidence(balances: Sequence[Any]) -> CalibrationEvidence | None:
    """Return the evidence of the worst copy; None where no copy was calibrated."""
    if not balances:
        return None
    worst = max(balances, key=lambda each: (each.relaxed, -each.ess))
    return CalibrationEvidence(float(worst.relaxed), float(worst.ess), float(worst.capped))


def fidelity_evidence(
    source: Mapping[str, Any],
    release: Mapping[str, Any],
    truths: Mapping[str | None, Mapping[str, Any]],
    main: str,
    targets: Sequence[str] = ("ate",),
) -> FidelityEvidence:
    """Return the evidence of the effect that source and release differ in most, of all that the release is made for.

    Parameters
    ----------
    source, release : mapping
        Records of effects.
    truths : mapping
        By outcome (None of one alone): ``ate`` and ``mc_se`` of the released model, and ``others``; empty where it is not known.
    main : str
        Estimator of the ATE that is compared.
    targets : sequence of str
        Estimands that the release carries: each of them, between every pair of arms, is compared.
    """
    main_estimators = {target: main if target == "ate" else "aipw" for target in targets}
    here, there = ({_key(each): each for each in record["estimates"]} for record in (source, release))
    compared = []
    for key, each in here.items():
        outcome, estimand, estimator, arm, control = key
        if main_estimators.get(estimand) == estimator:
            other, built_in = there[key], _built_in(truths[outcome], estimand, arm, control)
            name = estimand.upper() + (f" of '{arm}' against '{control}'" if arm is not None else "")
            name += f" on '{outcome}'" if outcome is not None else ""
            numbers = (each["estimate"], each["se"], other["estimate"], other["se"])
            compared.append(FidelityEvidence(*numbers, built_in.get("value"), built_in.get("mc_se"), name))
    return replace(max(compared, key=lambda evidence: evidence.z), among=len(compared))


def _key(estimate: Mapping[str, Any]) -> tuple[str | None, str, str, str | None, str | None]:
    return estimate.get("outcome"), estimate["estimand"], estimate["estimator"], estimate.get("arm"), estimate.get("control")


def _built_in(truth: Mapping[str, Any], estimand: str, arm: str | None, control: str | None) -> Mapping[str, Any]:
    """Return the released model's own effect; empty where it is not known."""
    if estimand == "ate" and arm is None:
        return {"value": truth.get("ate"), "mc_se": truth.get("mc_se")}
    wanted = (estimand, arm, control)
    others = (each for each in truth.get("others", ()) if (each["estimand"], each.get("arm"), each.get("control")) == wanted)
    return next(others, {})
