"""How pairs of columns hang together in source and release, the largest differences first."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from tasks.contract.roles import TableSchema
from tasks.pages.axis import Axis, tick_labels
from tasks.pages.numbers import fixed
from tasks.pages.svg import circle, clipped, diamond, drawing, element, line, polyline, words
from tasks.report.features import Block, Float64, blocks_of, paired_blocks, places_of

#: Fewest rows with both values known for which an association is shown.
FEWEST = 50
#: Pairs that are named.
MOST_PAIRS = 15
_SIZE, _LEFT, _BASE = 360.0, 46.0, 320.0


def associations(schema: TableSchema, source: Float64, release: Float64, weighted: Float64 | None = None) -> list[dict[str, Any]]:
    """Measure every pair of covariates, and of covariate and outcome, in both tables.

    Two numbers have Pearson's correlation; a number and a category the correlation ratio; two categories Cramer's V. The latter two are
    corrected for chance (Bergsma 2013, DOI 10.1016/j.jkss.2012.10.002): small tables and large ones are comparable. Treatment takes no
    part: a release may assign it otherwise on purpose.

    Parameters
    ----------
    schema : TableSchema
        Of the source.
    source, release : ndarray of float64, shape (features, features)
        Sums of products, as :class:`tasks.report.tallies.Tally` has them: they say on how many rows a pair stands.
    weighted : ndarray of float64, shape (features, features), optional
        The source's sums by survey weight of mean one, where it has them.

    Returns
    -------
    list of dict
        ``left``, ``right`` (names), ``measure``, ``source``, ``release`` (rounded to two decimals), ``chance`` (two standard errors of
        their difference, about, where the columns are independent); the largest difference first.
    """
    blocks = paired_blocks(blocks_of(schema))
    placed = list(zip(blocks, places_of(blocks)))
    rows = []
    for (one, here), (other, there) in itertools.combinations(placed, 2):
        mine, its = (_association(one, other, sums[here, there]) for sums in (source, release))
        if mine is not None and weighted is not None:
            by_weight = _association(one, other, weighted[here, there])
            mine = None if by_weight is None else (by_weight[0], mine[1])
        if mine is not None and its is not None:
            (left, n), (right, m) = mine, its
            rows.append(
                {
                    "left": one.column.name,
                    "right": other.column.name,
                    "measure": ("correlation", "correlation ratio", "Cramér's V")[bool(one.levels) + bool(other.levels)],
                    "source": round(left, 2) + 0.0,
                    "release": round(right, 2) + 0.0,
                    "chance": 2.0 * math.sqrt(1.0 / n + 1.0 / m),
                }
            )
    return sorted(rows, key=lambda row: -abs(row["source"] - row["release"]))


def _association(one: Block, other: Block, cross: Float64) -> tuple[float, float] | None:
    """Return a pair's association and the rows it stands on; None where these are few, or a column does not vary among them."""
    if one.levels and other.levels:
        return _cramer(cross)
    if not one.levels and not other.levels:
        return _pearson(cross)
    return _ratio(cross if other.levels else cross.T)


def _pearson(cross: Float64) -> tuple[float, float] | None:
    """Return the correlation from sums of products of (known, value, value squared) of two numbers."""
    n = cross[0, 0]
    if n < FEWEST:
        return None
    mean, other = cross[1, 0] / n, cross[0, 1] / n
    variance, second = cross[2, 0] / n - mean**2, cross[0, 2] / n - other**2
    if min(variance, second) < 1e-12:
        return None
    return float(np.clip((cross[1, 1] / n - mean * other) / math.sqrt(variance * second), -1.0, 1.0)), float(n)


