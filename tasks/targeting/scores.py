"""Roots of the scores of a logistic fluctuation: one epsilon inside a bracket, several by damped Newton steps."""

from __future__ import annotations

import numpy as np

from tasks.contract.nuisance import Float64
from tasks.numerics.blocked import sums
from tasks.numerics.newton import halvings


def expit(x: Float64) -> Float64:
    """Return 1 / (1 + exp(-x)), of any x."""
    return 1.0 / (1.0 + np.exp(-np.clip(x, -700.0, 700.0)))


def solve_one(y: Float64, offset: Float64, h: Float64, w: Float64, tolerance: float) -> float:
    """Root of the decreasing score(e) = sum w h (y - expit(offset + e h))."""

    def score(e: float) -> tuple[float, float]:
        mean = expit(offset + e * h)
        value, slope = sums(w * h * (y - mean), w * h * h * mean * (1.0 - mean))
        return float(value), float(slope)

    at = 0.0
    value, slope = score(at)
    if value == 0.0:
        return at
    # bracket the root; the last doubling moves every logit by more than 60, where the score can't change any more
    sign = 1.0 if value > 0.0 else -1.0
    near, far, furthest = 0.0, sign / float(np.max(h)), 120.0 / float(np.min(h))
    beyond = score(far)[0]
    while abs(far) < furthest and sign * beyond > tolerance:
        near, far = far, 2.0 * far
        beyond = score(far)[0]
    best = min((abs(value), 0.0), (abs(beyond), far))
    at = near
    for _ in range(200):
        value, slope = score(at)
        best = min(best, (abs(value), at))
        if abs(value) <= 1e-2 * tolerance:
            break
        if sign * value > 0.0:
            near = at
        else:
            far = at
        middle = 0.5 * (near + far)
        proposal = at + value / slope if slope > 0.0 else middle
        inside = min(near, far) < proposal < max(near, far)
        following = proposal if inside else middle
        if following in (near, far):
            break
        at = following
    return best[1]


def solve_several(y: Float64, offset: Float64, h: Float64, w: Float64, tolerance: float, first: float) -> tuple[float, ...]:
    """Root of score(e) = sum w h (y - expit(offset + h e)), which is the gradient of a concave log likelihood: damped Newton steps.

    Starts from the root of the first score alone. Where the likelihood has no maximum (all outcomes of a subgroup's arm alike) steps
    end when the likelihood no longer rises: the score is negligible there.
    """

    def likelihood(e: Float64) -> float:
        x = offset + h @ e
        return float(w @ (y * x - np.logaddexp(0.0, x)))

    at = np.zeros(h.shape[1])
    at[0] = first
    value = likelihood(at)
    for _ in range(100):
        mean = expit(offset + h @ at)
        score = h.T @ (w * (y - mean))
        if float(np.abs(score).max()) <= 1e-2 * tolerance:
            break
        information = (h * (w * mean * (1.0 - mean))[:, None]).T @ h
        # least squares: directions may be linearly dependent
        step = np.linalg.lstsq(information, score, rcond=1e-12)[0]
        for length in halvings(1e-10):
            beyond = likelihood(at + length * step)
            if beyond > value:
                break
        else:
            break
        at, value = at + length * step, beyond
    return tuple(float(e) for e in at)
