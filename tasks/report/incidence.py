"""Incidences of competing causes in source and release by arm, and times lost to them: what the page shows beside survival."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tasks.numerics.normal import Z95
from tasks.pages.numbers import decimals_of, number, percent
from tasks.report.curves import Curve, curve_plot
from tasks.report.survival_cells import TABLES, cell_of, paired
from tasks.report.survival_forest import difference_forest

Record = Mapping[str, Any]


def incidence_panels(tables: Mapping[str, Record], horizon: float, unit: str) -> dict[str, Any]:
    """Arrange competing causes for the page.

    Parameters
    ----------
    tables : mapping
        ``survival`` of ``"source"`` and ``"release"`` as :func:`tasks.estimation.survival.record.survival_record` gives it.
    horizon : float
        Time that times lost are counted up to.
    unit : str
        What the scale of times is called.

    Returns
    -------
    dict
        ``causes``, empty where an event has one: by cause ``cause``, ``curves`` (``arm``, ``plot``), ``forest`` (``title``, ``source``,
        ``release``, ``plot``), ``foot``, ``numbers`` (times lost, F(t) and its differences), ``events`` (``arm``, ``source``, ``release``).
    """
    pairs = zip(*(tables[where].get("causes", []) for where in TABLES), strict=True)
    return {"causes": [_panel({"source": one, "release": other}, horizon, unit) for one, other in pairs]}


def _panel(records: Mapping[str, Record], horizon: float, unit: str) -> dict[str, Any]:
    """Arrange one cause."""
    cause, points = records["source"]["cause"], records["source"]["curves"]
    arms, end = list(dict.fromkeys(point["arm"] for point in points)), max(point["time"] for point in points)
    highest = max(point["incidence"] + Z95 * point["se"] for where in TABLES for point in records[where]["curves"])
    top = min(1.0, float(np.ceil(10.0 * highest) / 10.0))
    curves = []
    for arm in arms:
        of_arm = {where: _curve([each for each in records[where]["curves"] if each["arm"] == arm]) for where in TABLES}
        title = f"Incidence of {cause} in arm {arm}, source and release"
        curves.append({"arm": arm, "plot": curve_plot(title, of_arm, Z95, end, horizon, unit, top)})
    events = zip(*(records[where]["events"] for where in TABLES), strict=True)
    return {
        "cause": cause,
        "curves": curves,
        **difference_forest(records, "time_lost_difference", "times lost", f" to {cause}", unit),
        "numbers": _numbers(records),
        "events": [{"arm": one["arm"], "source": percent(one["share"]), "release": percent(other["share"])} for one, other in events],
    }


def _curve(points: Sequence[Record]) -> Curve:
    """Return an incidence with its standard errors, from time 0 on."""
    return Curve(*(np.array([0.0, *(point[key] for point in points)]) for key in ("time", "incidence", "se")))


def _numbers(records: Mapping[str, Record]) -> list[dict[str, Any]]:
    """List the time lost and F(t) of every arm, and the differences of F(t) of every pair."""
    rows = []
    for one, other in paired(records, ["time_lost", "incidence", "incidence_difference"]):
        name = f"{'time lost by' if one['estimand'] == 'time_lost' else 'incidence by'} {number(one['time'])}, {one['arm']}"
        name += "" if one["control"] is None else f" against {one['control']}"
        decimals = decimals_of(one["se"]) if one["estimand"] == "time_lost" else 3
        rows.append({"title": name, "source": cell_of(one, decimals), "release": cell_of(other, decimals)})
    return rows
