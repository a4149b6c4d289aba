"""The picture of a comparison: something that is easy to see on one axis, what became of the effect on the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from tasks.pages.axis import Axis, tick_labels
from tasks.pages.numbers import fixed
from tasks.pages.svg import bar, clipped, drawing, element, line, mark, words

WIDTH, HEIGHT = 480.0, 360.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 468.0, 14.0, 306.0
#: Marks stay this far below the top: the guide has its name there.
HEAD = 18.0
#: The scale of effect errors reaches at least and at most so far from zero; marks beyond lie on its edge, with their value in their name.
LEAST, MOST = 3.0, 8.0
#: Bars reach so many Monte-Carlo standard errors either way.
REACH = 2.0
_CHARACTER = 6.3


class Point(NamedTuple):
    """One synthesizer in one mode.

    Attributes
    ----------
    label : str
        The synthesizer.
    shape : int
        Its number.
    mode : str
        A class of the page's style.
    x, y : float
        Means over seeds.
    x_error, y_error : float or None
        Their Monte-Carlo standard errors.
    seeds : tuple of (float, float)
        Each seed's own values.
    """

    label: str
    shape: int
    mode: str
    x: float
    y: float
    x_error: float | None
    y_error: float | None
    seeds: tuple[tuple[float, float], ...]


def scatter(points: Sequence[Point], across: str, guide: float | None, guide_label: str, title: str) -> Markup:
    """Draw points with their bars over a band of two standard errors.

    Parameters
    ----------
    points : sequence of Point
        ``y`` in standard errors of the source.
    across : str
        What ``x`` is.
    guide : float or None
        Where ``x`` should be: a dashed line.
    guide_label : str
        What the line is.
    title : str
        For those who can't see it.
    """
    wide, tall = _across(points, guide), _up(points)
    parts = [bar(LEFT, tall.at(2.0), RIGHT - LEFT, tall.at(-2.0) - tall.at(2.0), "near")]
    parts += _axes(wide, tall, across)
    if guide is not None:
        place = wide.at(guide)
        parts.append(line(place, TOP, place, BOTTOM, "guide"))
        anchor = "start" if place < (LEFT + RIGHT) / 2 else "end"
        parts.append(words(place + (5.0 if anchor == "start" else -5.0), TOP + 10.0, guide_label, "tick", anchor))
    for point in points:
        parts += [mark(point.shape, wide.at(x), tall.at(y), 4.5, f"{point.mode} faint") for x, y in point.seeds if len(point.seeds) > 1]
    for point in points:
        parts += _bars(point, wide, tall)
    parts += [mark(point.shape, wide.at(point.x), tall.at(point.y), 12.0, point.mode) for point in points]
    return drawing(WIDTH, HEIGHT, title, parts + _labels(points, wide, tall))


def _across(points: Sequence[Point], guide: float | None) -> Axis:
    ends = [point.x + sign * REACH * (point.x_error or 0.0) for point in points for sign in (-1, 1)]
    values = [*ends, *(x for point in points for x, _ in point.seeds), *([] if guide is None else [guide])]
    low, high = min(values), max(values)
    margin = 0.1 * (high - low) or 0.05 * abs(high) or 1.0
    return Axis(low - margin, high + margin, LEFT, RIGHT)


def _up(points: Sequence[Point]) -> Axis:
    """Return a linear scale: as far as the means reach, within bounds that keep small errors readable."""
    values = [point.y + sign * REACH * (point.y_error or 0.0) for point in points for sign in (-1, 1)]
    return Axis(max(-MOST, min(-LEAST, 1.15 * min(values))), min(MOST, max(LEAST, 1.15 * max(values))), BOTTOM - 6.0, TOP + HEAD)


def _axes(wide: Axis, tall: Axis, across: str) -> list[Markup]:
    parts = []
    marks = tall.ticks(8)
    for value, label in zip(marks, tick_labels(marks), strict=True):
        y = tall.at(value)
        parts.append(line(LEFT, y, RIGHT, y, "zero" if value == 0 else "grid"))
        parts.append(words(LEFT - 7.0, y + 4.0, label, "tick", "end"))
    marks = wide.ticks(6)
    for value, label in zip(marks, tick_labels(marks), strict=True):
        x = wide.at(value)
        parts += [line(x, BOTTOM, x, BOTTOM + 4.0, "axis"), words(x, BOTTOM + 18.0, label)]
    parts.append(line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis"))
    parts.append(words((LEFT + RIGHT) / 2, BOTTOM + 38.0, across, "label"))
    turned = f"rotate(-90 12 {(TOP + BOTTOM) / 2:.0f})"
    text = "effect error of TMLE, standard errors of the source"
    return [*parts, element("text", text, x=12.0, y=(TOP + BOTTOM) / 2, class_="label", text_anchor="middle", transform=turned)]


def _bars(point: Point, wide: Axis, tall: Axis) -> list[Markup]:
    x, y, parts = wide.at(point.x), tall.at(point.y), []
    if point.x_error:
        parts.append(line(wide.at(point.x - REACH * point.x_error), y, wide.at(point.x + REACH * point.x_error), y, f"{point.mode} bar"))
    if point.y_error:
        parts.append(line(x, tall.at(point.y - REACH * point.y_error), x, tall.at(point.y + REACH * point.y_error), f"{point.mode} bar"))
    return parts


class _Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        return self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom


def _labels(points: Sequence[Point], wide: Axis, tall: Axis) -> list[Markup]:
    """Put each name where it hides no point and no other name, if there is such a place; else to the right."""
    taken = [_around(wide.at(point.x), tall.at(point.y), 7.0) for point in points]
    parts = []
    for point in points:
        text = clipped(point.label, 22)
        if not tall.low <= point.y <= tall.high:
            text += f" ({fixed(point.y, 1)})"
        x, y = wide.at(point.x), tall.at(point.y)
        places = list(_places(x, y, text))
        place = next((each for each in places if _free(each[3], taken)), places[0])
        taken.append(place[3])
        if abs(place[1] - y) > 9.0:  # a name that had to move away is tied to its mark
            parts.append(line(x, y, place[0], place[1] - 4.0, f"{point.mode} tie"))
        parts.append(words(place[0], place[1], text, f"name {point.mode}", place[2]))
    return parts


def _places(x: float, y: float, text: str) -> Iterable[tuple[float, float, str, _Box]]:
    width = _CHARACTER * len(text)
    for down in (4.0, -8.0, 16.0, -20.0, 28.0, -32.0, 40.0, -44.0):
        for left, anchor, box in (
            (x + 10.0, "start", _Box(x + 10.0, y + down - 10.0, x + 10.0 + width, y + down + 3.0)),
            (x - 10.0, "end", _Box(x - 10.0 - width, y + down - 10.0, x - 10.0, y + down + 3.0)),
        ):
            yield left, y + down, anchor, box


def _free(box: _Box, taken: Sequence[_Box]) -> bool:
    inside = box.left >= LEFT and box.right <= RIGHT and box.top >= TOP + 14.0 and box.bottom <= BOTTOM
    return inside and not any(box.meets(other) for other in taken)


def _around(x: float, y: float, reach: float) -> _Box:
    return _Box(x - reach, y - reach, x + reach, y + reach)
