"""The picture of a comparison: something that is easy to see on one axis, what became of the effect on the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from tasks.comparison.reading import MINUS
from tasks.comparison.svg import drawing, element, line, mark, words

WIDTH, HEIGHT = 480.0, 360.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 468.0, 14.0, 306.0
#: Marks stay this far below the top: the guide has its name there.
HEAD = 18.0
#: Ticks of the scale of effect errors, on either side.
STEPS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
#: Bars reach so many Monte-Carlo standard errors either way.
REACH = 2.0
_CHARACTER, _LINE = 6.3, 13.0


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


class Scale(NamedTuple):
    """From numbers to pixels, by a rising function."""

    low: float
    high: float
    start: float
    end: float
    bend: Callable[[float], float] = float

    def at(self, value: float) -> float:
        """Return the place of a value; values beyond an end lie on it."""
        low, high = self.bend(self.low), self.bend(self.high)
        share = (self.bend(value) - low) / (high - low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)


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
    wide, tall = _linear(points, guide), _bent(points)
    parts = [element("rect", x=LEFT, y=tall.at(2.0), width=RIGHT - LEFT, height=tall.at(-2.0) - tall.at(2.0), class_="band")]
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


def _linear(points: Sequence[Point], guide: float | None) -> Scale:
    ends = [point.x + sign * REACH * (point.x_error or 0.0) for point in points for sign in (-1, 1)]
    values = [*ends, *(x for point in points for x, _ in point.seeds), *([] if guide is None else [guide])]
    low, high = min(values), max(values)
    margin = 0.1 * (high - low) or 0.05 * abs(high) or 1.0
    return Scale(low - margin, high + margin, LEFT, RIGHT)


def _bent(points: Sequence[Point]) -> Scale:
    """Return a scale that is linear up to about one standard error and logarithmic beyond: hybrids and full models fit on one picture."""
    values = [point.y + sign * REACH * (point.y_error or 0.0) for point in points for sign in (-1, 1)]
    values += [y for point in points for _, y in point.seeds]
    return Scale(min(-3.0, 1.15 * min(values)), max(3.0, 1.15 * max(values)), BOTTOM, TOP + HEAD, math.asinh)


def _axes(wide: Scale, tall: Scale, across: str) -> list[Markup]:
    parts = []
    for value in _ticks(tall):
        y = tall.at(value)
        parts.append(line(LEFT, y, RIGHT, y, "zero" if value == 0 else "grid"))
        parts.append(words(LEFT - 7.0, y + 4.0, f"{value:+d}".replace("-", MINUS) if value else "0", "tick", "end"))
    for number, label in _round(wide):
        x = wide.at(number)
        parts += [line(x, BOTTOM, x, BOTTOM + 4.0, "axis"), words(x, BOTTOM + 18.0, label)]
    parts.append(line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis"))
    parts.append(words((LEFT + RIGHT) / 2, BOTTOM + 38.0, across, "label"))
    turned = f"rotate(-90 12 {(TOP + BOTTOM) / 2:.0f})"
    text = "effect error of TMLE, standard errors of the source"
    return [*parts, element("text", text, x=12.0, y=(TOP + BOTTOM) / 2, class_="label", text_anchor="middle", transform=turned)]


def _ticks(tall: Scale) -> list[int]:
    """Return the steps on the scale; where they are many, those near zero come thinner."""
    found = sorted({sign * step for step in STEPS for sign in (-1, 1) if tall.low <= sign * step <= tall.high})
    kept: list[int] = []
    for value in sorted(found, key=lambda step: (step != 0, abs(step) != 2, -abs(step))):
        if all(abs(tall.at(value) - tall.at(other)) >= _LINE for other in kept):
            kept.append(value)
    return sorted(kept)


def _round(wide: Scale, most: int = 6) -> list[tuple[float, str]]:
    """Return round values on a linear scale and how they are written."""
    width = (wide.high - wide.low) / most
    power = 10.0 ** math.floor(math.log10(width))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= width * (1 - 1e-9))
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(wide.low / step - 1e-9), math.floor(wide.high / step + 1e-9)
    return [(number * step, f"{number * step:,.{decimals}f}".replace("-", MINUS)) for number in range(first, last + 1)]


def _bars(point: Point, wide: Scale, tall: Scale) -> list[Markup]:
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


def _labels(points: Sequence[Point], wide: Scale, tall: Scale) -> list[Markup]:
    """Put each name where it hides no point and no other name, if there is such a place; else to the right."""
    taken = [_around(wide.at(point.x), tall.at(point.y), 7.0) for point in points]
    parts = []
    for point in points:
        text = point.label if len(point.label) <= 22 else point.label[:21] + "…"
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
