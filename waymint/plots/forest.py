"""Forest plot: estimates with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.contract.headline import BuiltIn
from waymint.plots.canvas import COLORS, GREY, MARKERS, Plot, canvas, label_rows, legend_below

TITLES = {
    "source": "source",
    "release": "release",
    "combined": "release, valid for the source's population",
    "table": "table",
    "before": "source",
    "after": "source with added rows",
}
OFFSET = 0.22


def _reach(row: Mapping[str, Any], end: str) -> float:
    """Return how far an interval reaches to one side; 0 where none is given."""
    return abs(row[end] - row["estimate"]) if row[end] is not None else 0.0


def _name(row: Mapping[str, Any]) -> str:
    """Name an estimate: the outcome of several, estimand, the arms of more than two, estimator."""
    estimand, arm, control = str(row["estimand"]), row.get("arm"), row.get("control")
    arms = "" if arm is None else f"  {arm}" if control is None else f"  {arm} - {control}"
    outcome = f"{row['outcome']}  " if row.get("outcome") else ""
    return f"{outcome}{estimand.upper() if len(estimand) == 3 else estimand}{arms}  {str(row['estimator']).upper()}"


def forest(rows: Sequence[Mapping[str, Any]], carried: BuiltIn | None = None, estimand: str = "ate") -> Plot:
    """Draw a forest plot.

    Parameters
    ----------
    rows : sequence of mapping
        ``table``, ``estimand``, ``estimator``, ``estimate``, ``ci_low``, ``ci_high``.
    carried : BuiltIn, optional
        Effect built into the release, drawn as a line.
    estimand : str
        Of that effect.
    """
    names = list(dict.fromkeys(_name(row) for row in rows))
    tables = list(dict.fromkeys(str(row["table"]) for row in rows))
    figure, (axis,) = canvas(1.1 + 0.18 * len(names) * (len(tables) + 0.6))
    for number, table in enumerate(tables):
        of_table = [row for row in rows if row["table"] == table]
        shift = OFFSET * (number - (len(tables) - 1) / 2)
        axis.errorbar(
            [row["estimate"] for row in of_table],
            [names.index(_name(row)) + shift for row in of_table],
            xerr=[[_reach(row, "ci_low") for row in of_table], [_reach(row, "ci_high") for row in of_table]],
            fmt=MARKERS[number],
            color=COLORS[number % len(COLORS)],
            markersize=4,
            linewidth=1.2,
            label=TITLES.get(table, table),
        )
    axis.axvline(0, color=GREY, linewidth=0.8)
    if carried is not None:
        axis.axvline(carried.value, color=GREY, linewidth=1, linestyle=":", label=f"exact {estimand.upper()} of the release")
    label_rows(axis, names)
    axis.set_xlabel("effect, 95 % interval")
    legend_below(figure, axis, 2)
    return figure
