"""Numbers of curves of arms with their influence values, their contrasts and intervals, as a manifest holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tasks.contract.nuisance import Float64
from tasks.contract.rng import UInt64
from tasks.estimation.joint import joint_quantile
from tasks.targeting.influence import cluster_error, error_of


class Number(NamedTuple):
    """A point with its influence values, before its interval.

    Attributes
    ----------
    estimand : str
        As in :class:`tasks.estimation.survival.estimates.SurvivalEstimate`.
    arm : int
    control : int or None
        The other arm of a contrast.
    time : float
    point : float
    values : ndarray of float64, shape (n,)
    """

    estimand: str
    arm: int
    control: int | None
    time: float
    point: float
    values: Float64

    def against(self, other: Number) -> Number:
        """Return the contrast with another arm's: of survival the difference of risks, of all else that of the numbers."""
        sign = -1.0 if self.estimand == "survival" else 1.0
        name = "risk_difference" if self.estimand == "survival" else f"{self.estimand}_difference"
        return Number(name, self.arm, other.arm, self.time, sign * (self.point - other.point), sign * (self.values - other.values))

    @property
    def limits(self) -> tuple[float, float]:
        """What the number can't be beyond."""
        return (0.0, 1.0) if self.estimand in ("survival", "incidence") else (-np.inf, np.inf)


def families_of(of_arms: Sequence[Sequence[Number]]) -> tuple[list[Number], list[Number]]:
    """Return the numbers of every arm, and the contrasts of every pair of arms: intervals hold together within each of the two."""
    pairs = [
        one.against(other)
        for control in range(len(of_arms))
        for arm in range(control + 1, len(of_arms))
        for one, other in zip(of_arms[arm], of_arms[control], strict=True)
    ]
    return [one for of_arm in of_arms for one in of_arm], pairs


def contrast_entries(
    labels: Sequence[str], of_arms: Sequence[Sequence[Number]], w: Float64, clusters: UInt64 | None
) -> list[dict[str, Any]]:
    """Return the numbers of every arm, then those of every pair of arms, with intervals that hold alone and together.

    Parameters
    ----------
    labels : sequence of K str
        Of the arms, the control first.
    of_arms : sequence of K sequences of Number
    w : ndarray of float64, shape (n,)
        Row weights.
    clusters : ndarray of uint64, shape (n,), optional
        Hash of each row's cluster.
    """
    return [each for family in families_of(of_arms) for each in _intervals(labels, family, w, clusters)]


def _intervals(labels: Sequence[str], family: Sequence[Number], w: Float64, clusters: UInt64 | None) -> list[dict[str, Any]]:
    width = joint_quantile(np.column_stack([each.values for each in family]), w, clusters)
    entries = []
    for each in family:
        se, quantile = error_of(each.values, w, clusters)
        reach, band = quantile * se, max(width, quantile) * se
        low, high = each.limits
        entries.append(
            {
                "estimand": each.estimand,
                "estimator": "aipw",
                "arm": labels[each.arm],
                "control": None if each.control is None else labels[each.control],
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


def event_share(came: Float64, w: Float64, clusters: UInt64 | None) -> dict[str, float]:
    """Return the weighted share of rows with an event, with its standard error; ``came`` is 1 where it came."""
    share = float(np.average(came, weights=w))
    if clusters is not None:
        return {"share": share, "se": cluster_error(came - share, w, clusters)[0]}
    return {"share": share, "se": float(np.sqrt(np.sum((w * (came - share)) ** 2)) / w.sum())}
