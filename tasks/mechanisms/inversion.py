"""The outcome's law as a function of one uniform number per row: its quantiles, and how they add up."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from tasks.contract.nuisance import Float64, Int8
from tasks.mechanisms.residuals import ArmLaw, BinaryLaw, ContinuousLaw, CountLaw, OutcomeLaw

_ROOT3 = float(np.sqrt(3.0))


class Inversion(NamedTuple):
    """The law of Y at given rows, driven by U uniform on (0, 1): Y = quantile(U) is a draw.

    Attributes
    ----------
    quantile : callable
        From U, shape (n,), to Y, shape (n,). It need not rise everywhere.
    partial : callable
        From u, shape (n,), to E[Y; U < u], the integral of the quantiles below u; at 1 it is the mean.
    """

    quantile: Callable[[Float64], Float64]
    partial: Callable[[Float64], Float64]


def invert(law: OutcomeLaw, a: Int8, mean: Float64, covariates: pd.DataFrame) -> Inversion:
    """Return the law at given rows as functions of uniform numbers.

    Parameters
    ----------
    law : OutcomeLaw
        A fitted law: binary, count or continuous.
    a : ndarray of int8, shape (n,)
        Treatment.
    mean : ndarray of float64, shape (n,)
        Q* of the row's own arm.
    covariates : DataFrame, n rows
        Canonical covariates.

    Returns
    -------
    Inversion
        Its draws have the law of ``law.draw`` at the same rows, row by row.

    Raises
    ------
    TypeError
        If the law is none of the three.
    """
    match law:
        case BinaryLaw():
            return Inversion(lambda u: (u >= 1.0 - mean).astype(np.float64), lambda u: np.maximum(u - (1.0 - mean), 0.0))
        case CountLaw():
            return _count(np.where(a == 1, law.dispersion[1], law.dispersion[0]), mean)
        case ContinuousLaw():
            spread = np.ones(len(mean)) if law.scale is None else law.scale.predict(covariates, a)
            return _continuous(law.arms, a, mean, spread)
    raise TypeError(f"law of an inversion must be binary, count or continuous; got {type(law).__name__}.")


def _continuous(arms: tuple[ArmLaw, ArmLaw], a: Int8, mean: Float64, spread: Float64) -> Inversion:
    """Read the block, and the place within it, from one number: a block is as long as its weight."""

    def read(u: Float64, integral: bool) -> Float64:
        found = np.empty(len(u))
        for arm, law in enumerate(arms):
            rows = a == arm
            share = np.diff(law.edges, prepend=0.0)
            at = np.minimum(np.searchsorted(law.edges, u[rows], side="right"), len(share) - 1)
            place = np.clip((u[rows] - (law.edges[at] - share[at])) / np.maximum(share[at], 1e-300), 0.0, 1.0)
            if integral:
                before = np.concatenate(([0.0], np.cumsum(share * law.centres)))[at]
                found[rows] = before + share[at] * (law.centres[at] * place - law.spreads[at] * _ROOT3 * place * (1.0 - place))
            else:
                found[rows] = law.centres[at] + law.spreads[at] * _ROOT3 * (2.0 * place - 1.0)
        return found

    return Inversion(lambda u: mean + spread * read(u, False), lambda u: mean * u + spread * read(u, True))


def _count(dispersion: Float64, mean: Float64) -> Inversion:
    """Poisson where the dispersion is 0, else negative binomial with shape r = 1/dispersion and success chance 1 / (1 + dispersion mean).

    E[Y; Y < k] = mean P(Y' < k - 1), with Y' = Y for the Poisson law and of shape r + 1 for the negative binomial one.
    """
    mixed = dispersion > 0.0
    plain, r = ~mixed, 1.0 / dispersion[mixed]
    success = 1.0 / (1.0 + dispersion[mixed] * mean[mixed])

    def quantile(u: Float64) -> Float64:
        held = np.clip(u, 1e-300, 1.0 - 2.0**-53)
        k = np.empty(len(u))
        k[plain] = stats.poisson.ppf(held[plain], mean[plain])
        k[mixed] = stats.nbinom.ppf(held[mixed], r, success)
        return k

    def partial(u: Float64) -> Float64:
        k = quantile(u)
        under, sum_under = np.empty(len(u)), np.empty(len(u))
        under[plain] = stats.poisson.cdf(k[plain] - 1.0, mean[plain])
        sum_under[plain] = stats.poisson.cdf(k[plain] - 2.0, mean[plain])
        under[mixed] = stats.nbinom.cdf(k[mixed] - 1.0, r, success)
        sum_under[mixed] = stats.nbinom.cdf(k[mixed] - 2.0, r + 1.0, success)
        return np.where(u >= 1.0, mean, mean * sum_under + k * (u - under))

    return Inversion(quantile, partial)
