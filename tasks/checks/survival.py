"""How far curves, restricted means and shares of events of a release lie from its source's."""

from __future__ import annotations

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
    """

    numbers: tuple[NumberGap, ...]
    curves: tuple[NumberGap, ...]
    events: tuple[NumberGap, ...]


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
    numbers = [
        NumberGap(f"{_TITLES[one['estimand']]} of arm '{one['arm']}' at {one['time']:g}", *_pair(one, other, "estimate"))
        for one, other in zip(here["estimates"], there["estimates"], strict=True)
        if one["control"] is None
    ]
    curves = [
        NumberGap(f"curve of arm '{one['arm']}' at {one['time']:g}", *_pair(one, other, "survival"))
        for one, other in zip(here["curves"], there["curves"], strict=True)
    ]
    events = [
        NumberGap(f"share of events of arm '{one['arm']}'", *_pair(one, other, "share"))
        for one, other in zip(here["events"], there["events"], strict=True)
    ]
    return SurvivalEvidence(tuple(numbers), tuple(curves), tuple(events))


def worst(gaps: Sequence[NumberGap]) -> NumberGap:
    """Return the gap that is largest beyond sampling, of equal ones that of the largest z."""
    return max(gaps, key=lambda each: (each.excess, each.z))


_TITLES = {"rmst": "restricted mean", "survival": "survival"}


def _pair(one: Mapping[str, Any], other: Mapping[str, Any], key: str) -> tuple[float, float, float]:
    return one[key], other[key], math.hypot(one["se"], other["se"])
