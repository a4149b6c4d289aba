"""How far the curves of a time to event on a release are from the source's, arm by arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.comparison.spread import Spread, spread


class ArmGap(BaseModel):
    """One arm of a time to event: the release's one-step estimates against the source's.

    Attributes
    ----------
    arm : str
        Label.
    curve_distance : float
        Largest absolute difference of S(t) over the ends of all periods, in [0, 1].
    rmst_error : float
        Restricted mean on the release minus that on the source, in the unit of time.
    source_rmst, source_se : float
        The source's restricted mean and its standard error.
    event_error : float
        Share of rows with an event on the release minus that on the source.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    arm: str
    curve_distance: float
    rmst_error: float
    source_rmst: float
    source_se: float
    event_error: float


class ArmSummary(BaseModel):
    """One arm over seeds: means of the fields of :class:`ArmGap`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    arm: str
    curve_distance: Spread
    rmst_error: Spread
    source_rmst: Spread
    source_se: Spread
    event_error: Spread


def arm_gaps(effects: Mapping[str, Mapping[str, Any]]) -> tuple[ArmGap, ...]:
    """Set the curves of every arm of a release against the source's; none where the outcome is no time to event.

    Parameters
    ----------
    effects : mapping
        Effects records of ``"source"`` and ``"release"``; ``survival`` in them is that of
        :func:`tasks.estimation.survival.record.survival_record`.
    """
    source, release = (effects[where].get("survival") for where in ("source", "release"))
    if source is None or release is None:
        return ()
    means = [_means(record) for record in (source, release)]
    gaps = []
    for one, other in zip(source["events"], release["events"], strict=True):
        arm = one["arm"]
        curves = [[point["survival"] for point in record["curves"] if point["arm"] == arm] for record in (source, release)]
        gaps.append(
            ArmGap(
                arm=arm,
                curve_distance=max(abs(there - here) for here, there in zip(*curves, strict=True)),
                rmst_error=means[1][arm]["estimate"] - means[0][arm]["estimate"],
                source_rmst=means[0][arm]["estimate"],
                source_se=means[0][arm]["se"],
                event_error=other["share"] - one["share"],
            )
        )
    return tuple(gaps)


def summarize_arms(rows: Sequence[Sequence[ArmGap]]) -> tuple[ArmSummary, ...]:
    """Return means over seeds, arm by arm."""
    summaries = []
    for of_arm in zip(*rows, strict=True):
        figures = {name: spread([getattr(each, name) for each in of_arm]) for name in ArmSummary.model_fields if name != "arm"}
        summaries.append(ArmSummary(arm=of_arm[0].arm, **figures))
    return tuple(summaries)


def _means(record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {each["arm"]: each for each in record["estimates"] if each["estimand"] == "rmst"}
