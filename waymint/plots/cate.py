"""Error of individual effects: what a learner makes of the release, against a new sample of the source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.numerics.normal import Z95
from waymint.plots.canvas import COLORS, Plot, canvas, label_rows, legend_below

TITLES = {"t": "T-learner", "s": "S-learner", "dr": "DR-learner", "ra": "RA-learner", "mean": "mean"}


def cate(record: Mapping[str, Any]) -> Plot:
    """Draw the root mean squared gap of individual effects by learner, with the gap between two samples of the source beside it.

    Parameters
    ----------
    record : mapping
        ``learners`` and ``mean``, each with ``learner``, ``gap``, ``se``, ``reference``, ``reference_se``.
    """
    rows = [*record["learners"], record["mean"]]
    figure, (axis,) = canvas(1.1 + 0.32 * len(rows))
    series = (
        ("gap", "se", "release to source", "o", COLORS[2]),
        ("reference", "reference_se", "two samples of the source", "s", COLORS[1]),
    )
    for place, (name, error, label, marker, color) in enumerate(series):
        axis.errorbar(
            [row[name] for row in rows],
            [number + 0.2 * (place - 0.5) for number in range(len(rows))],
            xerr=[Z95 * row[error] for row in rows],
            fmt=marker,
            color=color,
            markersize=4,
            linewidth=1.2,
            label=label,
        )
    axis.set_xlim(left=0)
    axis.set_xlabel("root mean squared gap of individual effects, 95 % interval")
    label_rows(axis, [TITLES.get(str(row["learner"]), str(row["learner"])) for row in rows])
    legend_below(figure, axis)
    return figure
