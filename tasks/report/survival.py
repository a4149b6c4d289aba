"""Survival curves of source and release by arm, rows at risk, restricted means and censoring: what the page shows of a time to event."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from tasks.pages.axis import Axis, spanning, tick_labels
from tasks.pages.numbers import decimals_of, fixed, interval, number, percent
from tasks.pages.svg import drawing, element, line, polyline, words
from tasks.report.forest import END, START, Interval, forest_foot, forest_row, values_of

Float64 = npt.NDArray[np.float64]
Record = Mapping[str, Any]

WIDTH, HEIGHT = 420.0, 230.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 412.0, 10.0, 182.0
#: Draws that the width of simultaneous bands is found by, and their seed.
_DRAWS, _SEED = 20_000, 20_260_101
#: Most times that rows at risk are listed at.
_MOST_TIMES = 8
_TABLES = ("source", "release")


def survival_panel(effects: Mapping[str, Any], horizon: float | None, unit: str) -> dict[str, Any] | None:
    """Arrange a time to event for the page; None where the outcome is none.

    Parameters
    ----------
    effects : mapping
        Of the manifest; ``survival`` of source and release as :func:`tasks.estimation.survival.record.survival_record` gives it.
    horizon : float or None
        Time that means are restricted to.
    unit : str
        What the scale of times is called.

    Returns
    -------
    dict or None
        ``curves`` (``arm``, ``plot``), ``times`` and ``at_risk`` (``arm``, ``where``, ``rows``), ``forest`` (``title``, ``source``,
        ``release``, ``plot``) with ``foot``, ``numbers`` (S(t) and its differences), ``events`` (``arm``, ``source``, ``release``),
        ``logrank`` (``title``, ``source``, ``release``), ``ratios`` (``title``, ``source``, ``release``).
    """
    records = {where: (effects.get(where) or {}).get("survival") for where in _TABLES}
    if horizon is None or not all(records.values()):
        return None
    tables: dict[str, Record] = {where: record for where, record in records.items() if record}
    arms = list(dict.fromkeys(point["arm"] for point in tables["source"]["curves"]))
    points = {(where, arm): [each for each in tables[where]["curves"] if each["arm"] == arm] for where in _TABLES for arm in arms}
    end = max(point["time"] for point in tables["source"]["curves"])
    listed = _listed([point["time"] for point in points["source", arms[0]]], horizon)
    at_risk = [
        {"arm": arm, "where": where, "rows": [number(point["at_risk"]) for point in points[where, arm] if point["time"] in listed]}
        for arm in arms
        for where in _TABLES
    ]
    return {
        "horizon": number(horizon),
        "curves": [{"arm": arm, "plot": _plot(arm, {where: points[where, arm] for where in _TABLES}, end, horizon, unit)} for arm in arms],
        "times": [number(time) for time in listed],
        "at_risk": at_risk,
        **_forest(tables, unit),
        "numbers": _numbers(tables),
        "events": _events(tables),
        "logrank": _logrank(tables),
        "ratios": _ratios(tables),
    }


def _listed(times: Sequence[float], horizon: float) -> list[float]:
    """Choose times to list: about evenly, the horizon among them."""
    step = -(-len(times) // _MOST_TIMES)
    return sorted({*times[step - 1 :: step], horizon})


def band_quantile(survival: Float64, se: Float64) -> float:
    """Return the factor on standard errors by which a band holds a whole curve in 95 % of samples.

    The equal-precision band: log S(t) is close to a Gaussian process with independent increments of variance (se / S)^2: Nair (1984),
    DOI 10.1080/00401706.1984.10487964.

    Parameters
    ----------
    survival, se : ndarray of float64, shape (m,)
        A curve and its standard errors.
    """
    usable = (survival > 0.0) & (se > 0.0)
    if not usable.any():
        return 0.0
    variance = np.maximum.accumulate((se[usable] / survival[usable]) ** 2)
    steps = np.sqrt(np.diff(variance, prepend=0.0))
    draws = np.cumsum(np.random.default_rng(_SEED).normal(size=(_DRAWS, len(steps))) * steps, axis=1)
    return float(np.quantile(np.abs(draws / np.sqrt(variance)).max(axis=1), 0.95))


def _plot(arm: str, points: Mapping[str, Sequence[Record]], end: float, horizon: float, unit: str) -> Markup:
    """Draw both curves of one arm: the source's with its simultaneous band, the release's as a line."""
    across, up = Axis(0.0, end, _LEFT, _RIGHT), Axis(0.0, 1.0, _BOTTOM, _TOP)
    parts: list[Markup] = []
    heights = up.ticks()
    for value, label in zip(heights, tick_labels(heights), strict=True):
        parts += [line(_LEFT, up.at(value), _RIGHT, up.at(value), "grid"), words(_LEFT - 6.0, up.at(value) + 4.0, label, "tick", "end")]
    curves = {where: _curve(points[where]) for where in _TABLES}
    times, survival, se = curves["source"]
    reach = band_quantile(survival[1:], se[1:]) * se
    outline = [*zip(times, survival + reach), *reversed([*zip(times, survival - reach)])]
    corners = " ".join(f"{across.at(float(t)):.1f},{up.at(float(s)):.1f}" for t, s in outline)
    parts.append(element("polygon", points=corners, class_="band"))
    for where in _TABLES:
        parts.append(polyline(((across.at(float(t)), up.at(float(s))) for t, s in zip(*curves[where][:2])), f"outline {where}"))
    parts.append(line(across.at(horizon), _TOP, across.at(horizon), _BOTTOM, "bound"))
    marks = across.ticks()
    parts += [words(across.at(value), _BOTTOM + 18.0, label) for value, label in zip(marks, tick_labels(marks), strict=True)]
    parts += [line(_LEFT, _BOTTOM, _RIGHT, _BOTTOM, "axis"), words((_LEFT + _RIGHT) / 2, _BOTTOM + 38.0, unit)]
    return drawing(WIDTH, HEIGHT, f"Survival of arm {arm} in source and release", parts)


def _curve(points: Sequence[Record]) -> tuple[Float64, Float64, Float64]:
    """Return times, survival and standard errors, from time 0 on."""
    return (
        np.array([0.0, *(point["time"] for point in points)]),
        np.array([1.0, *(point["survival"] for point in points)]),
        np.array([0.0, *(point["se"] for point in points)]),
    )


def _paired(records: Mapping[str, Record], names: Sequence[str]) -> list[tuple[Record, Record]]:
    pairs = zip(records["source"]["estimates"], records["release"]["estimates"], strict=True)
    return [(one, other) for one, other in pairs if one["estimand"] in names]


def _forest(records: Mapping[str, Record], unit: str) -> dict[str, Any]:
    """Draw the differences of restricted means of every pair of arms."""
    pairs = _paired(records, ["rmst_difference"])
    rows = [
        [Interval(where, each["estimate"], each["ci_low"], each["ci_high"]) for where, each in zip(_TABLES, pair, strict=True)]
        for pair in pairs
    ]
    axis = spanning(values_of(itertools.chain.from_iterable(rows)), START, END)
    decimals = decimals_of(min((each["se"] for pair in pairs for each in pair if each["se"]), default=None))
    drawn = [
        {
            "title": f"{one['arm']} against {one['control']}",
            "source": _cell(one, decimals),
            "release": _cell(other, decimals),
            "plot": forest_row(axis, row, f"Difference of restricted means, {one['arm']} against {one['control']}"),
        }
        for (one, other), row in zip(pairs, rows, strict=True)
    ]
    return {"forest": drawn, "foot": forest_foot(axis, f"difference of restricted means, {unit}")}


def _cell(each: Record, decimals: int) -> dict[str, str]:
    return {"estimate": fixed(each["estimate"], decimals), "interval": interval(each["ci_low"], each["ci_high"], decimals)}


def _numbers(records: Mapping[str, Record]) -> list[dict[str, Any]]:
    """List S(t) of every arm and the differences of risk of every pair."""
    rows = []
    for one, other in _paired(records, ["survival", "risk_difference"]):
        name = f"S({number(one['time'])}), {one['arm']}"
        if one["control"] is not None:
            name = f"risk by {number(one['time'])}, {one['arm']} against {one['control']}"
        rows.append({"title": name, "source": _cell(one, 3), "release": _cell(other, 3)})
    return rows


def _events(records: Mapping[str, Record]) -> list[dict[str, str]]:
    pairs = zip(records["source"]["events"], records["release"]["events"], strict=True)
    return [{"arm": one["arm"], "source": percent(one["share"]), "release": percent(other["share"])} for one, other in pairs]


def _logrank(records: Mapping[str, Record]) -> list[dict[str, str]]:
    """List log-rank tests; none of a release of an earlier version, which holds none."""
    pairs = zip(*(records[where].get("logrank", []) for where in _TABLES), strict=True)
    return [
        {"title": "all arms" if one["arm"] is None else f"{one['arm']} and {one['control']}", "source": _chi2(one), "release": _chi2(other)}
        for one, other in pairs
    ]


def _chi2(each: Record) -> str:
    return "–" if each["p_value"] is None else f"{fixed(each['statistic'], 2)} on {each['df']}, p {each['p_value']:.2g}"


def _ratios(records: Mapping[str, Record]) -> list[dict[str, Any]]:
    """List hazard ratios of pairs that both tables have one of."""
    of_release = {(each["arm"], each["control"]): each for each in records["release"].get("hazard_ratios", [])}
    pairs = [(one, of_release.get((one["arm"], one["control"]))) for one in records["source"].get("hazard_ratios", [])]
    return [
        {"title": f"{one['arm']} / {one['control']}", "source": _ratio(one), "release": _ratio(other)}
        for one, other in pairs
        if other is not None
    ]


def _ratio(each: Record) -> dict[str, str]:
    return {"estimate": fixed(each["ratio"], 3), "interval": interval(each["ci_low"], each["ci_high"], 3), "se": fixed(each["se"], 3)}
