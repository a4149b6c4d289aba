"""Convex weights of several predictions: the meta-learner of the stack."""

from __future__ import annotations

import numpy as np
import scipy.optimize

from tasks.contract.nuisance import Float64

_PASSES = 100
_GAP = 1e-12  # of the mean log loss
_SHORTEST = 1e-6  # share of a Newton step


def convex_weights(predictions: Float64, target: Float64, kind: str, weights: Float64 | None = None) -> Float64:
    """Return the convex combination of predictions that fits a target best.

    Least squares over the simplex (non-negative least squares with the sum held at one) for continuous and count targets;
    log loss for binary ones, which is convex too, by Newton steps that are such least squares.

    Parameters
    ----------
    predictions : ndarray of float64, shape (n, m)
        Out-of-fold predictions of m learners; inside (0, 1) for a binary target.
    target : ndarray of float64, shape (n,)
        What they predict.
    kind : {"binary", "continuous", "count"}
        Kind of the target.
    weights : ndarray of float64, shape (n,), optional
        Row weights.

    Returns
    -------
    ndarray of float64, shape (m,)
        Not negative, sum one.

    References
    ----------
    van der Laan, Polley, Hubbard (2007), Super Learner, doi:10.2202/1544-6115.1309.
    """
    w = np.ones(len(target)) if weights is None else weights / weights.mean()
    if kind == "binary":
        return _least_log_loss(predictions, target, w)
    return _least_squares(predictions, target, w)


def _least_squares(predictions: Float64, target: Float64, w: Float64) -> Float64:
    root = np.sqrt(w)
    # with the sum at one, a common shift of target and predictions changes nothing: centring keeps the digits
    centre = float(np.average(target, weights=w))
    return _nearest((predictions - centre) * root[:, None], (target - centre) * root)


def _nearest(x: Float64, y: Float64) -> Float64:
    """Return the share on the simplex with the smallest sum of squares of ``x @ share - y``."""
    scale = max(float(np.abs(x).max()), float(np.abs(y).max()), 1e-12)
    # the last row holds the sum at one: heavy against the data, light against the digits of a double
    heavy = 1e3 * np.sqrt(len(y))
    weights, _ = scipy.optimize.nnls(np.vstack((x / scale, np.full((1, x.shape[1]), heavy))), np.append(y / scale, heavy))
    total = float(weights.sum())
    return np.asarray(weights / total if total > 0.0 else np.full(len(weights), 1.0 / len(weights)), dtype=np.float64)


def _least_log_loss(predictions: Float64, target: Float64, w: Float64) -> Float64:
    likelihood = np.where(target[:, None] > 0.5, predictions, 1.0 - predictions)
    share = np.full(predictions.shape[1], 1.0 / predictions.shape[1])
    held = w / w.sum()
    root = np.sqrt(held)
    for _ in range(_PASSES):
        ratio = likelihood / (likelihood @ share)[:, None]
        gains = held @ ratio
        # their average under the share is one; what the best of them has above one bounds the loss that can still be won
        if float(gains.max()) < 1.0 + _GAP:
            break
        # second order: -log(1 + z) is -z + z^2 / 2, least squares of z - 1, and z is linear where the sum stays one
        step = _nearest((ratio - 1.0) * root[:, None], root) - share
        size = 1.0
        slope = float(gains @ step)
        while size > _SHORTEST and float(held @ np.log1p(size * (ratio @ step))) < 0.25 * size * slope:
            size *= 0.5
        if slope <= 0.0 or size <= _SHORTEST:
            break
        share = np.maximum(share + size * step, 0.0)
        share /= share.sum()
    return share
