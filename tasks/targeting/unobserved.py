"""Outcomes that some rows lack, as estimators see them: a treatment with one arm more, to which rows without outcome belong.

With delta = 1(Y is observed) and pi_k(W) = P(delta = 1 | A = k, W), arm k has the propensity g_k pi_k and the further arm the rest; see
:mod:`tasks.estimation.unobserved` for why that is right.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.targeting.sample import Treatment

Mask = npt.NDArray[np.bool_]


class Observed(NamedTuple):
    """One outcome of a data set as estimators see it; arrays of shape (n,).

    Attributes
    ----------
    a : ndarray of int8
        Treatment; K where the outcome is missing.
    y : ndarray of float64
        Outcome, :func:`placeholders` where it is missing.
    nuisances : Nuisances
        Of K arms, or of K + 1 where cells are missing.
    present : ndarray of bool
        Which rows have an outcome.
    level : float or None
        Mean of the outcomes, which is Q of the further arm; None where no cell is missing.
    treatment : Treatment or None
        Of all rows, where cells are missing.
    """

    a: Int8
    y: Float64
    nuisances: Nuisances
    present: Mask
    level: float | None
    treatment: Treatment | None = None


def observed_of(
    a: Int8, y: Float64, nuisances: Nuisances, presence: tuple[Float64, ...] | None, weights: Float64 | None = None
) -> Observed:
    """Return one outcome as estimators see it.

    Parameters
    ----------
    a : ndarray of int8, shape (n,)
        Treatment, 0, ..., K - 1.
    y : ndarray of float64, shape (n,)
        Outcome, NaN where missing.
    nuisances : Nuisances
        g and Q of K arms.
    presence : tuple of K ndarray of float64, or None
        pi of every arm; None where no cell is missing.
    weights : ndarray of float64, shape (n,), optional
        Row weights.
    """
    present = ~np.isnan(y)
    if presence is None:
        return Observed(a, y, nuisances, present, None)
    level = float(np.average(y[present], weights=None if weights is None else weights[present]))
    extended, p = with_presence(nuisances, presence, level), nuisances.propensities
    return Observed(with_unobserved(a, present, nuisances.arms), placeholders(y, present), extended, present, level, Treatment(a, p))


def placeholders(y: Float64, observed: Mask) -> Float64:
    """Return outcomes with the mean of the observed ones in place of those that are missing, shape (n,): they enter with weight 0."""
    return np.where(observed, y, float(np.mean(y[observed])))


def with_unobserved(a: Int8, observed: Mask, arms: int) -> Int8:
    """Return the treatment with one arm more, to which rows without outcome belong, shape (n,)."""
    return np.where(observed, a, arms).astype(np.int8)


def with_presence(nuisances: Nuisances, presence: tuple[Float64, ...], level: float) -> Nuisances:
    """Return nuisances of K + 1 arms: g_k pi_k of the arms 0 to K - 1, the rest of the last, whose Q is the level."""
    shares = [share * seen for share, seen in zip(nuisances.propensities, presence, strict=True)]
    rest = np.clip(1.0 - functools.reduce(np.add, shares), 0.0, 1.0)
    return Nuisances(*shares[1:], rest, *nuisances.outcomes, np.full_like(rest, level))
