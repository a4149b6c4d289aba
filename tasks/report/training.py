"""How the synthesizer learnt: its validation figure by epoch, and the epoch that was kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from tasks.pages.axis import Axis, tick_labels
from tasks.pages.numbers import fixed, number
from tasks.pages.svg import circle, drawing, line, polyline, words

Record = Mapping[str, Any]

WIDTH, HEIGHT = 640.0, 232.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 624.0, 12.0, 178.0
#: Figures up to which rows are read as hardly, and as somewhat, told apart.
ALIKE, APART = 0.55, 0.65
#: Share of the curve's whole fall that its last quarter may still bring before training is called too short.
_STILL_FALLING = 0.1


def training_panel(curve: Record | None) -> dict[str, Any] | None:
    """Arrange what the panel says.

    Parameters
    ----------
    curve : mapping or None
        ``epochs``, ``figures`` (area under the ROC curve of a classifier that tells drawn rows from rows held out, 0.5 to 1; infinite
        where weights were not finite) and ``kept``; None for a synthesizer that is not trained by epochs.

    Returns
    -------
    dict or None
        ``plot``, ``reading``, ``kept`` and ``last`` (epochs as text).
    """
    if curve is None or not curve["epochs"]:
        return None
    epochs, figures, kept = list(curve["epochs"]), [float(value) for value in curve["figures"]], int(curve["kept"])
    best = figures[epochs.index(kept)]
    return {
        "plot": curve_plot(epochs, figures, kept),
        "reading": _sentence(epochs, figures, kept, best),
        "kept": number(kept),
        "last": number(epochs[-1]),
    }


def curve_plot(epochs: Sequence[int], figures: Sequence[float], kept: int) -> Markup:
    """Draw the figure by epoch; a ring marks the epoch that was kept."""
    known = [(epoch, figure) for epoch, figure in zip(epochs, figures, strict=True) if math.isfinite(figure)]
    across = Axis(0.0, float(max(epochs)), _LEFT, _RIGHT)
    up = Axis(0.48, max(0.6, *(figure for _, figure in known)) + 0.02, _BOTTOM, _TOP)
    parts: list[Markup] = []
    heights = up.ticks()
    for value, label in zip(heights, tick_labels(heights), strict=True):
        parts += [line(_LEFT, up.at(value), _RIGHT, up.at(value), "grid"), words(_LEFT - 6.0, up.at(value) + 4.0, label, "tick", "end")]
    parts.append(line(_LEFT, up.at(0.5), _RIGHT, up.at(0.5), "bound"))
    for epoch in across.ticks():
        parts.append(words(across.at(epoch), _BOTTOM + 18.0, number(round(epoch))))
    parts.append(polyline(((across.at(epoch), up.at(figure)) for epoch, figure in known), "outline release"))
    chosen = dict(known)[kept]
    parts.append(circle(across.at(kept), up.at(chosen), 5.0, "outline release"))
    parts.append(line(_LEFT, _BOTTOM, _RIGHT, _BOTTOM, "axis"))
    parts.append(words((_LEFT + _RIGHT) / 2, _BOTTOM + 38.0, "epoch"))
    return drawing(WIDTH, HEIGHT, f"Validation figure by epoch; epoch {kept} was kept, at {chosen:.3f}", parts)


def _sentence(epochs: Sequence[int], figures: Sequence[float], kept: int, best: float) -> str:
    if best <= ALIKE:
        read = "Drawn rows are hardly told from real rows that taught nobody"
    elif best <= APART:
        read = "Drawn rows are told from real rows somewhat better than by chance"
    else:
        read = "Drawn rows are easily told from real ones: try more epochs or another synthesizer"
    read += f": the best figure is {fixed(best, 3)}, after epoch {number(kept)} of {number(epochs[-1])}."
    early = [figure for epoch, figure in zip(epochs, figures, strict=True) if epoch <= 0.75 * epochs[-1] and math.isfinite(figure)]
    if early and min(early) - best > _STILL_FALLING * max(max(early) - best, 0.02):
        read += " The curve still fell at the end: more epochs may draw better rows."
    return read
