"""How outcomes scatter around Q*: the law of Y given (A, W) beyond its mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64, Int8
from tasks.mechanisms.scale import ScaleModel, choose_scale

_BLOCK = 5  # fewest residuals behind one block of an arm's law: no single row's residual is ever drawn
_BLOCKS = 400
_EVIDENCE = 1.645  # z of overdispersion at which a count arm is negative binomial


class OutcomeLaw(Protocol):
    """The law of Y given its mean."""

    def draw(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> Float64:
        """Return outcomes, shape (n,), with expectation ``mean`` exactly."""
        ...


@dataclass(frozen=True)
class BinaryLaw:
    """Y ~ Bernoulli(Q*)."""

    def draw(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> Float64:  # noqa: ARG002, the OutcomeLaw protocol
        """Return 0.0 or 1.0 for each row, shape (n,)."""
        return (rng.random(len(mean)) < mean).astype(np.float64)


@dataclass(frozen=True)
class CountLaw:
    """Y ~ Poisson(Q*), or negative binomial with variance Q* + dispersion Q*^2, arm by arm.

    Attributes
    ----------
    dispersion : tuple of two float
        Of the control and the treated arm; 0 is Poisson.
    """

    dispersion: tuple[float, float]

    def draw(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> Float64:  # noqa: ARG002, the OutcomeLaw protocol
        """Return counts as float64, shape (n,)."""
        alpha = np.where(a == 1, self.dispersion[1], self.dispersion[0])
        shape = 1.0 / np.where(alpha > 0.0, alpha, 1.0)
        mixed = rng.gamma(shape, 1.0 / shape)
        return rng.poisson(mean * np.where(alpha > 0.0, mixed, 1.0)).astype(np.float64)


class ArmLaw(NamedTuple):
    """Standardised residuals of one arm in blocks of neighbouring order statistics.

    A draw picks a block by its weight and adds a uniform number with the block's own spread, so mean and variance are
    those of the residuals (law of total variance) and no residual of a row comes back as it was.

    Attributes
    ----------
    centres, spreads : ndarray of float64, shape (b,)
        Mean and standard deviation within each block; the weighted mean of centres is 0.
    edges : ndarray of float64, shape (b,)
        Cumulated weights of the blocks, the last one 1.
    """

    centres: Float64
    spreads: Float64
    edges: Float64

    @property
    def variance(self) -> float:
        """Variance of one draw."""
        share = np.diff(self.edges, prepend=0.0)
        return float(share @ (self.centres**2 + self.spreads**2))


@dataclass(frozen=True)
class ContinuousLaw:
    """Y = Q* + sigma(A, W) e, with e from its arm's law.

    Attributes
    ----------
    scale : ScaleModel or None
        sigma; None is one spread per arm.
    arms : tuple of two ArmLaw
        Laws of e in the control and the treated arm.
    """

    scale: ScaleModel | None
    arms: tuple[ArmLaw, ArmLaw]

    def draw(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> Float64:
        """Return outcomes, shape (n,)."""
        where, within = rng.random(len(mean)), rng.uniform(-np.sqrt(3.0), np.sqrt(3.0), len(mean))
        error = np.empty(len(mean))
        for arm, law in enumerate(self.arms):
            rows = a == arm
            block = np.minimum(np.searchsorted(law.edges, where[rows], side="right"), len(law.edges) - 1)
            error[rows] = law.centres[block] + law.spreads[block] * within[rows]
        return mean + error * (1.0 if self.scale is None else self.scale.predict(covariates, a))


def fit_law(
    a: Int8,
    y: Float64,
    q0: Float64,
    q1: Float64,
    covariates: pd.DataFrame,
    kind: str,
    rng: np.random.Generator,
    weights: Float64 | None = None,
) -> OutcomeLaw:
    """Fit the law of the outcome around out-of-fold targeted predictions.

    Parameters
    ----------
    a : ndarray of int8, shape (n,)
        Treatment, 0 or 1.
    y : ndarray of float64, shape (n,)
        Outcome.
    q0, q1 : ndarray of float64, shape (n,)
        Out-of-fold Q*0 and Q*1, in units of the outcome.
    covariates : DataFrame, n rows
        Canonical covariates.
    kind : {"binary", "continuous", "count"}
        Kind of the outcome.
    rng : numpy.random.Generator
        Spent on the folds that judge the scale model.
    weights : ndarray of float64, shape (n,), optional
        Row weights.

    Returns
    -------
    OutcomeLaw
        ``BinaryLaw``, ``CountLaw`` or ``ContinuousLaw``. The variance of drawn errors equals that of the residuals, arm by arm,
        over the source rows.

    Raises
    ------
    EstimationError
        If a continuous outcome has fewer than five rows in an arm.
    """
    if kind == "binary":
        return BinaryLaw()
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=np.float64)
    mean = np.where(a == 1, q1, q0)
    if kind == "count":
        return CountLaw((_dispersion(y[a == 0], mean[a == 0], w[a == 0]), _dispersion(y[a == 1], mean[a == 1], w[a == 1])))
    residual = y - mean
    scale = choose_scale(covariates, a, residual, w, rng)
    sigma = np.ones(len(y)) if scale is None else scale.predict(covariates, a)
    return ContinuousLaw(
        scale, (_arm_law(residual[a == 0], sigma[a == 0], w[a == 0]), _arm_law(residual[a == 1], sigma[a == 1], w[a == 1]))
    )


def _arm_law(residual: Float64, sigma: Float64, w: Float64) -> ArmLaw:
    kept = w > 0.0
    residual, sigma, w = residual[kept], sigma[kept], w[kept] / max(float(w[kept].sum()), 1e-300)
    if len(residual) < _BLOCK:
        raise EstimationError(
            f"rows of an arm must be at least {_BLOCK} for a continuous outcome's residuals; got {len(residual)}.", "Use a larger source."
        )
    z = residual / sigma
    order = np.argsort(z, kind="stable")
    pieces = np.array_split(order, min(_BLOCKS, len(z) // _BLOCK))
    share = np.array([float(w[piece].sum()) for piece in pieces])
    centres = np.array([float(np.average(z[piece], weights=w[piece])) for piece in pieces])
    spreads = np.array([float(np.sqrt(np.average((z[piece] - c) ** 2, weights=w[piece]))) for piece, c in zip(pieces, centres)])
    centres = centres - float(share @ centres) / float(share.sum())
    edges = np.cumsum(share) / float(share.sum())
    law = ArmLaw(centres, spreads, edges)
    # spread of the arm: mean of sigma^2 e^2 over its rows is the variance of its residuals
    wanted = float(w @ (residual - float(w @ residual)) ** 2) / float(w @ sigma**2)
    factor = float(np.sqrt(wanted / law.variance)) if law.variance > 0.0 else 0.0
    return ArmLaw(centres * factor, spreads * factor, edges)


def _dispersion(y: Float64, mean: Float64, w: Float64) -> float:
    """Moment estimate of the negative binomial's dispersion; 0 where overdispersion is not beyond chance.

    The excess (Y - Q)^2 - Y has mean dispersion Q^2. Cameron, Trivedi (1990), doi:10.1016/0304-4076(90)90014-K.
    """
    excess = (y - mean) ** 2 - y
    square = mean**2
    alpha = float(w @ excess) / float(w @ square)
    noise = float(np.sqrt(np.sum((w * (excess - alpha * square)) ** 2))) / float(w @ square)
    return alpha if alpha > _EVIDENCE * noise else 0.0
