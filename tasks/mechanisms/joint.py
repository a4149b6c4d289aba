"""Drawing several outcomes of a row together: Y_j = F*_j^-1(U_j | a, w), with U from a Gaussian copula by arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtr, ndtri

from tasks.contract.nuisance import Float64, Int8
from tasks.mechanisms.cube import cube
from tasks.mechanisms.laws.protocol import Inversion, OutcomeLaw
from tasks.mechanisms.ranks import RankLaw
from tasks.nuisance.bounds import EDGE

# Halvings of each uniform number that are balanced; leaves of these halvings; ranks that later outcomes are expected over.
_HALVINGS = 5
LEAVES = 2**_HALVINGS
_RANKS = 16


class OutcomeDesign(NamedTuple):
    """What one outcome is drawn from; arrays over n rows whose treatments are drawn already.

    Attributes
    ----------
    law : OutcomeLaw
    mean : ndarray of float64, shape (n,)
        Q* of the row's own arm.
    weight : ndarray of float64, shape (n,)
        What an effect estimate weights the row's residual by: 1 / P(A = a | W), over the chance to be observed where cells are missing;
        0 where this row's cell is missing.
    """

    law: OutcomeLaw
    mean: Float64
    weight: Float64


def draw_together(
    designs: Sequence[OutcomeDesign], a: Int8, covariates: pd.DataFrame, ranks: RankLaw, balanced: bool, rng: np.random.Generator
) -> Float64:
    """Draw the outcomes of rows whose treatments are drawn.

    Each outcome alone has its law given (A, W) exactly. Balanced draws bring the sums of ``weight (Y - Q*)`` and of ``(Y - Q*) Q*`` near
    zero in each arm, for every outcome: the normal scores behind the uniform numbers are drawn one outcome after the other, each by
    halving its interval, all rows at once by :func:`tasks.mechanisms.cube.cube`, in the directions of this outcome and of all later
    ones times what the half adds to their expectations.

    Parameters
    ----------
    designs : sequence of p OutcomeDesign
    a : ndarray of int8, shape (n,)
        Drawn treatments, 0, ..., K - 1.
    covariates : DataFrame, n rows
        Canonical.
    ranks : RankLaw
    balanced : bool
        Whether draws are balanced rather than independent.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float64, shape (n, p)
        In units of the outcomes.
    """
    y = np.empty((len(a), len(designs)))
    for arm in range(len(ranks.correlations)):
        rows = np.flatnonzero(a == arm)
        if len(rows) == 0:
            continue
        frame = covariates.iloc[rows].reset_index(drop=True)
        laws = [each.law.invert(a[rows], each.mean[rows], frame, rng) for each in designs]
        root = ranks.root(arm)
        if balanced:
            y[rows] = balanced_scores(laws, [OutcomeDesign(each.law, each.mean[rows], each.weight[rows]) for each in designs], root, rng)
        else:
            scores = rng.normal(size=(len(rows), len(designs))) @ root.T
            y[rows] = np.column_stack([law.quantile(ndtr(z)) for law, z in zip(laws, scores.T, strict=True)])
    return y


def balanced_scores(
    laws: Sequence[Inversion],
    designs: Sequence[OutcomeDesign],
    root: Float64,
    rng: np.random.Generator,
    start: Float64 | None = None,
) -> Float64:
    """Draw one arm's rows: outcome by outcome, given the scores of those before, and what is known of each outcome's score already."""
    n = len(designs[0].mean)
    y, shift = np.empty((n, len(designs))), np.zeros((n, len(designs))) if start is None else start.copy()
    directions = [directions_of(each) for each in designs]
    later = [grid_of(law, n) for law in laws[1:]]
    for at, (law, design) in enumerate(zip(laws, designs, strict=True)):
        sums = [_at_leaves(law, shift[:, at], root[at, at])]
        sums += [expected(later[other - 1], shift[:, other], root[other], at) for other in range(at + 1, len(designs))]
        u = halved(sums, directions[at:], design.mean, rng)
        score = ndtri(np.clip(u, EDGE, 1.0 - EDGE))
        shift += score[:, None] * root[:, at]
        y[:, at] = law.quantile(ndtr(shift[:, at]))
    return y


def directions_of(design: OutcomeDesign) -> Float64:
    """Return the two directions that residuals are balanced in, shape (n, 2); unobserved rows have none."""
    used = design.weight > 0.0
    centre = float(design.mean[used].mean()) if used.any() else 0.0
    return np.column_stack((design.weight, np.where(used, design.mean - centre, 0.0)))


def _leaf_scores() -> Float64:
    """Return the normal scores of the leaves' middles, shape (leaves,)."""
    return np.asarray(ndtri((np.arange(LEAVES) + 0.5) / LEAVES))


def grid_of(law: Inversion, n: int) -> Float64:
    """Return the outcome at the middles of equal stretches of its rank, shape (n, ranks)."""
    return np.column_stack([law.quantile(np.full(n, (rank + 0.5) / _RANKS)) for rank in range(_RANKS)])


def _at_leaves(law: Inversion, shift: Float64, slope: float) -> Float64:
    """Return sums over leaves of the outcome whose own score is drawn, shape (n, leaves + 1)."""
    at_leaf = [law.quantile(ndtr(shift + slope * score)) for score in _leaf_scores()]
    return _summed(np.column_stack(at_leaf))


def expected(grid: Float64, shift: Float64, loads: Float64, at: int) -> Float64:
    """Return sums over leaves of a later outcome's expectation given the score drawn now, shape (n, leaves + 1)."""
    rest = max(float(np.sqrt(np.sum(loads[at + 1 :] ** 2))), 1e-6)
    cuts = ndtri(np.arange(1, _RANKS) / _RANKS)
    rises = np.diff(grid, axis=1)
    leaves = []
    for score in _leaf_scores():
        beyond = ndtr((shift[:, None] + loads[at] * score - cuts[None, :]) / rest)
        leaves.append(grid[:, 0] + np.sum(rises * beyond, axis=1))
    return _summed(np.column_stack(leaves))


def _summed(leaves: Float64) -> Float64:
    return np.concatenate((np.zeros((len(leaves), 1)), np.cumsum(leaves, axis=1)), axis=1)


def halved(sums: Sequence[Float64], directions: Sequence[Float64], mean: Float64, rng: np.random.Generator) -> Float64:
    """Draw each row's uniform number by halving the interval it lies in, all rows at once and balanced, shape (n,)."""
    n, width = len(mean), LEAVES
    rows, low = np.arange(n), np.zeros(n, dtype=np.int64)
    for _ in range(_HALVINGS):
        width //= 2
        columns: list[npt.NDArray[np.float64]] = []
        for total, direction in zip(sums, directions, strict=True):
            jump = (total[rows, low + 2 * width] - 2.0 * total[rows, low + width] + total[rows, low]) / width
            columns.append(direction * jump[:, None])
        z = np.column_stack(columns)
        upper = cube(np.full(n, 0.5), z, np.lexsort((mean, -np.abs(z[:, 0]))), rng) == 1
        low = np.where(upper, low + width, low)
    return np.asarray((low + rng.random(n)) / LEAVES)
