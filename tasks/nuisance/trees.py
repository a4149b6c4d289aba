"""Covariates as gradient-boosted trees take them: one float64 matrix, categories as codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from tasks.contract.nuisance import Float64

_MOST_LEVELS = 250  # the trees bin categories into at most 255 bins


class TreeParams(BaseModel):
    """What learners of boosted trees are set by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    iterations: int = Field(50, ge=1, le=2000, description="trees of one ensemble")
    learning_rate: float = Field(0.08, gt=0, le=1, description="shrinkage of each tree")
    leaves: int = Field(8, ge=2, le=255, description="most leaves of a tree")
    min_samples_leaf: int = Field(20, ge=20, description="fewest rows in a leaf; smaller leaves give away single outcomes")
    l2: float = Field(1.0, ge=0, description="penalty on leaf values")


@dataclass(frozen=True)
class TreeColumns:
    """A fitted map from canonical covariates to a float64 matrix with NaN for missing.

    Attributes
    ----------
    names : tuple of str
        Columns in their order.
    levels : tuple
        For each column its levels by code, or None where it is numeric.
    """

    names: tuple[str, ...]
    levels: tuple[tuple[str, ...] | None, ...]

    @property
    def categorical(self) -> npt.NDArray[np.bool_]:
        """Which columns hold codes of two levels or more, shape (d,).

        A single level is a number, which a split separates from missing cells.
        """
        return np.array([values is not None and len(values) > 1 for values in self.levels], dtype=bool)

    def matrix(self, covariates: pd.DataFrame) -> Float64:
        """Return the matrix of a canonical frame, shape (n, d); an unknown level is NaN, as missing is."""
        out = np.empty((len(covariates), len(self.names)), order="F")
        for at, (name, levels) in enumerate(zip(self.names, self.levels)):
            if levels is None:
                out[:, at] = covariates[name].to_numpy(dtype=np.float64)
            else:
                recoding = pd.Index(levels).get_indexer(covariates[name].cat.categories)
                codes = covariates[name].cat.codes.to_numpy()
                # the last place answers for missing cells, whose code is -1
                place = np.where(recoding < 0, np.nan, recoding.astype(np.float64))
                out[:, at] = np.append(place, np.nan)[codes]
        return out


def fit_columns(covariates: pd.DataFrame) -> TreeColumns:
    """Choose the columns and levels that trees can use.

    Parameters
    ----------
    covariates : DataFrame, n rows
        Canonical training covariates.

    Returns
    -------
    TreeColumns
        Columns that are constant over the training rows are left out; of a category with more than 250 levels
        the most frequent ones are kept.
    """
    names: list[str] = []
    levels: list[tuple[str, ...] | None] = []
    for name in covariates.columns:
        column = covariates[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            codes = column.cat.codes.to_numpy()
            texts = [str(level) for level in column.cat.categories]
            counts = np.bincount(codes[codes >= 0], minlength=len(texts))
            ranked = sorted(np.flatnonzero(counts).tolist(), key=lambda level: (-int(counts[level]), texts[level]))
            kept = tuple(sorted(texts[level] for level in ranked[:_MOST_LEVELS]))
            if kept and len(kept) + int((codes < 0).any()) > 1:
                names.append(str(name))
                levels.append(kept)
        elif _varies(column.to_numpy(dtype=np.float64)):
            names.append(str(name))
            levels.append(None)
    return TreeColumns(tuple(names), tuple(levels))


def _varies(cells: Float64) -> bool:
    """Return whether a column has two values, a missing one among them."""
    gaps = np.isnan(cells)
    return not gaps.all() and bool(gaps.any() or (cells != cells[0]).any())
