"""Standardised residuals of an arm in blocks, and what clipping does to their mean."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64

_BLOCK = 5  # fewest residuals behind one block of an arm's law: no single row's residual is ever drawn
_BLOCKS = 400
_LONE = 3.0  # distance from the median of an outlier, over that of the fifth residual
_ROOT3 = float(np.sqrt(3.0))
_STEPS = 60  # of the search for a shift: halvings alone would reach 2^-60 of the bracket


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

    @property
    def ends(self) -> tuple[float, float]:
        """Least and largest draw."""
        reach = _ROOT3 * self.spreads
        return float((self.centres - reach).min()), float((self.centres + reach).max())


def fit_arm(residual: Float64, sigma: Float64, w: Float64) -> ArmLaw:
    """Fit the law of one arm's standardised residuals.

    Parameters
    ----------
    residual, sigma, w : ndarray of float64, shape (n,)
        Residuals, relative spreads and weights of the arm's rows.

    Returns
    -------
    ArmLaw
        The variance of drawn errors equals that of the residuals over the rows. An outermost residual three times as far from the median as
        the fifth counts as that one, so that no mean of a block leads to a lone outlier.

    Raises
    ------
    EstimationError
        If there are fewer than five rows.
    """
    kept = w > 0.0
    residual, sigma, w = residual[kept], sigma[kept], w[kept] / max(float(w[kept].sum()), 1e-300)
    if len(residual) < _BLOCK:
        raise EstimationError(
            f"rows of an arm must be at least {_BLOCK} for a continuous outcome's residuals; got {len(residual)}.", "Use a larger source."
        )
    z = residual / sigma
    held = _trimmed(z)
    if held is not z:
        z, residual = held, held * sigma
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


def _trimmed(z: Float64) -> Float64:
    """Move lone outliers to the fifth residual from their end; the array itself where there is none."""
    ordered, middle = np.sort(z), float(np.median(z))
    low, high = float(ordered[_BLOCK - 1]), float(ordered[-_BLOCK])
    far_below, far_above = ordered[0] < middle - _LONE * (middle - low), ordered[-1] > middle + _LONE * (high - middle)
    if len(z) < 4 * _BLOCK or not (far_below or far_above):
        return z
    return np.asarray(np.clip(z, low if far_below else -np.inf, high if far_above else np.inf))


class Shortfall(NamedTuple):
    """E[(t - e)+] of an arm's law as a piecewise quadratic of t.

    Attributes
    ----------
    knots : ndarray of float64, shape (k,)
        Ascending.
    value, slope, curve : ndarray of float64, shape (k,)
        At each knot: the function, its slope P(e < t), and the density up to the next knot.
    """

    knots: Float64
    value: Float64
    slope: Float64
    curve: Float64

    def at(self, t: Float64) -> tuple[Float64, Float64]:
        """Return the function and its slope, shape (n,) each."""
        k = np.maximum(np.searchsorted(self.knots, t, side="right") - 1, 0)
        gap = np.maximum(t - self.knots[k], 0.0)
        return self.value[k] + gap * (self.slope[k] + gap * self.curve[k] / 2.0), self.slope[k] + gap * self.curve[k]


def shortfall(law: ArmLaw) -> Shortfall:
    """Return E[(t - e)+] of an arm's law."""
    share = np.diff(law.edges, prepend=0.0)
    # a block without spread is a very narrow one
    reach = np.maximum(_ROOT3 * law.spreads, 1e-9 * max(1e-300, float(np.sqrt(law.variance))))
    density = share / (2.0 * reach)
    ends, jumps = np.concatenate((law.centres - reach, law.centres + reach)), np.concatenate((density, -density))
    order = np.argsort(ends, kind="stable")
    knots, curve = ends[order], np.maximum(np.cumsum(jumps[order]), 0.0)
    curve[-1] = 0.0
    gaps = np.diff(knots)
    slope = np.concatenate(([0.0], np.cumsum(curve[:-1] * gaps)))
    value = np.concatenate(([0.0], np.cumsum(gaps * (slope[:-1] + gaps * curve[:-1] / 2.0))))
    return Shortfall(knots, value, slope, curve)


def centre_for(law: ArmLaw, mean: Float64, sigma: Float64, low: float, high: float) -> Float64:
    """Find c such that E[clip(c + sigma e, low, high)] is the mean, row by row.

    Newton's method inside a bracket, halved where a step leaves it: the expectation never falls in c.

    Parameters
    ----------
    law : ArmLaw
    mean, sigma : ndarray of float64, shape (n,)
        Means inside [low, high], and spreads.
    low, high : float
        May be infinite.

    Returns
    -------
    ndarray of float64, shape (n,)
        The mean itself where no draw is clipped.
    """
    least, most = law.ends
    centre = mean.copy()
    rows = np.flatnonzero((mean + sigma * least < low) | (mean + sigma * most > high))
    if len(rows) == 0:
        return centre
    under = shortfall(law)
    m, s = mean[rows], np.maximum(sigma[rows], 1e-300)

    def expected(c: Float64) -> tuple[Float64, Float64]:
        # clip(z) = z + (low - z)+ - (z - high)+, and (z - high)+ = z - high + (high - z)+
        value, slope = c.copy(), np.ones(len(c))
        if np.isfinite(low):
            lost, rate = under.at((low - c) / s)
            value, slope = value + s * lost, slope - rate
        if np.isfinite(high):
            lost, rate = under.at((high - c) / s)
            value, slope = value - (c - high + s * lost), slope - (1.0 - rate)
        return value, slope

    left = np.minimum(m, low - s * most) if np.isfinite(low) else m - s * (most - least)
    right = np.maximum(m, high - s * least) if np.isfinite(high) else m + s * (most - least)
    at = m.copy()
    for _ in range(_STEPS):
        value, slope = expected(at)
        miss = m - value
        left, right = np.where(miss > 0.0, at, left), np.where(miss > 0.0, right, at)
        step = at + miss / np.maximum(slope, 1e-12)
        following = np.where((step > left) & (step < right), step, 0.5 * (left + right))
        if np.all(np.abs(following - at) <= 1e-13 * np.maximum(1.0, np.abs(at))):
            break
        at = following
    centre[rows] = at
    return centre
