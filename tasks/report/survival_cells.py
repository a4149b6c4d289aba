"""Cells of the tables of a time to event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.pages.numbers import fixed, interval

#: Whose numbers stand beside one another.
TABLES = ("source", "release")


def cell_of(each: Mapping[str, Any], decimals: int) -> dict[str, str]:
    """Return an estimate with its interval as texts."""
    return {"estimate": fixed(each["estimate"], decimals), "interval": interval(each["ci_low"], each["ci_high"], decimals)}
