"""Curves of one arm over time, source and release in one drawing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from tasks.pages.axis import Axis, tick_labels
from tasks.pages.svg import drawing, element, line, polyline, words

Float64 = npt.NDArray[np.float64]

WIDTH, HEIGHT = 420.0, 230.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 412.0, 10.0, 182.0


class Curve(NamedTuple):
    """A curve from time 0 on; arrays of shape (m + 1,)."""

    times: Float64
    values: Float64
    se: Float64


def curve_plot(title: str, curves: Mapping[str, Curve], reach: float, end: float, horizon: float, unit: str, top: float = 1.0) -> Markup:
    """Draw the source's curve with a band around it, and the release's as a line.

    Parameters
    ----------
    title : str
    curves : mapping
        ``"source"`` and ``"release"``.
    reach : float
        Half width of the band in standard errors.
    end, horizon : float
        Last time, and the one that is marked.
    unit : str
        What the scale of times is called.
    top : float
        Upper end of the scale, in (0, 1].
    """
    across, up = Axis(0.0, end, _LEFT, _RIGHT), Axis(0.0, top, _BOTTOM, _TOP)
    parts: list[Markup] = []
    heights = up.ticks()
    for value, label in zip(heights, tick_labels(heights), strict=True):
        parts += [line(_LEFT, up.at(value), _RIGHT, up.at(value), "grid"), words(_LEFT - 6.0, up.at(value) + 4.0, label, "tick", "end")]
    times, values, se = curves["source"]
    outline = [*zip(times, values + reach * se), *reversed([*zip(times, values - reach * se)])]
    corners = " ".join(f"{across.at(float(t)):.1f},{up.at(float(s)):.1f}" for t, s in outline)
    parts.append(element("polygon", points=corners, class_="band"))
    for where, curve in curves.items():
        parts.append(polyline(((across.at(float(t)), up.at(float(s))) for t, s in zip(*curve[:2])), f"outline {where}"))
    parts.append(line(across.at(horizon), _TOP, across.at(horizon), _BOTTOM, "bound"))
    marks = across.ticks()
    parts += [words(across.at(value), _BOTTOM + 18.0, label) for value, label in zip(marks, tick_labels(marks), strict=True)]
    parts += [line(_LEFT, _BOTTOM, _RIGHT, _BOTTOM, "axis"), words((_LEFT + _RIGHT) / 2, _BOTTOM + 38.0, unit)]
    return drawing(WIDTH, HEIGHT, title, parts)
