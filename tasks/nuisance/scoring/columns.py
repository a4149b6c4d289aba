"""What a pass over rows reads: the columns that its linear predictors and forests ask for, each once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.nuisance import Float64
from tasks.nuisance.design import Design
from tasks.nuisance.trees import TreeColumns
from tasks.nuisance.walk import Forest


class Head(NamedTuple):
    """A linear predictor: a design, an intercept, and coefficients of shape (design.width,)."""

    design: Design
    intercept: float
    coefficients: Float64


class Grown(NamedTuple):
    """A forest, and the columns whose matrix it was grown on."""

    columns: TreeColumns
    forest: Forest


class Columns(NamedTuple):
    """Columns that some part asks for, and of every category the levels that some part has a place for."""

    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, heads: Sequence[Head], forests: Sequence[Grown]) -> Columns:
        """Collect them."""
        numbers: dict[str, None] = {}
        levels: dict[str, dict[str, None]] = {}
        for design in {design: None for design, _, _ in heads}:
            numbers.update((term.name, None) for term in design.numeric)
            for group in design.category:
                levels.setdefault(group.name, {}).update((level, None) for level in group.levels if level is not None)
        for columns, _ in forests:
            for name, kept in zip(columns.names, columns.levels, strict=True):
                if kept is None:
                    numbers[name] = None
                else:
                    levels.setdefault(name, {}).update((level, None) for level in kept)
        return cls(tuple(numbers), tuple(levels), tuple(tuple(names) for names in levels.values()))

    def codes(self, column: pd.Series, at: int) -> npt.NDArray[np.uint16]:
        """Return the place of each cell among a category's levels, shape (n,): after them missing cells, then unknown levels."""
        names = self.levels[at]
        place = {level: number for number, level in enumerate(names)}
        recoding = [place.get(str(level), len(names) + 1) for level in column.cat.categories]
        # the last place answers for missing cells, whose code is -1
        return np.array([*recoding, len(names)], dtype=np.uint16)[column.cat.codes.to_numpy()]
