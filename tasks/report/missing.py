"""Which values are missing together: patterns of source and release, no pattern with one to four rows among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from tasks.contract.roles import Column, TableSchema
from tasks.pages.numbers import percent, plural
from tasks.pages.svg import bar, circle, clipped, drawing, element, words
from tasks.report.disclosure import Int64, folded
from tasks.report.features import Float64

#: Columns whose patterns are counted: those with most missing values.
MOST_COLUMNS = 12
#: Patterns shown by themselves.
MOST_PATTERNS = 12
_ROW, _STEP, _HEAD, _LEFT = 24.0, 24.0, 96.0, 10.0


def counted_columns(schema: TableSchema) -> tuple[Column, ...]:
    """Return the covariates with missing values, those with most of them first."""
    found = [column for column in schema.modelled if column.missing > 0]
    return tuple(sorted(found, key=lambda column: (-column.missing, column.id)))[:MOST_COLUMNS]


def missing_patterns(schema: TableSchema, source: Int64, release: Int64, weighted: Float64 | None = None) -> dict[str, Any] | None:
    """Arrange patterns by their rows in the source.

    Parameters
    ----------
    schema : TableSchema
        Of the source.
    source, release : ndarray of int64, shape (2 ** columns,)
        Rows by pattern, as :class:`tasks.report.tallies.Tally` has them: they say what may be shown.
    weighted : ndarray of float64, shape (2 ** columns,), optional
        The source's weights by pattern, where it has survey weights.

    Returns
    -------
    dict or None
        ``columns`` (names), ``patterns`` (``missing``, a list of bool, or None for all others together; ``source`` and ``release``,
        shares of rows) and ``left_out`` (columns that are not counted). None where nothing is missing.
    """
    columns = counted_columns(schema)
    if not columns:
        return None
    both = np.stack((source, release))
    sums: Float64 = both.astype(np.float64) if weighted is None else np.stack((weighted, release.astype(np.float64)))
    seen = np.flatnonzero(both.sum(axis=0))
    together = folded(both[:, seen], MOST_PATTERNS)
    totals = np.where(sums.sum(axis=1) > 0, sums.sum(axis=1), 1)
    rows = [
        {"missing": [bool(pattern >> bit & 1) for bit in range(len(columns))], **_shares(sums[:, pattern] / totals)}
        for pattern in seen[~together]
    ]
    rows.sort(key=lambda row: -row["source"])
    if together.any():
        rows.append({"missing": None, "number": int(together.sum()), **_shares(sums[:, seen[together]].sum(axis=1) / totals)})
    left_out = sum(column.missing > 0 for column in schema.modelled) - len(columns)
    return {"columns": [column.name for column in columns], "patterns": rows, "left_out": left_out}


def _shares(shares: np.typing.NDArray[np.float64]) -> dict[str, Any]:
    left, right = shares.tolist()
    return {"source": left, "release": right}


def missing_plot(found: Mapping[str, Any]) -> Markup:
    """Draw patterns as rows: a filled dot is a missing value, the bars are shares of rows."""
    names, patterns = found["columns"], found["patterns"]
    start = _LEFT + _STEP * len(names) + 14.0
    end, top = start + 190.0, max([max(row["source"], row["release"]) for row in patterns] + [1e-12])
    parts = []
    for place, name in enumerate(names):
        x = _LEFT + _STEP * (place + 0.5)
        text = words(x, _HEAD - 8.0, clipped(name, 15), "label", "start")
        parts.append(element("g", text + element("title", clipped(name, 200)), transform=f"rotate(-55 {x:.1f} {_HEAD - 8.0:.1f})"))
    for place, row in enumerate(patterns):
        y = _HEAD + _ROW * place
        if row["missing"] is None:
            parts.append(words(_LEFT, y + 13.0, plural(row["number"], "other pattern"), "label", "start"))
        else:
            parts += [
                circle(_LEFT + _STEP * (at + 0.5), y + 9.0, 5.5 if gone else 3.0, "source" if gone else "neutral soft")
                for at, gone in enumerate(row["missing"])
            ]
        parts.append(bar(start, y + 1.0, (end - start) * row["source"] / top, 8.0, "source soft"))
        parts.append(bar(start, y + 10.0, (end - start) * row["release"] / top, 6.0, "release"))
        parts.append(words(end + 8.0, y + 13.0, f"{percent(row['source'])} · {percent(row['release'])}", "tick", "start"))
    return drawing(end + 110.0, _HEAD + _ROW * len(patterns) + 4.0, "Patterns of missing values in source and release", parts)
