"""The simulation's HTML page: what to use, how sure that is, and every figure with its Monte-Carlo error."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.pages.numbers import count, number, percent
from tasks.pages.template import fill
from tasks.simulation.advice import LEAST_COVERAGE
from tasks.simulation.contrasts import COMPLETE, by_contrast, contrast_of, first_control, group_key
from tasks.simulation.plots import chart, lines, look
from tasks.simulation.sizes_page import label, power_tables
from tasks.simulation.unadjusted import LOG_RATIO

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
        power=power_tables([each for each in record.get("sizes", []) if each.get("control") == first_control(record["rows"])]),
        times=any(row["estimand"] == LOG_RATIO for row in record["rows"]),
        several=bool(contrast_of(record["rows"][0]).title),
        arms=first_control(record["rows"]) is not None,
        first=contrast_of(record["rows"][0]).title,
        further=_further(record),
        gaps=[each for each in record.get("outcomes", ()) if each["missing"]],
        complete=any(row["estimator"] == COMPLETE for row in record["rows"]),
        clusters=record.get("clusters"),
        lost=any(each["kind"] == "survival" for each in record.get("outcomes", ())),
        label=label,
    )


def _further(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the true effects on further outcomes."""
    first = contrast_of(record["rows"][0])
    return [{"title": first._replace(outcome=each["outcome"]).title, **each} for each in record.get("outcomes", ())[1:]]


def headlines(record: Mapping[str, Any]) -> list[str]:
    """Return what to conclude, one sentence for each cell that has an effect, or for each where none has.

    Of more than two arms there is one for each contrast with the control, of several outcomes one for each.
    """
    advice = [each for each in record["recommendation"] if each.get("control") == first_control(record["rows"])]
    shown = [each for each in advice if each["truth"]] or advice
    return [_sentence(each) for each in shown] or ["No estimator of the ATE answered in any cell: bring more rows, or relieve overlap."]


def _sentence(each: Mapping[str, Any]) -> str:
    """Return the advice of one cell in words."""
    name, coverage = label(each["estimator"]), f"{percent(each['coverage'], 1)} (± {percent(each['coverage_mcse'], 1)})"
    title = ", ".join(filter(None, (each["title"], contrast_of(each).title)))
    if not each["sound"]:
        return (
            f"{title}: no estimator covers the truth in {percent(LEAST_COVERAGE, 1)} of data sets; {name} comes nearest, with {coverage}."
        )
    text = f"{title}: use {name}; its 95 % interval covers the truth in {coverage} of data sets, RMSE {number(each['rmse'])}"
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
    key, null, refits = rows[0]["cell"], is_null(rows), len(record["truths"]) - 1
    places = {(place["estimator"], group_key(place)): place for place in record["ranking"] if place["cell"] == key}
    moves = {(each["estimator"], group_key(each)): each for each in record["stability"] if each["cell"] == key}
    ordered = [row for group in by_contrast(rows).values() for row in group]
    # outcomes have units of their own, and so each has a scale
    by_outcome = [list(of_one) for _, of_one in itertools.groupby(ordered, key=lambda row: row.get("outcome"))]
    drawn = (
        line
        for of_one in by_outcome
        for line in zip(of_one, lines(of_one, "bias", 0.0), lines(of_one, "rmse", floor=0.0), lines(of_one, "coverage", 0.95), strict=True)
    )
    shown = [
        {
            "row": row,
            "bias": bias,
            "rmse": rmse,
            "coverage": coverage,
            "place": places.get((row["estimator"], group_key(row))),
            "moved": moves.get((row["estimator"], group_key(row))),
        }
        for row, bias, rmse, coverage in drawn
    ]
    groups = []
    for contrast in by_contrast(rows):
        of_contrast = [each for row, each in zip(ordered, shown, strict=True) if contrast_of(row) == contrast]
        same_winner = _same_winner(record["same_winner"].get(f"{key}{contrast.suffix}"), refits)
        groups.append({"title": contrast.title, "rows": of_contrast, "same_winner": same_winner})
    return {
        "title": title,
        "key": key,
        "groups": groups,
        "moves": any(each["moved"] for each in shown),
        "together": _together(rows),
        "moving": [(name, _heading(name, name, null)) for name in ("bias", "rmse", "coverage", "power")],
        "columns": [(name, _heading(name, heading, null)) for name, heading in COLUMNS],
        "replicates": rows[0]["replicates"],
        "null": null,
    }


def _together(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the coverage of simultaneous intervals, one line for each estimator and outcome."""
    lines_of = {(row["estimator"], row.get("outcome")): row for row in rows if row.get("joint_coverage") is not None}
    return [{"title": ", ".join(filter(None, (label(name), outcome))), **row} for (name, outcome), row in lines_of.items()]


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
    """Return the charts of scenarios with at least two sizes: estimators of the ATE and tests; of many arms against the control."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    control = first_control(rows)
    for row in rows:
        if row["estimand"] in ("ate", LOG_RATIO) and row.get("control") == control:
            groups.setdefault((*(row[name] for name in SCENARIO), contrast_of(row)), []).append(row)
    scenarios = []
    for group in groups.values():
        null = is_null(group)
        last = ("power", "type-1 error (5 % is meant)", TYPE1) if null else ("power", "power", None)
        measured = (("rmse", "RMSE", None), ("coverage", "coverage (95 % is meant)", 0.95), last)
        # a test has power only: it stands last, so that the estimators' curves look the same on all charts
        charts = [{"title": title, "svg": svg} for name, title, guide in measured if (svg := chart(group, name, title, guide)) is not None]
        if charts:
            names = list(dict.fromkeys(row["estimator"] for row in group))
            key = [{"look": look(place), "name": label(name)} for place, name in enumerate(names)]
            title = ", ".join(filter(None, (group[0]["title"].partition(", ")[2], contrast_of(group[0]).title)))
            scenarios.append({"title": title, "charts": charts, "key": key})
    return scenarios
