"""Distances to the closest record: binned, then drawn as outlines."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from tasks.pages.axis import Axis, nice_step, tick_labels
from tasks.pages.svg import drawing, element, line, words
from tasks.report.disclosure import groups
from tasks.report.marginal_plot import outline

Float64 = npt.NDArray[np.float64]
WIDTH, HEIGHT = 900.0, 220.0
_LEFT, _RIGHT, _TOP, _BASE = 8.0, 892.0, 8.0, 176.0
_MOST_BINS = 40
#: Class of each line.
CLASSES = ("release", "release dashed", "source")


def distance_histograms(series: Mapping[str, Float64]) -> dict[str, Any]:
    """Bin distances on shared, round edges; bins are merged until none has one to four rows of a series.

    Parameters
    ----------
    series : mapping
        Name to distances, each of shape (n,), not negative.

    Returns
    -------
    dict
        ``{"edges": [...], "series": {name: densities}}``: share of rows per unit of distance; the last bin holds all that lies above.
    """
    top = max([float(np.quantile(values, 0.99)) for values in series.values() if len(values)], default=0.0) or 1.0
    step = nice_step(top / _MOST_BINS)
    edges = step * np.arange(int(np.ceil(top / step - 1e-9)) + 1)
    # the last bin is as wide as the others, and open
    counts = np.stack([np.histogram(np.minimum(values, edges[-1]), edges)[0] for values in series.values()])
    runs = groups(counts.astype(np.int64))
    kept = [*(float(edges[run.start]) for run in runs), float(edges[-1])]
    densities = {}
    for name, row in zip(series, counts):
        total = max(int(row.sum()), 1)
        densities[name] = [float(row[run].sum() / total / (high - low)) for run, low, high in zip(runs, kept, kept[1:])]
    return {"edges": kept, "series": densities}


def distance_plot(edges: list[float], series: Mapping[str, list[float]]) -> Markup:
    """Draw what :func:`distance_histograms` returns; the order of the series is that of ``CLASSES``."""
    axis = Axis(0.0, edges[-1], _LEFT, _RIGHT)
    top = max([value for values in series.values() for value in values] + [1e-12])
    places = [(axis.at(low), axis.at(high)) for low, high in itertools.pairwise(edges)]
    parts = [line(_LEFT, _BASE, _RIGHT, _BASE, "axis")]
    for values, name in zip(series.values(), CLASSES):
        heights = [_BASE - (_BASE - _TOP) * value / top for value in values]
        parts.append(element("path", d=outline(places, heights, _BASE), class_=f"{name} outline"))
    marks = axis.ticks(10)
    for value, label in zip(marks, tick_labels(marks)):
        anchor = "start" if axis.at(value) < _LEFT + 8 else "end" if axis.at(value) > _RIGHT - 16 else "middle"
        parts += [
            line(axis.at(value), _BASE, axis.at(value), _BASE + 4.0, "axis"),
            words(axis.at(value), _BASE + 18.0, label, anchor=anchor),
        ]
    caption = "distance to the closest record (1 is one interquartile range of one column, or one other category)"
    parts.append(words((_LEFT + _RIGHT) / 2, _BASE + 38.0, caption))
    return drawing(WIDTH, HEIGHT, "Distances to the closest record", parts)
