"""The effect over the versions of a release, as numbers and as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from tasks.contract.headline import built_in, combined_effect, main_effect
from tasks.pages.axis import Axis, spanning, tick_labels
from tasks.pages.svg import bar, circle, diamond, drawing, line, words
from tasks.publish.manifest import Manifest

WIDTH, HEIGHT = 720.0, 260.0
LEFT, RIGHT, TOP, BOTTOM = 60.0, 706.0, 14.0, 214.0
#: Versions that a picture shows: the latest ones.
MOST = 60
#: Versions that get a label below the axis.
LABELS = 12


class Moment(NamedTuple):
    """The effect in one version.

    Attributes
    ----------
    version : int
    source, low, high : float or None
        The source's estimate of the main effect with its 95 % interval.
    built_in : float or None
        The effect that the release was drawn with.
    release : float or None
        What the same estimator finds in the release; over all copies where there are several.
    """

    version: int
    source: float | None
    low: float | None
    high: float | None
    built_in: float | None
    release: float | None


def moment_of(manifest: Manifest) -> Moment:
    """Read the effect of one version from its manifest."""
    effects = manifest.effects
    source, carried = main_effect(effects, "source") or {}, built_in(effects)
    release = main_effect(effects, "release" if effects.get("release") else "augmented") or {}
    whole = combined_effect(effects) or release
    return Moment(
        manifest.version,
        _number(source.get("estimate")),
        _number(source.get("ci_low")),
        _number(source.get("ci_high")),
        _number(None if carried is None else carried.value),
        _number(whole.get("estimate")),
    )


def picture(moments: Sequence[Moment], name: str) -> Markup:
    """Draw the effect over versions; nothing where no version has one.

    Parameters
    ----------
    moments : sequence of Moment
        By version; of many the latest are drawn.
    name : str
        Of the release, for those who can't see the picture.
    """
    shown = [each for each in moments if any(value is not None for value in each[1:])][-MOST:]
    if not shown:
        return Markup("")
    up = spanning((value for each in shown for value in each[1:] if value is not None), BOTTOM, TOP)
    parts = _frame(up)
    step = (RIGHT - LEFT) / len(shown)
    for place, each in enumerate(shown):
        x = LEFT + step * (place + 0.5)
        parts += _marks(each, x, up)
        if place % -(-len(shown) // LABELS) == 0:
            parts.append(words(x, BOTTOM + 18.0, f"v{each.version}"))
    parts.append(words((LEFT + RIGHT) / 2, BOTTOM + 40.0, "version"))
    return drawing(WIDTH, HEIGHT, f"Average treatment effect over the versions of {name}; the table below has the numbers", parts)


def _frame(up: Axis) -> list[Markup]:
    """Draw grid and scale."""
    parts = []
    marks = up.ticks(5)
    for value, label in zip(marks, tick_labels(marks)):
        parts += [line(LEFT, up.at(value), RIGHT, up.at(value), "grid"), words(LEFT - 8.0, up.at(value) + 4.0, label, "tick", "end")]
    if up.low < 0.0 < up.high:
        parts.append(line(LEFT, up.at(0.0), RIGHT, up.at(0.0), "zero"))
    return [*parts, line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis")]


def _marks(each: Moment, x: float, up: Axis) -> list[Markup]:
    """Draw one version: interval and estimate of the source, the effect built in, the estimate of the release."""
    parts = []
    if each.low is not None and each.high is not None:
        parts.append(bar(x - 5.5, up.at(each.high), 3.0, up.at(each.low) - up.at(each.high), "source"))
    if each.source is not None:
        parts.append(circle(x - 4.0, up.at(each.source), 4.5, "source"))
    if each.built_in is not None:
        parts.append(line(x - 12.0, up.at(each.built_in), x + 12.0, up.at(each.built_in), "exact"))
    if each.release is not None:
        parts.append(diamond(x + 5.0, up.at(each.release), 5.0, "release"))
    return parts


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None
