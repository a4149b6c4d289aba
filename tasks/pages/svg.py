"""SVG as text: no file, no script, the same bytes for the same numbers. Colours are classes of the page's style."""

from __future__ import annotations

import math
from collections.abc import Iterable

from markupsafe import Markup, escape

#: Corners, turn and inner radius of each shape (1: no inner corners); None is a circle.
SHAPES: tuple[tuple[int, float, float] | None, ...] = (
    None,
    (4, math.pi / 4, 1.0),
    (3, 0.0, 1.0),
    (4, 0.0, 1.0),
    (3, math.pi, 1.0),
    (5, 0.0, 0.45),
    (4, 0.0, 0.35),
    (6, 0.0, 1.0),
)


def element(name: str, content: Markup | str = "", **attributes: object) -> Markup:
    """Return one element; content and attributes are escaped.

    Parameters
    ----------
    name : str
        Tag.
    content : Markup or str
        What stands inside.
    **attributes : object
        An underscore stands for a hyphen, ``class_`` for ``class``; numbers are rounded to a tenth of a pixel.
    """
    pairs = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _value(value)) for key, value in attributes.items()
    )
    # the tag is ours, never a user's
    return Markup("<") + Markup(name) + pairs + Markup(">") + escape(content) + Markup("</") + Markup(name) + Markup(">")  # noqa: S704 # nosec B704


def drawing(width: float, height: float, title: str, parts: Iterable[Markup]) -> Markup:
    """Return an SVG with a text for those who can't see it."""
    box = f"0 0 {_value(width)} {_value(height)}"
    return element("svg", Markup("").join(parts), viewBox=box, width=width, height=height, role="img", aria_label=title)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """Return a line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def bar(x: float, y: float, width: float, height: float, class_: str) -> Markup:
    """Return a rectangle."""
    return element("rect", x=x, y=y, width=width, height=height, class_=class_)


def words(x: float, y: float, text: str, class_: str = "tick", anchor: str = "middle") -> Markup:
    """Return a text; ``anchor`` is "start", "middle" or "end"."""
    return element("text", text, x=x, y=y, class_=class_, text_anchor=anchor)


def mark(shape: int, x: float, y: float, size: float, class_: str) -> Markup:
    """Return one of the shapes that tell series apart, about ``size`` across; from the ninth on they come again."""
    kind = shape % len(SHAPES)
    if SHAPES[kind] is None:
        return element("circle", cx=x, cy=y, r=size * 0.5, class_=class_)
    corners, turn, inner = SHAPES[kind] or (4, 0.0, 1.0)
    points = []
    for step in range(corners * (1 if inner == 1.0 else 2)):
        radius = size * 0.6 * (inner if inner != 1.0 and step % 2 else 1.0)
        angle = turn + 2 * math.pi * step / (corners * (1 if inner == 1.0 else 2))
        points.append(f"{x + radius * math.sin(angle):.1f},{y - radius * math.cos(angle):.1f}")
    return element("polygon", points=" ".join(points), class_=class_)


def polyline(points: Iterable[tuple[float, float]], class_: str) -> Markup:
    """Return a line through points."""
    return element("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), class_=class_)


def circle(x: float, y: float, radius: float, class_: str) -> Markup:
    """Return a circle."""
    return element("circle", cx=x, cy=y, r=radius, class_=class_)


def diamond(x: float, y: float, radius: float, class_: str) -> Markup:
    """Return a square that stands on a corner."""
    corners = f"M{x - radius:.1f} {y:.1f}L{x:.1f} {y - radius:.1f}L{x + radius:.1f} {y:.1f}L{x:.1f} {y + radius:.1f}Z"
    return element("path", d=corners, class_=class_)


def clipped(text: str, length: int) -> str:
    """Shorten a text to a number of characters; what can't be printed is written out."""
    clean = text if text.isprintable() else ascii(text)[1:-1]
    return clean if len(clean) <= length else clean[: length - 1] + "…"


def _value(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
