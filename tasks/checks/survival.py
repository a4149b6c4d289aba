"""How far curves, restricted means and shares of events of a release lie from its source's."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

#: Standard errors of a difference that sampling explains; beyond them a gap counts.
SAMPLING = 3.0


class NumberGap(NamedTuple):
    """One number of a time to event in source and release.

    Attributes
    ----------
    name : str
        What it is of, for a reader.
    source, release : float
    se : float
        Of the difference of both.
    """

    name: str
    source: float
    release: float
    se: float

    @property
    def z(self) -> float:
        """The gap over its standard error; infinite where there is no usable number."""
        gap = abs(self.release - self.source)
        return gap / self.se if math.isfinite(gap) and math.isfinite(self.se) and self.se > 0.0 else (0.0 if gap == 0.0 else math.inf)

    @property
    def excess(self) -> float:
        """The gap beyond what sampling explains, at least 0."""
        gap = abs(self.release - self.source) - SAMPLING * self.se
        return max(0.0, gap) if math.isfinite(gap) else math.inf


class CauseEvidence(NamedTuple):
    """Numbers of competing causes in source and release.

    Attributes
    ----------
    numbers : tuple of NumberGap
        Times lost and incidences of every arm and cause.
    curves : tuple of NumberGap
        F(t) of every arm and cause at the end of every period.
    events : tuple of NumberGap
        Share of events of every arm and cause.
    """

    numbers: tuple[NumberGap, ...]
    curves: tuple[NumberGap, ...]
    events: tuple[NumberGap, ...]


class SurvivalEvidence(NamedTuple):
    """Numbers of a time to event in source and release.

    Attributes
    ----------
    numbers : tuple of NumberGap
        Restricted means and survival probabilities of arms.
    curves : tuple of NumberGap
        S(t) of every arm at the end of every period.
    events : tuple of NumberGap
        Share of events of every arm.
    causes : CauseEvidence, optional
        Where causes compete.
    """

    numbers: tuple[NumberGap, ...]
    curves: tuple[NumberGap, ...]
    events: tuple[NumberGap, ...]
    causes: CauseEvidence | None = None


def survival_evidence(source: Mapping[str, Any], release: Mapping[str, Any]) -> SurvivalEvidence | None:
    """Pair the numbers of two records of effects; None where the outcome is no time to event.

    Parameters
    ----------
    source, release : mapping
        With ``survival`` as :func:`tasks.estimation.survival.record.survival_record` gives it.
    """
    if "survival" not in source or "survival" not in release:
        return None
    here, there = source["survival"], release["survival"]
    pairs = list(zip(here.get("causes", []), there.get("causes", []), strict=True))
    causes = [_gaps(one, other, f" of '{one['cause']}'") for one, other in pairs]
    joined = [tuple(itertools.chain.from_iterable(each)) for each in zip(*causes, strict=True)]
    return SurvivalEvidence(*_gaps(here, there), CauseEvidence(*joined) if joined else None)


def _gaps(here: Mapping[str, Any], there: Mapping[str, Any], of: str = "") -> CauseEvidence:
    """Pair the numbers of two records; ``of`` names the cause that they are about."""
    return CauseEvidence(tuple(_numbers(here, there, of)), tuple(_curves(here, there, of)), tuple(_events(here, there, of)))


def _numbers(here: Mapping[str, Any], there: Mapping[str, Any], of: str) -> list[NumberGap]:
    """Pair the numbers of single arms."""
    return [
        NumberGap(f"{_TITLES[one['estimand']]}{of} in arm '{one['arm']}' at {one['time']:g}", *_pair(one, other, "estimate"))
        for one, other in zip(here["estimates"], there["estimates"], strict=True)
        if one["control"] is None
    ]


def _curves(here: Mapping[str, Any], there: Mapping[str, Any], of: str) -> list[NumberGap]:
    key = "incidence" if of else "survival"
    return [
        NumberGap(f"curve{of} in arm '{one['arm']}' at {one['time']:g}", *_pair(one, other, key))
        for one, other in zip(here["curves"], there["curves"], strict=True)
    ]


def _events(here: Mapping[str, Any], there: Mapping[str, Any], of: str) -> list[NumberGap]:
    return [
        NumberGap(f"share of events{of} in arm '{one['arm']}'", *_pair(one, other, "share"))
        for one, other in zip(here["events"], there["events"], strict=True)
    ]


def worst(gaps: Sequence[NumberGap]) -> NumberGap:
    """Return the gap that is largest beyond sampling, of equal ones that of the largest z."""
    return max(gaps, key=lambda each: (each.excess, each.z))


_TITLES = {"rmst": "restricted mean", "survival": "survival", "time_lost": "time lost", "incidence": "incidence"}


def _pair(one: Mapping[str, Any], other: Mapping[str, Any], key: str) -> tuple[float, float, float]:
    return one[key], other[key], math.hypot(one["se"], other["se"])
