"""Balance of covariates between the arms, before and after weighting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

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
    arm : str or None
        Of more than two arms the label of the one that is compared with the control, as the treated are above.
    """

    covariate: str
    level: str | None
    before: float
    after: float
    arm: str | None = None


class _Arm(NamedTuple):
    """Rows of positive weight in one arm, and their weights without and with the inverse probability."""

    rows: npt.NDArray[np.intp]
    before: Float64
    after: Float64


class _Cells(NamedTuple):
    """Known cells of one column in one arm, and their weights."""

    values: Float64
    before: Float64
    after: Float64


def balance(
    covariates: pd.DataFrame,
    a: Int8,
    p: Sequence[Float64],
    names: Mapping[str, str] | None = None,
    weights: Float64 | None = None,
    labels: Sequence[str] = (),
) -> list[Balance]:
    """Measure balance (Austin 2009, DOI 10.1002/sim.3697).

    A numeric covariate is compared over its known cells; a covariate with missing cells adds their share as a row of its own.

    Parameters
    ----------
    covariates : DataFrame, n rows
        Canonical: float64 with NaN, or category with NaN.
    a : ndarray of int8, shape (n,)
        Treatment, 0, ..., K - 1; every arm is there.
    p : sequence of K ndarray of float64, shape (n,)
        Out-of-fold P(A = k | W), truncated: :func:`tasks.targeting.fluctuation.truncate_arms`.
    names : mapping, optional
        Name by column id, for the result.
    weights : ndarray of float64, shape (n,), optional
        Row weights, not negative.
    labels : sequence of K str, optional
        Of the arms; not used of two.

    Returns
    -------
    list of Balance
        In column order; levels sorted; arms in their order.
    """
    before = np.ones(len(a)) if weights is None else np.asarray(weights, dtype=np.float64)
    arms = []
    for arm, of_arm in enumerate(p):
        rows = np.flatnonzero((a == arm) & (before > 0.0))
        arms.append(_Arm(rows, before[rows], before[rows] / of_arm[rows]))
    results = []
    for column in covariates.columns:
        name = names[column] if names else str(column)
        for level, values in _numeric_parts(covariates[column]):
            for arm in range(1, len(arms)):
                label = labels[arm] if len(arms) > 2 else None
                results.append(Balance(name, level, *_difference(values, (arms[0], arms[arm])), label))
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


def _difference(values: Float64, arms: Sequence[_Arm]) -> tuple[float, float]:
    present = [_present_cells(values, arm) for arm in arms]
    if not all(len(cells.values) for cells in present):
        return 0.0, 0.0  # no known cell in one arm: the row of the missing share shows it
    scale = math.sqrt(0.5 * sum(_variance(cells.values, cells.before) for cells in present))
    if scale == 0.0:  # constant within each arm: the spread of all rows is the only scale left
        scale = math.sqrt(
            _variance(np.concatenate([cells.values for cells in present]), np.concatenate([cells.before for cells in present]))
        )
    if scale == 0.0:
        return 0.0, 0.0
    (before0, after0), (before1, after1) = ((_mean(cells.values, cells.before), _mean(cells.values, cells.after)) for cells in present)
    return (before1 - before0) / scale, (after1 - after0) / scale


def _present_cells(values: Float64, arm: _Arm) -> _Cells:
    cells = values[arm.rows]
    there = ~np.isnan(cells)
    if there.all():
        return _Cells(cells, arm.before, arm.after)
    return _Cells(cells[there], arm.before[there], arm.after[there])


def _mean(values: Float64, weights: Float64) -> float:
    return float(np.sum(weights * values) / np.sum(weights))


def _variance(values: Float64, weights: Float64) -> float:
    return float(np.sum(weights * (values - _mean(values, weights)) ** 2) / np.sum(weights))
