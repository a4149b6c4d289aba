"""Error of the effect by synthesizer and estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from waymint.plots.canvas import COLORS, GREY, MARKERS, Plot, canvas, label_rows, legend_below


def effect_errors(rows: Sequence[Mapping[str, Any]]) -> Plot:
    """Draw the estimate on each release minus the source's, a point for each seed.

    Parameters
    ----------
    rows : sequence of mapping
        Of a comparison's reply.
    """
    shown = [row for row in rows if row.get("refused") is None]
    names = list(dict.fromkeys(f"{row['synthesizer']}, {row['mode']}" for row in shown))
    estimators = list(dict.fromkeys(name for row in shown for name in row["effect_error"]))
    figure, (axis,) = canvas(1.2 + 0.4 * len(names))
    for number, estimator in enumerate(estimators):
        pairs = [(names.index(f"{row['synthesizer']}, {row['mode']}"), row["effect_error"][estimator]) for row in shown]
        points = [(place, value) for place, value in pairs if value is not None]
        axis.scatter(
            [value for _, value in points],
            [place + 0.15 * (number - (len(estimators) - 1) / 2) for place, _ in points],
            s=20,
            marker=MARKERS[number % len(MARKERS)],
            color=COLORS[number % len(COLORS)],
            label=estimator.upper(),
        )
    axis.axvline(0, color=GREY, linewidth=0.8)
    label_rows(axis, names)
    axis.set_xlabel("effect in the release minus effect in the source")
    legend_below(figure, axis, 5)
    return figure
