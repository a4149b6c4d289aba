"""The HTML report: one self-contained page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasks.report.plots import distance_plot, effects_plot, marginal_plot, overlap_plot

ESTIMATORS = {"or": "OR", "ipw": "IPW", "aipw": "AIPW", "tmle": "TMLE"}
MOST_MARGINALS = 60


def render(manifest: Mapping[str, Any], pictures: Mapping[str, Any], status: str) -> bytes:
    """Render the report.

    Parameters
    ----------
    manifest : mapping
        The manifest, as JSON values; ``version`` is None for a rejected release.
    pictures : mapping
        ``marginals`` (rows of :func:`tasks.report.marginals.paired`), ``overlap`` ({"edges", "bound", "arms"}),
        ``distances`` ({"edges", "series"} or None).
    status : str
        ``"published"`` or ``"rejected"``.

    Returns
    -------
    bytes
        UTF-8 HTML without any reference to another file or host.
    """
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)
    environment.filters["number"] = number
    effects = manifest["effects"]
    rows = _effect_rows(effects)
    marginals = sorted(pictures["marginals"], key=lambda row: -float(row["distance"]))
    truth = effects.get("truth") or {}
    page = environment.get_template("report.html.j2").render(
        status=status,
        manifest=manifest,
        gates=manifest["gates"],
        failed=[gate for gate in manifest["gates"] if gate["passed"] is False],
        effect_rows=rows,
        effects_svg=effects_plot(rows, truth.get("ate"), _unit(manifest)) if rows else "",
        overlap_svg=overlap_plot(pictures["overlap"]["arms"], pictures["overlap"]["edges"], pictures["overlap"]["bound"]),
        distance_svg=distance_plot(**pictures["distances"]) if pictures["distances"] else "",
        marginal_svgs=[marginal_plot(row) for row in marginals[:MOST_MARGINALS]],
        marginals_left_out=max(0, len(marginals) - MOST_MARGINALS),
    )
    return page.encode()


def _unit(manifest: Mapping[str, Any]) -> str:
    outcome = manifest["spec"]["roles"]["outcome"]
    return f"average treatment effect on {outcome}".replace("$", r"\$")


def _effect_rows(effects: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Flatten the ATEs of source and release to rows, the manifest's main estimate first."""
    rows = []
    for name, label in ESTIMATORS.items():
        for where in ("source", "release"):
            found = (effects.get(where) or {}).get("all") or []
            rows += [
                {**estimate, "where": where, "label": f"{label} {where}"}
                for estimate in found
                if estimate["estimator"] == name and estimate["estimand"] == "ate"
            ]
    return rows


def number(value: object, digits: int = 3) -> str:
    """Format a number for reading: significant digits, thousands separated, a dash for what is not there."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or (float(value).is_integer() and abs(value) >= 1000):
        return f"{int(value):,}"
    if not math.isfinite(value):
        return "–"
    return f"{value:.{digits}g}" if abs(value) < 10_000 else f"{value:,.0f}"


def failed_lines(gates: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line for each failed gate: name, value, rule, bound."""
    return [
        f"{gate['name']}: {number(gate['value'])}, must be {gate['rule']} {number(gate['threshold'])}"
        for gate in gates
        if gate["passed"] is False
    ]
