"""Atoms apart from the rest: a sentinel such as -9, zeros of a cost. No value is drawn between them and the rest.

The gaps beside such atoms are closed before a synthesizer sees the column and opened again in what it draws. Every drawn value therefore
is an atom or lies among the rest.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.disclosure import safe_bounds, tails
from tasks.contract.roles import Column
from tasks.covariates.margins import Float64
from tasks.covariates.protocol import MIN_ROWS
from tasks.covariates.traits.values import EDGE, unit_of

_FEW_VALUES = 16  # a column of no more distinct values is drawn from these alone
_MOST_ATOMS = 5
_NEIGHBOURS = 10
_WIDER = 10.0
_CLOSED = 1e-3  # of the interquartile range: what a gap is closed to where values have no grid


class Piece(NamedTuple):
    """One atom, or a stretch of values.

    Attributes
    ----------
    low, high : float
        Its ends; equal for an atom.
    shift : float
        What is added to its values where the gaps are closed.
    """

    low: float
    high: float
    shift: float


class Pieces(NamedTuple):
    """A column cut at the gaps beside its atoms.

    Attributes
    ----------
    pieces : tuple of Piece
        In ascending order.
    digits : int or None
        Digits that values are rounded to; None where they have no grid.
    """

    pieces: tuple[Piece, ...]
    digits: int | None

    def close(self, values: Float64) -> Float64:
        """Return values with the gaps closed."""
        return self._moved(values, np.array([(piece.low, piece.high) for piece in self.pieces]), 1.0)

    def open(self, values: Float64) -> Float64:
        """Return values with the gaps as wide as they were."""
        closed = np.array([(piece.low + piece.shift, piece.high + piece.shift) for piece in self.pieces])
        return self._moved(values, closed, -1.0)

    def _moved(self, values: Float64, ends: Float64, sign: float) -> Float64:
        """Put each value into its nearest piece and shift it."""
        middles = (ends[:-1, 1] + ends[1:, 0]) / 2
        place = np.searchsorted(middles, values)
        place[np.isnan(values)] = 0
        shifts = np.array([piece.shift for piece in self.pieces])
        moved = np.clip(values, ends[place, 0], ends[place, 1]) + sign * shifts[place]
        return np.asarray(moved if self.digits is None else np.round(moved, self.digits))


class AtomTrait(NamedTuple):
    """Columns whose gaps are closed, by id."""

    pieces: dict[str, Pieces]

    def columns(self, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        """Describe what the synthesizer is given."""
        return tuple(_closed(column, self.pieces[column.id]) if column.id in self.pieces else column for column in columns)

    def encode(self, table: pd.DataFrame) -> pd.DataFrame:
        """Close the gaps."""
        return table.assign(**{name: pieces.close(table[name].to_numpy(dtype=np.float64)) for name, pieces in self.pieces.items()})

    def decode(self, drawn: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        """Open the gaps."""
        del rng
        return drawn.assign(**{name: pieces.open(drawn[name].to_numpy(dtype=np.float64)) for name, pieces in self.pieces.items()})

    def refuted(self, table: pd.DataFrame) -> set[str]:
        """Return the columns that have values in a gap in more training rows."""
        return {name for name, pieces in self.pieces.items() if _between(pieces, table[name].to_numpy(dtype=np.float64))}

    def described(self, names: dict[str, str]) -> list[str]:
        """Say which columns have atoms apart from the rest."""
        return [f"{names[name]}: values apart from the rest" for name in self.pieces if name in names]


def find_atoms(table: pd.DataFrame, columns: tuple[Column, ...]) -> AtomTrait | None:
    """Find the covariates that have atoms apart from the rest."""
    pieces = {
        column.id: cut(table[column.id].to_numpy(dtype=np.float64), column)
        for column in columns
        if column.is_covariate and not column.is_category
    }
    kept = {name: piece for name, piece in pieces.items() if piece is not None}
    return AtomTrait(kept) if kept else None


def cut(cells: Float64, column: Column) -> Pieces | None:
    """Cut a column's values at the gaps beside its atoms.

    A gap is ten times wider than the median of the ten spacings beside it. On one side of it stand one to five values, each of at least
    five rows: these are atoms.

    Parameters
    ----------
    cells : ndarray of float64, shape (n,)
        NaN where missing.
    column : Column

    Returns
    -------
    Pieces or None
        None where there is no such gap.
    """
    present = cells[~np.isnan(cells)]
    distinct, counts = np.unique(present, return_counts=True)
    if len(distinct) <= _FEW_VALUES:
        return None
    unit = unit_of(column)
    stretches = _stretches(distinct, counts, _gaps(distinct, counts, unit))
    if not any(atoms for _, _, atoms in stretches):
        return None
    ends: list[tuple[float, float]] = []
    for first, last, atoms in stretches:
        if atoms:
            ends += [(float(value), float(value)) for value in distinct[first:last]]
        else:
            ends.append(_bounds(np.repeat(distinct[first:last], counts[first:last]), column, unit))
    width = unit or _CLOSED * float(np.subtract(*np.quantile(present, [0.75, 0.25]))) or _CLOSED
    return Pieces(_shifted(ends, width), None if not unit else max(0, round(-np.log10(unit))))


def _gaps(distinct: Float64, counts: npt.NDArray[np.intp], unit: float) -> list[int]:
    """Return where, beside a value that could be an atom, a spacing is far wider than the spacings on one of its sides."""
    spacing, often = np.diff(distinct), counts >= EDGE
    gaps = []
    for k in np.flatnonzero((often[:-1] | often[1:]) & (spacing > 1.5 * unit)):
        sides = [spacing[max(0, k - _NEIGHBOURS) : k], spacing[k + 1 : k + 1 + _NEIGHBOURS]]
        usual = min(float(np.median(side)) for side in sides if len(side) >= 3)
        if spacing[k] > _WIDER * usual:
            gaps.append(int(k) + 1)
    return gaps


def _stretches(distinct: Float64, counts: npt.NDArray[np.intp], cuts: list[int]) -> list[tuple[int, int, bool]]:
    """Return (first, last, whether atoms) of the stretches between gaps; neighbours that are no atoms are one stretch."""
    edges = [0, *cuts, len(distinct)]
    merged: list[tuple[int, int, bool]] = []
    for first, last in itertools.pairwise(edges):
        atoms = last - first <= _MOST_ATOMS and bool((counts[first:last] >= EDGE).all())
        if merged and not atoms and not merged[-1][2]:
            merged[-1] = (merged[-1][0], last, False)
        else:
            merged.append((first, last, atoms))
    # a handful of other values beyond an atom is no stretch to draw from: they go to the nearest piece
    kept = [each for each in merged if each[2] or counts[each[0] : each[1]].sum() >= MIN_ROWS]
    return kept if any(not atoms for _, _, atoms in kept) else []


def _bounds(values: Float64, column: Column, unit: float) -> tuple[float, float]:
    """Return the safe ends of a stretch: the column's own where they lie in it."""
    low, high = safe_bounds(*tails(values), unit)
    if column.low is not None and values[0] <= column.low <= values[-1]:
        low = column.low
    if column.high is not None and values[0] <= column.high <= values[-1]:
        high = column.high
    return min(low, high), max(low, high)


