"""Two ways to write a cell: in a vocabulary made for the table, or in the words of a pretrained model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tasks.contract.errors import SpecError
from tasks.contract.roles import Column
from tasks.covariates.language.cells import Cells, cut_at, cut_evenly, grid_unit
from tasks.covariates.language.grammar import Grammar, make_grammar
from tasks.covariates.margins import MISSING, Float64, Intp, Margin
from tasks.covariates.protocol import MIN_ROWS

Encode = Callable[[str], Sequence[int]]
Spelling = list[list[list[int]]]
_POINTS = 1_000
_MISSING_WORD = "missing"


class Scale(NamedTuple):
    """Tokens that stand for neighbouring numbers, and where they lie on the normal scale; both of shape (k,)."""

    tokens: Intp
    place: Float64


class Vocabulary(NamedTuple):
    """How the columns' cells are written.

    Attributes
    ----------
    cells : tuple of Cells
        One per column.
    grammar : Grammar
        Over tokens ``0 ... size - 1``.
    size : int
        Tokens in use.
    scales : tuple of Scale
        Tokens that mean numbers, for a model that learns them from nothing; empty where tokens are borrowed.
    borrowed : ndarray of intp, shape (size,)
        The pretrained tokenizer's number of each token; empty for an own vocabulary.
    """

    cells: tuple[Cells, ...]
    grammar: Grammar
    size: int
    scales: tuple[Scale, ...]
    borrowed: Intp


def own_vocabulary(margins: Sequence[Margin], rows: int, bins: int, digits: int) -> Vocabulary:
    """Make one token per column, level, atom and quantile bin, and ten per column for the digits of a place within a bin.

    A bin holds at least ``MIN_ROWS`` of the rows, so no token stands for a single row's value; nor does a digit, which only says
    how far up its bin a value lies.

    Parameters
    ----------
    margins : sequence of Margin
        Columns.
    rows : int
        Rows that they were learnt from.
    bins : int
        Most quantile bins of a column.
    digits : int
        Decimal digits of the place within a bin; 0 leaves it to chance.
    """
    tables, written, scales, size = [], [], [], 1
    for margin in margins:
        share = (1.0 - margin.missing) * (float(margin.shares[margin.smooth]) if margin.smooth != MISSING else 0.0)
        most = max(1, min(bins, int(share * rows) // MIN_ROWS))
        cells = cut_evenly(margin, most * 10**digits)
        plain = int((cells.piece < 0).sum())
        name, size = size, size + 1
        first_plain, size = size, size + plain
        first_bin, size = size, size + (most if margin.smooth != MISSING else 0)
        first_digit, size = size, size + (10 * digits if margin.smooth != MISSING else 0)
        spelt = []
        for cell, piece in enumerate(cells.piece):
            if piece < 0:
                # missing stands behind the pieces
                spelt.append([name, first_plain + (cell if cells.state[cell] != MISSING else plain - 1)])
                continue
            place = [int(piece) // 10**k % 10 + 10 * k for k in range(digits)]
            spelt.append([name, first_bin + int(piece) // 10**digits, *(first_digit + digit for digit in reversed(place))])
        tables.append(cells)
        written.append(spelt)
        scales += _scales(margin, first_plain, first_bin, most, [first_digit + 10 * k for k in range(digits)])
    return Vocabulary(tuple(tables), make_grammar(written, 0), size, tuple(scales), np.zeros(0, dtype=np.intp))


def _scales(margin: Margin, first_plain: int, first_bin: int, bins: int, digits: list[int]) -> list[Scale]:
    """Return the tokens of a column that lie on a line: its atoms and bins, and each place's digits."""
    if not margin.ordered:
        return []
    atoms = np.flatnonzero(np.arange(len(margin.shares)) != margin.smooth)
    tokens, place = first_plain + np.arange(len(atoms)), margin.position[atoms]
    if margin.smooth == MISSING:
        return [Scale(tokens, place)]
    middle = np.linspace(-1.5, 1.5, bins) if bins > 1 else np.zeros(1)
    line = Scale(np.concatenate([tokens, first_bin + np.arange(bins)]), np.concatenate([place, middle]))
    return [line, *(Scale(first + np.arange(10), np.linspace(-1.5, 1.5, 10)) for first in digits)]


