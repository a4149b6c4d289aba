"""Values that a released column can hold: its grid, and its safe range on that grid."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tasks.contract.columns import conform
from tasks.contract.roles import Column
from tasks.covariates.margins import Float64
from tasks.numerics.calendar import Grid

EDGE = 5
"""Rows behind a bound that is drawn to."""
_ALMOST = 1e-6


class Domain(NamedTuple):
    """The values that a numeric column can be released with.

    Attributes
    ----------
    column : Column
    grid : Grid or None
        Of a datetime column.
    low, high : float
        Bounds, on the grid; infinite where the column has no safe range.
    """

    column: Column
    grid: Grid | None
    low: float
    high: float

    @property
    def unit(self) -> float:
        """Step of the values, 0 where there is none."""
        return 0.0 if self.column.kind == "datetime" else unit_of(self.column)

    def nearest(self, values: Float64) -> Float64:
        """Return the nearest values that can be released; missing stays missing."""
        return np.clip(self._round(values), self.low, self.high)

    def upward(self, values: Float64) -> Float64:
        """Return the least values on the grid that are not below the given ones."""
        if self.grid is not None:
            return self.grid.upward(values)
        return np.round(np.ceil(values / self.unit - _ALMOST) * self.unit, _digits(self.unit)) if self.unit else values

    def downward(self, values: Float64) -> Float64:
        """Return the largest values on the grid that are not above the given ones."""
        if self.grid is not None:
            return self.grid.downward(values)
        return np.round(np.floor(values / self.unit + _ALMOST) * self.unit, _digits(self.unit)) if self.unit else values

    def _round(self, values: Float64) -> Float64:
        if self.grid is not None:
            values = self.grid.instants(self.grid.number(values))
        return np.asarray(conform(self.column, pa.array(values)).to_numpy(zero_copy_only=False), dtype=np.float64)


def domain_of(column: Column, grid: Grid | None) -> Domain:
    """Return what a numeric column can be released with."""
    low = -np.inf if column.low is None else column.low
    high = np.inf if column.high is None else column.high
    plain = Domain(column, grid, -np.inf, np.inf)
    if grid is not None:
        return Domain(column, grid, float(grid.upward(np.array([low]))[0]), float(grid.downward(np.array([high]))[0]))
    bounds = plain.nearest(np.array([low, high])) if np.isfinite([low, high]).all() else np.array([low, high])
    return Domain(column, None, float(bounds[0]), float(bounds[1]))


def unit_of(column: Column) -> float:
    """Return the step of a column's values, 0 where there is none."""
    if column.kind in ("integer", "datetime"):
        return 1.0
    return 0.0 if column.decimals is None else float(10.0**-column.decimals)


def _digits(unit: float) -> int:
    return max(0, round(-np.log10(unit))) if unit else 15
