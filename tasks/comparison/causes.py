"""How far the incidences of competing causes on a release are from the source's, arm by arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.comparison.spread import Spread, spread


class CauseGap(BaseModel):
    """One cause in one arm: the release's one-step estimates against the source's.

    Attributes
    ----------
    cause, arm : str
        Labels.
    incidence_distance : float
        Largest absolute difference of F(t) over the ends of all periods, in [0, 1].
    lost_error : float
        Time lost to the cause on the release minus that on the source, in the unit of time.
    source_lost, source_se : float
        The source's time lost and its standard error.
    share_error : float
        Share of rows with an event of the cause on the release minus that on the source.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cause: str
    arm: str
    incidence_distance: float
    lost_error: float
    source_lost: float
    source_se: float
    share_error: float


class CauseSummary(BaseModel):
    """One cause in one arm over seeds: means of the fields of :class:`CauseGap`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cause: str
    arm: str
    incidence_distance: Spread
    lost_error: Spread
    source_lost: Spread
    source_se: Spread
    share_error: Spread


def cause_gaps(effects: Mapping[str, Mapping[str, Any]]) -> tuple[CauseGap, ...]:
    """Set the incidences of every cause and arm of a release against the source's; none where an event has one cause.

    Parameters
    ----------
    effects : mapping
        Effects records of ``"source"`` and ``"release"``; ``causes`` of ``survival`` in them are those of
        :func:`tasks.estimation.incidence.record.cause_records`.
    """
    records = [(effects[where].get("survival") or {}).get("causes", []) for where in ("source", "release")]
    return tuple(gap for source, release in zip(*records, strict=True) for gap in _of_cause(source, release))


def _of_cause(source: Mapping[str, Any], release: Mapping[str, Any]) -> list[CauseGap]:
    gaps = []
    for one, other in zip(source["events"], release["events"], strict=True):
        arm = one["arm"]
        here, there = ([point["incidence"] for point in record["curves"] if point["arm"] == arm] for record in (source, release))
        lost = [
            next(each for each in record["estimates"] if each["estimand"] == "time_lost" and each["arm"] == arm)
            for record in (source, release)
        ]
        gaps.append(
            CauseGap(
                cause=source["cause"],
                arm=arm,
                incidence_distance=max(abs(after - before) for before, after in zip(here, there, strict=True)),
                lost_error=lost[1]["estimate"] - lost[0]["estimate"],
                source_lost=lost[0]["estimate"],
                source_se=lost[0]["se"],
                share_error=other["share"] - one["share"],
            )
        )
    return gaps


def summarize_causes(rows: Sequence[Sequence[CauseGap]]) -> tuple[CauseSummary, ...]:
    """Return means over seeds, cause by cause and arm by arm."""
    summaries = []
    for of_place in zip(*rows, strict=True):
        names = [name for name in CauseSummary.model_fields if name not in ("cause", "arm")]
        figures = {name: spread([getattr(each, name) for each in of_place]) for name in names}
        summaries.append(CauseSummary(cause=of_place[0].cause, arm=of_place[0].arm, **figures))
    return tuple(summaries)
