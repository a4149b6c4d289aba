"""SVG as text: no file, no script, the same bytes for the same numbers. Colours are classes of the page's style."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape


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
    return Markup("<") + Markup(name) + pairs + Markup(">") + escape(content) + Markup("</") + Markup(name) + Markup(">")  # noqa: S704


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


def clipped(text: str, length: int) -> str:
    """Shorten a text to a number of characters; what can't be printed is written out."""
    clean = text if text.isprintable() else ascii(text)[1:-1]
    return clean if len(clean) <= length else clean[: length - 1] + "…"


def _value(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
