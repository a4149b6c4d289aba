"""A table read once, part by part, and kept as one byte per cell."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.rng import unit
from tasks.contract.roles import Column
from tasks.covariates.chain.cells import Cells, counted, fit_coder
from tasks.covariates.chain.views import UInt8
from tasks.covariates.folds import FOLDS, assign_folds
from tasks.covariates.margins import Margin
from tasks.covariates.protocol import MIN_ROWS, require_rows


class CodedTable(NamedTuple):
    """What the chain learns from.

    Attributes
    ----------
    columns : list of (Margin, Cells)
        In the table's order.
    fold : ndarray of uint8, shape (n,)
        In ``[0, FOLDS)``.
    """

    columns: list[tuple[Margin, Cells]]
    fold: UInt8


class _Folds:
    """Folds of a table that comes in parts: by what stands in a row, so that its copies share one.

    As in :func:`tasks.covariates.folds.assign_folds`, rows of a table of few cells are different people even where they are equal. So are
    those of a row that twenty of the first rows equal, more than a bootstrap sample has copies of: else many people would be in or out
    together.
    """

    def __init__(self, first: pd.DataFrame, rng: np.random.Generator) -> None:
        self._salt = int(rng.integers(2**63))
        self._rng = np.random.Generator(np.random.PCG64(rng.integers(2**63, size=2).tolist()))
        keys, counts = np.unique(_keys(first), return_counts=True)
        self._common = keys[counts >= (MIN_ROWS if len(keys) >= len(first) / 2 else 1)]

    def of(self, part: pd.DataFrame) -> UInt8:
        """Return the folds of a part's rows."""
        keys = _keys(part)
        chance = np.where(np.isin(keys, self._common), self._rng.random(len(part)), unit(keys, self._salt))
        return (chance * FOLDS).astype(np.uint8)


def _keys(rows: pd.DataFrame) -> npt.NDArray[np.uint64]:
    return np.asarray(pd.util.hash_pandas_object(rows, index=False), dtype=np.uint64)


def read_parts(parts: Iterable[pd.DataFrame], columns: tuple[Column, ...], first_rows: int, rng: np.random.Generator) -> CodedTable:
    """Code a table in one pass.

    The first rows decide levels, atoms, quantile functions and what a code stands for; shares of states and of missing cells are those of
    all rows. In memory are the codes, the first rows and two parts at most, one of them being read. How the table is cut changes nothing.

    Parameters
    ----------
    parts : iterable of pandas.DataFrame
        Canonical rows, each part read once.
    columns : tuple of Column
    first_rows : int
    rng : numpy.random.Generator

    Raises
    ------
    EstimationError
        If there are too few rows.
    """
    ids = [column.id for column in columns]
    stream = iter(part[ids] for part in parts if len(part))
    beginning = _begin(stream, first_rows)
    require_rows(beginning, "chain")
    first = beginning.iloc[:first_rows]
    folds = _Folds(first, rng) if len(beginning) > first_rows else None
    assigned = [assign_folds(first, rng).astype(np.uint8) if folds is None else folds.of(first)]
    coders = [fit_coder(first[column.id], column, assigned[0].astype(np.intp), rng) for column in columns]
    codes = [[coder.encode(first[coder.margin.id])] for coder in coders]
    if folds is not None:
        for part in itertools.chain([beginning.iloc[first_rows:]], stream):
            assigned.append(folds.of(part))
            for coder, cells_of in zip(coders, codes):
                cells_of.append(coder.encode(part[coder.margin.id]))
    table = []
    for coder in coders:
        cells = Cells(np.concatenate(codes.pop(0)), coder.book)
        table.append((counted(coder.margin, cells), cells))
    return CodedTable(table, np.concatenate(assigned))


def _begin(stream: Iterator[pd.DataFrame], rows: int) -> pd.DataFrame:
    """Take parts until there are more than so many rows; all of them where there are fewer."""
    taken: list[pd.DataFrame] = []
    while sum(map(len, taken)) <= rows and (part := next(stream, None)) is not None:
        taken.append(part)
    return taken[0] if len(taken) == 1 else pd.concat(taken, ignore_index=True) if taken else pd.DataFrame()
