"""Entropy balancing of a covariate pool: weights that stay close to uniform and meet the source's means."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64
from tasks.numerics.newton import halvings

# penalties tried in turn, in squared standard deviations of the pool: none, then as little as is needed
_PENALTIES: tuple[float, ...] = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_TOLERANCE = 1e-10  # largest gap of a mean, in standard deviations of the pool
_RANK = 1e-9  # eigenvalue of the pool's correlations below which a direction doesn't vary
_PASSES = 50
_STEEPEST = 50.0  # log-weight per standard deviation at which the dual is taken to run away


class Balance(NamedTuple):
    """Fitted balancing weights, to be applied to any pool drawn from the same law.

    Attributes
    ----------
    coefficients : ndarray of float64, shape (p,)
        Lambda: the log-weight of a row is a constant plus its features times these.
    ceiling : float
        Largest weight of a row relative to the uniform weight.
    target, achieved : ndarray of float64, shape (p,)
        Target means, met on the pool it was fitted on.
    ess : float
        Effective sample share of the pool, (sum w)^2 / (N sum w^2), in (0, 1].
    capped : float
        Share of pool rows whose weight is held at the ceiling.
    relaxed : float
        How far the target was moved towards the pool's means: 0 is not at all, 1 is no balancing. A distance that sampling errors of both
        means explain counts as long as these are, so that what was missed of it weighs little.
    feasible : bool
        Whether all means meet their targets (within 1e-8 standard deviations of the pool).
    """

    coefficients: Float64
    ceiling: float
    target: Float64
    achieved: Float64
    ess: float
    capped: float
    relaxed: float
    feasible: bool


def balance(
    pool: Float64,
    target: Float64,
    ceiling: float = 4.0,
    min_ess: float = 0.05,
    kept: int = 0,
    rank: float = _RANK,
    rows: float = np.inf,
) -> Balance:
    """Choose the weights closest to uniform under which the pool's means are the target's.

    Minimises ``sum w log w`` subject to ``sum w x = target``, ``sum w = 1`` and ``w <= ceiling / N`` through its dual,
    whose gradient is the gap of the means; the optimum is ``w_i = min(ceiling / N, exp(nu + lambda x_i))``. With the
    ceiling inside the problem, the capped weights themselves meet the means. Where the target can't be met, or only with
    weights on too few rows, a ridge penalty on lambda moves it towards the pool's means, most in the directions that
    cost most; the smallest penalty that works is used. It spares the last ``kept`` features, which carry the effect, unless
    they can't be met at all.

    Parameters
    ----------
    pool : ndarray of float64, shape (N, p)
        Features of pool rows.
    target : ndarray of float64, shape (p,)
        Means of the source.
    ceiling : float
        Largest weight relative to the uniform one, above 1; N / n lets a systematic sample of n rows take no row twice.
    min_ess : float
        Smallest effective sample share accepted, in (0, 1].
    kept : int
        Number of features, the last ones, whose means are given up last.
    rank : float
        Eigenvalue of the pool's correlations below which a direction counts as not varying.
    rows : float
        Rows that the target is a mean of; by default it is known exactly.

    Returns
    -------
    Balance

    Raises
    ------
    EstimationError
        If the pool has no rows, the ceiling is not above 1, or a mean is not finite.

    References
    ----------
    Hainmueller (2012), Entropy balancing for causal effects, Political Analysis 20, doi:10.1093/pan/mpr025.
    """
    if len(pool) == 0:
        raise EstimationError("pool of calibration must be at least 1 row; got 0.", "Draw a larger pool.")
    if not np.isfinite(target).all() or not np.isfinite(pool).all():
        raise EstimationError("means of calibration must be finite; got one that is not.", "Look for infinite covariates.")
    if ceiling < 1.0:
        raise EstimationError(f"ceiling of calibration must be at least 1; got {ceiling}.", "Draw a pool at least as large as the release.")
    centre, spread = pool.mean(axis=0), pool.std(axis=0)
    varies = spread > 1e-12 * np.maximum(1.0, np.abs(centre))
    scale = np.where(varies, spread, 1.0)
    z, goal = (pool - centre) / scale * varies, (target - centre) / scale * varies
    values, vectors = np.linalg.eigh(z.T @ z / len(z))
    basis = vectors[:, values > rank]
    rotated, wanted = z @ basis, goal @ basis
    lost = float(np.abs((target - centre) / scale - wanted @ basis.T).max(initial=0.0))
    spared = np.arange(pool.shape[1]) >= pool.shape[1] - kept
    gentle = basis[~spared].T @ basis[~spared]
    chosen = _solve_in_turn(rotated, wanted, ceiling, min_ess, gentle)
    coefficients = (basis @ chosen) / scale
    w = weights(pool, coefficients, ceiling)
    achieved = w @ pool
    gap = float((np.abs(achieved - target) / scale).max(initial=0.0))
    moved, target_shift = (achieved - centre) / scale, (target - centre) / scale
    # two means of the same law are that far apart, squared and in standard deviations
    chance = float(varies.sum()) * (1.0 / rows + 1.0 / len(pool)) if np.isfinite(rows) else 0.0
    length = max(float(target_shift @ target_shift), chance)
    relaxed = 0.0 if length == 0.0 else float(np.clip((target_shift - moved) @ target_shift / length, 0.0, 1.0))
    met = gap <= 1e-8 and lost <= 1e-8
    return Balance(
        coefficients=coefficients,
        ceiling=float(ceiling),
        target=np.array(target, dtype=np.float64),
        achieved=achieved,
        ess=_ess_share(w),
        capped=float(np.mean(w >= (1.0 - 1e-9) * ceiling / len(pool))),
        relaxed=0.0 if met else relaxed,
        feasible=met,
    )


def weights(pool: Float64, coefficients: Float64, ceiling: float) -> Float64:
    """Return the weights of any pool's rows, shape (N,): not negative, sum 1, at most ``ceiling / N``.

    Parameters
    ----------
    pool : ndarray of float64, shape (N, p)
        Features.
    coefficients : ndarray of float64, shape (p,)
        Lambda of :class:`Balance`.
    ceiling : float
        Largest weight relative to the uniform one; at least 1.
    """
    return _capped(pool @ coefficients, ceiling)


def _capped(eta: Float64, ceiling: float) -> Float64:
    """Normalise exp(eta) to sum 1 with no weight above ceiling / N: the constant nu is found exactly, by sorting."""
    n = len(eta)
    cap = ceiling / n
    order = np.argsort(-eta, kind="stable")
    # a weight of 1e-260 is none, but keeps every quotient below finite
    raw = np.exp(np.maximum(eta[order] - eta[order[0]], -600.0))
    # if the k largest weights are capped, the others share what is left in proportion
    rest = np.cumsum(raw[::-1])[::-1]
    k = np.arange(n)
    left = np.maximum(1.0 - k * cap, 0.0)
    fits = left * raw <= cap * rest * (1.0 + 1e-15)
    first = int(np.argmax(fits)) if fits.any() else n - 1
    w = np.empty(n)
    w[order[:first]] = cap
    w[order[first:]] = raw[first:] * (left[first] / rest[first])
    return np.minimum(w, cap)


def _solve_in_turn(z: Float64, goal: Float64, ceiling: float, min_ess: float, gentle: Float64) -> Float64:
    """Return lambda of the smallest penalty under which the dual converges with enough rows in use; the gentle form is tried first."""
    theta = np.zeros(z.shape[1])
    for penalty in [*(size * gentle for size in _PENALTIES), *(size * np.eye(z.shape[1]) for size in _PENALTIES[1:])]:
        solution = _newton(z, goal, ceiling, penalty)
        if solution is not None and _ess_share(_capped(z @ solution, ceiling)) >= min_ess:
            return solution
    return theta


def _newton(z: Float64, goal: Float64, ceiling: float, penalty: Float64) -> Float64 | None:
    """Minimise the dual by damped Newton steps; None where it has no minimum within reach."""
    b = np.zeros(z.shape[1])
    value, gradient, hessian = _dual(z, goal, ceiling, penalty, b)
    for _ in range(_PASSES):
        if float(np.abs(gradient).max(initial=0.0)) <= _TOLERANCE:
            return b
        step = -np.linalg.solve(hessian + 1e-12 * np.eye(len(b)), gradient)
        decrement = -float(gradient @ step)
        for length in halvings(1e-10, min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-300))):
            following = b + length * step
            next_value, next_gradient, next_hessian = _dual(z, goal, ceiling, penalty, following)
            # near the minimum values agree to rounding: there a smaller gradient is progress enough
            flat = abs(next_value - value) <= 1e-13 * max(1.0, abs(value)) and np.linalg.norm(next_gradient) < np.linalg.norm(gradient)
            if next_value <= value - 1e-4 * length * decrement or flat:
                break
        else:
            return None
        if float(np.abs(following).max()) > _STEEPEST:
            return None
        b, value, gradient, hessian = following, next_value, next_gradient, next_hessian
    return None


def _dual(z: Float64, goal: Float64, ceiling: float, penalty: Float64, b: Float64) -> tuple[float, Float64, Float64]:
    """Return the dual's value, gradient (the gap of the means) and Hessian, nu profiled out."""
    eta = z @ b
    w = _capped(eta, ceiling)
    cap = ceiling / len(z)
    free = w < cap * (1.0 - 1e-12)
    positive = w > 0.0
    # nu + eta = log w where free; for capped rows the conjugate is linear in eta
    entropy = float(w[positive] @ np.log(w[positive] * len(z)))
    value = float(w @ eta) - entropy - float(goal @ b) + 0.5 * float(b @ penalty @ b)
    gradient = z.T @ w - goal + penalty @ b
    inside = z[free]
    share = w[free]
    total = float(share.sum())
    mean = share @ inside / total if total > 0.0 else np.zeros(len(b))
    hessian = (inside * share[:, None]).T @ inside - total * np.outer(mean, mean) + penalty
    return value, gradient, hessian


def _ess_share(w: Float64) -> float:
    return float(1.0 / (len(w) * float(w @ w)))
