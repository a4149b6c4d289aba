"""Curves over the number of added rows, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

WIDTH, HEIGHT = 460.0, 230.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 26.0, 12.0, 34.0


def curve_plot(
    curve: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any], lines: Mapping[str, str], title: str, around_zero: bool = False
) -> Markup:
    """Draw some quantities of the curve against the number of added rows (logarithmic), the chosen number marked.

    Parameters
    ----------
    curve : sequence of mapping
        Points by number of rows, ascending.
    chosen : mapping
        The chosen one.
    lines : mapping
        Key of a quantity to its words.
    title : str
        Of the plot, for those who can't see it.
    around_zero : bool
        Whether quantities may be negative.

    Returns
    -------
    Markup
        An SVG; line i has class ``line-i``.
    """
    values = [float(point[key]) for point in curve for key in lines if math.isfinite(float(point[key]))]
    low, high = (min(*values, 0.0), max(*values, 0.0)) if around_zero else (0.0, max(values))
    high = high if high > low else low + 1.0
    first, last = math.log(curve[0]["rows"]), math.log(curve[-1]["rows"])
    span = (last - first) or 1.0

    def x(rows: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (math.log(max(rows, 1.0)) - first) / span

    def y(value: float) -> float:
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * (value - low) / (high - low)

    parts = [
        _line(_LEFT, y(tick), WIDTH - _RIGHT, y(tick), "grid") + _text(_LEFT - 6, y(tick) + 4, f"{tick:.3g}", "end")
        for tick in _ticks(low, high)
    ]
    parts += [_text(x(rows), HEIGHT - _BOTTOM + 16, f"{rows:,}", "middle") for rows in _shown([int(point["rows"]) for point in curve])]
    parts.append(_text((WIDTH + _LEFT) / 2, HEIGHT - 2, "added rows", "middle"))
    parts.append(_line(x(chosen["rows"]), _TOP, x(chosen["rows"]), HEIGHT - _BOTTOM, "chosen"))
    for number, key in enumerate(lines):
        places = " ".join(f"{x(point['rows']):.1f},{y(float(point[key])):.1f}" for point in curve)
        parts.append(Markup('<polyline class="line-{}" points="{}"/>').format(number, places))
    box = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(f"{WIDTH:g}", f"{HEIGHT:g}", title)
    legend = Markup(" ").join(
        Markup('<span><i class="key-{}"></i>{}</span>').format(number, words) for number, words in enumerate(lines.values())
    )
    return box + Markup("").join(parts) + Markup('</svg><div class="legend">') + legend + Markup("</div>")


def _ticks(low: float, high: float) -> list[float]:
    """Return four or five round values."""
    rough = (high - low) / 4.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * (1.0 - 1e-9))
    return [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _shown(rows: Sequence[int]) -> list[int]:
    """Return every third number, and the last."""
    return list(dict.fromkeys([*rows[:-2:3], rows[-1]]))


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, *(f"{value:.1f}" for value in (x1, y1, x2, y2)))


def _text(x: float, y: float, words: str, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(f"{x:.1f}", f"{y:.1f}", anchor, escape(words))
