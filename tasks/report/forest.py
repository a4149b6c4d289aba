"""Forest plots, row by row: the labels stand in the table beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from tasks.pages.axis import Axis, tick_labels
from tasks.pages.svg import bar, circle, diamond, drawing, line, words

WIDTH, HEIGHT, FOOT = 380.0, 46.0, 44.0
START, END = 12.0, 368.0


class Interval(NamedTuple):
    """A point with its interval; ``where`` is a class of the page's style. Numbers that are not known are None."""

    where: str
    point: float | None
    low: float | None
    high: float | None


class Guides(NamedTuple):
    """What runs through all rows of a plot.

    Attributes
    ----------
    band : tuple of two float, or None
        Shaded.
    exact : float or None
        A dashed line.
    """

    band: tuple[float, float] | None = None
    exact: float | None = None


NO_GUIDES = Guides()


def values_of(intervals: Iterable[Interval]) -> list[float]:
    """Return all numbers of intervals, for a scale."""
    return [value for interval in intervals for value in interval[1:] if value is not None]


def forest_row(axis: Axis, intervals: Sequence[Interval], title: str, guides: Guides = NO_GUIDES, height: float = HEIGHT) -> Markup:
    """Draw one row: intervals below one another."""
    parts = _guides(axis, guides, height)
    step = height / (len(intervals) + 1)
    for place, interval in enumerate(intervals, start=1):
        y = step * place + (1.5 - place) * 3.0 * (len(intervals) > 1)
        parts += _interval(axis, interval, y)
    return drawing(WIDTH, height, title, parts)


def forest_foot(axis: Axis, caption: str) -> Markup:
    """Draw the scale below the rows."""
    parts = [line(START, 4.0, END, 4.0, "axis")]
    marks = axis.ticks(5)
    for value, label in zip(marks, tick_labels(marks)):
        parts += [line(axis.at(value), 4.0, axis.at(value), 8.0, "axis"), words(axis.at(value), 21.0, label)]
    parts.append(words((START + END) / 2, 38.0, caption))
    return drawing(WIDTH, FOOT, f"Scale: {caption}", parts)


def forest_head(axis: Axis, guides: Guides, label: str) -> Markup:
    """Draw the label of the dashed line above the rows, or nothing."""
    if guides.exact is None:
        return Markup("")
    place = axis.at(guides.exact)
    anchor = "start" if place < START + 80 else "end" if place > END - 80 else "middle"
    parts = [words(place, 12.0, label, "tick", anchor), line(place, 16.0, place, 20.0, "exact")]
    return drawing(WIDTH, 20.0, label, parts)


def _guides(axis: Axis, guides: Guides, height: float) -> list[Markup]:
    parts = []
    if guides.band is not None:
        left, right = (axis.at(end) for end in guides.band)
        parts.append(bar(left, 0.0, right - left, height, "band"))
    if axis.low < 0.0 < axis.high:
        parts.append(line(axis.at(0.0), 0.0, axis.at(0.0), height, "zero"))
    if guides.exact is not None:
        parts.append(line(axis.at(guides.exact), 0.0, axis.at(guides.exact), height, "exact"))
    return parts


def _interval(axis: Axis, interval: Interval, y: float) -> list[Markup]:
    parts = []
    if interval.low is not None and interval.high is not None:
        parts.append(bar(axis.at(interval.low), y - 1.5, axis.at(interval.high) - axis.at(interval.low), 3.0, interval.where))
    if interval.point is not None:
        x = axis.at(interval.point)
        parts.append(diamond(x, y, 5.0, "release") if interval.where == "release" else circle(x, y, 4.5, interval.where))
    return parts
