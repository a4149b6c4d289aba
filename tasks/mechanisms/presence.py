"""Which outcomes of a released row are missing: drawn from the chance to be known, several of them as they go together in the source."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from tasks.contract.nuisance import Float64, Int8, Nuisances, Predictions
from tasks.mechanisms.cube import cube
from tasks.nuisance.bounds import EDGE

Mask = npt.NDArray[np.bool_]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_MOST, _HALVINGS = 0.995, 20


class PresenceLaw(NamedTuple):
    """How missing outcomes go together.

    Attributes
    ----------
    outcomes : tuple of int
        Numbers of the outcomes with missing cells, in their order.
    correlations : tuple of K tuples of float
        By arm: for each of these outcomes but the first, the correlation of the normal numbers behind its presence and that of the one
        before. Given the one before, it depends on none further back.
    monotone : bool
        Whether who lacks one lacks all later ones.
    """

    outcomes: tuple[int, ...]
    correlations: tuple[tuple[float, ...], ...]
    monotone: bool


def fit_presence(a: Int8, present: Mask, predictions: Predictions, monotone: bool, weights: Float64 | None = None) -> PresenceLaw:
    """Find how missing outcomes go together: for neighbours with missing cells, in each arm, as many rows know both as in the source.

    Parameters
    ----------
    a : ndarray of int8, shape (n,)
        Treatment.
    present : ndarray of bool, shape (n, p)
        Which outcomes are known.
    predictions : Predictions
        Out of fold, of the same rows.
    monotone : bool
        Whether outcomes are visits, and dropout is for good.
    weights : ndarray of float64, shape (n,), optional
        Row weights.
    """
    gaps = tuple(number for number in range(present.shape[1]) if predictions.chances(number) is not None)
    correlations = []
    for arm in range(predictions.first.arms):
        rows, of_arm = a == arm if weights is None else (a == arm) & (weights > 0.0), []
        share = None if weights is None else weights[rows]
        for before, number in itertools.pairwise(gaps):
            first, second = (_of(predictions, each, arm)[rows] for each in (before, number))
            both = _mean(present[rows, before] & present[rows, number], share)
            of_arm.append(_correlation(first, second, both, share))
        correlations.append(tuple(of_arm))
    return PresenceLaw(gaps, tuple(correlations), monotone)


def draw_presence(law: PresenceLaw, a: Int8, designed: Predictions, balanced: bool, rng: np.random.Generator) -> Mask:
    """Draw which outcomes are known.

    Parameters
    ----------
    law : PresenceLaw
    a : ndarray of int8, shape (n,)
        Drawn treatments.
    designed : Predictions
        Propensities of the release's own design, targeted Q*, chances to be known.
    balanced : bool
        Whether the shares by arm, and what an inverse-probability weighted estimate feels of Q*, are balanced.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of bool, shape (n, p)
    """
    present = np.ones((len(a), len(designed.outcomes)), dtype=bool)
    for arm in range(designed.first.arms):
        rows, before = np.flatnonzero(a == arm), None
        if len(rows) == 0:
            continue
        for place, number in enumerate(law.outcomes):
            chance = _of(designed, number, arm)[rows]
            if before is not None:
                seen = present[rows, law.outcomes[place - 1]]
                if law.monotone:
                    chance = np.minimum(chance, before)
                    given = np.where(seen, chance / before, 0.0)
                else:
                    both = both_known(before, chance, law.correlations[arm][place - 1])
                    given = np.where(seen, both / before, (chance - both) / (1.0 - before))
            else:
                given = chance
            given = np.clip(given, 0.0, 1.0)
            present[rows, number] = _drawn(given, chance, designed.of(number), arm, rows, balanced, rng)
            before = chance
    return present


def _drawn(
    given: Float64, chance: Float64, nuisances: Nuisances, arm: int, rows: npt.NDArray[np.intp], balanced: bool, rng: np.random.Generator
) -> Mask:
    if not balanced:
        return np.asarray(rng.random(len(rows)) < given)
    mean = nuisances.outcomes[arm][rows]
    weight = 1.0 / (np.clip(nuisances.propensities[arm][rows], EDGE, 1.0) * chance)
    felt = (mean - mean.mean()) * weight
    return np.asarray(cube(given, np.column_stack((np.ones(len(rows)), felt, weight)), np.argsort(-np.abs(felt), kind="stable"), rng) == 1)


def both_known(first: Float64, second: Float64, rho: float) -> Float64:
    """Return P(X < ndtri(first), Y < ndtri(second)) of normal numbers with correlation rho, shape (n,).

    By the angle's integral: Drezner, Wesolowsky (1990), DOI 10.1080/00949659008811236.
    """
    h, k, angle = ndtri(first), ndtri(second), float(np.arcsin(rho))
    total = np.zeros(len(first))
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        sine = np.sin(angle * (node + 1.0) / 2.0)
        total += weight * np.exp(-(h * h + k * k - 2.0 * sine * h * k) / (2.0 * (1.0 - sine * sine)))
    joint = first * second + total * angle / (4.0 * np.pi)
    return np.clip(joint, np.maximum(first + second - 1.0, 0.0), np.minimum(first, second))


def _of(predictions: Predictions, number: int, arm: int) -> Float64:
    """Return the chance that an outcome is known in an arm, away from 0 and 1."""
    chances = predictions.chances(number)
    assert chances is not None  # one of the outcomes with missing cells
    return np.clip(chances[arm], EDGE, 1.0 - EDGE)


def _mean(values: Float64 | Mask, weights: Float64 | None) -> float:
    return float(np.mean(values) if weights is None else np.average(values, weights=weights))


def _correlation(first: Float64, second: Float64, both: float, weights: Float64 | None) -> float:
    low, high = -_MOST, _MOST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _mean(both_known(first, second, middle), weights) < both else (low, middle)
    return (low + high) / 2.0
