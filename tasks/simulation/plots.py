"""Where things lie on the page's drawings: numbers to coordinates, nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

#: Width of a row's line, and of a chart with its height, in units of the drawing.
WIDTH, CHART, HEIGHT = 220.0, 300.0, 180.0
MARGIN = 34.0


class Line(NamedTuple):
    """One measure of one estimator: where its point, its limits (two Monte-Carlo errors) and the guide lie; None where unknown."""

    at: float | None
    low: float | None
    high: float | None
    guide: float | None


class Scale(NamedTuple):
    """A linear map from ``low`` ... ``high`` to ``start`` ... ``end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the coordinate of a value, held inside the scale."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(self.start + min(max(share, 0.0), 1.0) * (self.end - self.start), 1)


def scale_of(values: Sequence[float], start: float, end: float, floor: float | None = None) -> Scale:
    """Return a scale that holds the values with some air; ``floor`` is a value it begins at, or below."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    low = low if floor is None else min(low, floor)
    air = 0.05 * (high - low) or 0.05 * max(abs(high), 1e-9)
    return Scale(low if floor is not None and low == floor else low - air, high + air, start, end)


def lines(rows: Sequence[Mapping[str, Any]], measure: str, guide: float | None = None, floor: float | None = None) -> list[Line]:
    """Return the lines of one measure for the rows of one cell, on a common scale."""
    known = [row for row in rows if row[measure] is not None]
    ends = [row[measure] + side * row[f"{measure}_mcse"] for row in known for side in (-2.0, 2.0)]
    place = scale_of([*ends, *([] if guide is None else [guide])], 4.0, WIDTH - 4.0, floor)
    found = []
    for row in rows:
        if row[measure] is None:
            found.append(Line(None, None, None, None))
            continue
        reach = 2.0 * row[f"{measure}_mcse"]
        at, low, high = (place(row[measure] + step) for step in (0.0, -reach, reach))
        found.append(Line(at, low, high, None if guide is None else place(guide)))
    return found


def round_numbers(low: float, high: float) -> list[float]:
    """Return some five multiples of 1, 2 or 5 times a power of ten between two numbers."""
    rough = (high - low) / 5.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough)
    return [step * at for at in range(math.ceil(low / step), math.floor(high / step) + 1)]


class Curve(NamedTuple):
    """One estimator over sizes: an SVG path through its points, and the points."""

    name: str
    path: str
    points: list[tuple[float, float]]


class Chart(NamedTuple):
    """One measure over sizes: a curve for each estimator, labelled ticks, and where a guide lies."""

    title: str
    curves: list[Curve]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    guide: float | None


def chart(rows: Sequence[Mapping[str, Any]], measure: str, title: str, guide: float | None = None) -> Chart | None:
    """Draw one measure against n for cells that differ in n alone; None where there are fewer than two sizes."""
    known = [row for row in rows if row[measure] is not None]
    sizes = sorted({row["n"] for row in known})
    if len(sizes) < 2:
        return None
    across = scale_of([math.log(n) for n in sizes], MARGIN + 14.0, CHART - 10.0)
    values = [row[measure] for row in known] + ([] if guide is None else [guide])
    up = scale_of(values, HEIGHT - 24.0, 8.0, 0.0 if measure in ("rmse", "power") else None)
    curves = []
    for name in dict.fromkeys(row["estimator"] for row in known):
        points = sorted((across(math.log(row["n"])), up(row[measure])) for row in known if row["estimator"] == name)
        curves.append(Curve(name, "M" + " L".join(f"{x},{y}" for x, y in points), points))
    return Chart(
        title,
        curves,
        [(across(math.log(n)), f"{n:,}") for n in sizes],
        [(up(value), f"{value:.6g}") for value in round_numbers(up.low, up.high)],
        None if guide is None else up(guide),
    )
