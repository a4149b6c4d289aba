"""Attacks beside their baselines and controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from waymint.plots.canvas import COLORS, Plot, canvas, label_rows, legend_below


def attacks(rows: Sequence[Mapping[str, Any]]) -> Plot:
    """Draw every statistic that has a value, with its interval, baseline and control.

    Parameters
    ----------
    rows : sequence of mapping
        ``attack``, ``statistic``, ``value``, ``ci_low``, ``ci_high``, ``baseline``, ``control``.
    """
    shown = [row for row in rows if row["value"] is not None]
    figure, (axis,) = canvas(1.2 + 0.24 * len(shown))
    values = [float(row["value"]) for row in shown]
    below = [value - _end(row, "ci_low", value) for row, value in zip(shown, values)]
    above = [_end(row, "ci_high", value) - value for row, value in zip(shown, values)]
    axis.errorbar(
        values,
        range(len(shown)),
        xerr=[[max(0.0, each) for each in below], [max(0.0, each) for each in above]],
        fmt="o",
        color=COLORS[2],
        markersize=4,
        linewidth=1.2,
        label="attack, 95 % interval",
    )
    for name, marker, color in (("baseline", "|", COLORS[0]), ("control", "s", COLORS[1])):
        points = [(place, row[name]) for place, row in enumerate(shown) if row.get(name) is not None]
        axis.scatter([value for _, value in points], [place for place, _ in points], s=30, marker=marker, color=color, label=name, zorder=3)
    label_rows(axis, [f"{row['attack']}: {row['statistic']}" for row in shown])
    axis.set_xlabel("statistic")
    legend_below(figure, axis)
    return figure


def _end(row: Mapping[str, Any], name: str, value: float) -> float:
    """Return an end of the interval, the value itself where there is none."""
    return value if row[name] is None else float(row[name])
