"""A pass over rows in which many fitted models are evaluated: cells are read once, linear predictors and leaves summed from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from tasks.contract.nuisance import Float64
from tasks.nuisance.design import Design
from tasks.nuisance.scoring.columns import Columns, Grown, Head
from tasks.nuisance.scoring.linear import Linear
from tasks.nuisance.scoring.trees import Trees
from tasks.nuisance.trees import TreeColumns
from tasks.nuisance.walk import Forest

_BLOCK = 32_768  # rows summed at a time: the tables that forests are looked up in are laid out anew for each block


class Sums(NamedTuple):
    """Sums of one block of rows.

    Attributes
    ----------
    linear : ndarray of float64, shape (heads, n)
        Linear predictors.
    trees : ndarray of float64, shape (forests, n)
        Sums of leaves, on the scale of the link.
    """

    linear: Float64
    trees: Float64

    @property
    def rows(self) -> int:
        """Number of rows, n."""
        return int(self.linear.shape[1])


Part = Callable[[Sums], Float64]
"""What a model predicts of a block's rows, shape (n,), or (n, K) for propensities of K > 2 arms."""


@runtime_checkable
class ScoredPropensity(Protocol):
    """A fitted g that joins a pass."""

    def join(self, scoring: Scoring) -> Part | None:
        """Add what is summed; return how g follows from the sums, None where a part of it does not join."""
        ...


@runtime_checkable
class ScoredOutcome(Protocol):
    """A fitted Q that joins a pass."""

    def join_arm(self, scoring: Scoring, arm: int) -> Part | None:
        """Add what is summed for one arm; return how its Q follows from the sums, None where a part of it does not join."""
        ...


class Scoring:
    """What a pass over rows sums; models add their parts, then :meth:`blocks` goes over rows.

    A row's sums depend on its cells alone, to the last bit, and not on the rows beside it.
    """

    def __init__(self) -> None:
        self._heads: list[Head] = []
        self._forests: list[Grown] = []

    def add_linear(self, design: Design, intercept: float, coefficients: Float64) -> int:
        """Add a linear predictor, ``coefficients`` of shape (design.width,); return its row in :attr:`Sums.linear`."""
        self._heads.append(Head(design, intercept, coefficients))
        return len(self._heads) - 1

    def add_forest(self, columns: TreeColumns, forest: Forest) -> int:
        """Add a forest; return its row in :attr:`Sums.trees`."""
        self._forests.append(Grown(columns, forest))
        return len(self._forests) - 1

    def blocks(self, covariates: pd.DataFrame) -> Iterator[tuple[slice, Sums]]:
        """Yield blocks of rows with their sums; of canonical covariates."""
        columns = Columns.of(self._heads, self._forests)
        linear, trees = Linear.of(self._heads, columns), Trees.of(self._forests, columns)
        numbers = [covariates[name].to_numpy(dtype=np.float64) for name in columns.numbers]
        codes = [columns.codes(covariates[name], at) for at, name in enumerate(columns.categories)]
        for start in range(0, len(covariates), _BLOCK):
            rows = slice(start, min(start + _BLOCK, len(covariates)))
            n = rows.stop - start
            cells = np.empty((len(numbers), n))
            for at, values in enumerate(numbers):
                cells[at] = values[rows]
            levels = np.empty((len(codes), n), dtype=np.uint16)
            for at, places in enumerate(codes):
                levels[at] = places[rows]
            yield rows, Sums(linear.sums(cells, levels), trees.sums(cells, levels))


def join_all(models: Sequence[object], scoring: Scoring, arm: int | None = None) -> list[Part] | None:
    """Let fitted g, or for one arm fitted Q, join a pass; None where one of them does not."""
    parts: list[Part] = []
    for model in models:
        part: Part | None = None
        if arm is None and isinstance(model, ScoredPropensity):
            part = model.join(scoring)
        elif arm is not None and isinstance(model, ScoredOutcome):
            part = model.join_arm(scoring, arm)
        if part is None:
            return None
        parts.append(part)
    return parts
