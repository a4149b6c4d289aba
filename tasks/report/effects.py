"""The effect, source against release: what the page says and draws of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.contract.headline import built_in, combined_effect, main_effect, main_estimand
from tasks.pages.axis import spanning
from tasks.pages.numbers import decimals_of, fixed, interval, number, percent
from tasks.report.forest import END, START, Guides, Interval, forest_foot, forest_head, forest_row, values_of
from tasks.report.glossary import ESTIMANDS, ESTIMATORS, explained

Estimate = Mapping[str, Any]
#: The estimator by which means and pairs of more than two arms are shown.
PAIRS_BY = "tmle"


def effect_decimals(effects: Mapping[str, Any]) -> int:
    """Return how many decimals an effect is written with: two digits of the smaller standard error."""
    errors = [each["se"] for each in (main_effect(effects, where) for where in ("source", "release")) if each and each["se"]]
    return decimals_of(min(errors, default=None))


def effect_table(effects: Mapping[str, Any], caption: str) -> dict[str, Any]:
    """Arrange the main effect by estimators, source beside release, with a forest plot.

    Parameters
    ----------
    effects : mapping
        Of the manifest.
    caption : str
        What the scale shows.

    Returns
    -------
    dict
        ``rows`` (``title``, ``meaning``, ``source``, ``release``, ``plot``), ``head``, ``foot``; ``others``: the same rows, without plots,
        for other populations and subgroups.
    """
    decimals = effect_decimals(effects)
    estimates = {where: _of_first((effects.get(where) or {}).get("all") or []) for where in ("source", "release")}
    estimand = main_estimand(effects)
    found = {name: _pair(estimates, estimand, name) for name in ESTIMATORS}
    intervals = {name: _intervals(pair) for name, pair in found.items() if any(pair)}
    carried, own = built_in(effects), main_effect(effects, "source")
    truth = None if carried is None else carried.value
    guides = Guides(band=(own["ci_low"], own["ci_high"]) if own and own["ci_low"] is not None else None, exact=truth)
    axis = spanning([*values_of(each for row in intervals.values() for each in row), *([truth] if truth is not None else [])], START, END)
    rows = [
        {
            **_texts(found[name], decimals),
            "title": ESTIMATORS[name].title,
            "meaning": ESTIMATORS[name].meaning,
            "plot": forest_row(axis, drawn, f"{ESTIMATORS[name].title}: source and release with 95 % intervals", guides),
        }
        for name, drawn in intervals.items()
    ]
    label = f"built into the release: {fixed(truth, decimals + 1)}"
    return {
        "rows": rows,
        "head": forest_head(axis, guides, label),
        "foot": forest_foot(axis, caption),
        "others": _others(estimates, estimand, decimals),
    }


def _of_first(estimates: Sequence[Estimate]) -> list[Estimate]:
    """Return the estimates of the first of several outcomes."""
    return [each for each in estimates if each.get("outcome") == estimates[0].get("outcome")]


def copies_table(effects: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the estimate of each copy of the release, where there are several."""
    copies = (effects.get("release") or {}).get("copies") or []
    decimals = effect_decimals(effects)
    rows = [{"title": f"copy {place}", **_cell(copy.get(main_estimand(effects)), decimals)} for place, copy in enumerate(copies)]
    combined = combined_effect(effects)
    return [*rows, {"title": "all copies, with the source's error", **_cell(combined, decimals)}] if rows and combined else rows


def truth_rows(effects: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the effects built into the release beside the main one: among its treated, in declared subgroups."""
    decimals = effect_decimals(effects)
    rows = []
    for each in (effects.get("truth") or {}).get("others") or []:
        entry = explained(ESTIMANDS, each["estimand"])
        title = each["estimand"][5:-1] if each["estimand"].startswith("gate[") else entry.title
        title += compared(each)
        rows.append({"title": title, "value": fixed(each["value"], decimals + 1), "mc_se": fixed(each["mc_se"], decimals + 1)})
    return rows


def compared(each: Mapping[str, Any]) -> str:
    """Return which of more than two arms an effect compares, or is the mean of."""
    if each.get("arm") is None:
        return ""
    return f", {each['arm']}" if each.get("control") is None else f", {each['arm']} against {each['control']}"


def _pair(estimates: Mapping[str, Sequence[Estimate]], estimand: str, estimator: str) -> tuple[Estimate | None, Estimate | None]:
    def find(where: str) -> Estimate | None:
        return next((each for each in estimates[where] if (each["estimand"], each["estimator"]) == (estimand, estimator)), None)

    return find("source"), find("release")


def _intervals(pair: tuple[Estimate | None, Estimate | None]) -> list[Interval]:
    places = zip(("source", "release"), pair)
    return [Interval(where, each["estimate"], each["ci_low"], each["ci_high"]) for where, each in places if each]


def _texts(pair: tuple[Estimate | None, Estimate | None], decimals: int) -> dict[str, dict[str, str]]:
    return {where: _cell(each, decimals) for where, each in zip(("source", "release"), pair)}


def _cell(estimate: Estimate | None, decimals: int) -> dict[str, str]:
    if estimate is None:
        return {"estimate": "–", "interval": "", "se": "–", "n": "–", "ess": "–", "clipped": "–"}
    return {
        "estimate": fixed(estimate["estimate"], decimals),
        "interval": interval(estimate["ci_low"], estimate["ci_high"], decimals),
        "se": fixed(estimate["se"], decimals),
        "n": number(estimate["n"]),
        "ess": "–" if estimate.get("ess") is None else f"{estimate['ess']:,.0f}",
        "clipped": percent(estimate.get("clipped")),
    }


def _others(estimates: Mapping[str, Sequence[Estimate]], main: str, decimals: int) -> list[dict[str, Any]]:
    """Return other populations and subgroups; of more than two arms also every arm's mean and every pair, by the main estimator."""
    pairs: dict[tuple[Any, ...], dict[str, Estimate]] = {}
    for where in ("source", "release"):
        for each in estimates[where]:
            key = tuple(each.get(name) for name in ("estimand", "estimator", "arm", "control"))
            pairs.setdefault(key, {}).setdefault(where, each)
    rows = []
    for (estimand, estimator, arm, _), pair in pairs.items():
        if estimand in (main, "mean") and (arm is None or estimator != PAIRS_BY):
            continue
        entry = explained(ESTIMANDS, estimand)
        if estimand.startswith("gate[") and estimand.endswith("]"):
            entry = entry._replace(title=estimand[5:-1], meaning="subgroup")
        title = entry.title + compared(next(iter(pair.values())))
        rows.append({**_texts((pair.get("source"), pair.get("release")), decimals), "title": title, "meaning": entry.meaning})
    return rows
