"""Sums of columns and of their products: all that associations and differences between the arms are computed from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.contract.roles import Column, TableSchema

Float64 = npt.NDArray[np.float64]

#: Levels of a category that have an indicator of their own; the further ones share the last.
MOST_LEVELS = 12
#: Columns whose products are summed: the outcome and the first covariates.
MOST_COLUMNS = 24


class Block(NamedTuple):
    """Where one column's features stand.

    Attributes
    ----------
    column : Column
    levels : tuple of str
        Of a category: one indicator each, in order. Empty for a number, whose features are known (1 or 0), value, value squared.
    middle, half : float
        A number's value is (x - middle) / half, so that sums of squares are well conditioned.
    """

    column: Column
    levels: tuple[str, ...]
    middle: float
    half: float

    @property
    def width(self) -> int:
        """Features of the column."""
        return len(self.levels) or 3

    def features(self, values: pa.ChunkedArray) -> Float64:
        """Return the features of some rows, shape (rows, width); a missing value has zeros."""
        if self.levels:
            texts = pc.index_in(values.cast(pa.string()), value_set=pa.array(self.column.levels, type=pa.string()))
            codes = np.minimum(texts.fill_null(-1).to_numpy(), len(self.levels) - 1)
            return np.asarray(codes[:, None] == np.arange(len(self.levels)), dtype=np.float64)
        numbers = values.cast(pa.float64()).fill_null(np.nan).to_numpy()
        known = np.isfinite(numbers)
        scaled = np.where(known, (np.where(known, numbers, 0.0) - self.middle) / self.half, 0.0)
        return np.stack((known.astype(np.float64), scaled, scaled**2), axis=1)


def blocks_of(schema: TableSchema) -> tuple[Block, ...]:
    """Return the blocks of the outcome and of every covariate that varies, in this order."""
    return tuple(_block(column) for column in (schema.outcome, *schema.modelled))


def paired_blocks(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """Return the blocks whose products are summed."""
    return blocks[:MOST_COLUMNS]


def _block(column: Column) -> Block:
    if column.is_category and column.is_covariate:
        levels = column.levels if len(column.levels) <= MOST_LEVELS else (*column.levels[: MOST_LEVELS - 1], "others")
        return Block(column, levels, 0.0, 1.0)
    low, high = (0.0, 1.0) if column.low is None or column.high is None else (column.low, column.high)
    return Block(column, (), (low + high) / 2, (high - low) / 2 or 1.0)


def places_of(blocks: tuple[Block, ...]) -> list[slice]:
    """Return where each block's features stand in one row of all features."""
    ends = np.cumsum([block.width for block in blocks]).tolist()
    return [slice(end - block.width, end) for block, end in zip(blocks, ends)]
