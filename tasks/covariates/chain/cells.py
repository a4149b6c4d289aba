"""Cells of a column as one byte each: what the chain keeps of a table that it reads part by part."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtr, ndtri

from tasks.contract.roles import Column
from tasks.covariates.margins import MISSING, Coded, Float64, Intp, Margin, fit_margin

Codes = npt.NDArray[np.unsignedinteger]

_BYTE = 256
_END = 5.0
"""Normal score at which the outermost stretches end: one row in 3.5 million lies beyond."""


class Book(NamedTuple):
    """What the codes of one column stand for: 0 is missing, then atoms or levels in their order, then stretches of the continuous part.

    Attributes
    ----------
    state : ndarray of intp, shape (codes,)
        State of each code.
    centre : ndarray of float64, shape (codes,)
        Position of an atom or level; mean normal score of a stretch; 0 for missing.
    low, high : ndarray of float64, shape (codes,)
        Ends of a stretch on the normal scale; both the position elsewhere.
    """

    state: Intp
    centre: Float64
    low: Float64
    high: Float64


class Cells(NamedTuple):
    """Cells of one column.

    Attributes
    ----------
    codes : ndarray of unsigned integer, shape (n,)
        One byte per cell, more only for a category of more than 255 levels.
    book : Book
    """

    codes: Codes
    book: Book

    def at(self, rows: Intp | slice) -> Coded:
        """Return states, and scores at the middle of their stretch."""
        chosen = self.codes[rows]
        return Coded(self.book.state[chosen], self.book.centre[chosen])

    def spread(self, rng: np.random.Generator) -> Coded:
        """Return states, and scores anywhere in their stretch: as a target, a column is continuous."""
        low = self.book.low[self.codes]
        return Coded(self.book.state[self.codes], low + rng.random(len(low)) * (self.book.high[self.codes] - low))


class Coder(NamedTuple):
    """Turns canonical cells of one column into codes, the same for each part of the table.

    Attributes
    ----------
    margin : Margin
        Decides atoms and levels.
    book : Book
    ordered : ndarray of float64, shape (m,)
        Values of the continuous part that fix the stretches.
    ranks : ndarray of intp, shape (stretches - 1,)
        Where among them one stretch ends and the next begins, 0 ... m.
    rng : numpy.random.Generator
        One number for each continuous cell in the table's order, so the cut into parts does not matter.
    """

    margin: Margin
    book: Book
    ordered: Float64
    ranks: Intp
    rng: np.random.Generator

    def encode(self, cells: pd.Series) -> Codes:
        """Return the codes of canonical cells, shape (n,)."""
        margin = self.margin
        kind = np.min_scalar_type(len(self.book.state) - 1)
        if margin.levels is not None:
            return np.asarray(cells.astype(margin.levels).cat.codes.to_numpy().astype(np.intp) + 1, dtype=kind)
        raw = np.asarray(cells.to_numpy(), dtype=np.float64)
        codes = np.zeros(len(raw), dtype=kind)
        seen = np.flatnonzero(~np.isnan(raw))
        present = raw[seen]
        if margin.smooth == MISSING:
            if len(margin.values):
                # a value that the first rows did not show takes the nearest one's place
                codes[seen] = np.searchsorted((margin.values[1:] + margin.values[:-1]) / 2, present) + 1
            return codes
        atoms = margin.values[: margin.smooth]
        place = np.searchsorted(atoms, present)
        atom = (place < len(atoms)) & (np.append(atoms, np.inf)[place] == present)
        codes[seen[atom]] = place[atom] + 1
        codes[seen[~atom]] = self._stretch(present[~atom]) + margin.smooth + 1
        return codes

    def _stretch(self, values: Float64) -> Intp:
        """Return the stretch of each continuous value; equal values share the stretches that the ordered values give them."""
        chance = self.rng.random(len(values))
        if self.margin.unit:
            values = values + (chance - 0.5) * self.margin.unit
        # the outermost stretches have no outer end: later values may lie beyond the first ones
        edges = np.where(self.ranks == 0, -np.inf, np.append(self.ordered, np.inf)[self.ranks])
        place = np.searchsorted(edges, values, side="right")
        if not self.margin.unit:
            tied = np.flatnonzero(place > np.searchsorted(edges, values, side="left"))
            first, last = (np.searchsorted(self.ordered, values[tied], side=side) for side in ("left", "right"))
            place[tied] = np.searchsorted(self.ranks, first + (chance[tied] * (last - first)).astype(np.intp), side="right")
        return np.asarray(place, dtype=np.intp)


def fit_coder(cells: pd.Series, column: Column, fold: Intp, rng: np.random.Generator) -> Coder:
    """Learn margin and codes of a column from its first cells.

    Stretches of the continuous part are dense where a normal law is, by the cube root of its density, which leaves the least squared
    error to so many codes (Panter, Dite 1951, 10.1109/JRPROC.1951.230419): with 250 of them a score is off by 0.007 standard deviations.

    Parameters
    ----------
    cells : pandas.Series, shape (n,)
        Canonical cells.
    column : Column
    fold : ndarray of intp, shape (n,)
        See :func:`tasks.covariates.margins.fit_margin`.
    rng : numpy.random.Generator
    """
    margin, _ = fit_margin(cells, column, fold, rng)
    coder_rng = np.random.Generator(np.random.PCG64(rng.integers(2**63, size=2).tolist()))
    fixed = len(margin.shares) if margin.smooth == MISSING else margin.smooth
    state, position = np.arange(-1, fixed), np.append(0.0, margin.position[:fixed])
    none = np.zeros(0)
    if margin.smooth == MISSING:
        return Coder(margin, Book(state, position, position, position), none, np.zeros(0, dtype=np.intp), coder_rng)
    present = cells.to_numpy(dtype=np.float64)
    present = present[~np.isnan(present) & ~np.isin(present, margin.values[:fixed])]
    ordered = np.sort(present + (coder_rng.random(len(present)) - 0.5) * margin.unit)
    stretches = _BYTE - 1 - fixed
    edges = np.sqrt(3.0) * ndtri(np.arange(1, stretches) / stretches)
    low, high = np.append(-_END, edges), np.append(edges, _END)
    density = np.exp(-0.5 * np.append(edges, np.inf) ** 2), np.exp(-0.5 * np.append(-np.inf, edges) ** 2)
    mass = np.diff(ndtr(edges), prepend=0.0, append=1.0)
    centre = (density[1] - density[0]) / np.sqrt(2 * np.pi) / mass
    book = Book(
        np.append(state, np.full(stretches, margin.smooth)),
        np.append(position, centre), np.append(position, low), np.append(position, high),
    )  # fmt: skip
    return Coder(margin, book, ordered, np.rint(ndtr(edges) * len(ordered)).astype(np.intp), coder_rng)


def counted(margin: Margin, cells: Cells) -> Margin:
    """Return the margin with the shares of states and of missing cells that all cells have.

    Parameters
    ----------
    margin : Margin
        Learnt from the first cells.
    cells : Cells
        All cells, at least one.
    """
    rows = np.bincount(cells.codes, minlength=len(cells.book.state)).astype(np.float64)
    states = np.bincount(cells.book.state + 1, weights=rows, minlength=len(margin.shares) + 1)
    return margin._replace(shares=states[1:] / max(states[1:].sum(), 1.0), missing=float(states[0] / states.sum()))
