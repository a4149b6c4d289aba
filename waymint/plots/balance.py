"""Love plot: balance of covariates before and after weighting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from waymint.plots.canvas import COLORS, GREY, LIGHT, Plot, canvas, label_rows, legend_below

#: A difference up to this is usually taken as balance: Austin (2009), DOI 10.1002/sim.3697.
BALANCED = 0.1
MOST = 40


def love(rows: Sequence[Mapping[str, Any]]) -> Plot:
    """Draw absolute standardised mean differences, the largest first, at most 40 columns.

    Parameters
    ----------
    rows : sequence of mapping
        ``covariate``, ``level``, ``before``, ``after``.
    """
    shown = sorted(rows, key=lambda row: -abs(row["before"]))[:MOST]
    figure, (axis,) = canvas(1.1 + 0.2 * len(shown))
    places = range(len(shown))
    before, after = ([abs(row[name]) for row in shown] for name in ("before", "after"))
    axis.hlines(places, before, after, color=LIGHT, linewidth=1.2, zorder=1)
    axis.scatter(before, places, s=22, marker="o", facecolors="white", edgecolors=COLORS[2], label="before weighting", zorder=2)
    axis.scatter(after, places, s=22, marker="s", color=COLORS[1], label="after weighting", zorder=2)
    axis.axvline(BALANCED, color=GREY, linewidth=0.8, linestyle=":")
    axis.set_xlim(left=0)
    axis.set_xlabel("absolute standardised mean difference")
    label_rows(axis, [str(row["covariate"]) + ("" if row["level"] is None else f" = {row['level']}") for row in shown])
    legend_below(figure, axis)
    return figure
