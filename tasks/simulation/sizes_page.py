"""Power and sample size as the page and the terminal show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.pages.numbers import count, percent
from tasks.simulation.contrasts import COMPLETE, ROWS, contrast_of

Record = Mapping[str, Any]

LABELS = {
    "or": "OR", "ipw": "IPW", "aipw": "AIPW", "tmle": "TMLE", "adaptive": "adaptive TMLE", "att": "ATT", "atc": "ATC", "ato": "ATO",
    "km": "Kaplan–Meier", "logrank": "log-rank test", "aj": "Aalen–Johansen", COMPLETE: "AIPW, complete rows",
    ROWS: "AIPW, rows as independent",
}  # fmt: skip


def label(name: str) -> str:
    """Return what an estimator is called; a plug-in goes by its key."""
    return LABELS.get(name, name)


def scenarios_of(entries: Sequence[Record]) -> dict[str, list[Record]]:
    """Sort entries of :func:`tasks.simulation.sizes.sizes` by scenario and contrast, named in words."""
    groups: dict[str, list[Record]] = {}
    for entry in entries:
        words = [f"design {entry['design']}" if entry["tilt"] is None else f"overlap tilted by {entry['tilt']:g}"]
        words += [f"effect × {entry['effect_scale']:g}"] if entry["effect_scale"] != 1.0 else []
        words += [f"{entry['withheld']} withheld"] if entry["withheld"] is not None else []
        words += [f"noise × {entry['noise']:g}"] if entry["noise"] != 1.0 else []
        title = ", ".join(filter(None, (*words, f"learner {entry['learner']}", contrast_of(entry).title)))
        groups.setdefault(title, []).append(entry)
    return groups


def power_tables(entries: Sequence[Record]) -> list[dict[str, Any]]:
    """Return the page's tables, one for each scenario and contrast: ``title``, ``wanted``, ``null``, ``sizes`` and ``rows``."""
    return [
        {
            "title": title,
            "wanted": percent(group[0]["wanted_power"]),
            "null": any(each["type1_error"] is not None for one in group for each in one["sizes"]),
            "sizes": [count(each["n"]) for each in group[0]["sizes"]],
            "rows": [_row(each) for each in group],
        }
        for title, group in scenarios_of(entries).items()
    ]


def _row(entry: Record) -> dict[str, Any]:
    needed = entry["rows_needed"]
    return {
        "name": label(entry["estimator"]),
        "cells": [
            {"power": _share(each["power"], each["power_mcse"]), "type1": _share(each["type1_error"], each["type1_error_mcse"])}
            for each in entry["sizes"]
        ],
        "smallest": "–" if entry["smallest"] is None else count(entry["smallest"]),
        "needed": "–" if needed is None else count(needed["rows"]),
        "span": "" if needed is None else f"{count(needed['low'])} to {count(needed['high'])}",
    }


def _share(value: float | None, error: float | None) -> str:
    return "" if value is None else f"{percent(value, 1)} ± {percent(error, 1)}"


def power_lines(entries: Sequence[Record]) -> list[str]:
    """Return the lines a user reads of power by size: power, type-1 error in brackets, the smallest size of the grid, rows needed."""
    text = []
    for title, group in scenarios_of(entries).items():
        sizes = [each["n"] for each in group[0]["sizes"]]
        head = f"{'estimator':<12}" + "".join(f"{f'n = {n:,}':>16}" for n in sizes)
        text += [
            "",
            f"power (type-1 error) by size: {title}",
            f"{head}{'smallest':>10}{'rows for ' + percent(group[0]['wanted_power']):>16}",
        ]
        for entry in group:
            cells = [_cell(each) for each in entry["sizes"]]
            smallest, needed = entry["smallest"], entry["rows_needed"]
            row = f"{entry['estimator']:<12}" + "".join(f"{cell:>16}" for cell in cells)
            text.append(f"{row}{'–' if smallest is None else count(smallest):>10}{'–' if needed is None else count(needed['rows']):>16}")
    return text


def _cell(each: Record) -> str:
    if each["power"] is None:
        return "–"
    return f"{each['power']:.1%}" + ("" if each["type1_error"] is None else f" ({each['type1_error']:.1%})")
