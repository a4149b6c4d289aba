"""Survival curves by arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from waymint.plots.canvas import COLORS, Plot, canvas, legend_below


def survival(points: Sequence[Mapping[str, Any]], estimator: str, horizon: float) -> Plot:
    """Draw the curve of every arm by one estimator, survival or incidence of a cause, with its simultaneous 95 % band.

    Parameters
    ----------
    points : sequence of mapping
        ``arm``, ``estimator``, ``time``, ``survival`` or ``incidence``, ``band_low``, ``band_high``.
    estimator : str
        Whose curves are drawn.
    horizon : float
        Last time, in units of the outcome.
    """
    figure, (axis,) = canvas(3.2)
    name, start = ("incidence", 0.0) if "incidence" in points[0] else ("survival", 1.0)
    arms = list(dict.fromkeys(str(point["arm"]) for point in points))
    for arm, color in zip(arms, COLORS):
        curve = [point for point in points if (str(point["arm"]), point["estimator"]) == (arm, estimator)]
        times, middle = [0.0, *(point["time"] for point in curve)], [start, *(point[name] for point in curve)]
        low, high = ([start, *(point[side] for point in curve)] for side in ("band_low", "band_high"))
        axis.step(times, middle, where="post", color=color, linewidth=1.3, label=f"arm {arm}")
        axis.fill_between(times, low, high, step="post", color=color, alpha=0.15, linewidth=0)
    axis.set_xlim(0.0, horizon)
    axis.set_ylim(0.0, 1.02)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.set_xlabel("time")
    axis.set_ylabel(f"{'with an event of the cause' if start == 0.0 else 'without the event'}, {estimator.upper()}")
    legend_below(figure, axis, 4)
    return figure
