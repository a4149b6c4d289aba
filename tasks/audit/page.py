"""The audit's HTML page: every attack with its interval, its baseline and its control."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from tasks.pages.axis import Axis
from tasks.pages.numbers import fixed, interval, plural
from tasks.pages.svg import bar, circle, drawing, line
from tasks.pages.template import fill

WIDTH, HEIGHT = 180.0, 26.0


class _Words(NamedTuple):
    """What an attack asks, and how to read its numbers."""

    title: str
    asks: str


ATTACKS: Mapping[str, _Words] = {
    "membership": _Words("Membership", "Can the release tell rows that its synthesizer saw from rows it never saw?"),
    "mechanism": _Words("Mechanism leakage", "Do released treatments and outcomes give away single rows' own treatment and outcome?"),
    "reconstruction": _Words("Reconstruction", "Who knows a row's other columns: can they rebuild a secret one from the release?"),
    "outcomes": _Words("Outcomes", "Who knows all else of a row: does the release tell its outcomes, event time or gaps?"),
    "singling_out": _Words("Singling out", "Does the release yield predicates that are true of exactly one real row?"),
    "isolation": _Words("Isolated rows", "Does the release come near the rows that stand alone, if its synthesizer saw them?"),
    "linkability": _Words("Linkability", "Does the release join two halves of a record that two parties hold apart?"),
    "distribution": _Words("Distribution inference", "Can the release tell from which of two populations its source was drawn?"),
}
#: These infer a property of the population, which a faithful release shows on purpose.
BY_DESIGN = {"distribution"}
BADGES = {"leak found": "bad", "none found at this size": "good", "inconclusive": "off"}


def render(record: Mapping[str, Any]) -> bytes:
    """Render the page.

    Parameters
    ----------
    record : mapping
        As :func:`tasks.audit.task.answers` makes it.

    Returns
    -------
    bytes
        UTF-8 HTML without any reference to another file or host.
    """
    sections = [
        {"name": name, "words": ATTACKS.get(name, _Words(name, "")), "rows": [_row(each) for each in findings]}
        for name, findings in itertools.groupby(record["attacks"], key=lambda each: each["attack"])
    ]
    return fill(Path(__file__).parent, "audit.html.j2", record=record, sections=sections, headline=headline(record["attacks"]))


def headline(findings: list[dict[str, Any]]) -> dict[str, str]:
    """Return the sentence that stands on top, and its colour; it never says that a release is safe."""
    leaking = list(dict.fromkeys(each["attack"] for each in findings if each["verdict"] == "leak found"))
    rows = [name.replace("_", " ") for name in leaking if name not in BY_DESIGN]
    also = " Shares of the population can be inferred, as from any faithful release." if len(rows) < len(leaking) else ""
    if rows:
        return {"tone": "bad", "text": f"Leaks of rows found: {', '.join(rows)}.{also}"}
    undecided = sum(each["verdict"] == "inconclusive" for each in findings)
    text = "These attacks found no leak of rows." + (f" {undecided} of {len(findings)} statistics are inconclusive." if undecided else "")
    return {"tone": "off" if undecided else "good", "text": text + also}


def _row(finding: Mapping[str, Any]) -> dict[str, Any]:
    decimals = 3 if abs(finding["value"] or 0.0) < 10 else 1
    return {
        **finding,
        **{name: fixed(finding[name], decimals) for name in ("value", "baseline", "control", "excess", "tolerance")},
        "interval": "" if finding["value"] is None else interval(finding["ci_low"], finding["ci_high"], decimals),
        "excess_interval": "" if finding["excess"] is None else interval(finding["excess_low"], finding["excess_high"], decimals),
        "badge": BADGES[finding["verdict"]],
        "level": f"{finding['confidence']:.1%} interval",
        "rows": f"{plural(finding['targets'], 'target')}, {plural(finding['controls'], 'control')}",
        "plot": _plot(finding),
    }


def _plot(finding: Mapping[str, Any]) -> Markup:
    """Draw value, interval, baseline and control on a line from 0; nothing where there is no value."""
    shown = {name: finding[name] for name in ("value", "ci_low", "ci_high", "baseline", "control") if finding[name] is not None}
    if not {"value", "ci_low", "ci_high"} <= set(shown):
        return Markup("")
    axis, middle = Axis(0.0, max(1.0, *shown.values()), 6.0, WIDTH - 6.0), HEIGHT / 2
    parts = [line(axis.start, middle, axis.end, middle, "grid")]
    if "baseline" in shown:
        parts.append(line(axis.at(shown["baseline"]), 2.0, axis.at(shown["baseline"]), HEIGHT - 2.0, "guide"))
    if "control" in shown:
        parts.append(bar(axis.at(shown["control"]) - 4.0, middle - 4.0, 8.0, 8.0, "source"))
    parts.append(line(axis.at(shown["ci_low"]), middle, axis.at(shown["ci_high"]), middle, "limits release"))
    parts.append(circle(axis.at(shown["value"]), middle, 4.5, "release"))
    text = "; ".join(f"{name.replace('_', ' ')} {fixed(value, 3)}" for name, value in shown.items())
    return drawing(WIDTH, HEIGHT, f"{finding['statistic'].replace('_', ' ')}: {text}", parts)
