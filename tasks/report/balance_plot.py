"""Balance of the arms: standardised mean differences of every covariate, source beside release (a love plot)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from tasks.contract.disclosure import SMALLEST_CELL
from tasks.contract.roles import TableSchema
from tasks.pages.axis import spanning, tick_labels
from tasks.pages.numbers import fixed
from tasks.pages.svg import bar, circle, clipped, diamond, drawing, element, line, words
from tasks.report.features import Block, Float64, blocks_of, places_of

#: Rows of the plot: the largest differences of either table.
MOST_ROWS = 25
#: A difference up to this size is read as balanced (Austin 2009, DOI 10.1002/sim.3697).
BALANCED = 0.1
_WIDTH, _LABEL, _END, _ROW, _TOP = 720.0, 236.0, 640.0, 20.0, 8.0


def balance_rows(schema: TableSchema, source: Float64, release: Float64, weighted: Float64 | None = None) -> list[dict[str, Any]]:
    """Compare the arms of both tables.

    Parameters
    ----------
    schema : TableSchema
        Of the source.
    source, release : ndarray of float64, shape (K, features)
        Sums of features by arm, as :class:`tasks.report.tallies.Tally` has them: they say what may be shown.
    weighted : ndarray of float64, shape (K, features), optional
        The source's sums by survey weight, where it has them.

    Returns
    -------
    list of dict
        ``name``, ``source`` and ``release``: (mean of the treated - mean of controls) / sqrt((variance of the treated + variance of
        controls) / 2), or None where it is not defined. The largest first. A level that one to four rows of an arm have is left out.
        Of more than two arms each one beside the control is compared with it.
    """
    blocks = blocks_of(schema)
    rows = []
    for block, place in zip(blocks, places_of(blocks)):
        if block.column.is_covariate:
            for arm, label in enumerate(schema.arms[1:], 1):
                here = (np.array([0, arm])[:, None], np.arange(place.start, place.stop)[None, :])
                counted = {"source": source[here], "release": release[here]}
                pair = _of_block(block, counted, counted if weighted is None else {**counted, "source": weighted[here]})
                rows += pair if len(schema.arms) == 2 else [{**row, "name": f"{row['name']}, arm {label}"} for row in pair]
    return sorted(rows, key=lambda row: -max(abs(row["source"] or 0.0), abs(row["release"] or 0.0)))


def _of_block(block: Block, counted: Mapping[str, Float64], shown: Mapping[str, Float64]) -> list[dict[str, Any]]:
    """Compare two arms in the features of a column: sums over rows decide what may be shown, the others are shown."""
    name = block.column.name
    if not block.levels:
        pair = {where: _of_number(sums, shown[where]) for where, sums in counted.items()}
        return [{"name": name, **pair}] if any(value is not None for value in pair.values()) else []
    # of two levels the second says all
    places = range(1, 2) if len(block.levels) == 2 else range(len(block.levels))
    rows = []
    for at in places:
        counts = [table[arm][at] for table in counted.values() for arm in (0, 1)]
        if not any(0 < count < SMALLEST_CELL for count in counts):
            pair = {where: _of_level(sums, shown[where], at) for where, sums in counted.items()}
            rows.append({"name": f"{name} = {block.levels[at]}", **pair})
    return rows


def _of_number(counted: Float64, sums: Float64) -> float | None:
    n = sums[:, 0]
    if counted[:, 0].min() < SMALLEST_CELL or n.min() <= 0.0:
        return None
    means = sums[:, 1] / n
    return _smd(means, sums[:, 2] / n - means**2)


def _of_level(counted: Float64, sums: Float64, at: int) -> float | None:
    n = sums.sum(axis=1)
    if counted.sum(axis=1).min() < SMALLEST_CELL or n.min() <= 0.0:
        return None
    shares = sums[:, at] / n
    return _smd(shares, shares * (1.0 - shares))


def _smd(means: Float64, variances: Float64) -> float | None:
    spread = math.sqrt(max(float(variances.mean()), 0.0))
    return float(means[1] - means[0]) / spread if spread > 1e-9 else None


def balance_plot(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """Draw the first rows: a circle is the source, a diamond the release, the shaded band is balanced."""
    shown = rows[:MOST_ROWS]
    values = [row[where] for row in shown for where in ("source", "release") if row[where] is not None]
    axis = spanning([*values, -BALANCED, BALANCED], _LABEL, _END)
    base = _TOP + _ROW * len(shown)
    parts = [bar(axis.at(-BALANCED), _TOP, axis.at(BALANCED) - axis.at(-BALANCED), base - _TOP, "band")]
    parts.append(line(axis.at(0.0), _TOP, axis.at(0.0), base, "zero"))
    for place, row in enumerate(shown):
        y = _TOP + _ROW * (place + 0.5)
        name = words(_LABEL - 10.0, y + 4.0, clipped(row["name"], 34), "label", "end")
        parts += [element("g", name + element("title", clipped(row["name"], 200))), line(_LABEL, y, _END, y, "grid")]
        if row["source"] is not None and row["release"] is not None:
            parts.append(line(axis.at(row["source"]), y, axis.at(row["release"]), y, "axis"))
        if row["source"] is not None:
            parts.append(circle(axis.at(row["source"]), y, 4.5, "source"))
        if row["release"] is not None:
            parts.append(diamond(axis.at(row["release"]), y, 5.5, "release"))
        texts = (fixed(row["source"], 2), fixed(row["release"], 2))
        parts.append(words(_WIDTH, y + 4.0, " · ".join(texts), "tick", "end"))
    parts.append(line(_LABEL, base, _END, base, "axis"))
    marks = axis.ticks(6)
    parts += [words(axis.at(value), base + 17.0, label) for value, label in zip(marks, tick_labels(marks), strict=True)]
    parts.append(words((_LABEL + _END) / 2, base + 36.0, "standardised mean difference, treated minus control"))
    return drawing(_WIDTH, base + 44.0, "Standardised mean differences between the arms, source and release", parts)
