"""A ridge-penalised multinomial logit whose strength is chosen by leave-one-out, without refitting: g of more than two arms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.special

from tasks.contract.nuisance import Float64, Int8
from tasks.nuisance.design import arm_codes
from tasks.nuisance.ridge import STRENGTHS, RidgeFit
from tasks.numerics.newton import factor, halvings, newton_step
from tasks.numerics.products import weighted_gram

_ETA = 30.0  # |linear predictor| beyond which a probability is numerically at its bound
_LEVERAGE = 1e-3  # smallest share of itself that a row is left with when it is left out
_STEPS = 50


class _Rows(NamedTuple):
    """Design (n, p), arms as indicators (n, K), weights (n,) and the codes of the arms (K, K - 1)."""

    x: Float64
    hit: Float64
    w: Float64
    codes: Float64


class _Point(NamedTuple):
    """Coefficients (p, K - 1) and the probabilities (n, K) they give."""

    theta: Float64
    p: Float64
    objective: float


def probabilities(x: Float64, theta: Float64) -> Float64:
    """Return P(A = k | x), shape (n, K), of a design (n, p) and coefficients (p, K - 1)."""
    return shares_of(x @ theta)


def shares_of(linear: Float64) -> Float64:
    """Return P(A = k | x), shape (n, K), of linear predictors (n, K - 1)."""
    eta = np.clip(linear @ arm_codes(linear.shape[1] + 1).T, -_ETA, _ETA)
    return np.asarray(scipy.special.softmax(eta, axis=1))


def fit_multinomial(
    x: Float64, arm: Int8, arms: int, penalty: Float64, weights: Float64 | None = None, strengths: Sequence[float] = STRENGTHS
) -> RidgeFit:
    """Fit a multinomial logit along a path of ridge strengths and keep the one with the least leave-one-out loss.

    Minimises ``-sum_i w_i log p_{a_i}(x_i) + n s v / 2 sum_j penalty_j |theta_j|^2`` by damped Newton steps. The logits are
    ``x theta C'`` with the codes C of :func:`tasks.nuisance.design.arm_codes`, so that the fit does not depend on how the arms are
    numbered, and that of two arms is :func:`tasks.nuisance.ridge.fit_ridge`'s. v is the mean information of one row about a
    coefficient at the arms' shares.

    Parameters
    ----------
    x : ndarray of float64, shape (n, p)
        Design, intercept included.
    arm : ndarray of int8, shape (n,)
        0, ..., K - 1; every arm is there.
    arms : int
        K.
    penalty : ndarray of float64, shape (p,)
        Relative penalty of each column, 0 for columns left free.
    weights : ndarray of float64, shape (n,), optional
        Row weights, rescaled to mean 1.
    strengths : sequence of float
        Candidates, descending.

    Returns
    -------
    RidgeFit
        Its coefficients are of shape (p, K - 1).

    References
    ----------
    Boehning (1992), Multinomial logistic regression algorithm, doi:10.1007/BF00048682; leave-one-out: Rad, Maleki (2020),
    doi:10.1111/rssb.12374.
    """
    w = np.ones(len(arm)) if weights is None else weights / weights.mean()
    rows = _Rows(x, np.eye(arms)[arm], w, arm_codes(arms))
    share = np.average(rows.hit, axis=0, weights=w)
    unit = float(np.trace(rows.codes.T @ (np.diag(share) - np.outer(share, share)) @ rows.codes)) / (arms - 1)
    theta = np.zeros((x.shape[1], arms - 1))
    best: RidgeFit | None = None
    for strength in strengths:
        diagonal = penalty * (strength * max(unit, 1e-3) * len(arm))
        point = _newton(rows, diagonal, theta)
        theta = point.theta
        loss = _left_out(rows, diagonal, point)
        if best is None or loss < best.loss:
            best = RidgeFit(theta, strength, loss)
    if best is None:
        raise ValueError("strengths of a multinomial fit must be at least one; got none.")
    return best


def _at(rows: _Rows, diagonal: Float64, theta: Float64) -> _Point:
    p = probabilities(rows.x, theta)
    likelihood = np.einsum("ik,ik->i", p, rows.hit)
    loss = -float(rows.w @ np.log(np.maximum(likelihood, 1e-300)))
    return _Point(theta, p, loss + 0.5 * float(np.sum(diagonal[:, None] * theta**2)))


def _information(rows: _Rows, p: Float64) -> Float64:
    """Return each row's information about its K - 1 coded logits, shape (n, K - 1, K - 1)."""
    mean = p @ rows.codes
    second = np.einsum("ik,kj,kl->ijl", p, rows.codes, rows.codes)
    return np.asarray(second - mean[:, :, None] * mean[:, None, :])


