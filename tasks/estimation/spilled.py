"""A table too large for memory, as the estimators see it: covariates on disk in batches, everything else as vectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from tasks.contract.nuisance import Float64, Int8
from tasks.contract.rng import UInt64

Scalar = TypeVar("Scalar", bound=np.generic)


class Range(NamedTuple):
    """Known cells of a covariate: least and largest (codes of a category), and whether any is missing."""

    low: float
    high: float
    missing: bool

    @property
    def varies(self) -> bool:
        """Whether the column is more than one value."""
        return self.low < self.high or (self.low == self.high and self.missing)


@dataclass(frozen=True)
class SpilledTable:
    """A data set as the estimators see it (:class:`tasks.estimation.table.Table`), covariates on disk; vectors of shape (n,).

    Rows are in the order in which they came; ``order`` puts them in the order of their keys, in which a table in memory is.

    Attributes
    ----------
    parts : tuple of (Path, int)
        Files of covariates and their rows.
    names : dict
        Name in the source by covariate id, of covariates that vary.
    levels : dict
        Levels by id of a category.
    ranges : dict
        Range by covariate id.
    label : ndarray of int8
        Place of the treatment's label among all its labels in sorted order.
    ranks : tuple of int
        Place of each arm's label among the sorted ones, the control's first.
    y : ndarray of float64
        Outcome.
    kind : str
        ``"binary"``, ``"continuous"`` or ``"count"``.
    keys : ndarray of uint64
        Distinct.
    order : ndarray of intp
        Positions in ascending order of the keys.
    weights, propensity : ndarray of float64 or None
        Row weights, all positive; known P(treated | W).
    labels : tuple of str
        Labels of the arms, the control's first.
    """

    parts: tuple[tuple[Path, int], ...]
    names: dict[str, str]
    levels: dict[str, tuple[str, ...]]
    ranges: dict[str, Range]
    label: Int8
    ranks: tuple[int, ...]
    y: Float64
    kind: str
    keys: UInt64
    order: npt.NDArray[np.intp]
    weights: Float64 | None
    propensity: Float64 | None
    labels: tuple[str, ...]

    @property
    def a(self) -> Int8:
        """Treatment: 1 where the label is the treated one."""
        return np.asarray(np.argsort(self.ranks)[self.label], dtype=np.int8)

    def by_key(self, values: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """Return values of the rows in the order of their keys."""
        return values[self.order]

    def batches(self) -> Iterator[tuple[slice, pd.DataFrame]]:
        """Read the covariates that vary, batch by batch, each with the rows it stands for."""
        start = 0
        for path, rows in self.parts:
            yield slice(start, start + rows), self._frame(path)
            start += rows

    def take(self, mask: npt.NDArray[np.bool_]) -> pd.DataFrame:
        """Read the covariates of the masked rows, in their order."""
        return pd.concat([frame.loc[mask[rows]] for rows, frame in self.batches()], ignore_index=True)

    def _frame(self, path: Path) -> pd.DataFrame:
        table = pq.read_table(path, columns=list(self.names), use_threads=False)
        columns: dict[str, pd.Series] = {}
        for name in self.names:
            values = table.column(name).to_numpy()
            if name in self.levels:
                kind = pd.CategoricalDtype(pd.Index(self.levels[name], dtype=object))
                columns[name] = pd.Series(pd.Categorical.from_codes(values.astype(np.intp), dtype=kind))
            else:
                columns[name] = pd.Series(values)
        return pd.DataFrame(columns, copy=False)
