"""Balance of covariates between the arms, before and after weighting."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.contract.fluctuation import truncate
from tasks.contract.nuisance import Float64, Int8


class Balance(NamedTuple):
    """Standardised mean difference of one column between the arms.

    Attributes
    ----------
    covariate : str
        Name of the covariate.
    level : str or None
        Level of a categorical covariate; ``"(missing)"`` for the share of missing cells; None for a numeric covariate.
    before, after : float
        (mean in the treated - mean in controls) / sqrt((variance in the treated + variance in controls) / 2), with row weights
        alone and with inverse-probability weights; both over the scale before weighting.
    """

    covariate: str
    level: str | None
    before: float
    after: float


def balance(
    covariates: pd.DataFrame,
    a: Int8,
    g: Float64,
    truncation: float,
    names: Mapping[str, str] | None = None,
    weights: Float64 | None = None,
) -> list[Balance]:
    """Measure balance (Austin 2009, DOI 10.1002/sim.3697).

    A numeric covariate is compared over its known cells; a covariate with missing cells adds their share as a row of its own.

    Parameters
    ----------
    covariates : DataFrame, n rows
        Canonical: float64 with NaN, or category with NaN.
    a : ndarray of int8, shape (n,)
        Treatment, 0 or 1; both arms present.
    g : ndarray of float64, shape (n,)
        Out-of-fold P(A = 1 | W).
    truncation : float
        d, in [0, 0.5).
    names : mapping, optional
        Name by column id, for the result.
    weights : ndarray of float64, shape (n,), optional
        Row weights, not negative.

    Returns
    -------
    list of Balance
        In column order; levels sorted.
    """
    treated = np.asarray(a) == 1
    p0, p1 = truncate(g, truncation)
    before = np.ones(len(treated)) if weights is None else np.asarray(weights, dtype=np.float64)
    after = before / np.where(treated, p1, p0)
    results = []
    for column in covariates.columns:
        name = names[column] if names else str(column)
        for level, values in _numeric_parts(covariates[column]):
            results.append(Balance(name, level, *_difference(values, treated, before, after)))
    return results


def _numeric_parts(column: pd.Series) -> list[tuple[str | None, Float64]]:
    parts: list[tuple[str | None, Float64]] = []
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes = column.cat.codes.to_numpy()
        parts += [(str(level), np.asarray(codes == code, dtype=np.float64)) for code, level in enumerate(column.cat.categories)]
    else:
        parts.append((None, column.to_numpy(dtype=np.float64)))
    missing = column.isna().to_numpy()
    if missing.any():
        parts.append(("(missing)", missing.astype(np.float64)))
    return parts


def _difference(values: Float64, treated: np.ndarray, before: Float64, after: Float64) -> tuple[float, float]:
    known = ~np.isnan(values)
    arms = [known & ~treated & (before > 0.0), known & treated & (before > 0.0)]
    if not (arms[0].any() and arms[1].any()):
        return 0.0, 0.0  # nothing known in one arm: the missing share, a row of its own, tells

    def mean(rows: np.ndarray, w: Float64) -> float:
        return float(np.sum(w[rows] * values[rows]) / np.sum(w[rows]))

    def variance(rows: np.ndarray) -> float:
        return float(np.sum(before[rows] * (values[rows] - mean(rows, before)) ** 2) / np.sum(before[rows]))

    scale = math.sqrt(0.5 * (variance(arms[0]) + variance(arms[1])))
    if scale == 0.0:  # constant within each arm: the spread of all rows is the only scale left
        scale = math.sqrt(variance(arms[0] | arms[1]))
    if scale == 0.0:
        return 0.0, 0.0
    return (mean(arms[1], before) - mean(arms[0], before)) / scale, (mean(arms[1], after) - mean(arms[0], after)) / scale
