"""Dates and times on the grid of the source: days stay days, whole hours whole hours, month starts month starts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.contract.roles import Column
from tasks.numerics.calendar import Grid, fit_grid


class GridTrait(NamedTuple):
    """Datetime columns as whole numbers.

    Attributes
    ----------
    grids : dict of str to Grid
        By column id.
    ends : dict of str to tuple of float
        Least and largest number of each column: its safe range on the grid.
    """

    grids: dict[str, Grid]
    ends: dict[str, tuple[float, float]]

    def columns(self, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        """Describe what the synthesizer is given."""
        return tuple(_counted(column, self.ends[column.id]) if column.id in self.grids else column for column in columns)

    def encode(self, table: pd.DataFrame) -> pd.DataFrame:
        """Turn instants into numbers of the grid."""
        return table.assign(**{name: grid.number(table[name].to_numpy(dtype=np.float64)) for name, grid in self.grids.items()})

    def decode(self, drawn: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        """Turn drawn numbers into instants."""
        del rng
        instants = {}
        for name, grid in self.grids.items():
            numbers = np.rint(drawn[name].to_numpy(dtype=np.float64))
            instants[name] = grid.instants(np.clip(numbers, *self.ends[name]))
        return drawn.assign(**instants)

    def refuted(self, table: pd.DataFrame) -> set[str]:
        """Return the columns that more training rows show off their grid."""
        return {name for name, grid in self.grids.items() if not grid.holds(table[name].to_numpy(dtype=np.float64))}

    def described(self, names: dict[str, str]) -> list[str]:
        """Say which columns lie on which grid."""
        return [f"{names[name]}: {grid}" for name, grid in self.grids.items() if name in names]


def find_grids(table: pd.DataFrame, columns: tuple[Column, ...]) -> GridTrait | None:
    """Find the grids of the datetime columns."""
    grids = {column: grid_of(column, table[column.id].to_numpy(dtype=np.float64)) for column in columns if column.kind == "datetime"}
    kept = {column: grid for column, grid in grids.items() if grid is not None}
    if not kept:
        return None
    return GridTrait({column.id: grid for column, grid in kept.items()}, {column.id: _ends(column, grid) for column, grid in kept.items()})


def grid_of(column: Column, values: np.ndarray) -> Grid | None:
    """Return the grid of a datetime covariate, None where it has none."""
    kind = column.arrow().type
    return fit_grid(values, kind.tz if pa.types.is_timestamp(kind) else None)


def _ends(column: Column, grid: Grid) -> tuple[float, float]:
    """Return the numbers of the first and last instant of the grid within the column's safe range."""
    if column.low is None or column.high is None:
        return -np.inf, np.inf
    inside = grid.number(np.concatenate([grid.upward(np.array([column.low])), grid.downward(np.array([column.high]))]))
    return float(inside.min()), float(inside.max())


def _counted(column: Column, ends: tuple[float, float]) -> Column:
    low, high = ends if np.isfinite(ends).all() else (None, None)
    return column.model_copy(update={"kind": "integer", "decimals": 0, "low": low, "high": high})
