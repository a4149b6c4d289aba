"""Survival curves of source and release by arm, rows at risk, restricted means and censoring: what the page shows of a time to event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from tasks.pages.numbers import fixed, interval, number, percent
from tasks.report.curves import Curve, curve_plot
from tasks.report.incidence import incidence_panels
from tasks.report.survival_cells import TABLES, cell_of, paired
from tasks.report.survival_forest import difference_forest

Float64 = npt.NDArray[np.float64]
Record = Mapping[str, Any]

#: Draws that the width of simultaneous bands is found by, and their seed.
_DRAWS, _SEED = 20_000, 20_260_101
#: Most times that rows at risk are listed at.
_MOST_TIMES = 8


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
        ``logrank`` (``title``, ``source``, ``release``), ``ratios`` (``title``, ``source``, ``release``), and ``causes`` of
        :func:`tasks.report.incidence.incidence_panels`.
    """
    records = {where: (effects.get(where) or {}).get("survival") for where in TABLES}
    if horizon is None or not all(records.values()):
        return None
    tables: dict[str, Record] = {where: record for where, record in records.items() if record}
    arms = list(dict.fromkeys(point["arm"] for point in tables["source"]["curves"]))
    points = {(where, arm): [each for each in tables[where]["curves"] if each["arm"] == arm] for where in TABLES for arm in arms}
    end = max(point["time"] for point in tables["source"]["curves"])
    listed = _listed([point["time"] for point in points["source", arms[0]]], horizon)
    at_risk = [
        {"arm": arm, "where": where, "rows": [number(point["at_risk"]) for point in points[where, arm] if point["time"] in listed]}
        for arm in arms
        for where in TABLES
    ]
    return {
        "horizon": number(horizon),
        "curves": [{"arm": arm, "plot": _plot(arm, {where: points[where, arm] for where in TABLES}, end, horizon, unit)} for arm in arms],
        "times": [number(time) for time in listed],
        "at_risk": at_risk,
        **difference_forest(tables, "rmst_difference", "restricted means", "", unit),
        "numbers": _numbers(tables),
        "events": _events(tables),
        "logrank": _logrank(tables),
        "ratios": _ratios(tables),
        **incidence_panels(tables, horizon, unit),
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
    curves = {where: _curve(points[where]) for where in TABLES}
    reach = band_quantile(curves["source"].values[1:], curves["source"].se[1:])
    return curve_plot(f"Survival of arm {arm} in source and release", curves, reach, end, horizon, unit)


def _curve(points: Sequence[Record]) -> Curve:
    """Return survival with its standard errors, from time 0 on."""
    starts = {"time": 0.0, "survival": 1.0, "se": 0.0}
    return Curve(*(np.array([start, *(point[key] for point in points)]) for key, start in starts.items()))


def _numbers(records: Mapping[str, Record]) -> list[dict[str, Any]]:
    """List S(t) of every arm and the differences of risk of every pair."""
    rows = []
    for one, other in paired(records, ["survival", "risk_difference"]):
        name = f"S({number(one['time'])}), {one['arm']}"
        if one["control"] is not None:
            name = f"risk by {number(one['time'])}, {one['arm']} against {one['control']}"
        rows.append({"title": name, "source": cell_of(one, 3), "release": cell_of(other, 3)})
    return rows


def _events(records: Mapping[str, Record]) -> list[dict[str, str]]:
    pairs = zip(records["source"]["events"], records["release"]["events"], strict=True)
    return [{"arm": one["arm"], "source": percent(one["share"]), "release": percent(other["share"])} for one, other in pairs]


def _logrank(records: Mapping[str, Record]) -> list[dict[str, str]]:
    """List log-rank tests; none of a release of an earlier version, which holds none."""
    pairs = zip(*(records[where].get("logrank", []) for where in TABLES), strict=True)
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
