"""Several outcomes, and missing ones: effects on each, how they hang together, how many cells are missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.pages.numbers import decimals_of, fixed, interval, percent
from tasks.report.effects import PAIRS_BY, compared
from tasks.report.glossary import ESTIMANDS, explained


def outcomes_panel(manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """Arrange what the page says of several outcomes, or of one that some rows lack.

    Parameters
    ----------
    manifest : mapping

    Returns
    -------
    dict or None
        ``effects`` (a table for each of several outcomes: ``outcome`` and ``rows`` of ``title``, ``cells`` and ``truth``; cells are of
        source, release and, where ``copies``, all copies together),
        ``spearman`` and ``missing`` (rows of texts). None for one outcome that is known in every row.
    """
    together = manifest["fidelity"].get("together")
    if together is None:
        return None
    names = [each["outcome"] for each in manifest["fidelity"].get("outcomes", ())]
    return {
        "copies": len(manifest["effects"]["release"].get("copies") or []) > 1,
        "effects": [{"outcome": name, "rows": _effects(manifest["effects"], name)} for name in names],
        "spearman": [{"pair": f"{row['first']}, {row['second']}", "arm": row["arm"], **_sides(row)} for row in together["spearman"]],
        "missing": [
            {"outcome": row["outcome"], "arm": row["arm"], **{where: percent(row[where]) for where in ("source", "release")}}
            for row in together["missing"]
        ],
    }


def _sides(row: Mapping[str, Any]) -> dict[str, str]:
    return {where: fixed(row[where], 3) for where in ("source", "release")}


def _effects(effects: Mapping[str, Any], outcome: str) -> list[dict[str, Any]]:
    """Return means and contrasts of one outcome by one estimator, source beside release, with the effect built in."""
    lists = [effects["source"]["all"], effects["release"]["all"]]
    if len(effects["release"].get("copies") or []) > 1:
        lists.append(effects["release"]["combined"])
    source, *others = (
        {_key(each): each for each in estimates if (each.get("outcome"), each["estimator"]) == (outcome, PAIRS_BY)} for estimates in lists
    )
    decimals = decimals_of(min((each["se"] for each in source.values() if each["se"]), default=None))
    truths = _truths(effects, outcome)
    rows = []
    for key, one in source.items():
        value = truths.get(key)
        rows.append(
            {
                "title": explained(ESTIMANDS, key[0]).title + compared(one),
                "cells": [_cell(each, decimals) for each in (one, *(table.get(key) for table in others))],
                "truth": "" if value is None else fixed(value, decimals + 1),
            }
        )
    return rows


def _truths(effects: Mapping[str, Any], outcome: str) -> dict[tuple[Any, ...], float]:
    if effects["truth"] is None:  # mode "full": no effect is built in
        return {}
    record = next(each for each in effects["truth"]["outcomes"] if each["outcome"] == outcome)
    built_in = {_key(each): each["value"] for each in record["others"]}
    return {("ate", None, None): record["ate"], **built_in}


def _key(each: Mapping[str, Any]) -> tuple[Any, ...]:
    return each["estimand"], each.get("arm"), each.get("control")


def _cell(estimate: Mapping[str, Any] | None, decimals: int) -> dict[str, str]:
    if estimate is None:
        return {"estimate": "–", "interval": ""}
    return {
        "estimate": fixed(estimate["estimate"], decimals),
        "interval": interval(estimate["ci_low"], estimate["ci_high"], decimals),
    }
