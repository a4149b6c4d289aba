"""Dates and times on the grid of the source: days stay days, whole hours whole hours, month starts month starts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.contract.roles import Column
from tasks.covariates.traits.calendar import Grid, fit_grid


class GridTrait(NamedTuple):
    """Datetime columns as whole numbers.

    Attributes
    ----------
    grids : dict of str to Grid
        By column id.
    """

    grids: dict[str, Grid]

    def columns(self, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        """Describe what the synthesizer is given."""
        return tuple(_counted(column, self.grids[column.id]) if column.id in self.grids else column for column in columns)

    def encode(self, table: pd.DataFrame) -> pd.DataFrame:
        """Turn instants into numbers of the grid."""
        return table.assign(**{name: grid.number(table[name].to_numpy(dtype=np.float64)) for name, grid in self.grids.items()})

    def decode(self, drawn: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        """Turn drawn numbers into instants."""
        del rng
        return drawn.assign(**{name: grid.instants(np.rint(drawn[name].to_numpy(dtype=np.float64))) for name, grid in self.grids.items()})

    def refuted(self, table: pd.DataFrame) -> set[str]:
        """Return the columns that more training rows show off their grid."""
        return {name for name, grid in self.grids.items() if not grid.holds(table[name].to_numpy(dtype=np.float64))}

    def described(self, names: dict[str, str]) -> list[str]:
        """Say which columns lie on which grid."""
        return [f"{names[name]}: {grid}" for name, grid in self.grids.items() if name in names]


def find_grids(table: pd.DataFrame, columns: tuple[Column, ...]) -> GridTrait | None:
    """Find the grids of the datetime columns."""
    grids = {column.id: grid_of(column, table[column.id].to_numpy(dtype=np.float64)) for column in columns if column.kind == "datetime"}
    kept = {name: grid for name, grid in grids.items() if grid is not None}
    return GridTrait(kept) if kept else None


def grid_of(column: Column, values: np.ndarray) -> Grid | None:
    """Return the grid of a datetime covariate, None where it has none."""
    kind = column.arrow().type
    return fit_grid(values, kind.tz if pa.types.is_timestamp(kind) else None)


def _counted(column: Column, grid: Grid) -> Column:
    bounds: dict[str, float | None] = {"low": column.low, "high": column.high}
    if column.low is not None and column.high is not None:
        inside = grid.number(np.concatenate([grid.upward(np.array([column.low])), grid.downward(np.array([column.high]))]))
        bounds = {"low": float(inside.min()), "high": float(inside.max())}
    return column.model_copy(update={"kind": "integer", "decimals": 0, **bounds})
