"""Drawing several outcomes of rows in clusters: what a cluster shares of each, and what is a row's own, hang together by Gaussian copulas.

The normal score of outcome j of row i in cluster c is

    z_ij = sqrt(rho_j) s_cj + sqrt(1 - rho_j) e_ij,

with s_c drawn once for a cluster, correlated over outcomes as :func:`tasks.mechanisms.cluster_fit.shared_correlations` says, and e_i by
row, correlated so that a row's scores have the correlations of its arm in :class:`tasks.mechanisms.ranks.RankLaw`. So each outcome has
its intraclass correlation, each pair of outcomes of a row its rank correlation, and each outcome of each row its own law exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtr, ndtri

from tasks.contract.nuisance import Float64, Int8
from tasks.mechanisms.clusters import NEAR, ClusterLaw, Intp, intraclass
from tasks.mechanisms.joint import LEAVES, OutcomeDesign, balanced_scores, directions_of, expected, grid_of, halved
from tasks.mechanisms.laws.protocol import Inversion
from tasks.mechanisms.ranks import RankLaw, positive
from tasks.nuisance.bounds import EDGE

# Rows that are drawn in all to choose the set of outcomes whose intraclass correlations are nearest the source's, and most sets.
_ROWS, _CANDIDATES = 16_000, 24


class Loads(NamedTuple):
    """What outcomes' scores are made of, in independent normal numbers; lower triangular, shape (p, p).

    Attributes
    ----------
    shared : ndarray of float64
        Of the numbers that a cluster has once.
    by_row : tuple of K ndarray of float64
        By arm, of the numbers of a row.
    """

    shared: Float64
    by_row: tuple[Float64, ...]


class ArmRows(NamedTuple):
    """Rows of one arm: where they stand, the inverses of their laws, these at a grid of ranks, what they are drawn from, and loads."""

    rows: Intp
    laws: list[Inversion]
    grids: list[Float64]
    designs: list[OutcomeDesign]
    loads: Float64


def loads_of(alike: ClusterLaw, ranks: RankLaw) -> Loads:
    """Return the loads under which scores have the correlations of rows and of clusters, as near as both can be had."""
    rho, between = np.array([each.rho for each in alike.every]), np.array(alike.between)
    shared, rest = np.sqrt(rho), np.sqrt(1.0 - rho)
    common = between * np.outer(shared, shared)
    roots = []
    for correlations in ranks.correlations:
        of_row = (correlations - common) / np.outer(rest, rest)
        np.fill_diagonal(of_row, 1.0)
        roots.append(rest[:, None] * np.linalg.cholesky(positive(of_row)))
    return Loads(shared[:, None] * np.linalg.cholesky(between), tuple(roots))


def draw_in_clusters(
    designs: Sequence[OutcomeDesign],
    a: Int8,
    covariates: pd.DataFrame,
    ranks: RankLaw,
    place: Intp,
    alike: ClusterLaw,
    balanced: bool,
    rng: np.random.Generator,
) -> Float64:
    """Draw the outcomes of rows in clusters whose treatments are drawn.

    What a cluster shares of an outcome is drawn in even strata. Balanced draws balance it over clusters, and what is left over rows, in
    the directions of :func:`tasks.mechanisms.joint.draw_together`; of several such draws that one is kept whose intraclass correlations
    are nearest the source's.

    Parameters
    ----------
    designs, a, covariates, ranks, balanced, rng
        As in :func:`tasks.mechanisms.joint.draw_together`.
    place : ndarray of intp, shape (n,)
        Number of each row's cluster, from 0.
    alike : ClusterLaw

    Returns
    -------
    ndarray of float64, shape (n, p)
        In units of the outcomes.
    """
    loads = loads_of(alike, ranks)
    arms = []
    for arm, root in enumerate(loads.by_row):
        rows = np.flatnonzero(a == arm)
        if len(rows):
            frame = covariates.iloc[rows].reset_index(drop=True)
            laws = [each.law.invert(a[rows], each.mean[rows], frame, rng) for each in designs]
            grids = [grid_of(law, len(rows)) for law in laws] if balanced else []
            arms.append(ArmRows(rows, laws, grids, [OutcomeDesign(each.law, each.mean[rows], each.weight[rows]) for each in designs], root))
    tries = int(np.clip(_ROWS // max(len(a), 1), 1, _CANDIDATES)) if balanced else 1
    draws = [_draw(arms, place, loads.shared, balanced, rng) for _ in range(tries)]
    return min(draws, key=lambda y: _miss(y, designs, place, alike)) if tries > 1 else draws[0]


def _draw(arms: Sequence[ArmRows], place: Intp, shared: Float64, balanced: bool, rng: np.random.Generator) -> Float64:
    """Draw all outcomes once."""
    n = len(place)
    scores = np.zeros((int(place.max(initial=-1)) + 1, len(shared)))
    for at in range(len(shared)):
        u = _balanced_ranks(arms, place, scores @ shared.T, shared, at, rng) if balanced else _even(len(scores), rng)
        scores[:, at] = ndtri(np.clip(u, EDGE, 1.0 - EDGE))
    common, y = (scores @ shared.T)[place], np.empty((n, len(shared)))
    for arm in arms:
        if balanced:
            y[arm.rows] = balanced_scores(arm.laws, arm.designs, arm.loads, rng, common[arm.rows])
        else:
            z = common[arm.rows] + rng.normal(size=(len(arm.rows), len(shared))) @ arm.loads.T
            y[arm.rows] = np.column_stack([law.quantile(ndtr(column)) for law, column in zip(arm.laws, z.T, strict=True)])
    return y


def _even(count: int, rng: np.random.Generator) -> Float64:
    return np.asarray((rng.permutation(count) + rng.random(count)) / count)


def _balanced_ranks(
    arms: Sequence[ArmRows],
    place: Intp,
    scores: Float64,
    shared: Float64,
    at: int,
    rng: np.random.Generator,
) -> Float64:
    """Draw the clusters' ranks of one shared number: evenly, and balanced in what their rows' expectations add to every arm's sums."""
    count = len(scores)
    steps = np.arange(LEAVES + 1, dtype=np.float64)
    sums: list[npt.NDArray[np.float64]] = [np.tile(0.5 * steps**2, (count, 1))]  # the same for every cluster: half of them in each half
    for other in range(at, len(shared)):
        for arm in arms:
            of_row = expected(arm.grids[other], scores[place[arm.rows], other], np.concatenate((shared[other], arm.loads[other])), at)
            for direction in directions_of(arm.designs[other]).T:
                weighted = direction[:, None] * of_row
                sums.append(np.column_stack([np.bincount(place[arm.rows], weights=leaf, minlength=count) for leaf in weighted.T]))
    return halved(sums, [np.ones((count, 1))] * len(sums), -np.bincount(place, minlength=count).astype(np.float64), rng)


def _miss(y: Float64, designs: Sequence[OutcomeDesign], place: Intp, alike: ClusterLaw) -> float:
    """Return how far outcomes are from being as alike within clusters as the source's, among rows that will have them."""
    miss = 0.0
    for values, design, each in zip(y.T, designs, alike.every, strict=True):
        present = design.weight > 0.0
        if each.rho > 0.0:
            of = np.unique(place[present], return_inverse=True)[1]
            miss += ((intraclass((values - design.mean)[present], of) - each.icc) / NEAR) ** 2
    return miss
