"""Relations between the columns of one table: how each derives its target from other columns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.covariates.margins import Float64, Intp
from tasks.covariates.traits.filling import numbers_of
from tasks.covariates.traits.values import Domain


class Linear(NamedTuple):
    """A column that is a fixed linear combination of others: a copy (one term) or a sum.

    Attributes
    ----------
    target : str
    terms : tuple of (str, float)
        Columns and their factors.
    offset : float
    drawn : bool
        Whether the target is drawn too, because it is not missing exactly where a term is.
    """

    target: str
    terms: tuple[tuple[str, float], ...]
    offset: float = 0.0
    drawn: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns that decide the target."""
        return tuple(name for name, _ in self.terms)

    def value(self, cells: dict[str, Float64]) -> Float64:
        """Return the target, NaN where a term is missing, shape (n,)."""
        total = np.asarray(sum(factor * cells[name] for name, factor in self.terms))
        return total + self.offset if self.offset else total

    def broken(self, cells: dict[str, Float64]) -> int:
        """Count rows in which all is known and the relation does not hold."""
        expected, actual = self.value(cells), cells[self.target]
        complete = ~np.isnan(expected) & ~np.isnan(actual)
        scale = max([abs(factor) * float(np.nanmax(np.abs(cells[name]), initial=0.0)) for name, factor in self.terms] + [abs(self.offset)])
        return int((np.abs(expected[complete] - actual[complete]) > 1e-11 * max(scale, 1e-300)).sum())


class Within(NamedTuple):
    """A column with finitely many values that another column decides.

    Attributes
    ----------
    target, source : str
    codes : ndarray of intp, shape (k,)
        Code of the target for each level of the source, or for each band of its values.
    cuts : ndarray of float64, shape (k - 1,), or None
        Where bands of a numeric source meet; None for a category.
    values : ndarray of float64 or None
        Values of a numeric target by code; None for a category.
    drawn : bool
        As of :class:`Linear`.
    """

    target: str
    source: str
    codes: Intp
    cuts: Float64 | None
    values: Float64 | None
    drawn: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """The column that decides the target."""
        return (self.source,)

    def value(self, cells: dict[str, Float64]) -> Float64:
        """Return codes or values of the target, NaN where the source is missing, shape (n,)."""
        given = cells[self.source]
        present = ~np.isnan(given)
        filled = np.where(present, given, 0.0)
        place = filled.astype(np.intp) if self.cuts is None else np.searchsorted(self.cuts, filled, side="right")
        result = self.codes[place].astype(np.float64) if self.values is None else self.values[self.codes[place]]
        return np.where(present, result, np.nan)

    def broken(self, cells: dict[str, Float64]) -> int:
        """Count rows in which both are known and the source's value belongs to another value of the target."""
        expected, actual = self.value(cells), cells[self.target]
        return int(((expected != actual) & ~np.isnan(expected) & ~np.isnan(actual)).sum())


class Ordered(NamedTuple):
    """A column that is at least as large as others; what is drawn in its place is how much larger.

    Attributes
    ----------
    target : str
    lows : tuple of str
    usual : float
        What stands for the lows in rows in which all of them are missing.
    """

    target: str
    lows: tuple[str, ...]
    usual: float

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns that bound the target."""
        return self.lows

    def least(self, cells: dict[str, Float64]) -> Float64:
        """Return the largest known low of each row, NaN where all are missing."""
        result = cells[self.lows[0]]
        for name in self.lows[1:]:
            result = np.fmax(result, cells[name])
        return result

    def slack(self, cells: dict[str, Float64]) -> Float64:
        """Return by how much the target is larger; NaN where it is missing."""
        least = self.least(cells)
        return np.asarray(cells[self.target] - np.where(np.isnan(least), self.usual, least))

    def value(self, cells: dict[str, Float64], slack: Float64, domain: Domain) -> Float64:
        """Return the target on its grid, never below a known low."""
        least = self.least(cells)
        bounded = ~np.isnan(least)
        result = domain.nearest(np.where(bounded, least + np.maximum(slack, 0.0), self.usual + slack))
        below = bounded & (result < least)
        return np.where(below, domain.upward(least), result)

    def broken(self, cells: dict[str, Float64]) -> int:
        """Count rows in which the target is below a known low."""
        with np.errstate(invalid="ignore"):
            return int((cells[self.target] < self.least(cells)).sum())


Bound = Linear | Within | Ordered


def cells_of(table: pd.DataFrame) -> dict[str, Float64]:
    """Return numbers as they are and categories as codes, NaN where missing, by column."""
    return {str(name): numbers_of(table[name]) for name in table}


def describe(bound: Bound, names: dict[str, str]) -> str:
    """Write a relation with the source's names, as ``roles.relations`` would hold it."""
    target = names[bound.target]
    if isinstance(bound, Ordered):
        return ", ".join(f"{names[low]} <= {target}" for low in bound.lows)
    if isinstance(bound, Within):
        return f"within({names[bound.source]}, {target})"
    if len(bound.terms) == 1 and bound.terms[0][1] == 1 and not bound.offset:
        return f"copy({names[bound.terms[0][0]]}, {target})"
    parts = []
    for name, factor in bound.terms:
        size = "" if abs(factor) == 1 else f"{abs(factor):g} "
        parts.append(f"{'-' if factor < 0 else '+'} {size}{names[name]}")
    if bound.offset:
        parts.append(f"{'-' if bound.offset < 0 else '+'} {abs(bound.offset):g}")
    return f"{target} = {' '.join(parts).removeprefix('+ ')}"
