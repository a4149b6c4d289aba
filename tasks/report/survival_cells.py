"""Estimates of a time to event in source and release, and their cells in tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.pages.numbers import fixed, interval

#: Whose numbers stand beside one another.
TABLES = ("source", "release")


def paired(records: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Return the estimates of some estimands, the source's with the release's."""
    pairs = zip(*(records[where]["estimates"] for where in TABLES), strict=True)
    return [(one, other) for one, other in pairs if one["estimand"] in names]


def cell_of(each: Mapping[str, Any], decimals: int) -> dict[str, str]:
    """Return an estimate with its interval as texts."""
    return {"estimate": fixed(each["estimate"], decimals), "interval": interval(each["ci_low"], each["ci_high"], decimals)}
