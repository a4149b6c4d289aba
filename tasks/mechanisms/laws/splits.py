"""Splits on standardised features, expressed on covariates as they are: nothing is standardised while rows are drawn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.nuisance import Float64
from tasks.mechanisms.laws.trees import Trees
from tasks.nuisance.design import CategoryTerm, Design, NumericTerm


class Indicator(NamedTuple):
    """A feature that is 1 where a column is missing or of a level, standardised: its two values."""

    column: str
    level: str | None
    no: float
    yes: float


class Splits(NamedTuple):
    """Where each split sends the cells of its feature.

    Attributes
    ----------
    features : tuple
        A numeric column's name, or an indicator; the first, "", is the row's mean. Those that no split asks for are left out.
    feature : ndarray of int64, shape (nodes,)
        Which of them, -1 in a leaf.
    threshold : ndarray of float64, shape (nodes,)
        In units of the feature as it is.
    gap : ndarray of bool, shape (nodes,)
        Whether a missing cell goes left.
    """

    features: tuple[str | Indicator, ...]
    feature: npt.NDArray[np.int64]
    threshold: Float64
    gap: npt.NDArray[np.bool_]

    def columns(self, covariates: pd.DataFrame, mean: Float64) -> Float64:
        """Return the features of rows, shape (features, n)."""
        out = np.empty((len(self.features), len(mean)))
        out[0] = mean
        for at, feature in enumerate(self.features[1:], 1):
            if isinstance(feature, str):
                out[at] = covariates[feature].to_numpy(dtype=np.float64)
            else:
                np.take(*_indicated(feature, covariates[feature.column]), out=out[at], mode="wrap")
        return out


def splits_of(trees: Trees, design: Design, centre: float, spread: float) -> Splits:
    """Translate the thresholds of standardised features; ``centre`` and ``spread`` standardise the mean, which is the first."""
    features: list[str | Indicator] = [""]
    scales, centres, fills = [spread], [centre], [centre]
    for term in design.numeric:
        for feature, scale, middle, fill in _numeric(term):
            features.append(feature)
            scales.append(scale)
            centres.append(middle)
            fills.append(fill)
    for group in design.category:
        features.extend(_levels(group))
        scales.extend([1.0] * len(group.levels))
        centres.extend([0.0] * len(group.levels))
        fills.extend([0.0] * len(group.levels))
    of = np.maximum(trees.feature, 0)
    threshold = np.array(centres)[of] + np.array(scales)[of] * trees.threshold
    used = np.union1d([0], of)
    places = np.where(trees.feature < 0, -1, np.searchsorted(used, of))
    return Splits(tuple(features[at] for at in used), places, threshold, np.array(fills)[of] <= threshold)


def _numeric(term: NumericTerm) -> list[tuple[str | Indicator, float, float, float]]:
    """Return the features of a numeric column, with scale, centre, and what stands for a missing cell."""
    sources: list[tuple[str | Indicator, float, float, float]] = [(term.name, term.scale, term.centre, term.fill)]
    if term.missing is not None:
        sources.append((Indicator(term.name, None, -2.0 * term.missing, 2.0 * (1.0 - term.missing)), 1.0, 0.0, 0.0))
    return sources


def _levels(group: CategoryTerm) -> list[Indicator]:
    return [Indicator(group.name, level, -2.0 * share, 2.0 * (1.0 - share)) for level, share in zip(group.levels, group.shares)]


def _indicated(feature: Indicator, column: pd.Series) -> tuple[Float64, npt.NDArray[np.integer]]:
    """Return the values of an indicator by code, the last one for missing cells, and each row's code."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return np.array([feature.no, feature.yes]), np.isnan(column.to_numpy(dtype=np.float64)).astype(np.intp)
    cells = [*(str(level) for level in column.cat.categories), None]
    return np.array([feature.yes if cell == feature.level else feature.no for cell in cells]), column.cat.codes.to_numpy()
