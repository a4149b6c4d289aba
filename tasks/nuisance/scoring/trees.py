"""Forests of many models at once, from bins that all of them share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.contract.nuisance import Float64
from tasks.nuisance.scoring.columns import Columns, Grown
from tasks.nuisance.trees import TreeColumns
from tasks.nuisance.walk import Forest, sort_in
from tasks.numerics.compiled import compiled


class Trees(NamedTuple):
    """Forests over bins that all of them share; a look-up turns those into the bins of one forest.

    Attributes
    ----------
    numbers : ndarray of int32
        Columns that are binned.
    starts : ndarray of int32
        Where each one's edges start.
    edges : ndarray of float64
        The edges of all forests.
    forests : tuple
        Each forest with its columns' places among the shared cells, where their look-ups start, and the look-ups.
    """

    numbers: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int32]
    edges: Float64
    forests: tuple[tuple[Forest, npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.uint8]], ...]

    @classmethod
    def of(cls, forests: Sequence[Grown], columns: Columns) -> Trees:
        """Share the bins."""
        used: dict[str, list[Float64]] = {}
        for held, forest in forests:
            for name, kept, edges in _columns_of(held, forest):
                if kept is None:
                    used.setdefault(name, []).append(edges)
        shared = {name: np.unique(np.concatenate(edges)) for name, edges in used.items()}
        laid = []
        for held, forest in forests:
            places, tables = [], []
            for name, kept, edges in _columns_of(held, forest):
                if kept is None:
                    places.append(list(shared).index(name))
                    tables.append(_bins_of_numbers(edges, shared[name]))
                else:
                    category = columns.categories.index(name)
                    places.append(len(shared) + category)
                    tables.append(_bins_of_levels(edges, kept, columns.levels[category]))
            starts = np.cumsum([0, *(len(table) for table in tables)])[: len(tables)].astype(np.int64)
            lookup = np.concatenate([np.empty(0, dtype=np.uint8), *tables]).astype(np.uint8)
            laid.append((forest, np.array(places, dtype=np.int64), starts, lookup))
        return cls(
            np.array([columns.numbers.index(name) for name in shared], dtype=np.int32),
            np.cumsum([0, *(len(edges) for edges in shared.values())]).astype(np.int32),
            np.concatenate([np.empty(0), *shared.values()]),
            tuple(laid),
        )

    def sums(self, cells: Float64, levels: npt.NDArray[np.uint16]) -> Float64:
        """Return the sums of leaves of some rows, shape (forests, n)."""
        n = levels.shape[1]
        shared = np.empty((len(self.numbers) + len(levels), n), dtype=np.uint16)
        sort_in(cells, self.numbers, self.starts, self.edges, shared[: len(self.numbers)])
        shared[len(self.numbers) :] = levels
        totals = np.empty((len(self.forests), n))
        for out, (forest, places, starts, lookup) in zip(totals, self.forests):
            bins = np.empty((len(places), n), dtype=np.uint8)
            _look_up(shared, places, starts, lookup, bins)
            forest.add_leaves(bins, out)
        return totals


def _columns_of(columns: TreeColumns, forest: Forest) -> Iterator[tuple[str, tuple[str, ...] | None, Float64]]:
    """Yield name, levels and edges of each column that a forest asks for."""
    for at, first, last in zip(forest.columns, forest.starts[:-1], forest.starts[1:]):
        yield columns.names[at], columns.levels[at], forest.edges[first:last]


def _bins_of_numbers(edges: Float64, shared: Float64) -> npt.NDArray[np.uint8]:
    """Return a forest's bin for each shared bin, last that of missing cells."""
    below = np.searchsorted(edges, shared, side="right")  # of the cells above each shared edge
    return np.array([0, *below, len(edges) + 1], dtype=np.uint8)


def _bins_of_levels(edges: Float64, kept: tuple[str, ...], levels: tuple[str, ...]) -> npt.NDArray[np.uint8]:
    """Return a forest's bin for each level, then of a missing cell and of an unknown level."""
    place = {level: number for number, level in enumerate(kept)}
    codes = [place.get(level) for level in levels]
    missing = len(edges) + 1
    bins = [missing if code is None else int(np.searchsorted(edges, code)) for code in codes]
    return np.array([*bins, missing, missing], dtype=np.uint8)


@compiled
def _look_up(shared, places, starts, lookup, bins):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Write one forest's bins of shared cells."""
    for j in range(places.shape[0]):
        here = lookup[starts[j] :]
        for i in range(bins.shape[1]):
            bins[j, i] = here[np.uint64(shared[places[j], i])]
