"""Drawings of the simulation's page: one measure of one estimator on a line, and measures over sample sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from tasks.pages.axis import Axis, LogAxis, tick_labels
from tasks.pages.numbers import count
from tasks.pages.svg import circle, drawing, line, mark, polyline, words

#: Limits reach so many Monte-Carlo standard errors either way.
REACH = 2.0
LINE_WIDTH, LINE_HEIGHT = 165.0, 22.0
WIDTH, HEIGHT = 310.0, 200.0
_LEFT, _RIGHT, _TOP, _BASE = 46.0, 300.0, 8.0, 158.0
#: Curves with a look of their own; further ones repeat them.
LOOKS = 6
_DODGE = 5.0


def lines(rows: Sequence[Mapping[str, Any]], measure: str, guide: float | None = None, floor: float | None = None) -> list[Markup]:
    """Draw one measure of each row of one cell on a common scale: a point, two Monte-Carlo errors, and a dashed guide.

    Parameters
    ----------
    rows : sequence of mapping
        Figures of one cell; a missing one gives an empty drawing.
    measure : str
        Which figure.
    guide : float, optional
        What it should be.
    floor : float, optional
        The scale begins here, or below.
    """
    measured = [row for row in rows if row[measure] is not None]
    ends = [row[measure] + side * REACH * row[f"{measure}_mcse"] for row in measured for side in (-1.0, 1.0)]
    axis = scale([*ends, *([] if guide is None else [guide])], 5.0, LINE_WIDTH - 5.0, floor)
    return [Markup("") if row[measure] is None else _line(axis, row, measure, guide) for row in rows]


def _line(axis: Axis, row: Mapping[str, Any], measure: str, guide: float | None) -> Markup:
    middle, value, reach = LINE_HEIGHT / 2, row[measure], REACH * row[f"{measure}_mcse"]
    parts = [line(axis.start, middle, axis.end, middle, "grid")]
    if guide is not None:
        parts.append(line(axis.at(guide), 1.0, axis.at(guide), LINE_HEIGHT - 1.0, "exact"))
    parts += [line(axis.at(value - reach), middle, axis.at(value + reach), middle, "limits"), circle(axis.at(value), middle, 4.5, "source")]
    return drawing(LINE_WIDTH, LINE_HEIGHT, f"{measure} of {row['estimator']}: {value:.3g}", parts)


def scale(values: Sequence[float], start: float, end: float, floor: float | None = None) -> Axis:
    """Return a scale that holds the values with some air; ``floor`` is a value it begins at, or below."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    low = low if floor is None else min(low, floor)
    air = 0.05 * (high - low) or 0.05 * max(abs(high), 1e-9)
    return Axis(low if floor is not None and low == floor else low - air, high + air, start, end)


def chart(rows: Sequence[Mapping[str, Any]], measure: str, title: str, guide: float | None = None) -> Markup | None:
    """Draw one measure against n, a curve for each estimator; None where there are fewer than two sizes.

    Curves differ in colour, dashes and marks, and are some pixels apart: equal ones stay visible.

    Parameters
    ----------
    rows : sequence of mapping
        Figures of cells that differ in n alone.
    measure : str
        Which figure.
    title : str
        What it is called.
    guide : float, optional
        What it should be: a dashed line.
    """
    measured = [row for row in rows if row[measure] is not None]
    sizes = sorted({row["n"] for row in measured})
    if len(sizes) < 2:
        return None
    across = LogAxis(sizes[0], sizes[-1], _LEFT + 20.0, _RIGHT - 18.0)
    values = [row[measure] for row in measured] + ([] if guide is None else [guide])
    up = scale(values, _BASE, _TOP, 0.0 if measure in ("rmse", "power", "type1_error") else None)
    parts = _frame(across, up, sizes)
    if guide is not None:
        parts.append(line(_LEFT, up.at(guide), _RIGHT, up.at(guide), "guide"))
    names = list(dict.fromkeys(row["estimator"] for row in rows))
    for place, name in enumerate(names):
        shift = _DODGE * (place - (len(names) - 1) / 2)
        curve_points = sorted((row["n"], row[measure]) for row in measured if row["estimator"] == name)
        points = [(across.at(n) + shift, up.at(value)) for n, value in curve_points]
        parts.append(polyline(points, f"curve s{place % LOOKS}"))
        parts += [mark(place, x, y, 8.0, f"mark s{place % LOOKS}") for x, y in points]
    return drawing(WIDTH, HEIGHT, f"{title} against sample size, by estimator", parts)


def look(place: int) -> Markup:
    """Draw how a curve looks, for the key."""
    height = 12.0
    parts = [
        line(0.0, height / 2, 40.0, height / 2, f"curve s{place % LOOKS}"),
        mark(place, 20.0, height / 2, 8.0, f"mark s{place % LOOKS}"),
    ]
    return drawing(40.0, height, f"look of curve {place + 1}", parts)


def _frame(across: LogAxis, up: Axis, sizes: Sequence[int]) -> list[Markup]:
    marks = up.ticks()
    parts = []
    for value, label in zip(marks, tick_labels(marks), strict=True):
        parts += [line(_LEFT, up.at(value), _RIGHT, up.at(value), "grid"), words(_LEFT - 6.0, up.at(value) + 4.0, label, anchor="end")]
    parts.append(line(_LEFT, _BASE, _RIGHT, _BASE, "axis"))
    shown = sizes if len(sizes) <= 4 else [sizes[0], sizes[len(sizes) // 2], sizes[-1]]
    parts += [words(across.at(n), _BASE + 16.0, count(n)) for n in shown]
    parts.append(words((_LEFT + _RIGHT) / 2, _BASE + 36.0, "rows of a data set (logarithmic)"))
    return parts
