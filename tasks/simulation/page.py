"""The simulation's HTML page: what to use, how sure that is, and every figure with its Monte-Carlo error."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasks.simulation.advice import LEAST_COVERAGE
from tasks.simulation.plots import Chart, chart, lines

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
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        number=number, percent=percent, label=label, moment=lambda text: f"{datetime.fromisoformat(text):%d %B %Y, %H:%M} UTC"
    )
    page = environment.get_template("simulate.html.j2").render(
        record=record,
        parent=next(iter(record["parents"]), None),
        headlines=headlines(record),
        tone="good" if record["recommendation"] and all(each["sound"] for each in record["recommendation"]) else "off",
        cells=[_cell(title, list(rows), record) for title, rows in itertools.groupby(record["rows"], key=lambda row: row["title"])],
        scenarios=_scenarios(record["rows"]),
        columns=COLUMNS,
    )
    return page.encode()


def headlines(record: Mapping[str, Any]) -> list[str]:
    """Return what to conclude, one sentence for each cell that has an effect, or for each where none has."""
    found = record["recommendation"]
    shown = [each for each in found if each["truth"]] or found
    return [_sentence(each) for each in shown] or ["No estimator of the ATE answered in any cell: bring more rows, or relieve overlap."]


def _sentence(each: Mapping[str, Any]) -> str:
    """Return the advice of one cell in words."""
    name, coverage = label(each["estimator"]), percent(each["coverage"])
    if not each["sound"]:
        return (
            f"{each['title']}: no estimator covers the truth in {percent(LEAST_COVERAGE)} of data sets; "
            f"{name} comes nearest, with {coverage}."
        )
    text = f"{each['title']}: use {name}; its 95 % interval covers the truth in {coverage} of data sets, RMSE {number(each['rmse'])}"
    if not each["truth"]:
        return f"{text}; an effect is found where there is none in {percent(each['type1_error'])}."
    text += f", power {percent(each['power'])}"
    rows = each["rows_for_power"]
    if rows is None:
        return f"{text}. No sample size can be told: the mean estimate does not differ from 0."
    return f"{text}. For a power of {percent(each['wanted_power'])}: about {rows['rows']:,} rows ({rows['low']:,} to {rows['high']:,})."


def _cell(title: str, rows: Sequence[Mapping[str, Any]], record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what one cell's section shows."""
    key = rows[0]["cell"]
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
        "same_winner": record["same_winner"].get(key),
        "replicates": rows[0]["replicates"],
    }


def _scenarios(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the charts of scenarios with at least two sizes: estimators of the ATE only."""
    found: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["estimand"] == "ate":
            found.setdefault(tuple(row[name] for name in SCENARIO), []).append(row)
    scenarios = []
    for own in found.values():
        measured = (("rmse", "RMSE", None), ("coverage", "coverage", 0.95), ("power", "power", None))
        charts: list[Chart] = [each for each in (chart(own, *one) for one in measured) if each is not None]
        if charts:
            scenarios.append({"title": own[0]["title"].partition(", ")[2], "charts": charts})
    return scenarios


def number(value: float | None) -> str:
    """Return a number as the page shows it: three digits that count."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.1e}"


def percent(value: float | None) -> str:
    """Return a share as the page shows it."""
    return "–" if value is None else f"{100.0 * value:.1f} %"


def label(name: str) -> str:
    """Return what an estimator is called; a plug-in goes by its key."""
    return LABELS.get(name, name)
