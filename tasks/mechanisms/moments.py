"""The directions in which a release's covariate law must agree with the source's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.contract.nuisance import Float64, Nuisances, Predictions
from tasks.contract.roles import Column
from tasks.mechanisms.targets import Targets, overlap_weight
from tasks.targeting.fluctuation import truncate_arms

#: Half widths of the safe range from its middle beyond which a cell counts no further: released cells end at 1, so that no pool can be
#: balanced to means which a lone outlier decides.
_FURTHEST = 3.0
MOST_LEVELS = 30  # a category with more levels is balanced through g, Q*0 and Q*1 alone


def features(
    covariates: pd.DataFrame, nuisances: Nuisances | Predictions, columns: Sequence[Column], targets: Targets | None = None
) -> Float64:
    """Return W, squares of numeric W, indicators of levels and of missing cells, g, and Q*0 and Q*1 of every outcome.

    Numeric columns are put on their safe range ([low, high] to [-1, 1]) before they are squared. A missing cell counts as the middle of
    the range, and a cell further away from the range than its own width counts as that far. A pure function of each row: the same in
    every partition.

    Parameters
    ----------
    covariates : DataFrame, n rows
        Canonical covariates.
    nuisances : Nuisances or Predictions
        Predictions for the same rows, each (n,): of one outcome, or of all. Chances to be known are left out: they are
        nearly linear in W, whose means are met.
    columns : sequence of Column
        Covariates that vary.
    targets : Targets, optional
        Estimands beyond the ATE: the effect in a subgroup needs the subgroup's means of Q*0 and Q*1, the ATT the g-weighted ones.

    Returns
    -------
    ndarray of float64, shape (n, p)
        Covariate by covariate: a number and its square, or indicators of its levels but the first; an indicator of missing cells where
        there are any. Then g, q0, q1, and their products with what defines each further target.
    """
    parts: list[Float64] = []
    for column in columns:
        values = covariates[column.id]
        if column.is_category:
            codes = values.cat.codes.to_numpy()
            missing = codes < 0
            if len(column.levels) <= MOST_LEVELS:
                place = {str(level): code for code, level in enumerate(values.cat.categories)}
                parts.extend((codes == place.get(level, len(place))).astype(np.float64) for level in column.levels[1:])
        else:
            raw = values.to_numpy(dtype=np.float64)
            missing = np.isnan(raw)
            low, high = (-1.0, 1.0) if column.low is None or column.high is None else (column.low, column.high)
            half = (high - low) / 2.0 if high > low else 1.0
            x = np.where(missing, 0.0, np.clip((raw - (low + high) / 2.0) / half, -_FURTHEST, _FURTHEST))
            parts.extend((x, x * x))
        if column.missing > 0:
            parts.append(missing.astype(np.float64))
    every = nuisances if isinstance(nuisances, Predictions) else Predictions(nuisances)
    parts.extend(every._replace(presence=()).columns().values())
    if targets is not None:
        first = every.first
        further = [*targets.members(covariates).T, *(first[: first.arms - 1] if targets.att else ())]
        further += [overlap_weight(truncate_arms(first, 0.0))] if targets.ato else []
        parts.extend(b * q for b in further for outcome in every.outcomes for q in outcome)
    return np.column_stack(parts)


def effect_features(targets: Targets | None = None, outcomes: int = 1) -> int:
    """Return how many of the last columns of :func:`features` carry the effect: g, Q*0, Q*1 and those of further targets.

    Parameters
    ----------
    targets : Targets, optional
    outcomes : int
        Number of outcomes.
    """
    wanted = Targets() if targets is None else targets
    return wanted.arms - 1 + wanted.arms * outcomes * (1 + wanted.count)


class Moments(NamedTuple):
    """Sums over rows, to be added up over partitions.

    Attributes
    ----------
    weight : float
        Sum of row weights.
    total, squares : ndarray of float64, shape (p,)
        Weighted sums of the features and of their squares.
    weight_squares : float
        Sum of squared row weights.
    """

    weight: float
    total: Float64
    squares: Float64
    weight_squares: float

    @property
    def size(self) -> float:
        """Effective number of rows: that of equal weights whose means vary as much."""
        return self.weight**2 / self.weight_squares

    @property
    def means(self) -> Float64:
        """Feature means, shape (p,)."""
        return self.total / self.weight

    @property
    def deviations(self) -> Float64:
        """Feature standard deviations, shape (p,)."""
        return np.sqrt(np.maximum(self.squares / self.weight - self.means**2, 0.0))


def moments(values: Float64, weights: Float64 | None = None) -> Moments:
    """Return the sums of one partition's features, shape (n, p)."""
    w = np.ones(len(values)) if weights is None else weights
    return Moments(float(w.sum()), w @ values, w @ (values * values), float(w @ w))


def merge(left: Moments, right: Moments) -> Moments:
    """Return the sums of two partitions together."""
    total, squares = left.total + right.total, left.squares + right.squares
    return Moments(left.weight + right.weight, total, squares, left.weight_squares + right.weight_squares)
