"""Plots of the report as inline SVG: no file, no script, the same bytes for the same numbers."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

SOURCE, RELEASE, NEUTRAL = "#1f4e79", "#d9822b", "#8a8f98"
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9aa0a8",
    "axes.labelcolor": "#30343a",
    "xtick.color": "#4a4f57",
    "ytick.color": "#4a4f57",
    "svg.hashsalt": "waymint",
    "svg.fonttype": "none",
}


def _svg(figure: Figure, title: str) -> str:
    """Return a figure as an SVG element with a title for screen readers."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    text = re.sub(r"<metadata>.*?</metadata>", "", buffer.getvalue()[buffer.getvalue().index("<svg") :], flags=re.DOTALL)
    return text.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)


def _figure(width: float, height: float) -> Figure:
    mpl.rcParams.update(_STYLE)
    return Figure(figsize=(width, height), layout="constrained")


def effects_plot(rows: Sequence[Mapping[str, Any]], truth: float | None, unit: str) -> str:
    """Draw source and release estimates with their 95 % intervals, one line for each estimator.

    Parameters
    ----------
    rows : sequence of mapping
        ``label``, ``where`` ("source" or "release"), ``estimate``, ``ci_low``, ``ci_high``.
    truth : float or None
        The plug-in effect over the released covariates.
    unit : str
        Label of the axis.
    """
    figure = _figure(7.2, 0.62 + 0.26 * len(rows))
    axes = figure.subplots()
    for place, row in enumerate(reversed(rows)):
        colour = SOURCE if row["where"] == "source" else RELEASE
        axes.plot([row["ci_low"], row["ci_high"]], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot([row["estimate"]], [place], "o" if row["where"] == "source" else "D", color=colour, markersize=5)
    if truth is not None:
        axes.axvline(truth, color=NEUTRAL, linewidth=1, linestyle="--")
        axes.text(truth, len(rows) - 0.3, " exact effect of the release", color=NEUTRAL, fontsize=8, va="bottom")
    axes.axvline(0, color="#c9cdd3", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [str(row["label"]) for row in reversed(rows)])
    axes.set_xlabel(unit)
    axes.tick_params(axis="y", length=0)
    return _svg(figure, "Effect of source and release with 95 % intervals")


def overlap_plot(histograms: Mapping[str, Mapping[str, Sequence[float | None]]], edges: Sequence[float], bound: float) -> str:
    """Draw propensities by arm, treated above the line and controls below, source beside release.

    Parameters
    ----------
    histograms : mapping
        ``{"source": {"treated": shares, "control": shares}, "release": ...}``, None where a cell is suppressed.
    edges : sequence of float, length bins + 1
        Bin edges in [0, 1].
    bound : float
        d of the overlap gate.
    """
    figure = _figure(7.2, 2.5)
    middles = (np.asarray(edges[1:]) + np.asarray(edges[:-1])) / 2
    width = float(edges[1] - edges[0])
    panes = figure.subplots(1, len(histograms), sharey=True, squeeze=False)[0]
    for axes, (name, arms), colour in zip(panes, histograms.items(), (SOURCE, RELEASE)):
        up = np.array([value or 0.0 for value in arms["treated"]])
        down = np.array([value or 0.0 for value in arms["control"]])
        axes.bar(middles, up, width * 0.94, color=colour)
        axes.bar(middles, -down, width * 0.94, color=colour, alpha=0.45)
        axes.axhline(0, color="#30343a", linewidth=0.8)
        for line in (bound, 1 - bound):
            axes.axvline(line, color="#b3261e", linewidth=0.9, linestyle=":")
        axes.set_xlim(0, 1)
        axes.set_title(name, loc="left", fontsize=9)
        axes.set_xlabel("propensity")
        axes.set_yticks([])
        axes.text(0.99, 0.97, "treated", transform=axes.transAxes, ha="right", va="top", fontsize=8, color="#4a4f57")
        axes.text(0.99, 0.03, "control", transform=axes.transAxes, ha="right", va="bottom", fontsize=8, color="#4a4f57")
    return _svg(figure, "Propensities by arm")


def distance_plot(edges: Sequence[float], series: Mapping[str, Sequence[float | None]]) -> str:
    """Draw binned distances to the closest record as outlines.

    Parameters
    ----------
    edges : sequence of float, length bins + 1
        Shared bin edges.
    series : mapping
        Name to shares per bin, None where suppressed.
    """
    figure = _figure(7.2, 2.4)
    axes = figure.subplots()
    for (name, values), colour, style in zip(series.items(), (RELEASE, SOURCE, NEUTRAL), ("-", "-", "--")):
        axes.stairs([value or 0.0 for value in values], edges, color=colour, linewidth=1.6, label=name, linestyle=style)
    axes.set_xlabel("distance to closest record (interquartile ranges)")
    axes.set_yticks([])
    axes.legend(frameon=False, fontsize=8)
    return _svg(figure, "Distances to the closest record")


def marginal_plot(row: Mapping[str, Any]) -> str:
    """Draw one column's marginal: source as bars, release as dots."""
    figure = _figure(2.75, 1.55)
    axes = figure.subplots()
    places = np.arange(len(row["labels"]))
    axes.bar(places, [value or 0.0 for value in row["source"]], 0.86, color=SOURCE, alpha=0.35)
    axes.plot(places, [value or 0.0 for value in row["release"]], "o", color=RELEASE, markersize=3.2)
    shown = places if len(places) <= 6 else places[np.linspace(0, len(places) - 1, 4).round().astype(int)]
    axes.set_xticks(shown, [_clip(row["labels"][place]) for place in shown], fontsize=7)
    axes.set_yticks([])
    axes.set_title(_clip(row["name"], 34).replace("$", r"\$"), loc="left", fontsize=8.5)
    return _svg(figure, f"Marginal of one column, bin distance {row['distance']:.3f}")


def _clip(text: str, length: int = 9) -> str:
    clean = text if text.isprintable() else repr(text)[1:-1]
    return (clean if len(clean) <= length else clean[: length - 1] + "…").replace("$", r"\$")
