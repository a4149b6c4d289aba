"""Balanced draws: treatments and outcomes with the same law row by row, and almost no sampling variance in their sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.mechanisms.cube import cube
from tasks.mechanisms.laws.methods.binary import BinaryLaw
from tasks.mechanisms.laws.protocol import Inversion, OutcomeLaw
from tasks.nuisance.bounds import EDGE
from tasks.numerics.threads import one_thread

# Halvings of each row's uniform number that are balanced; what is left of it is drawn independently.
_HALVINGS = 10
# Covariate directions that arms are matched in: the time it takes grows with their cube.
_MOST = 24


def balanced_treatment(
    nuisances: Nuisances,
    rng: np.random.Generator,
    covariates: Float64 | None = None,
    further: Sequence[tuple[Float64, ...]] = (),
) -> Int8:
    """Draw treatments with P(A = k | W) exactly those of the design, balanced in what an effect estimate feels.

    The inverse-probability weighted difference in means misses the mean of Q1 - Q0 over the rows by ``mean((A - g) h)`` with
    ``h = (Q1 - mean Q1) / g + (Q0 - mean Q0) / (1 - g)``. The draw makes that sum about zero, then ``sum (A - g)``, so that arms are as
    large as the design has them, then ``sum (A - g) x`` for the covariates given: the arms are matched, so that an analyst who
    estimates g and Q from the rows finds as little imbalance as one who knows them. More than two arms are drawn one after the other,
    the last first: each against all that are left, which a mixture of their Q stands for.

    Parameters
    ----------
    nuisances : Nuisances
        Propensities of the release's own design and Q* of the drawn covariates, each (n,).
    rng : numpy.random.Generator
        Spent on one number per row.
    covariates : ndarray of float64, shape (n, p), optional
        x: any numbers, for instance the columns of :func:`tasks.mechanisms.moments.features`. Of more than 24, the 24 leading
        principal components count.
    further : sequence of tuple of K ndarray of float64, shape (n,)
        Q* of further outcomes: h of each is balanced too.

    Returns
    -------
    ndarray of int8, shape (n,)
        0, ..., K - 1. Rows depend on one another; each row alone has the law of the design.
    """
    p, n = nuisances.propensities, len(nuisances[0])
    x = None if covariates is None or n == 0 else _leading(covariates)
    a, left, mass = np.zeros(n, dtype=np.int8), np.arange(n), np.ones(n)
    for arm in range(nuisances.arms - 1, 0, -1):
        if len(left) == 0:
            break
        chance = p[arm][left] / mass[left]
        pairs = [(q[arm][left], _mixture(p, q, arm, left)) for q in (nuisances.outcomes, *further)]
        hit = _one_arm(chance, pairs, None if x is None else x[left], rng) == 1
        a[left[hit]] = arm
        mass = mass - p[arm]
        left = left[~hit]
    return a


def _mixture(p: Sequence[Float64], q: Sequence[Float64], arm: int, rows: npt.NDArray[np.intp]) -> Float64:
    """Return the mean of Q over the arms before one, in the shares that the design has them."""
    if arm == 1:
        return q[0][rows]
    weight = [p[other][rows] for other in range(arm)]
    return np.asarray(sum(w * q[other][rows] for other, w in enumerate(weight)) / sum(weight), dtype=np.float64)


def _one_arm(chance: Float64, pairs: Sequence[tuple[Float64, Float64]], covariates: Float64 | None, rng: np.random.Generator) -> Int8:
    """Draw one arm (1) against the others (0); ``pairs`` holds Q1 and Q0 of every outcome."""
    p1 = np.clip(chance, EDGE, 1.0 - EDGE)
    p0 = 1.0 - p1
    felt, *others = ((q1 - q1.mean()) / p1 + (q0 - q0.mean()) / p0 for q1, q0 in pairs)
    stratum = (felt, np.ones(len(chance)), *others)
    directions = np.column_stack(stratum if covariates is None else (*stratum, covariates))
    # the largest weights first, and of equal weights the largest contributions
    return cube(np.clip(chance, 0.0, 1.0), directions, np.lexsort((-np.abs(felt), -1.0 / (p0 * p1))), rng)


def balanced_outcome(law: OutcomeLaw, a: Int8, nuisances: Nuisances, covariates: pd.DataFrame, rng: np.random.Generator) -> Float64:
    """Draw outcomes that have the law given (A, W) exactly, with residuals balanced within each arm.

    In each arm the sums of ``(Y - Q*) / P(A = a | W)`` and of ``(Y - Q*) Q*`` are about zero, and so is, as rows are
    taken in the order of their weights, the plain sum of Y - Q*. A binary outcome is drawn by :func:`tasks.mechanisms.cube.cube`. For
    any other law a row's outcome is a function of one uniform number, and that number is drawn bit by bit: each bit is a
    fair coin for its row, but the coins of all rows together are drawn by the cube, in the two directions times what the
    bit adds to the row's expected outcome.

    Parameters
    ----------
    law : OutcomeLaw
        The fitted law around the mean.
    a : ndarray of int8, shape (n,)
        Drawn treatments.
    nuisances : Nuisances
        Propensities of the release's own design, targeted Q*, each (n,).
    covariates : DataFrame, n rows
        The drawn covariates, canonical.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float64, shape (n,)
        In units of the outcome.
    """
    y = np.empty(len(a))
    for arm, (p, q) in enumerate(zip(nuisances.propensities, nuisances.outcomes, strict=True)):
        rows = np.flatnonzero(a == arm)
        if len(rows) == 0:
            continue
        weight = 1.0 / np.clip(p[rows], EDGE, 1.0)
        mean = q[rows]
        directions = np.column_stack((weight, mean - mean.mean()))
        if isinstance(law, BinaryLaw):
            y[rows] = cube(mean, directions, np.lexsort((mean, -weight)), rng)
        else:
            outcomes = law.invert(a[rows], mean, covariates.iloc[rows].reset_index(drop=True), rng)
            y[rows] = _by_halving(outcomes, mean, directions, rng)
    return y


def _by_halving(law: Inversion, mean: Float64, directions: Float64, rng: np.random.Generator) -> Float64:
    """Draw each row's uniform number by halving the interval it lies in, all rows at once and balanced."""
    n, width = len(directions), 1.0
    low = np.zeros(n)
    at_low, at_high = law.partial(low), law.partial(low + 1.0)
    for _ in range(_HALVINGS):
        width /= 2.0
        at_middle = law.partial(low + width)
        # by how much the outcome's expectation in the upper half is above that in the lower
        jump = (at_high - 2.0 * at_middle + at_low) / width
        z = directions * jump[:, None]
        upper = cube(np.full(n, 0.5), z, np.lexsort((mean, -np.abs(z[:, 0]))), rng) == 1
        low = np.where(upper, low + width, low)
        at_low, at_high = np.where(upper, at_middle, at_low), np.where(upper, at_high, at_middle)
    return law.quantile(low + width * rng.random(n))


def _leading(covariates: Float64) -> Float64:
    """Return standardised columns, or where they are many their leading principal components."""
    spread = covariates.std(axis=0)
    varies = spread > 1e-12 * np.maximum(1.0, np.abs(covariates.mean(axis=0)))
    x: Float64 = ((covariates - covariates.mean(axis=0)) / np.where(varies, spread, 1.0))[:, varies]
    if x.shape[1] <= _MOST:
        return x
    with one_thread():
        _, vectors = np.linalg.eigh(x.T @ x / len(x))
        components: Float64 = x @ vectors[:, ::-1][:, :_MOST]
    return components
