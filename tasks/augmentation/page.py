"""The report of an augmentation: where support is missing, what rows buy and cost, what else could be done, what the effects became."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasks.augmentation.plot import curve_plot

NAMES: Mapping[str, str] = {
    "augment": "augmenting",
    "nothing": "doing nothing",
    "overlap": "overlap weights",
    "trimming": "trimming",
    "pooling": "pooling the other table",
}
ESTIMATORS: Mapping[str, str] = {
    "or": "Outcome regression",
    "ipw": "Inverse weighting",
    "aipw": "Augmented weighting (AIPW)",
    "tmle": "Targeted likelihood (TMLE)",
    "ato": "Overlap-weighted effect (another estimand)",
}


def render(manifest: Mapping[str, Any], status: str) -> bytes:
    """Render the report.

    Parameters
    ----------
    manifest : mapping
        The manifest, as JSON values; ``version`` is None for an augmentation that was not published.
    status : str
        ``"published"`` or ``"rejected"``.

    Returns
    -------
    bytes
        UTF-8 HTML without any reference to another file or host; the same bytes for the same arguments.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(number=number, moment=lambda text: f"{datetime.fromisoformat(text):%d %B %Y, %H:%M} UTC")
    told = manifest["augmentation"]
    page = environment.get_template("augmentation.html.j2").render(
        manifest=manifest,
        told=told,
        status=status,
        headline=verdict(told),
        effects=_effects(told["estimates"]),
        rivals=_rivals(told["rivals"]),
        errors=curve_plot(told["curve"], told["chosen"], _error_lines(told), "estimated squared error of the effect"),
        shifts=curve_plot(
            told["curve"], told["chosen"], {"gain": "gain", "shift": "shift"}, "gain (squared units) and shift (units)", around_zero=True
        ),
        conflict=_conflict(told["conflict"]),
    )
    return page.encode()


def verdict(told: Mapping[str, Any]) -> str:
    """Say in a sentence what the augmentation is expected to be worth.

    Parameters
    ----------
    told : mapping
        The manifest's section ``augmentation``.
    """
    mine, *others = told["rivals"]
    known = sorted((each for each in others if each["error"] is not None), key=lambda each: each["error"])
    if not known:
        return f"Expected squared error {number(mine['error'])}; nothing else could be done."
    best = known[0]
    relation = "less than" if mine["error"] < best["error"] else "no less than"
    return (
        f"Augmenting is expected to err {relation} {NAMES[best['name']]}: "
        f"squared error {number(mine['error'])} against {number(best['error'])}, the least of {len(known)} other ways."
    )


def number(value: float | None) -> str:
    """Write a number in three digits; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return text.replace("-", "−", 1) if text.startswith("-") else text


def _error_lines(told: Mapping[str, Any]) -> dict[str, str]:
    lines = {"error": "all of it", "noise": "noise of the source's outcomes", "borrowed": "error of borrowed predictions"}
    return lines | ({"conflict": "disagreement"} if any(point["conflict"] > 0 for point in told["curve"]) else {})


def _rivals(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    least = min(each["error"] for each in found if each["error"] is not None)
    return [{**each, "title": NAMES[each["name"]], "best": each["error"] == least} for each in found]


def _effects(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Put each estimator's estimates before and after side by side, with the places of their intervals on one line."""
    after = {_name(each): each for each in found["after"] or []}
    rows = [{"name": _name(each), "before": each, "after": after.get(_name(each))} for each in found["before"]]
    ends = [value for row in rows for each in (row["before"], row["after"]) if each for value in (each["ci_low"], each["ci_high"])]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    width = (high - low) or 1.0

    def place(value: float) -> float:
        return round(6.0 + 288.0 * (value - low) / width, 1)

    for row in rows:
        row["title"] = ESTIMATORS[row["name"]]
        row["lines"] = [
            {"class": kind, "y": y, **{key: place(each[key]) for key in ("estimate", "ci_low", "ci_high")}}
            for kind, y, each in (("before", 9, row["before"]), ("after", 20, row["after"]))
            if each
        ]
        row["zero"] = place(0.0) if low <= 0.0 <= high else None
    return rows


def _name(estimate: Mapping[str, Any]) -> str:
    return "ato" if estimate["estimand"] == "ato" else str(estimate["estimator"])


def _conflict(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    tested = f"p = {found['chance']:.2g}"
    put_right = "putting the borrowed predictions right by the source's own outcomes would move the effect by"
    words = f"{put_right} {number(found['change'])} (SE {number(found['se'])})"
    if found["squared"] > 0:
        return f"The two tables disagree ({tested}): {words}. Augmenting is charged with it."
    return f"The two tables agree as far as the source can tell ({tested}): {words}."
