"""Where the effect's error comes from, beside what prediction says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.numerics.normal import Z95
from tasks.pages.axis import spanning
from tasks.pages.numbers import decimals_of, fixed, interval
from tasks.report.forest import END, START, Interval, forest_foot, forest_row, values_of
from tasks.report.glossary import LEDGER, METRICS, explained

ROW_HEIGHT = 34.0


def ledger_table(fidelity: Mapping[str, Any], caption: str) -> dict[str, Any]:
    """Arrange the error ledger with a forest plot around zero.

    Parameters
    ----------
    fidelity : mapping
        Of the manifest.
    caption : str
        What the scale shows.

    Returns
    -------
    dict
        ``rows`` (``title``, ``meaning``, ``value``, ``interval``, ``plot``) and ``foot``.
    """
    terms = fidelity.get("ledger") or []
    drawn = [_interval(term) for term in terms]
    axis = spanning([0.0, *values_of(drawn)], START, END)
    rows = []
    for term, shown in zip(terms, drawn):
        entry, decimals = explained(LEDGER, term["name"]), decimals_of(term["se"])
        known = term["value"] is not None
        rows.append(
            {
                "title": entry.title,
                "meaning": entry.meaning,
                "sum": term["name"] == "gap",
                "value": fixed(term["value"], decimals) if known else "not known",
                "interval": interval(term["ci_low"], term["ci_high"], decimals) if known else f"± {fixed(shown.high, decimals)}",
                "plot": forest_row(axis, [shown], f"{entry.title} with its 95 % interval", height=ROW_HEIGHT),
            }
        )
    return {"rows": rows, "foot": forest_foot(axis, caption)}


def targeting_sentence(fidelity: Mapping[str, Any]) -> str:
    """Say how far targeting went on the first copy, why, and what it may cost; empty where the manifest does not know."""
    found = next(iter(fidelity.get("targeting") or []), None)
    if found is None:
        return ""
    if found.get("estimand", "ate") != "ate":
        return f"Q was targeted at the {found['estimand'].upper()} alone: no weight 1/g enters, and the ATE is not targeted."
    price = f"Full targeting costs {found['price']:.2f} times the variance of the most cautious estimate"
    if found["bound"] == found["full"]:
        return f"{price}: overlap suffices, and Q was targeted in full (weights 1/g with g truncated at {found['full']:.3g})."
    decimals = decimals_of(found["change_se"])
    moved = f"it moved the estimate by {fixed(found['change'], decimals)} (chance alone: ± {fixed(Z95 * found['change_se'], decimals)})"
    seen = {"no bias seen": "no sign that this costs bias was seen"}.get(found["reason"], "stronger truncation showed bias")
    return (
        f"{price}: overlap is poor. Weights were truncated at g = {found['bound']:.3g} instead of {found['full']:.3g}; {moved}, {seen}. "
        "The contrast term below shows that change, and the source's standard error holds it."
    )


def _interval(term: Mapping[str, Any]) -> Interval:
    """Return a term as it is drawn: one whose size alone is known lies around zero, without a point."""
    if term["value"] is None:
        return Interval("neutral", None, -Z95 * term["se"], Z95 * term["se"])
    return Interval("release" if term["name"] == "gap" else "source", term["value"], term["ci_low"], term["ci_high"])


def transfer_table(fidelity: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the scores of models trained on the release and on the source, both tested on the source."""
    rows = []
    for score in fidelity.get("tstr") or []:
        entry, difference = explained(METRICS, score["metric"]), score["difference"]
        decimals = decimals_of(difference["se"])
        rows.append(
            {
                "title": entry.title,
                "meaning": entry.meaning,
                "tstr": fixed(score["tstr"]["value"], decimals),
                "trtr": fixed(score["trtr"]["value"], decimals),
                "difference": fixed(difference["value"], decimals),
                "interval": interval(difference["ci_low"], difference["ci_high"], decimals),
            }
        )
    return rows