def _hessian(rows: _Rows, information: Float64) -> Float64:
    """Return the information of all rows about the stacked columns of theta, shape (p (K - 1), p (K - 1))."""
    p, c = rows.x.shape[1], rows.codes.shape[1]
    out = np.empty((c * p, c * p))
    for j in range(c):
        for i in range(j + 1):
            weight = rows.w * information[:, i, j]
            # a product of two codes has either sign: the Gram matrix is the difference of two
            block = weighted_gram(rows.x, np.maximum(weight, 0.0))
            if i != j:
                block = block - weighted_gram(rows.x, np.maximum(-weight, 0.0))
            out[i * p : (i + 1) * p, j * p : (j + 1) * p] = block
            out[j * p : (j + 1) * p, i * p : (i + 1) * p] = block.T
    return out


def _newton(rows: _Rows, diagonal: Float64, start: Float64) -> _Point:
    """Minimise the penalised loss from a starting point."""
    at = _at(rows, diagonal, start)
    several = np.tile(diagonal, rows.codes.shape[1])
    for _ in range(_STEPS):
        residual = (rows.w[:, None] * (at.p - rows.hit)) @ rows.codes
        gradient = (rows.x.T @ residual + diagonal[:, None] * at.theta).T.ravel()
        step = newton_step(_hessian(rows, _information(rows, at.p)), several, gradient)
        decrement = -float(gradient @ step)
        change = step.reshape(at.theta.T.shape).T
        for length in halvings(1e-8):
            following = _at(rows, diagonal, at.theta + length * change)
            if following.objective <= at.objective - 1e-4 * length * decrement:
                break
        else:
            break
        at = following
        if decrement <= 1e-10 * len(rows.w):
            break
    return at


def _left_out(rows: _Rows, diagonal: Float64, at: _Point) -> float:
    """Return the mean loss of each row under the fit that would have left it out (one Newton step away)."""
    p, c = rows.x.shape[1], rows.codes.shape[1]
    information = rows.w[:, None, None] * _information(rows, at.p)
    triangle = factor(_hessian(rows, _information(rows, at.p)), np.tile(diagonal, c))
    inverse = scipy.linalg.cho_solve(triangle, np.eye(c * p), check_finite=False)
    leverage = np.empty((len(rows.w), c, c))
    for i in range(c):
        for j in range(i + 1):
            block = inverse[i * p : (i + 1) * p, j * p : (j + 1) * p]
            leverage[:, i, j] = leverage[:, j, i] = np.einsum("ij,ij->i", rows.x @ block, rows.x)
    gradient = (rows.w[:, None] * (at.p - rows.hit)) @ rows.codes
    left = (1.0 + _LEVERAGE) * np.eye(c) - information @ leverage
    moved = rows.x @ at.theta + np.einsum("ijk,ik->ij", leverage, np.linalg.solve(left, gradient[:, :, None])[:, :, 0])
    logs = scipy.special.log_softmax(np.clip(moved @ rows.codes.T, -_ETA, _ETA), axis=1)
    return float(-np.average(np.einsum("ik,ik->i", logs, rows.hit), weights=rows.w))
