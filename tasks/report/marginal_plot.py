"""Pictures of one column's marginal: source as filled bars, release beside or over them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from tasks.pages.numbers import percent
from tasks.pages.svg import bar, clipped, drawing, element, line, words

WIDTH, HEIGHT = 290.0, 118.0
_LEFT, _RIGHT, _TOP, _BASE = 4.0, 286.0, 6.0, 96.0
_ROW = 21.0
_GAP = 8.0  # pixels between the last number and the missing cells


def marginal_plot(row: Mapping[str, Any]) -> Markup:
    """Draw one row of :func:`tasks.report.marginals.paired`."""
    title = f"Marginal of {row['name']}: source and release differ by {percent(row['distance'])} of rows"
    return _level_bars(row, title) if row["form"] == "levels" else _histogram(row, title)


def _level_bars(row: Mapping[str, Any], title: str) -> Markup:
    """Draw two bars for each level, with shares beside them."""
    label_end, start, end = 98.0, 104.0, 200.0
    top = max([*row["source"], *row["release"], 1e-12])
    parts = []
    for place, (label, left, right) in enumerate(zip(row["labels"], row["source"], row["release"])):
        y = 2.0 + place * _ROW
        name = words(label_end, y + 12.0, clipped(label, 14), "label", "end")
        parts += [
            element("g", name + element("title", clipped(label, 200))),
            bar(start, y + 1.0, (end - start) * left / top, 8.0, "source soft"),
            bar(start, y + 9.5, (end - start) * right / top, 6.0, "release"),
            words(_RIGHT, y + 12.0, f"{percent(left)} · {percent(right)}", "tick", "end"),
        ]
    return drawing(WIDTH, max(4.0 + _ROW * len(row["labels"]), 30.0), title, parts)


def _histogram(row: Mapping[str, Any], title: str) -> Markup:
    """Draw bars whose areas are shares, the release as an outline over them; missing cells stand apart."""
    edges = _edges(row["widths"], row["missing"])
    source, release = ([share / width for share, width in zip(row[where], row["widths"])] for where in ("source", "release"))
    top = max([*source, *release, 1e-12])
    heights = {name: [_BASE - (_BASE - _TOP) * value / top for value in values] for name, values in (("s", source), ("r", release))}
    parts = [bar(left, y, right - left - 1.0, _BASE - y, "source soft") for (left, right), y in zip(edges, heights["s"])]
    known = len(edges) - int(row["missing"])
    parts.append(element("path", d=outline(edges[:known], heights["r"][:known], _BASE), class_="release outline"))
    if row["missing"]:
        parts.append(element("path", d=outline(edges[known:], heights["r"][known:], _BASE), class_="release outline"))
    parts.append(line(_LEFT, _BASE, _RIGHT, _BASE, "axis"))
    return drawing(WIDTH, HEIGHT, title, [*parts, *_labels(row, edges)])


def outline(edges: Sequence[tuple[float, float]], heights: Sequence[float], base: float) -> str:
    """Return the path along the tops of bars, from the base and back to it."""
    path = [f"M{edges[0][0]:.1f} {base:.1f}"] if edges else []
    for (left, right), y in zip(edges, heights):
        path += [f"L{left:.1f} {y:.1f}", f"L{right:.1f} {y:.1f}"]
    return "".join([*path, f"L{edges[-1][1]:.1f} {base:.1f}"] if edges else path)


def _edges(widths: Sequence[int], missing: bool) -> list[tuple[float, float]]:
    room = _RIGHT - _LEFT - (_GAP if missing else 0.0)
    unit, at, edges = room / sum(widths), _LEFT, []
    for place, width in enumerate(widths):
        if missing and place == len(widths) - 1:
            at += _GAP
        edges.append((at, at + width * unit))
        at += width * unit
    return edges


def _labels(row: Mapping[str, Any], edges: Sequence[tuple[float, float]]) -> list[Markup]:
    """Write as many labels as there is room for: below cells that are one value, else below the edges between cells."""
    known = edges[: len(edges) - int(row["missing"])]
    places = [(left + right) / 2 for left, right in known] if row["form"] == "values" else [right for _, right in known[:-1]]
    names = list(row["labels"])[: len(places)]
    parts = []
    if row["missing"]:
        parts.append(words(_RIGHT, _BASE + 14.0, "missing", "tick", "end"))
    if row["form"] == "range":
        parts += [line(place, _BASE, place, _BASE + 3.0, "axis") for place in places]
    texts = [clipped(name, 16) for name in names]
    room = (_LEFT, _RIGHT - (48.0 if row["missing"] else 0.0))
    parts += [words(places[at], _BASE + 14.0, texts[at]) for at in _readable(places, texts, room)]
    return parts


def _readable(places: Sequence[float], texts: Sequence[str], room: tuple[float, float]) -> list[int]:
    """Choose labels that don't touch: every one, every second, every third, ..."""
    half = [3.3 * len(text) for text in texts]
    for step in range(1, len(texts) + 1):
        chosen = [
            at
            for at in range((len(texts) - 1) % step // 2, len(texts), step)
            if room[0] <= places[at] - half[at] and places[at] + half[at] <= room[1]
        ]
        if all(places[b] - places[a] >= half[a] + half[b] + 6.0 for a, b in itertools.pairwise(chosen)):
            return chosen
    return []
