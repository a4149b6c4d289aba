"""Logistic fluctuation of Q: the targeting step of TMLE, one epsilon per arm."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.numerics.newton import halvings

#: Scaled predictions are kept this far from 0 and 1, so that their logits are finite.
MARGIN = 1e-9
#: Propensities are kept this far from 0 and 1 even where truncation is switched off.
FLOOR = 1e-9
#: The continuous range is widened by this share of itself, so that no outcome or prediction lies on a bound.
WIDENING = 0.01


def truncation_bound(n: int, rule: Literal["auto"] | float) -> float:
    """Return d: propensities are kept in [d, 1-d].

    ``auto`` is d = min(0.25, max(1e-6, 5 / (sqrt(n) ln n))) of Gruber, Phillips, Lee, van der Laan (2022),
    DOI 10.1093/aje/kwac087.

    Parameters
    ----------
    n : int
        Rows, at least 1.
    rule : "auto" or float
        A number in [0, 0.5) is returned as it is.

    Returns
    -------
    float
        In [0, 0.5).

    Raises
    ------
    SpecError
        If the rule is neither "auto" nor a number in [0, 0.5).
    """
    if isinstance(rule, str):
        if rule == "auto":
            return min(0.25, max(1e-6, 5.0 / (math.sqrt(n) * math.log(n)))) if n > 1 else 0.25
    elif 0.0 <= rule < 0.5:
        return float(rule)
    raise SpecError(f'truncation of the propensity must be "auto" or in [0, 0.5); got {rule}.', 'Leave it at "auto".')


def truncate(g: Float64, bound: float) -> tuple[Float64, Float64]:
    """Return P(A = 0 | W) and P(A = 1 | W), truncated to [d, 1-d].

    Both are multiples of 2^-53, so that complements are exact: swapping the arms (g to 1 - g) swaps the two
    results bit by bit, and every estimate changes its sign and nothing else.

    Parameters
    ----------
    g : ndarray, shape (n,)
        P(A = 1 | W), in [0, 1].
    bound : float
        d, in [0, 0.5); at least 1e-9 is used.

    Returns
    -------
    tuple of two ndarray, shape (n,)
        They sum to one.
    """
    complement = 1.0 - max(bound, FLOOR)
    p0 = np.clip(1.0 - np.asarray(g, dtype=np.float64), 1.0 - complement, complement)
    return p0, 1.0 - p0


class Fluctuation(NamedTuple):
    """A fitted fluctuation: logit Q*a = logit Qa + epsilon_a H_a on the scale (Q - low) / (high - low).

    The clever covariates of the ATE are H1 = 1/g and H0 = 1/(1-g), with g truncated to [d, 1-d]. Further estimands multiply them by
    functions b(W) of their own (their *directions*), each with an epsilon of its own: an indicator of a subgroup for its GATE, g for
    the ATT, whose clever covariates are 1 and g/(1-g).

    Attributes
    ----------
    epsilon0, epsilon1 : tuple of float, length 1 + k
        Coefficients of H0 (H1) in the control (treated) arm: of the ATE's, then of the k directions'.
    low, high : float
        Range of Q*, in units of the outcome.
    truncation : float
        d, in [0, 0.5).
    """

    epsilon0: tuple[float, ...]
    epsilon1: tuple[float, ...]
    low: float
    high: float
    truncation: float

    def apply(self, g: Float64, q0: Float64, q1: Float64, directions: Float64 | None = None) -> tuple[Float64, Float64]:
        """Target predictions, of these rows or of any others.

        Parameters
        ----------
        g : ndarray, shape (n,)
            P(A = 1 | W), not truncated.
        q0, q1 : ndarray, shape (n,)
            E[Y | A = 0, W] and E[Y | A = 1, W], in units of the outcome; clipped to [low, high].
        directions : ndarray, shape (n, k), optional
            b(W) of the further estimands the step was fitted for, at these rows.

        Returns
        -------
        tuple of two ndarray, shape (n,)
            Q*0 and Q*1, in units of the outcome, in [low, high].
        """
        p0, p1 = truncate(g, self.truncation)
        width = self.high - self.low
        star0 = _expit(_logit(q0, self.low, self.high) + _step(self.epsilon0, directions) / p0)
        star1 = _expit(_logit(q1, self.low, self.high) + _step(self.epsilon1, directions) / p1)
        # rounding may step over a bound by the last bit
        return np.clip(self.low + width * star0, self.low, self.high), np.clip(self.low + width * star1, self.low, self.high)


def fluctuate(
    a: Int8,
    y: Float64,
    nuisances: Nuisances,
    kind: str,
    truncation: float,
    weights: Float64 | None = None,
    directions: Float64 | None = None,
    bounds: tuple[float, float] | None = None,
) -> Fluctuation:
    """Fit the fluctuation: solve the efficient score equations of each arm.

    Finds epsilon_a such that sum_i w_i 1(A_i = a) H_a(W_i) b(W_i) (Y_i - Q*a(W_i)) = 0 for b = 1 and every direction b, by Newton's
    method (kept inside a bracket where there is one epsilon). The score is strictly decreasing in epsilon, so the root is unique; where
    all binary outcomes of an arm are the same it lies at infinity, and the first epsilon with a negligible score is returned.

    The plug-in mean of Q*1 - Q*0 is then the TMLE: van der Laan, Rose (2011), DOI 10.1007/978-1-4419-9782-1;
    logistic fluctuation of a bounded continuous outcome: Gruber, van der Laan (2010), DOI 10.2202/1557-4679.1260.

    Parameters
    ----------
    a : ndarray of int8, shape (n,)
        Treatment, 0 or 1.
    y : ndarray of float64, shape (n,)
        Outcome.
    nuisances : Nuisances
        Out-of-fold predictions, each (n,).
    kind : str
        ``"binary"`` scales by [0, 1]; ``"count"`` by [0, largest]; ``"continuous"`` by the range of outcomes and predictions.
        Predictions further than one outcome range outside the outcomes are clipped there.
    truncation : float
        d, in [0, 0.5).
    weights : ndarray of float64, shape (n,), optional
        Row weights, not negative; only their proportions count.
    directions : ndarray of float64, shape (n, k), optional
        b(W) of estimands beyond the ATE; linearly dependent ones are no harm.
    bounds : tuple of two float, optional
        Range of Q*, where the outcome's law has no other means; single outcomes may lie outside. By default that of the kind.

    Returns
    -------
    Fluctuation
        With sum w H (Y - Q*) at most 1e-10 sum w in either arm, on the scale [0, 1].

    Raises
    ------
    EstimationError
        If an arm has no row of positive weight.
    """
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=np.float64) * (len(y) / float(np.sum(weights)))
    low, high = _range(y, nuisances.q0, nuisances.q1, kind) if bounds is None else bounds
    scaled = (y - low) / (high - low)
    p0, p1 = truncate(nuisances.g, truncation)
    epsilons: list[tuple[float, ...]] = []
    for arm, p, q in ((0, p0, nuisances.q0), (1, p1, nuisances.q1)):
        rows = np.flatnonzero((a == arm) & (w > 0))
        if rows.size == 0:
            raise EstimationError(f"rows of arm {arm} must be at least 1; got 0.", "Both treatment arms are needed.")
        clever = 1.0 / p[rows]
        offset = _logit(q[rows], low, high)
        one = _solve(scaled[rows], offset, clever, w[rows], 1e-10 * len(y))
        if directions is None:
            epsilons.append((one,))
        else:
            several = clever[:, None] * np.column_stack((np.ones(rows.size), directions[rows]))
            epsilons.append(_solve_several(scaled[rows], offset, several, w[rows], 1e-10 * len(y), one))
    return Fluctuation(epsilons[0], epsilons[1], low, high, float(truncation))


def _step(epsilon: tuple[float, ...], directions: Float64 | None) -> float | Float64:
    """Return epsilon b(W), shape (n,), or the one number it is without directions."""
    if directions is None:
        return epsilon[0]
    return np.asarray(epsilon[0] + directions @ np.array(epsilon[1:]), dtype=np.float64)


def _range(y: Float64, q0: Float64, q1: Float64, kind: str) -> tuple[float, float]:
    """Bounds of Q*: they move with the outcome's location and scale (count: scale), and don't know which arm is which."""
    if kind == "binary":
        return 0.0, 1.0
    least, most = float(np.min(y)), float(np.max(y))
    reach = most - least
    low = max(min(least, float(np.min(q0)), float(np.min(q1))), least - reach)
    high = min(max(most, float(np.max(q0)), float(np.max(q1))), most + reach)
    if kind == "count":
        low, high = 0.0, high if high > 0.0 else 1.0
        return low, high * (1.0 + WIDENING)
    width = high - low
    if width <= 0.0:
        return low - 0.5, low + 0.5
    return low - WIDENING * width, high + WIDENING * width


def _logit(q: Float64, low: float, high: float) -> Float64:
    unit = np.clip((np.asarray(q, dtype=np.float64) - low) / (high - low), MARGIN, 1.0 - MARGIN)
    return np.asarray(np.log(unit) - np.log1p(-unit), dtype=np.float64)


def _expit(x: npt.NDArray[np.float64]) -> Float64:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -700.0, 700.0))), dtype=np.float64)


def _solve(y: Float64, offset: Float64, h: Float64, w: Float64, tolerance: float) -> float:
    """Root of the decreasing score(e) = sum w h (y - expit(offset + e h))."""

    def score(e: float) -> tuple[float, float]:
        mean = _expit(offset + e * h)
        return float(np.sum(w * h * (y - mean))), float(np.sum(w * h * h * mean * (1.0 - mean)))

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


def _solve_several(y: Float64, offset: Float64, h: Float64, w: Float64, tolerance: float, first: float) -> tuple[float, ...]:
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
        mean = _expit(offset + h @ at)
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
