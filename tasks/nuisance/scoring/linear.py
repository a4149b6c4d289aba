"""Linear predictors of many models at once, from cells that are standardised once for all that share a design."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.contract.nuisance import Float64
from tasks.nuisance.design import CategoryTerm, Design, NumericTerm, category_rows
from tasks.nuisance.scoring.columns import Columns, Head
from tasks.numerics.compiled import compiled

_TILE = 1_024  # rows whose standardised cells stay in the cache
_RULE = 8  # numbers that say what a numeric cell becomes


class Linear(NamedTuple):
    """Linear predictors, sorted by design so that a cell is standardised once for all that share one.

    Attributes
    ----------
    order : ndarray of intp, shape (heads,)
        Place of each head, in the order in which they were added.
    intercepts : ndarray of float64, shape (heads,)
    column : ndarray of int64, shape (t,)
        Of each numeric term: its column.
    rule : ndarray of float64, shape (t, 8)
        Fill, low, high, centre, 1 / scale, mean and 1 / scale of the square, share of missing cells.
    span : ndarray of int64, shape (t, 2)
        First head of its design, and the one after the last.
    weight : ndarray of float64, shape (t, heads, 3)
        Of its value, square and gap.
    starts : ndarray of int64, shape (categories + 1,)
        Where each category's cells start.
    table : ndarray of float64, shape (heads, cells)
        What a category's cell adds.
    """

    order: npt.NDArray[np.intp]
    intercepts: Float64
    column: npt.NDArray[np.int64]
    rule: Float64
    span: npt.NDArray[np.int64]
    weight: Float64
    starts: npt.NDArray[np.int64]
    table: Float64

    @classmethod
    def of(cls, heads: Sequence[Head], columns: Columns) -> Linear:
        """Lay the heads out."""
        members: dict[Design, list[int]] = {}
        for at, (design, _, _) in enumerate(heads):
            members.setdefault(design, []).append(at)
        by_design = np.array([at for group in members.values() for at in group], dtype=np.intp)
        starts = np.cumsum([0, *(len(names) + 2 for names in columns.levels)]).astype(np.int64)
        table = np.zeros((len(heads), int(starts[-1])))
        terms: list[tuple[int, list[float], tuple[int, int], Float64]] = []
        first = 0
        for design, places in members.items():
            span, at = (first, first + len(places)), 0
            weights = np.array([heads[place].coefficients for place in places])
            for term in design.numeric:
                weight = np.zeros((len(heads), 3))
                at = _place_number(term, weights, at, weight[span[0] : span[1]])
                terms.append((columns.numbers.index(term.name), _rule_of(term), span, weight))
            for group in design.category:
                place = columns.categories.index(group.name)
                worth = weights[:, at : at + len(group.levels)] @ _cells_of(group, columns.levels[place]).T
                table[span[0] : span[1], starts[place] : starts[place + 1]] = worth
                at += len(group.levels)
            first = span[1]
        return cls(
            np.argsort(by_design),
            np.array([heads[at].intercept for at in by_design], dtype=np.float64),
            np.array([term[0] for term in terms], dtype=np.int64),
            np.array([term[1] for term in terms], dtype=np.float64).reshape(len(terms), _RULE),
            np.array([term[2] for term in terms], dtype=np.int64).reshape(len(terms), 2),
            np.array([term[3] for term in terms], dtype=np.float64).reshape(len(terms), len(heads), 3),
            starts,
            table,
        )

    def sums(self, cells: Float64, levels: npt.NDArray[np.uint16]) -> Float64:
        """Return the linear predictors of some rows, shape (heads, n)."""
        eta = np.empty((len(self.order), levels.shape[1]))
        eta[:] = self.intercepts[:, None]
        _add_linear(cells, levels, self.column, self.rule, self.span, self.weight, self.starts, self.table, eta)
        return np.asarray(eta[self.order])


def _rule_of(term: NumericTerm) -> list[float]:
    """Return what a numeric cell becomes, in the order of :attr:`Linear.rule`."""
    mean, scale = term.square or (0.0, 1.0)
    return [term.fill, term.low, term.high, term.centre, 1.0 / term.scale, mean, 1.0 / scale, term.missing or 0.0]


def _place_number(term: NumericTerm, weights: Float64, at: int, out: Float64) -> int:
    """Copy a numeric term's coefficients, of shape (heads, width), to their places; return where the next term's start."""
    out[:, 0] = weights[:, at]
    at += 1
    for place, there in ((1, term.square is not None), (2, term.missing is not None)):
        if there:
            out[:, place] = weights[:, at]
            at += 1
    return at


def _cells_of(group: CategoryTerm, levels: tuple[str, ...]) -> Float64:
    """Return a category's design by cell, shape (levels + 2, width): its levels, a missing cell, an unknown level."""
    return np.vstack((category_rows(group, list(levels)), np.zeros((1, len(group.levels)))))


@compiled
def _add_linear(cells, levels, column, rule, span, weight, starts, table, eta):  # type: ignore[no-untyped-def]  # typed by Numba
    """Add every term's cells, times each head's weights, to the linear predictors."""
    z = np.empty((3, _TILE))
    for first in range(0, eta.shape[1], _TILE):
        n = min(_TILE, eta.shape[1] - first)
        for term in range(column.shape[0]):
            fill, low, high, centre, inverse, mean, inverse_square, share = rule[term]
            values = cells[column[term], first : first + n]
            for i in range(n):
                gap = np.isnan(values[i])
                value = fill if gap else values[i]
                value = low if value < low else high if value > high else value
                value = (value - centre) * inverse
                z[0, i] = value
                z[1, i] = (value * value - mean) * inverse_square
                z[2, i] = 2.0 * ((1.0 if gap else 0.0) - share)
            for head in range(span[term, 0], span[term, 1]):
                plain, square, missing = weight[term, head, 0], weight[term, head, 1], weight[term, head, 2]
                out = eta[head, first : first + n]
                for i in range(n):
                    out[i] += plain * z[0, i] + square * z[1, i] + missing * z[2, i]
        for group in range(levels.shape[0]):
            for head in range(eta.shape[0]):
                worth, out = table[head, starts[group] : starts[group + 1]], eta[head, first : first + n]
                for i in range(n):
                    out[i] += worth[np.uint64(levels[group, first + i])]