def _shifted(ends: list[tuple[float, float]], width: float) -> tuple[Piece, ...]:
    """Close the gaps to ``width``; the longest stretch stays where it is."""
    main = int(np.argmax([high - low for low, high in ends]))
    shifts = np.zeros(len(ends))
    for k in range(main + 1, len(ends)):
        shifts[k] = ends[k - 1][1] + shifts[k - 1] + width - ends[k][0]
    for k in range(main - 1, -1, -1):
        shifts[k] = ends[k + 1][0] + shifts[k + 1] - width - ends[k][1]
    return tuple(Piece(low, high, float(shift)) for (low, high), shift in zip(ends, shifts, strict=True))


def _closed(column: Column, pieces: Pieces) -> Column:
    first, last = pieces.pieces[0], pieces.pieces[-1]
    ends = np.array([first.low + first.shift, last.high + last.shift])
    low, high = (ends if pieces.digits is None else np.round(ends, pieces.digits)).tolist()
    return column.model_copy(update={"low": low, "high": high})


def _between(pieces: Pieces, values: Float64) -> bool:
    """Return whether values lie in a gap, further from its atom than rounding explains."""
    present = values[~np.isnan(values)]
    ends = np.array([(piece.low, piece.high) for piece in pieces.pieces])
    atoms = ends[:, 0] == ends[:, 1]
    for k in range(len(ends) - 1):
        if atoms[k] or atoms[k + 1]:
            # a stretch ends at a mean of five rows: rows beyond it are no values in the gap
            low = ends[k, 1] if atoms[k] else (ends[k, 1] + ends[k + 1, 0]) / 2
            high = ends[k + 1, 0] if atoms[k + 1] else (ends[k, 1] + ends[k + 1, 0]) / 2
            if ((present > low) & (present < high)).any():
                return True
    return False
