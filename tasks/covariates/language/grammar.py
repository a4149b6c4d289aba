"""The grammar of rows: which token may follow, so that every row that is written is a row of the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.covariates.margins import Float64, Intp

Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]
_NONE = np.iinfo(np.int32).min


class Grammar(NamedTuple):
    """One tree of tokens per column, with the column's cells as leaves; a row is a walk down each tree, in any order of columns.

    A tree's first steps, the words that name the column, leave no choice. No walk can leave the tree and each ends after a known
    number of tokens at most, so nothing that is written need be rejected or tried again.

    Attributes
    ----------
    options : ndarray of int32, shape (states, f)
        Tokens that may follow in a state; padded with 0.
    fan : ndarray of int32, shape (states,)
        How many they are.
    child : ndarray of int32, shape (states, f)
        State after each of them, or ``-1 - cell`` where a cell ends, cells being numbered over all columns.
    root : ndarray of int32, shape (d,)
        First state of each column.
    first : ndarray of intp, shape (d + 1,)
        Cells of column j are ``first[j] ... first[j + 1] - 1``.
    tokens, states, choices : ndarray of int32, shape (cells, most)
        How a cell is written: its tokens, the state before each and its number among the options; padded with 0.
    length : ndarray of intp, shape (cells,)
        Tokens of each cell.
    start : int
        The token before a row.
    """

    options: Int32
    fan: Int32
    child: Int32
    root: Int32
    first: Intp
    tokens: Int32
    states: Int32
    choices: Int32
    length: Intp
    start: int

    @property
    def longest(self) -> int:
        """Most tokens of a row, its start included."""
        return 1 + sum(int(self.length[a:b].max()) for a, b in zip(self.first[:-1], self.first[1:], strict=True))


class Sentences(NamedTuple):
    """Rows in writing.

    Attributes
    ----------
    tokens : ndarray of int32, shape (n, t)
        What is read, from the start token on; padded with 0.
    states : ndarray of int32, shape (n, t)
        State after each token read.
    choices : ndarray of int32, shape (n, t)
        Number of the next token among the state's options; -1 where there is no choice, or no next token.
    """

    tokens: Int32
    states: Int32
    choices: Int32


def make_grammar(written: Sequence[Sequence[Sequence[int]]], start: int) -> Grammar:
    """Build the trees.

    Parameters
    ----------
    written : sequence (columns) of sequences (cells) of token numbers
        How each cell is written, the words that name its column included. Within a column no one may begin with another.
    start : int
        The token before a row.

    Returns
    -------
    Grammar
    """
    options: list[dict[int, int]] = []
    child: list[list[int]] = []
    roots, paths = [], []
    cell = 0
    for cells in written:
        roots.append(len(options))
        options.append({})
        child.append([])
        for tokens in cells:
            at, path = roots[-1], []
            for k, token in enumerate(tokens):
                choice = options[at].setdefault(token, len(options[at]))
                path.append((token, at, choice))
                last = k == len(tokens) - 1
                if choice == len(child[at]):
                    child[at].append(-1 - cell if last else len(options))
                    if not last:
                        options.append({})
                        child.append([])
                elif last or child[at][choice] < 0:
                    raise ValueError("cells of a grammar must be written so that none begins with another")
                at = child[at][choice]
            paths.append(path)
            cell += 1
    widest, most = max(map(len, options)), max(map(len, paths))
    table = np.zeros((3, cell, most), dtype=np.int32)
    for row, path in enumerate(paths):
        table[:, row, : len(path)] = np.array(path, dtype=np.int32).T
    return Grammar(
        np.array([[*option, *[0] * (widest - len(option))] for option in options], dtype=np.int32),
        np.array([len(option) for option in options], dtype=np.int32),
        np.array([[*below, *[_NONE] * (widest - len(below))] for below in child], dtype=np.int32),
        np.array(roots, dtype=np.int32),
        np.cumsum([0, *map(len, written)]).astype(np.intp),
        table[0],
        table[1],
        table[2],
        np.array([len(path) for path in paths], dtype=np.intp),
        start,
    )


def draw_orders(n: int, columns: int, rng: np.random.Generator) -> Intp:
    """Draw an order of columns for each row, shape (n, columns)."""
    return rng.permuted(np.tile(np.arange(columns), (n, 1)), axis=1)


def write(grammar: Grammar, cells: Intp, orders: Intp) -> Sentences:
    """Write rows down.

    Parameters
    ----------
    grammar : Grammar
    cells : ndarray of intp, shape (n, d)
        Cells of each row, numbered over all columns.
    orders : ndarray of intp, shape (n, d)
        Order of columns for each row.

    Returns
    -------
    Sentences
        As long as the longest of them.
    """
    n = len(cells)
    ordered = np.take_along_axis(cells, orders, axis=1)
    length = grammar.length[ordered]
    begin = np.cumsum(length, axis=1) - length
    row, column, step = np.nonzero(np.arange(grammar.tokens.shape[1])[None, None, :] < length[:, :, None])
    cell, place = ordered[row, column], begin[row, column] + step
    width = 1 + int(length.sum(axis=1).max())
    tokens, states = np.zeros((n, width), dtype=np.int32), np.zeros((n, width), dtype=np.int32)
    choices = np.full((n, width), -1, dtype=np.int32)
    tokens[:, 0] = grammar.start
    tokens[row, place + 1] = grammar.tokens[cell, step]
    state = grammar.states[cell, step]
    states[row, place] = state
    choices[row, place] = np.where(grammar.fan[state] > 1, grammar.choices[cell, step], -1)
    return Sentences(tokens, states, choices)


def shares(grammar: Grammar, cells: Intp) -> Float64:
    """Return how often each option is taken among rows: log frequencies, one row added to each option, shape (states, f).

    Parameters
    ----------
    grammar : Grammar
    cells : ndarray of intp, shape (n, d)
        Cells numbered over all columns.

    Returns
    -------
    ndarray of float64
        Minus infinity where a state has no such option.
    """
    counts = np.zeros(grammar.options.shape)
    times = np.bincount(cells.ravel(), minlength=len(grammar.length))
    for cell in np.flatnonzero(times):
        steps = int(grammar.length[cell])
        counts[grammar.states[cell][:steps], grammar.choices[cell][:steps]] += times[cell]
    there = np.arange(grammar.options.shape[1])[None, :] < grammar.fan[:, None]
    smoothed = np.where(there, counts + 1.0, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(smoothed / smoothed.sum(axis=1, keepdims=True)))
