"""Differences between arms of a time to event, source and release, as a forest plot."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from tasks.pages.axis import spanning
from tasks.pages.numbers import decimals_of
from tasks.report.forest import END, START, Interval, forest_foot, forest_row, values_of
from tasks.report.survival_cells import TABLES, cell_of, paired


def difference_forest(records: Mapping[str, Mapping[str, Any]], estimand: str, what: str, of: str, unit: str) -> dict[str, Any]:
    """Draw the differences of a number of every pair of arms.

    Parameters
    ----------
    records : mapping
        Of ``"source"`` and ``"release"``, each with ``estimates``.
    estimand : str
        The differences among them.
    what : str
        What differs, such as ``"restricted means"``.
    of : str
        What that is further about, such as ``" to relapse"``; empty for nothing.
    unit : str
        What the scale is called.

    Returns
    -------
    dict
        ``forest`` (``title``, ``source``, ``release``, ``plot``) and ``foot``.
    """
    pairs = paired(records, [estimand])
    rows = [
        [Interval(where, each["estimate"], each["ci_low"], each["ci_high"]) for where, each in zip(TABLES, pair, strict=True)]
        for pair in pairs
    ]
    axis = spanning(values_of(itertools.chain.from_iterable(rows)), START, END)
    decimals = decimals_of(min((each["se"] for pair in pairs for each in pair if each["se"]), default=None))
    drawn = [
        {
            "title": f"{one['arm']} against {one['control']}",
            "source": cell_of(one, decimals),
            "release": cell_of(other, decimals),
            "plot": forest_row(axis, row, f"Difference of {what}{of}, {one['arm']} against {one['control']}"),
        }
        for (one, other), row in zip(pairs, rows, strict=True)
    ]
    return {"forest": drawn, "foot": forest_foot(axis, f"difference of {what}, {unit}")}
