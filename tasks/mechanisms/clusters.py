"""Clusters of a release: their sizes, what is the same in all their rows, and how alike their rows are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtr, ndtri

from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.mechanisms.cube import cube
from tasks.mechanisms.laws.protocol import OutcomeLaw
from tasks.mechanisms.ranks import lay_out, step_at
from tasks.nuisance.bounds import EDGE

Intp = npt.NDArray[np.intp]

#: Outcomes that each row's law is laid out in: the resolution of a uniform rank.
_STEPS = 16
#: Sets of ranks that are drawn where draws are balanced; the best balanced one is kept.
CANDIDATES = 24
#: Likeness of a covariate within clusters below which rows are put together without regard to it.
_FAINT = 0.02
_HALVINGS = 20
#: Intraclass correlation that counts as one standard error of a direction in choosing between sets of ranks.
NEAR = 0.01


class ClusterLaw(NamedTuple):
    """How rows of a source hang together.

    Attributes
    ----------
    sizes : ndarray of intp, shape (G,)
        Rows of the source's clusters, ascending.
    shares : ndarray of float64, shape (G,)
        Chance of each size, in sum 1: equal, or by the mean survey weight of its cluster.
    constant : tuple of str
        Covariates that are the same in all rows of each cluster, by id.
    likeness : dict of str to float
        Intraclass correlation of the normal scores of other covariates, in (0, 1), where it is not faint.
    treated_whole : bool
        Whether each cluster has one treatment.
    rho : float
        Correlation of the normal scores of the outcome's ranks within a cluster, in [0, 1); of several outcomes of the first.
    icc : float
        Intraclass correlation of the source's residuals of that outcome.
    lost : float
        Of a time to event: the same correlation as ``rho`` for times to censoring.
    further : tuple of Alike
        Of further outcomes.
    between : tuple of p tuples of p float
        Correlations of what rows of a cluster share of the outcomes.
    """

    sizes: Intp
    shares: Float64
    constant: tuple[str, ...]
    likeness: Mapping[str, float]
    treated_whole: bool
    rho: float
    icc: float
    lost: float = 0.0
    further: tuple[Alike, ...] = ()
    between: tuple[tuple[float, ...], ...] = ((1.0,),)

    @property
    def every(self) -> tuple[Alike, ...]:
        """How alike each of the outcomes is."""
        return (Alike(self.rho, self.icc, self.lost), *self.further)


class Alike(NamedTuple):
    """How alike outcomes within clusters are: ``rho``, ``icc``, ``lost``, ``further`` and ``between`` of :class:`ClusterLaw`."""

    rho: float
    icc: float
    lost: float = 0.0
    further: tuple[Alike, ...] = ()
    between: tuple[tuple[float, ...], ...] = ((1.0,),)


def intraclass(values: Float64, place: Intp) -> float:
    """Return the intraclass correlation of values in clusters, by one-way analysis of variance (Donner 1986, doi:10.2307/1403259).

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
    place : ndarray of intp, shape (n,)
        Number of each row's cluster, from 0.

    Returns
    -------
    float
        At most 1; below 0 where clusters differ less than rows do. 0 where nothing varies or no cluster has two rows.
    """
    sizes = np.bincount(place).astype(np.float64)
    n, count = float(len(values)), float(np.count_nonzero(sizes))
    if count < 2 or n <= count:
        return 0.0
    means = np.bincount(place, weights=values) / np.maximum(sizes, 1.0)
    between = float(np.sum(sizes * (means - values.mean()) ** 2)) / (count - 1)
    within = float(np.sum((values - means[place]) ** 2)) / (n - count)
    typical = (n - float(np.sum(sizes**2)) / n) / (count - 1)
    total = between + (typical - 1) * within
    return (between - within) / total if total > 0 else 0.0


def constant_within(frame: pd.DataFrame, place: Intp) -> set[str]:
    """Return the columns whose cells are the same in all rows of each cluster, missing equal to missing."""
    first = np.full(int(place.max(initial=-1)) + 1, len(place), dtype=np.intp)
    np.minimum.at(first, place, np.arange(len(place)))
    same = set()
    for name in frame.columns:
        codes = codes_of(frame[name])
        if np.array_equal(codes, codes[first[place]], equal_nan=True):
            same.add(str(name))
    return same


def likeness_of(frame: pd.DataFrame, place: Intp) -> dict[str, float]:
    """Return the intraclass correlation of each column's normal scores; of categories, of its levels' indicators on average."""
    likeness = {}
    for name in frame.columns:
        codes = codes_of(frame[name])
        if isinstance(frame[name].dtype, pd.CategoricalDtype):
            levels, counts = np.unique(codes, return_counts=True)
            common = levels[np.argsort(-counts, kind="stable")][:10]
            parts = [((codes == level).astype(np.float64)) for level in common]
            spread = np.array([part.var() for part in parts])
            value = float(np.dot(spread, [intraclass(part, place) for part in parts]) / spread.sum()) if spread.sum() > 0 else 0.0
        else:
            value = intraclass(scores_of(codes), place)
        if value > _FAINT:
            likeness[str(name)] = min(value, 0.999)
    return likeness


def fit_rho(law: OutcomeLaw, a: Int8, y: Float64, mean: Float64, covariates: pd.DataFrame, place: Intp, rng: np.random.Generator) -> Alike:
    """Find the correlation of ranks within clusters under which drawn outcomes are as alike as the source's.

    Parameters
    ----------
    law : OutcomeLaw
        Fitted around the mean.
    a, y, mean : ndarray, shape (n,)
        Treatment, outcome, and out-of-fold mean of the own arm.
    covariates : DataFrame, n rows
    place : ndarray of intp, shape (n,)
        Number of each row's cluster.
    rng : numpy.random.Generator

    Returns
    -------
    Alike
        The correlation, in [0, 1), and the intraclass correlation of the residuals ``y - mean`` that it gives.
    """
    wanted = intraclass(y - mean, place)
    if wanted <= 0.0:
        return Alike(0.0, wanted)
    steps = lay_out(law, a, mean, covariates, _STEPS, rng)
    shared, alone = rng.normal(size=(8, int(place.max()) + 1)), rng.normal(size=(8, len(y)))

    def reached(rho: float) -> float:
        ranks = (ndtr(np.sqrt(rho) * z[place] + np.sqrt(1.0 - rho) * e) for z, e in zip(shared, alone, strict=True))
        return float(np.mean([intraclass(step_at(steps, u) - mean, place) for u in ranks]))

    low, high = 0.0, 0.999
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if reached(middle) < wanted else (low, middle)
    return Alike((low + high) / 2, wanted)


def treat_clusters(
    nuisances: Nuisances, place: Intp, balanced: bool, rng: np.random.Generator, further: Sequence[tuple[Float64, ...]] = ()
) -> Int8:
    """Draw one treatment for each cluster, with the means of its rows' propensities; shape (n,).

    Arms are drawn one after the other, the last one first: each among the clusters that have none yet. Balanced draws balance the
    number of rows in each arm and what an effect estimate feels of Q.

    Parameters
    ----------
    nuisances : Nuisances
        Of the release's design; outcome regressions targeted.
    place : ndarray of intp, shape (n,)
        Number of each row's cluster.
    balanced : bool
    rng : numpy.random.Generator
    further : sequence of tuple of K ndarray of float64, shape (n,)
        Q* of further outcomes, which are balanced too.
    """
    sizes = np.bincount(place)
    chances = [np.bincount(place, weights=p) / sizes for p in nuisances.propensities]
    arm_of, left = np.zeros(len(sizes), dtype=np.int8), np.ones(len(sizes))
    for arm in range(nuisances.arms - 1, 0, -1):
        chance = np.clip(chances[arm] / left, EDGE, 1.0 - EDGE)
        left = np.maximum(left - chances[arm], EDGE)
        here = arm_of == 0
        # those that are left over must hold the later arms' expected sizes too
        later = [chances[other] / left for other in range(1, arm)]
        beside = ((nuisances.outcomes, *further), arm, place, later, rng)
        chosen = _balanced_clusters(chance, here, *beside) if balanced else rng.random(len(sizes)) < chance
        arm_of[here & chosen] = arm
    return arm_of[place]


def _balanced_clusters(
    chance: Float64,
    here: npt.NDArray[np.bool_],
    outcomes: Sequence[tuple[Float64, ...]],
    arm: int,
    place: Intp,
    later: Sequence[Float64],
    rng: np.random.Generator,
) -> npt.NDArray[np.bool_]:
    """Choose, of the clusters without an arm, those that get one, so that both sides are alike in size and in what an effect feels."""
    felt = []
    for q in outcomes:
        one, others = q[arm], np.mean(q[:arm], axis=0)
        effect = (one - one.mean()) / chance[place] + (others - others.mean()) / (1.0 - chance[place])
        felt.append(np.bincount(place, weights=effect))
    sizes = np.bincount(place).astype(np.float64)
    sums = np.column_stack([felt[0], sizes, *felt[1:], *(sizes * share for share in later)])[here]
    chosen = np.zeros(len(chance), dtype=np.bool_)
    chosen[here] = cube(chance[here], sums, np.argsort(-np.abs(sums[:, 0]), kind="stable"), rng) == 1
    return chosen


def draw_alike(
    law: OutcomeLaw,
    a: Int8,
    designed: Nuisances,
    covariates: pd.DataFrame,
    place: Intp,
    alike: ClusterLaw,
    balanced: bool,
    rng: np.random.Generator,
) -> Float64:
    """Draw outcomes that depend on one another within clusters: a one-factor Gaussian copula of their laws' uniform ranks.

    A row's law is laid out in 16 outcomes, one at random from each sixteenth of its ranks, in ascending order; the row's rank picks one of
    them. Each row alone so has its law exactly. What the rows of a cluster share is drawn in even strata.

    Balanced draws take, of 24 sets of ranks, the one whose residuals best balance in the directions of
    :func:`tasks.mechanisms.balanced.balanced_outcome` and come nearest the source's intraclass correlation.

    Parameters
    ----------
    law : OutcomeLaw
    a : ndarray of int8, shape (n,)
        Drawn treatments.
    designed : Nuisances
        Propensities of the release's own design, and targeted Q* of every arm.
    covariates : DataFrame, n rows
    place : ndarray of intp, shape (n,)
        Number of each row's cluster.
    alike : ClusterLaw
    balanced : bool
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    mean = designed.observed(a)
    steps = lay_out(law, a, mean, covariates, _STEPS, rng)
    directions = balance_directions(a, designed)
    size = np.sqrt(np.maximum(np.sum(directions**2, axis=0), 1e-300))
    best, least = np.empty(0), np.inf
    count, rho = int(place.max(initial=0)) + 1, alike.rho
    for _ in range(CANDIDATES if balanced else 1):
        shared = ndtri((rng.permutation(count) + rng.random(count)) / count)
        u = ndtr(np.sqrt(rho) * shared[place] + np.sqrt(1.0 - rho) * rng.normal(size=len(a)))
        y = step_at(steps, u)
        rest = y - mean
        gap = float(np.sum((directions.T @ rest / size) ** 2)) / max(float(rest.var()), 1e-300)
        gap += ((intraclass(rest, place) - alike.icc) / NEAR) ** 2 if rho > 0.0 else 0.0
        if gap < least:
            best, least = y, gap
    return best


def balance_directions(a: Int8, designed: Nuisances) -> Float64:
    """Return the directions in which residuals of balanced draws balance, shape (n, 2 K): of each arm its weights, alone and times Q*."""
    mean = designed.observed(a)
    weight = 1.0 / np.clip(np.stack(designed.propensities)[a, np.arange(len(a))], EDGE, 1.0)
    parts = (np.ones(len(a)), mean - mean.mean())
    return np.column_stack([(a == arm) * weight * part for arm in range(designed.arms) for part in parts])


def codes_of(cells: pd.Series) -> Float64:
    """Return cells as numbers, missing as NaN, categories by their code."""
    if isinstance(cells.dtype, pd.CategoricalDtype):
        codes = cells.cat.codes.to_numpy().astype(np.float64)
        return np.where(codes < 0, np.nan, codes)
    return cells.to_numpy(dtype=np.float64)


def scores_of(codes: Float64) -> Float64:
    """Return normal scores of ranks, equal values alike, missing as the least."""
    filled = np.where(np.isnan(codes), -np.inf, codes)
    _, place, counts = np.unique(filled, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    return np.asarray(ndtri(middle / len(codes))[place])
