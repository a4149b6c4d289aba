"""Curves over the number of added rows, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from tasks.pages.axis import Axis, LogAxis, tick_labels
from tasks.pages.numbers import count
from tasks.pages.svg import drawing, line, polyline, words

WIDTH, HEIGHT = 460.0, 244.0
_LEFT, _RIGHT, _TOP, _BASE = 62.0, 440.0, 12.0, 196.0


def curve_plot(curve: Sequence[Mapping[str, Any]], chosen: int, lines: Mapping[str, str], title: str, around_zero: bool = False) -> Markup:
    """Draw some quantities of the curve against the number of added rows (logarithmic), the chosen number marked.

    Parameters
    ----------
    curve : sequence of mapping
        Points by number of rows, ascending.
    chosen : int
        Rows added.
    lines : mapping
        Key of a quantity to its words.
    title : str
        Of the plot, for those who can't see it.
    around_zero : bool
        Whether quantities may be negative.

    Returns
    -------
    Markup
        An SVG and its key; line i has class ``s<i>``.
    """
    values = [float(point[key]) for point in curve for key in lines if math.isfinite(float(point[key]))]
    low, high = (min(*values, 0.0), max(*values, 0.0)) if around_zero else (0.0, max(values))
    up = Axis(low, high if high > low else low + 1.0, _BASE, _TOP)
    first, last = float(max(curve[0]["rows"], 1)), float(curve[-1]["rows"])
    across = LogAxis(first, last if last > first else first + 1.0, _LEFT, _RIGHT)
    marks = up.ticks()
    parts = []
    for value, label in zip(marks, tick_labels(marks), strict=True):
        parts += [line(_LEFT, up.at(value), _RIGHT, up.at(value), "grid"), words(_LEFT - 6.0, up.at(value) + 4.0, label, anchor="end")]
    parts += [words(across.at(rows), _BASE + 16.0, count(rows)) for rows in _readable(across, [int(point["rows"]) for point in curve])]
    parts.append(words((_LEFT + _RIGHT) / 2, _BASE + 36.0, "added rows (logarithmic)"))
    parts.append(line(across.at(chosen), _TOP, across.at(chosen), _BASE, "chosen"))
    for place, key in enumerate(lines):
        points = ((across.at(max(point["rows"], 1)), up.at(float(point[key]))) for point in curve)
        parts.append(polyline(points, f"curve s{place}"))
    entries = Markup("").join(
        Markup('<span><i class="s{}{}"></i>{}</span>').format(place, " dashed" if place else "", text)
        for place, text in enumerate(lines.values())
    )
    return drawing(WIDTH, HEIGHT, title, parts) + Markup('<p class="key">{}</p>').format(entries)


def _readable(across: LogAxis, rows: Sequence[int]) -> list[int]:
    """Choose numbers whose labels don't touch, the last one among them."""
    chosen: list[int] = []
    for number in sorted(set(rows), reverse=True):
        if not chosen or across.at(chosen[-1]) - across.at(max(number, 1)) >= 46.0:
            chosen.append(number)
    return chosen[::-1]
