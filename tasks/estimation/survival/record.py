"""What a release's manifest says of a time to event: curves, their contrasts, and shares of events, by one-step estimates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.contract.columns import clusters_of, nuisances_of, survey_weights
from tasks.contract.disclosure import rounded
from tasks.contract.nuisance import Float64, Int8
from tasks.contract.rng import UInt64
from tasks.contract.roles import TableSchema
from tasks.contract.survival import TimesToEvent
from tasks.estimation.joint import joint_quantile
from tasks.estimation.survival.comparison import compare_hazards
from tasks.estimation.survival.estimates import Number
from tasks.estimation.survival.risk_sets import ArmRows
from tasks.nuisance.curve_sums import CurveSums
from tasks.targeting.fluctuation import truncate_arms
from tasks.targeting.influence import cluster_error, error_of

#: Of functionals: what an arm's number and a contrast of two arms are called, and the contrast's sign.
_NAMES = {"rmst": ("rmst", "rmst_difference", 1.0), "survival": ("survival", "risk_difference", -1.0)}


def survival_record(
    schema: TableSchema, rows: pa.Table, curves: CurveSums, bound: float, strata: npt.NDArray[np.int64] | None = None
) -> dict[str, Any]:
    """Return the estimates of a table's curves.

    Parameters
    ----------
    schema : TableSchema
        With a time to event.
    rows : pyarrow.Table
        Nuisances as :func:`tasks.nuisance.task.collect` gives them, for a time to event.
    curves : CurveSums
        Over all rows.
    bound : float
        Propensities are kept at least so large.
    strata : ndarray of int64, shape (n,), optional
        Number of each row's stratum.

    Returns
    -------
    dict
        ``estimates``: ``survival``, ``rmst`` of arms and ``risk_difference``, ``rmst_difference`` of pairs, with intervals that hold
        alone and together; ``curves``: S(t) of each arm at the end of each period, with its standard error and the rows at risk, rounded
        to five; ``events``: the share of rows with an event, each arm weighted to all rows; ``logrank`` and ``hazard_ratios`` of
        :func:`tasks.estimation.survival.comparison.compare_hazards`, not adjusted.
    """
    outcome = schema.survival
    assert outcome is not None  # the caller looked
    a, time, e = (rows.column(name).to_numpy() for name in ("a", "time", "e"))
    weights = survey_weights(rows)
    w = np.ones(len(a)) if weights is None else weights
    shares = truncate_arms(nuisances_of(rows), bound)
    single = _single(rows, outcome, a, shares, w)
    pairs = [
        _contrast(one, other)
        for control in range(len(shares))
        for arm in range(control + 1, len(shares))
        for one, other in zip(single[arm], single[control], strict=True)
    ]
    families = ([one for of_arm in single for one in of_arm], pairs)
    clusters = clusters_of(rows)
    estimates = [each for family in families for each in _intervals(schema, family, w, clusters)]
    return {
        "estimates": estimates,
        "curves": _curves(schema, curves, a, time),
        "events": [_events(schema, arm, e, w * (a == arm) / share, clusters) for arm, share in enumerate(shares)],
        **compare_hazards(ArmRows(a, time, e > 0.5, weights, clusters, strata), schema.arms).entries,
    }


def _single(rows: pa.Table, outcome: TimesToEvent, a: Int8, shares: Sequence[Float64], w: Float64) -> list[list[Number]]:
    """Return the numbers of each arm: the restricted mean, then S(t) at each time."""
    numbers = []
    for arm, share in enumerate(shares):
        of_arm = []
        for at, functional in enumerate(outcome.functionals):
            of_all, of_rows = (f"s{at}_{arm}", f"z{at}") if at else (f"q{arm}", "y")
            value, pseudo = (rows.column(name).to_numpy() for name in (of_all, of_rows))
            influence = value + np.where(a == arm, (pseudo - value) / share, 0.0)
            point = float(np.average(influence, weights=w))
            of_arm.append(Number(_NAMES[functional.estimand][0], arm, None, functional.time, point, influence - point))
        numbers.append(of_arm)
    return numbers


def _contrast(one: Number, other: Number) -> Number:
    _, name, sign = _NAMES[one.estimand]
    return Number(name, one.arm, other.arm, one.time, sign * (one.point - other.point), sign * (one.values - other.values))


def _intervals(schema: TableSchema, family: Sequence[Number], w: Float64, clusters: UInt64 | None) -> list[dict[str, Any]]:
    width = joint_quantile(np.column_stack([each.values for each in family]), w, clusters)
    entries = []
    for each in family:
        se, quantile = error_of(each.values, w, clusters)
        reach, band = quantile * se, max(width, quantile) * se
        low, high = (0.0, 1.0) if each.estimand == "survival" else (-np.inf, np.inf)
        entries.append(
            {
                "estimand": each.estimand,
                "estimator": "aipw",
                "arm": schema.arms[each.arm],
                "control": None if each.control is None else schema.arms[each.control],
                "time": each.time,
                "estimate": each.point,
                "se": se,
                "ci_low": max(low, each.point - reach),
                "ci_high": min(high, each.point + reach),
                "joint_low": max(low, each.point - band),
                "joint_high": min(high, each.point + band),
                "n": len(w),
            }
        )
    return entries


def _curves(schema: TableSchema, curves: CurveSums, a: Int8, time: Float64) -> list[dict[str, Any]]:
    assert schema.survival is not None  # the caller looked
    survival, se = curves.estimate()
    edges = np.array(schema.survival.edges)
    points = []
    for arm, label in enumerate(schema.arms):
        ordered = np.sort(time[a == arm])
        at_risk = len(ordered) - np.searchsorted(ordered, edges, side="left")
        # a one-step curve may leave [0, 1] or rise by a trifle
        falling = np.minimum.accumulate(np.clip(survival[arm], 0.0, 1.0))
        points += [
            {"arm": label, "time": float(t), "survival": float(s), "se": float(error), "at_risk": rounded(int(rows))}
            for t, s, error, rows in zip(edges, falling, se[arm], at_risk, strict=True)
        ]
    return points


def _events(schema: TableSchema, arm: int, e: Float64, w: Float64, clusters: UInt64 | None) -> dict[str, Any]:
    share = float(np.average(e, weights=w))
    if clusters is not None:
        return {"arm": schema.arms[arm], "share": share, "se": cluster_error(e - share, w, clusters)[0]}
    return {"arm": schema.arms[arm], "share": share, "se": float(np.sqrt(np.sum((w * (e - share)) ** 2)) / w.sum())}