def _ratio(cross: Float64) -> tuple[float, float] | None:
    """Return the correlation ratio from sums of (known, value, value squared), the rows, by level, the columns."""
    counts, sums = cross[0], cross[1]
    n, some = counts.sum(), counts > 0
    if n < FEWEST or some.sum() < 2 or some.sum() >= n:
        return None
    total = cross[2].sum() - sums.sum() ** 2 / n
    if total < 1e-12 * n:
        return None
    within = cross[2].sum() - float((sums[some] ** 2 / counts[some]).sum())
    adjusted = 1.0 - within / total * (n - 1.0) / (n - some.sum())
    return math.sqrt(min(max(float(adjusted), 0.0), 1.0)), float(n)


def _cramer(counts: Float64) -> tuple[float, float] | None:
    n = counts.sum()
    kept = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    rows, columns = kept.shape
    if n < FEWEST or min(rows, columns) < 2:
        return None
    expected = kept.sum(axis=1, keepdims=True) * kept.sum(axis=0, keepdims=True) / n
    phi = float(((kept - expected) ** 2 / expected).sum()) / n
    phi = max(0.0, phi - (rows - 1) * (columns - 1) / (n - 1))
    smaller = min(rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1)) - 1
    return math.sqrt(min(phi / smaller, 1.0)), float(n)


def pair_table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Write the pairs that differ most."""
    return [
        {
            "left": row["left"],
            "right": row["right"],
            "measure": row["measure"],
            "source": fixed(row["source"], 2),
            "release": fixed(row["release"], 2),
            "difference": fixed(row["release"] - row["source"], 2),
            "plot": _dumbbell(row),
        }
        for row in rows[:MOST_PAIRS]
    ]


def _dumbbell(row: Mapping[str, Any]) -> Markup:
    axis, y = Axis(-1.0, 1.0, 8.0, 192.0), 11.0
    left, right = axis.at(row["source"]), axis.at(row["release"])
    parts = [line(8.0, y, 192.0, y, "grid"), line(axis.at(0.0), 2.0, axis.at(0.0), 20.0, "zero"), line(left, y, right, y, "axis")]
    parts += [circle(left, y, 4.5, "source"), diamond(right, y, 5.5, "release")]
    return drawing(200.0, 22.0, f"{row['left']} and {row['right']}: source {row['source']}, release {row['release']}", parts)


def pair_scatter(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """Draw every pair: the source's association across, the release's up, between the lines that chance may reach."""
    low = -1.0 if any(min(row["source"], row["release"]) < -0.05 for row in rows) else -0.05
    across, up = Axis(low, 1.0, _LEFT, _SIZE - 8.0), Axis(low, 1.0, _BASE, 8.0)
    parts = []
    marks = across.ticks(5)
    for value, label in zip(marks, tick_labels(marks), strict=True):
        parts += [line(_LEFT, up.at(value), _SIZE - 8.0, up.at(value), "grid"), words(_LEFT - 6.0, up.at(value) + 4.0, label, anchor="end")]
        parts.append(words(across.at(value), _BASE + 17.0, label))
    reach = float(np.median([row["chance"] for row in rows]))
    parts.append(line(across.at(low), up.at(low), across.at(1.0), up.at(1.0), "axis"))
    for side in (-reach, reach):
        ends = (max(low, low - side), min(1.0, 1.0 - side))
        parts.append(polyline(((across.at(value), up.at(value + side)) for value in ends), "outline source dashed"))
    for row in rows:
        text = f"{clipped(row['left'], 60)}, {clipped(row['right'], 60)}: {fixed(row['source'], 2)} and {fixed(row['release'], 2)}"
        dot = circle(across.at(row["source"]), up.at(row["release"]), 3.2, "release soft")
        parts.append(element("g", dot + element("title", text)))
    parts.append(words((_LEFT + _SIZE) / 2, _BASE + 36.0, "association in the source"))
    turned = f"rotate(-90 10 {_BASE / 2:.0f})"
    parts.append(element("text", "association in the release", x=10.0, y=_BASE / 2, text_anchor="middle", transform=turned))
    return drawing(_SIZE, _BASE + 44.0, "Associations of all pairs of columns, source against release", parts)
