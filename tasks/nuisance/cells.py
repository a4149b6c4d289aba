"""Covariates as plain arrays: for tables so small that a data frame's own bookkeeping would cost more than the fit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.nuisance import Float64


class Codes(NamedTuple):
    """A category column: the number of each cell's level, -1 where it is missing, and the levels."""

    codes: npt.NDArray[np.integer]
    levels: tuple[str, ...]


class Cells(NamedTuple):
    """Canonical covariates of n rows.

    Attributes
    ----------
    columns : dict of str to ndarray of float64, shape (n,), or Codes
        By id, in the order of the table; NaN where a number is missing.
    rows : int
        n.
    """

    columns: dict[str, Float64 | Codes]
    rows: int

    def take(self, rows: npt.NDArray[np.intp]) -> Cells:
        """Return some rows."""
        taken = {
            name: Codes(column.codes[rows], column.levels) if isinstance(column, Codes) else column[rows]
            for name, column in self.columns.items()
        }
        return Cells(taken, len(rows))


def cells_of(covariates: pd.DataFrame | Cells) -> Cells:
    """Return the cells of a canonical frame; those of cells are the same."""
    if isinstance(covariates, Cells):
        return covariates
    columns: dict[str, Float64 | Codes] = {}
    for name, column in covariates.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            columns[str(name)] = Codes(column.cat.codes.to_numpy(), tuple(str(level) for level in column.cat.categories))
        else:
            columns[str(name)] = column.to_numpy(dtype=np.float64)
    return Cells(columns, len(covariates))
