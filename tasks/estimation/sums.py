"""Balance of covariates between the arms, from sums over batches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.nuisance import Float64, Int8
from tasks.estimation.balance import Balance
from tasks.estimation.spilled import Range

#: Variance, relative to the squared half range, that rounding may leave of none.
_ROUNDING = 1e-13

State = dict[str, Float64]


class BalanceRows(NamedTuple):
    """One batch: canonical covariates, treatment, truncated out-of-fold P(A = k | W) of every arm, row weights; n rows each."""

    covariates: pd.DataFrame
    a: Int8
    p: tuple[Float64, ...]
    weights: Float64 | None


class BalanceSums:
    """The reduction (:class:`tasks.contract.reduction.Reduction`) behind :func:`tasks.estimation.balance.balance`.

    Parameters
    ----------
    ranges : mapping of str to Range
        By covariate id: numbers are added up around the middle of their range, so that little is lost to cancellation.
    levels : mapping of str to tuple of str
        By id of a category.
    """

    def __init__(self, ranges: Mapping[str, Range], levels: Mapping[str, tuple[str, ...]]) -> None:
        self.ranges = ranges
        self.levels = levels

    def start(self) -> State:
        """Return the sums of no row."""
        return {}

    def visit(self, state: State, part: BalanceRows) -> State:
        """Return the sums with one batch seen.

        By covariate an array of shape (rows of the result, K arms, 6): count, weight, weighted value and square, and weight and
        weighted value with the inverse probability multiplied in; over known cells.
        """
        before = np.ones(len(part.a)) if part.weights is None else part.weights
        arms = []
        for arm, p in enumerate(part.p):
            rows = np.flatnonzero((part.a == arm) & (before > 0.0))
            arms.append((rows, before[rows], before[rows] / p[rows]))
        sums = {}
        for name in part.covariates.columns:
            column = part.covariates[name]
            key = str(name)
            if key in self.levels:
                codes = column.cat.codes.to_numpy()
                of_arms = [self._of_levels(key, codes[rows], b, w) for rows, b, w in arms]
            else:
                values = column.to_numpy(dtype=np.float64)
                of_arms = [self._of_numbers(key, values[rows], b, w) for rows, b, w in arms]
            sums[key] = np.stack(of_arms, axis=1)
        return self.merge(state, sums)

    def merge(self, left: State, right: State) -> State:
        """Return the sums of both."""
        if not left or not right:
            return left or right
        return {name: sums + right[name] for name, sums in left.items()}

    def advance(self, state: State) -> State:
        """Return the sums: there is only one pass."""
        return state

    def finish(self, state: State, names: Mapping[str, str], labels: Sequence[str] = ()) -> list[Balance]:
        """Return the standardised mean differences, in column order, levels sorted.

        Parameters
        ----------
        state : State
            Merged over all batches.
        names : mapping of str to str
            Name by covariate id.
        labels : sequence of K str, optional
            Of the arms; not used of two.
        """
        results: list[Balance] = []
        for key, sums in state.items():
            shown: list[str | None] = [*self.levels[key]] if key in self.levels else [None]
            half = 0.5 if key in self.levels else 0.5 * (self.ranges[key].high - self.ranges[key].low)
            for level, of_level in zip(shown, sums[:-1]):
                if level is None or of_level[:, 2].any():  # a level that no row has is none of this table's
                    results += _rows(names[key], level, of_level, half, labels)
            if sums[-1, :, 2].any():
                results += _rows(names[key], "(missing)", sums[-1], 0.5, labels)
        return results

    def _of_numbers(self, name: str, values: Float64, before: Float64, after: Float64) -> Float64:
        middle = 0.5 * (self.ranges[name].low + self.ranges[name].high)
        gaps = np.isnan(values)
        v, b, w = values[~gaps] - middle, before[~gaps], after[~gaps]
        moments = [len(v), b.sum(), (b * v).sum(), (b * v * v).sum(), w.sum(), (w * v).sum()]
        return np.array([moments, _share(gaps, before, after)], dtype=np.float64)

    def _of_levels(self, name: str, codes: npt.NDArray[np.integer], before: Float64, after: Float64) -> Float64:
        return np.array([_share(codes == code, before, after) for code in [*range(len(self.levels[name])), -1]], dtype=np.float64)


def _rows(name: str, level: str | None, sums: Float64, half: float, labels: Sequence[str]) -> list[Balance]:
    """Compare each arm with the control, from the sums of one row of the result, shape (K arms, 6)."""
    several = len(sums) > 2
    return [Balance(name, level, *_difference(sums[[0, arm]], half), labels[arm] if several else None) for arm in range(1, len(sums))]


def _share(hit: npt.NDArray[np.bool_], before: Float64, after: Float64) -> list[float]:
    """Return the sums of an indicator, whose square it is itself."""
    weight = float(before[hit].sum())
    return [float(len(hit)), float(before.sum()), weight, weight, float(after.sum()), float(after[hit].sum())]


def _difference(sums: Float64, half: float) -> tuple[float, float]:
    """Return the differences before and after weighting from the sums of one row of the result, shape (2 arms, 6)."""
    count, b, bv, bvv, w, wv = sums.T
    if not count.all():
        return 0.0, 0.0

    def spread(weight: float, value: float, square: float) -> float:
        variance = square / weight - (value / weight) ** 2
        return variance if variance > _ROUNDING * half**2 else 0.0

    scale = math.sqrt(0.5 * sum(spread(*arm) for arm in zip(b, bv, bvv)))
    if scale == 0.0:
        scale = math.sqrt(spread(b.sum(), bv.sum(), bvv.sum()))
    if scale == 0.0:
        return 0.0, 0.0
    before, after = bv / b, wv / w
    return float(before[1] - before[0]) / scale, float(after[1] - after[0]) / scale
