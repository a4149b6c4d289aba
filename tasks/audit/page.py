"""The audit's HTML page: every attack with its interval, its baseline and its control."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

WIDTH = 300


class _Words(NamedTuple):
    """What an attack asks, and how to read its numbers."""

    title: str
    asks: str


ATTACKS: Mapping[str, _Words] = {
    "membership": _Words("Membership", "Can the release tell rows that its synthesizer saw from rows it never saw?"),
    "mechanism": _Words("Mechanism leakage", "Do released treatments and outcomes give away single rows' own treatment and outcome?"),
    "reconstruction": _Words("Reconstruction", "Who knows a row's other columns: can they rebuild a secret one from the release?"),
    "singling_out": _Words("Singling out", "Does the release yield predicates that are true of exactly one real row?"),
    "linkability": _Words("Linkability", "Does the release join two halves of a record that two parties hold apart?"),
    "distribution": _Words("Distribution inference", "Can the release tell from which of two populations its source was drawn?"),
}
#: What these infer is the population's, and a faithful release tells it on purpose.
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
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(number=_number, moment=lambda text: f"{datetime.fromisoformat(text):%d %B %Y, %H:%M} UTC")
    sections = [
        {"name": name, "words": ATTACKS.get(name, _Words(name, "")), "rows": [_row(each) for each in found]}
        for name, found in itertools.groupby(record["attacks"], key=lambda each: each["attack"])
    ]
    page = environment.get_template("audit.html.j2").render(record=record, sections=sections, headline=headline(record["attacks"]))
    return page.encode()


def headline(found: list[dict[str, Any]]) -> dict[str, str]:
    """Return the sentence that stands on top, and its colour; it never says that a release is safe."""
    leaking = list(dict.fromkeys(each["attack"] for each in found if each["verdict"] == "leak found"))
    rows = [name.replace("_", " ") for name in leaking if name not in BY_DESIGN]
    also = " Shares of the population can be inferred, as from any faithful release." if len(rows) < len(leaking) else ""
    if rows:
        return {"tone": "bad", "text": f"Leaks of rows found: {', '.join(rows)}.{also}"}
    undecided = sum(each["verdict"] == "inconclusive" for each in found)
    text = "These attacks found no leak of rows." + (f" {undecided} of {len(found)} statistics are inconclusive." if undecided else "")
    return {"tone": "off" if undecided else "good", "text": text + also}


def _row(found: Mapping[str, Any]) -> dict[str, Any]:
    return {**found, "badge": BADGES[found["verdict"]], "level": f"{found['confidence']:.1%}", "plot": _places(found)}


def _places(found: Mapping[str, Any]) -> dict[str, float] | None:
    """Return where value, limits, baseline and control lie on a line of ``WIDTH`` units; None where there is no value."""
    shown = {name: found[name] for name in ("value", "ci_low", "ci_high", "baseline", "control") if found[name] is not None}
    if not {"value", "ci_low", "ci_high"} <= set(shown):
        return None
    top = max(1.0, *shown.values())
    return {name: round(6 + (WIDTH - 12) * value / top, 1) for name, value in shown.items()}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"
