"""The simulation's HTML page: what to use, how sure that is, and every figure with its Monte-Carlo error."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.pages.numbers import count, number, percent
from tasks.pages.template import fill
from tasks.simulation.advice import LEAST_COVERAGE
from tasks.simulation.plots import chart, lines, look

LABELS = {"or": "OR", "ipw": "IPW", "aipw": "AIPW", "tmle": "TMLE", "adaptive": "adaptive TMLE", "att": "ATT", "atc": "ATC", "ato": "ATO"}
#: Measures of the full table, with their headings.
COLUMNS = (
    ("bias", "bias"),
    ("variance", "variance"),
    ("rmse", "RMSE"),
    ("coverage", "coverage"),
    ("ci_width", "CI width"),
    ("power", "power"),
    ("se_ratio", "SE / spread"),
    ("failures", "failed"),
    ("seconds", "CPU s"),
)
#: What differs between scenarios; sizes are what a scenario is drawn over.
SCENARIO = ("design", "tilt", "effect_scale", "withheld", "noise", "learner")
#: Share of intervals without 0 that a 95 % interval allows where there is no effect.
TYPE1 = 0.05


def render(record: Mapping[str, Any]) -> bytes:
    """Render the page.

    Parameters
    ----------
    record : mapping
        As :func:`tasks.simulation.task.reply` makes it.

    Returns
    -------
    bytes
        UTF-8 HTML without any reference to another file or host.
    """
    return fill(
        Path(__file__).parent,
        "simulate.html.j2",
        record=record,
        parent=next(iter(record["parents"]), None),
        headlines=headlines(record),
        tone="good" if record["recommendation"] and all(each["sound"] for each in record["recommendation"]) else "off",
        least=percent(LEAST_COVERAGE, 1),
        cells=[_cell(title, list(rows), record) for title, rows in itertools.groupby(record["rows"], key=lambda row: row["title"])],
        scenarios=_scenarios(record["rows"]),
        label=label,
    )


def headlines(record: Mapping[str, Any]) -> list[str]:
    """Return what to conclude, one sentence for each cell that has an effect, or for each where none has."""
    advice = record["recommendation"]
    shown = [each for each in advice if each["truth"]] or advice
    return [_sentence(each) for each in shown] or ["No estimator of the ATE answered in any cell: bring more rows, or relieve overlap."]


def _sentence(each: Mapping[str, Any]) -> str:
    """Return the advice of one cell in words."""
    name, coverage = label(each["estimator"]), f"{percent(each['coverage'], 1)} (± {percent(each['coverage_mcse'], 1)})"
    if not each["sound"]:
        return (
            f"{each['title']}: no estimator covers the truth in {percent(LEAST_COVERAGE, 1)} of data sets; "
            f"{name} comes nearest, with {coverage}."
        )
    text = f"{each['title']}: use {name}; its 95 % interval covers the truth in {coverage} of data sets, RMSE {number(each['rmse'])}"
    if not each["truth"]:
        return f"{text}; type-1 error {percent(each['type1_error'], 1)} (an effect is found where there is none), where 5 % is meant."
    text += f", power {percent(each['power'], 1)}"
    rows = each["rows_for_power"]
    if rows is None:
        return f"{text}. No sample size follows: the mean estimate does not differ from 0."
    span = f"{count(rows['low'])} to {count(rows['high'])}"
    return f"{text}. For a power of {percent(each['wanted_power'])}: about {count(rows['rows'])} rows ({span})."


def _cell(title: str, rows: Sequence[Mapping[str, Any]], record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what one cell's section shows."""
    key, null = rows[0]["cell"], is_null(rows)
    places = {place["estimator"]: place for place in record["ranking"] if place["cell"] == key}
    moves = {each["estimator"]: each for each in record["stability"] if each["cell"] == key}
    drawn = zip(rows, lines(rows, "bias", 0.0), lines(rows, "rmse", floor=0.0), lines(rows, "coverage", 0.95), strict=True)
    return {
        "title": title,
        "key": key,
        "rows": [
            {"row": row, "bias": bias, "rmse": rmse, "coverage": coverage, "place": places.get(row["estimator"])}
            for row, bias, rmse, coverage in drawn
        ],
        "moves": [{"row": row, "moved": moves[row["estimator"]]} for row in rows if row["estimator"] in moves],
        "moving": [(name, _heading(name, name, null)) for name in ("bias", "rmse", "coverage", "power")],
        "columns": [(name, _heading(name, heading, null)) for name, heading in COLUMNS],
        "same_winner": _same_winner(record["same_winner"].get(key), len(record["truths"]) - 1),
        "replicates": rows[0]["replicates"],
        "null": null,
    }


def _same_winner(share: float | None, refits: int) -> str:
    """Say in how many refits the same estimator errs least; empty without refits."""
    if share is None or refits < 1:
        return ""
    if refits == 1:
        return "In the one refit of the law the same estimator of the ATE errs least." if share else "In the one refit another errs least."
    return f"In {count(round(share * refits))} of {count(refits)} refits of the law the same estimator of the ATE errs least."


def _heading(name: str, heading: str, null: bool) -> str:
    """Return what a measure is called: the share of intervals without 0 is no power where there is no effect."""
    return "type-1 error" if name == "power" and null else heading


def is_null(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the law of some rows of figures has no effect."""
    return all(row["effect_scale"] == 0.0 for row in rows)


def _scenarios(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the charts of scenarios with at least two sizes: estimators of the ATE only."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["estimand"] == "ate":
            groups.setdefault(tuple(row[name] for name in SCENARIO), []).append(row)
    scenarios = []
    for group in groups.values():
        null = is_null(group)
        last = ("power", "type-1 error (5 % is meant)", TYPE1) if null else ("power", "power", None)
        measured = (("rmse", "RMSE", None), ("coverage", "coverage (95 % is meant)", 0.95), last)
        charts = [{"title": title, "svg": svg} for name, title, guide in measured if (svg := chart(group, name, title, guide)) is not None]
        if charts:
            names = list(dict.fromkeys(row["estimator"] for row in group))
            key = [{"look": look(place), "name": label(name)} for place, name in enumerate(names)]
            scenarios.append({"title": group[0]["title"].partition(", ")[2], "charts": charts, "key": key})
    return scenarios


def label(name: str) -> str:
    """Return what an estimator is called; a plug-in goes by its key."""
    return LABELS.get(name, name)
