"""Choosing which drawn covariates are added, and to which arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.augmentation.filling import Filling
from tasks.contract.nuisance import Float64, Int8
from tasks.contract.rng import UInt64, salt, unit


class Chosen(NamedTuple):
    """Which candidates are added; arrays of shape (m,).

    Attributes
    ----------
    rows : ndarray of int64
        Positions among the candidates; one that is added to several arms comes several times.
    arm : ndarray of int8
        0, ..., K - 1.
    """

    rows: npt.NDArray[np.int64]
    arm: Int8


def choose_rows(filling: Filling, rows: int, order_by: Sequence[Float64], rng: np.random.Generator) -> Chosen:
    """Take rows from candidates, each arm's in proportion to what the filling adds to it around them.

    Systematic sampling along an order: the sample is stratified by it. A candidate comes at most once per arm.

    Parameters
    ----------
    filling : Filling
        Of the candidates, drawn from the source's covariate law.
    rows : int
        m, at least 1; rounded down where there are too few candidates that need rows.
    order_by : sequence of K ndarray of float64, shape (N,)
        What each arm's sample is stratified by, such as the conditional effect.
    rng : numpy.random.Generator
        One number for each arm is spent.

    Returns
    -------
    Chosen
        The control arm's rows first, each arm's in ascending order of the candidates.
    """
    total = float(sum(np.sum(added) for added in filling.added))
    filled, arms = [], []
    for arm, (added, by) in enumerate(zip(filling.added, order_by, strict=True)):
        order = np.argsort(by, kind="stable")
        start = rng.random()
        wanted = np.minimum(added * (rows / total if total > 0.0 else 0.0), 1.0)
        edges = np.cumsum(wanted[order])
        points = np.arange(int(np.floor(edges[-1] - start)) + 1) + start if len(edges) and edges[-1] > start else np.empty(0)
        picked = np.sort(order[np.searchsorted(edges, points, side="right").clip(0, len(order) - 1)])
        filled.append(np.unique(picked).astype(np.int64))
        arms.append(np.full(len(filled[-1]), arm, dtype=np.int8))
    return Chosen(np.concatenate(filled), np.concatenate(arms))


def flipped(y: Float64, keys: UInt64, share: float, seed: int) -> Float64:
    """Return binary outcomes with noise in their labels: each turned to the other one with a probability.

    Parameters
    ----------
    y : ndarray of float64, shape (n,)
        0 or 1.
    keys : ndarray of uint64, shape (n,)
        Row keys: they and the seed decide who is flipped.
    share : float
        In [0, 0.5].
    seed : int
        The SPEC's seed.
    """
    return np.where(unit(keys, salt(seed, "flip")) < share, 1.0 - y, y)
