"""Distinct texts with their rows, up to a bound that overflows for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.contract.errors import SourceError
from tasks.source.values import level_text

if TYPE_CHECKING:
    from tasks.source.findings import ColumnFindings

# None: more distinct texts than the bound
Levels = dict[str, int] | None
NO_LEVELS: Levels = {}


def count_levels(counted: pa.StructArray, cap: int) -> Levels:
    """Return distinct texts with their rows, None where there are more than ``cap``.

    Parameters
    ----------
    counted : pyarrow struct array of (values, counts)
        Distinct text or boolean cells with their rows.
    cap : int
        Most distinct texts kept.
    """
    if len(counted) > cap:
        return None
    values = counted.field("values")
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):  # a dictionary of numbers
        texts = [level_text(value, values.type) for value in values.cast(pa.float64()).to_pylist()]
    else:  # Arrow casts booleans to "true" and "false", which is their canonical text
        texts = values.cast(pa.string()).to_pylist()
    return dict(sorted(zip(texts, counted.field("counts").to_pylist(), strict=True)))


def merge_levels(left: Levels, right: Levels, cap: int) -> Levels:
    """Return the union with summed rows; None where either has overflowed or the union does."""
    if left is None or right is None:
        return None
    union = dict(left)
    for text, rows in right.items():
        union[text] = union.get(text, 0) + rows
    return None if len(union) > cap else dict(sorted(union.items()))


def pooled_name(texts: dict[str, int]) -> str:
    """Return the name of the pool of rare levels: "(other)", or "(other 2)", ... where a source uses such names itself."""
    taken = max((_pool_number(text) for text in texts), default=0)
    return _pool(taken + 1)


def pool_of(levels: tuple[str, ...]) -> str | None:
    """Return the level that takes in every text that is no level; by :func:`pooled_name` it is the last of such names."""
    last = max((_pool_number(text) for text in levels), default=0)
    return _pool(last) if last else None


def _pool(number: int) -> str:
    return "(other)" if number == 1 else f"(other {number})"


def _pool_number(text: str) -> int:
    """Return 1 for "(other)", k for "(other k)", 0 for any other text."""
    if text == "(other)":
        return 1
    inner = text.removeprefix("(other ").removesuffix(")")
    return (
        int(inner) if inner.isascii() and inner.isdigit() and len(inner) < 10 and int(inner) > 1 and text == f"(other {int(inner)})" else 0
    )


def one_dictionary(name: str, arrow: pa.DataType, findings: ColumnFindings) -> tuple[str, ...]:
    """Return a dictionary column's words in the source's order, unused ones included; empty for other columns.

    Raises
    ------
    SourceError
        If parts of the source order the words of an ordered dictionary differently.
    """
    if not pa.types.is_dictionary(arrow):
        return ()
    longest = sorted(findings.dictionaries, key=lambda words: (-len(words), words))
    if not longest:
        return ()
    words = list(longest[0])
    for other in longest[1:]:
        words += [word for word in other if word not in words]
        places = [words.index(word) for word in other]
        if arrow.ordered and places != sorted(places):
            raise SourceError(
                f"levels of covariate '{name}' must have one order in all files; got several.", "Write the files with the same categories."
            )
    return tuple(word for word in words if word is not None)


def most_frequent(levels: dict[str, int], rarest: int, most: int) -> list[tuple[str, int]]:
    """Return up to ``most`` levels that at least ``rarest`` rows have, most frequent first."""
    shown = [(text, rows) for text, rows in levels.items() if rows >= rarest]
    return sorted(shown, key=lambda one: (-one[1], one[0]))[:most]


def fold_flags(levels: dict[str, int]) -> dict[str, int]:
    """Return booleans spelt in any case ("TRUE", " True") under their canonical texts."""
    folded: dict[str, int] = {}
    for text, rows in levels.items():
        name = text.strip().lower()
        folded[name] = folded.get(name, 0) + rows
    return dict(sorted(folded.items()))
