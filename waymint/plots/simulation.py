"""Power, coverage, bias and RMSE by sample size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.numerics.normal import Z95
from tasks.targeting.estimators import ATE
from waymint.plots.canvas import COLORS, GREY, MARKERS, Plot, canvas, legend_below

ACROSS, NOMINAL = 2, 0.95
#: Estimators of the average effect, and the test beside them; others answer other questions.
AVERAGE = (*ATE, "adaptive", "km", "aj", "logrank")
TITLES = {"power": "power", "coverage": "coverage of the 95 % interval", "bias": "bias", "rmse": "root mean squared error"}


def curves(rows: Sequence[Mapping[str, Any]], measure: str) -> Plot:
    """Draw a measure by sample size, one line for each estimator, one panel for each kind of cell.

    Where the true effect is 0, power is the type-1 error and is called so, with a line at 5 %.

    Parameters
    ----------
    rows : sequence of mapping
        Of a simulation's reply.
    measure : str
        A key of ``TITLES``; its Monte-Carlo error is ``<measure>_mcse``.
    """
    panels: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["estimator"] in AVERAGE and row[measure] is not None:
            panels.setdefault(_panel(row), []).append(row)
    down = -(-len(panels) // ACROSS) or 1
    figure, axes = canvas(0.6 + 2.3 * down, across=min(ACROSS, len(panels)) or 1, down=down)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for axis, (title, curve) in zip(axes, panels.items()):
        _lines(axis, curve, measure)
        null = measure == "power" and all(row["effect_scale"] == 0.0 for row in curve)
        level = 0.05 if null else {"power": 0.8, "coverage": NOMINAL, "bias": 0.0}.get(measure)
        if level is not None:
            axis.axhline(level, color=GREY, linewidth=0.8, linestyle=":")
        if measure in ("power", "coverage"):
            axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axis.set_title(title, fontsize=8)
        axis.set_ylabel("type-1 error" if null else TITLES[measure], fontsize=8)
        axis.set_xlabel("rows")
    legend_below(figure, axes[0], 5)
    return figure


def _panel(row: Mapping[str, Any]) -> str:
    """Name a cell without its sample size, and what is compared in it."""
    arms = f"{row['arm']} - {row['control']}" if row.get("arm") is not None else None
    cell = f"{row['design']}, effect × {row['effect_scale']:g}" + "".join(
        f", {key} {row[key]}" for key in ("withheld", "noise", "learner") if row.get(key) not in (None, 1.0, "glm")
    )
    return ", ".join(filter(None, (row.get("outcome"), arms, cell)))


def _lines(axis: Any, rows: Sequence[Mapping[str, Any]], measure: str) -> None:
    sizes = sorted({row["n"] for row in rows})
    span = (max(sizes) - min(sizes)) or max(sizes)
    for number, name in enumerate(AVERAGE):
        curve = sorted((row for row in rows if row["estimator"] == name), key=lambda row: row["n"])
        if curve:
            axis.errorbar(
                [row["n"] + span * 0.012 * (number - 2) for row in curve],  # lines that coincide stay apart
                [row[measure] for row in curve],
                yerr=[Z95 * (row.get(f"{measure}_mcse") or 0.0) for row in curve],
                marker=MARKERS[number],
                color=COLORS[number],
                markersize=4,
                linewidth=1.2,
                label=name if name in ("adaptive", "logrank") else name.upper(),
            )
    axis.set_xticks(sizes)
