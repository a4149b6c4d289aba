"""Overlap of the arms: histograms of the propensity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from waymint.plots.canvas import COLORS, GREY, Plot, canvas, legend_below


def overlap(records: Mapping[str, Mapping[str, Any]]) -> Plot:
    """Draw histograms of the propensity by arm, treated above and controls below the axis.

    Parameters
    ----------
    records : mapping
        By table: ``histogram0``, ``histogram1`` (rows in equal bins over [0, 1], None where too few to show) and ``bound``.
    """
    figure, axes = canvas(2.6, across=len(records), sharey=True)
    for axis, (title, record) in zip(axes, records.items()):
        for name, sign, color, label in (("histogram1", 1, COLORS[2], "treated"), ("histogram0", -1, COLORS[1], "controls")):
            heights = [sign * (count or 0) / max(1, sum(each or 0 for each in record[name])) for count in record[name]]
            width = 1 / len(heights)
            axis.bar([width * (place + 0.5) for place in range(len(heights))], heights, width, color=color, edgecolor="white", label=label)
        for bound in (record["bound"], 1 - record["bound"]):
            axis.axvline(bound, color=GREY, linewidth=0.8, linestyle=":")
        axis.axhline(0, color=GREY, linewidth=0.8)
        axis.set_xlim(0, 1)
        axis.set_title(title)
        axis.set_xlabel("P(treated | covariates)")
        axis.yaxis.set_major_formatter(lambda value, _: f"{abs(value):.0%}")
    axes[0].set_ylabel("share of the arm")
    legend_below(figure, axes[0])
    return figure