def borrowed_vocabulary(margins: Sequence[Margin], columns: Sequence[Column], encode: Encode, start: int) -> Vocabulary:
    """Write cells in a pretrained tokenizer's words: `` age is 41,``, numbers digit by digit.

    Of the tokenizer's tokens only those are kept that some cell needs. A number is written on a grid of at most 1,000 steps over the
    safe range; where it lies within its step is left to the margin.

    Parameters
    ----------
    margins : sequence of Margin
    columns : sequence of Column
        Of the same length: their names are part of what is written.
    encode : callable
        From text to token numbers, without special tokens.
    start : int
        The token before a row.

    Raises
    ------
    SpecError
        If the tokenizer gives two cells of a column the same tokens.
    """
    tables: list[Cells] = []
    spelling: Spelling = []
    for margin, column in zip(margins, columns, strict=True):
        cells, texts = _texts(margin, column)
        numeric = margin.levels is None
        head, end = encode(f" {column.name} is{' ' if numeric else ''}"), encode(",")
        for attempt in (texts, [f"{text} #{k}" for k, text in enumerate(texts)]):
            spelt = [[*head, *_words(text, numeric, encode), *end] for text in attempt]
            if _prefix_free(spelt):
                break
        else:
            raise SpecError(
                f"the tokenizer of synthesizer 'llm' must tell the cells of column '{column.name}' apart; got the same tokens for two.",
                "Take another model, or leave params.model out.",
            )
        tables.append(cells)
        spelling.append(spelt)
    kept = sorted({token for spelt in spelling for tokens in spelt for token in tokens} | {start})
    number = {token: k for k, token in enumerate(kept)}
    written = [[[number[token] for token in tokens] for tokens in spelt] for spelt in spelling]
    return Vocabulary(tuple(tables), make_grammar(written, number[start]), len(kept), (), np.array(kept, dtype=np.intp))


def _words(text: str, numeric: bool, encode: Encode) -> list[int]:
    """Return the tokens of a cell: a level in words, a number character by character."""
    if not numeric:
        return [*encode(f" {text}")]
    return [token for character in text for token in encode(character)]


def _prefix_free(spelt: list[list[int]]) -> bool:
    """Return whether no token sequence begins with another: neighbours in sorted order decide."""
    return all(longer[: len(shorter)] != shorter for shorter, longer in pairwise(sorted(spelt)))


def _texts(margin: Margin, column: Column) -> tuple[Cells, list[str]]:
    """Return the cells of a column and a text for each."""
    gone = [_MISSING_WORD] if margin.missing > 0 else []
    if margin.levels is not None:
        return cut_evenly(margin, 1), [*(str(level) for level in margin.levels.categories), *gone]
    if margin.smooth == MISSING:
        return cut_evenly(margin, 1), [*(_number(value, column, _decimals(column)) for value in margin.values), *gone]
    low, high = float(margin.heights[0]), float(margin.heights[-1])
    power = int(np.ceil(np.log10(max((high - low) / _POINTS, 1e-12))))
    step = max(10.0**power, grid_unit(column))
    points = np.arange(np.rint(low / step), np.rint(high / step) + 1)
    cells = cut_at(margin, (points[:-1] + 0.5) * step)
    atoms = [f"={_number(value, column, _decimals(column))}" for value in margin.values[:-1]]
    fine = max(0, int(np.ceil(-np.log10(step) - 1e-9)))
    return cells, [*atoms, *(_number(point * step, column, fine) for point in points), *gone]


def _decimals(column: Column) -> int:
    return column.decimals if column.decimals is not None else 0 if grid_unit(column) else 6


def _number(value: float, column: Column, decimals: int) -> str:
    if column.kind == "datetime":
        return str(np.datetime64(int(value), "us")).removesuffix("T00:00:00.000000").rstrip("0").rstrip(".")
    return f"{value + 0.0:.{decimals}f}"
