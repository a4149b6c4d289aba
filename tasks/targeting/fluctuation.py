"""Logistic fluctuation of Q: the targeting step of TMLE, one epsilon per arm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.numerics.blocked import kept
from tasks.targeting.scores import expit, solve_one, solve_several

#: Scaled predictions are kept this far from 0 and 1, so that their logits are finite.
MARGIN = 1e-9
#: Propensities are kept this far from 0 and 1 even where truncation is switched off.
FLOOR = 1e-9
#: The continuous range is widened by this share of itself, so that no outcome or prediction lies on a bound.
WIDENING = 0.01


def truncation_bound(n: int, rule: Literal["auto"] | float, arms: int = 2) -> float:
    """Return d: propensities are kept in [d, 1-d].

    ``auto`` is d = min(1 / (2K), max(1e-6, 5 / (sqrt(n) ln n))), of two arms that of Gruber, Phillips, Lee, van der Laan (2022),
    DOI 10.1093/aje/kwac087.

    Parameters
    ----------
    n : int
        Rows, at least 1.
    rule : "auto" or float
        A number in [0, 1/K) is returned as it is.
    arms : int
        K.

    Returns
    -------
    float
        In [0, 1/K).

    Raises
    ------
    SpecError
        If the rule is neither "auto" nor a number in [0, 1/K).
    """
    most = 1.0 / arms
    if isinstance(rule, str):
        if rule == "auto":
            return min(most / 2, max(1e-6, 5.0 / (math.sqrt(n) * math.log(n)))) if n > 1 else most / 2
    elif 0.0 <= rule < most:
        return float(rule)
    raise SpecError(f'truncation of the propensity must be "auto" or in [0, {most:.3g}); got {rule}.', 'Leave it at "auto".')


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
    p0 = np.clip(1.0 - g, 1.0 - complement, complement)
    return p0, 1.0 - p0


def truncate_arms(nuisances: Nuisances, bound: float) -> tuple[Float64, ...]:
    """Return P(A = k | W) of every arm, truncated to [d, 1-d]: K arrays of shape (n,).

    Of two arms they are those of :func:`truncate` and sum to one; of more only the lower bound matters, and they need not.

    Parameters
    ----------
    nuisances : Nuisances
    bound : float
        d, in [0, 1/K); at least 1e-9 is used.
    """
    if nuisances.arms == 2:
        return truncate(nuisances.g, bound)
    held = max(bound, FLOOR)
    return tuple(np.clip(p, held, 1.0 - held) for p in nuisances.propensities)


class Fluctuation(NamedTuple):
    """A fitted fluctuation: logit Q*a = logit Qa + epsilon_a H_a on the scale (Q - low) / (high - low).

    The clever covariates of the arms' means are H_a = 1 / P(A = a | W), truncated to [d, 1-d]. Further estimands multiply them by
    functions b(W) of their own (their *directions*), each with an epsilon of its own: an indicator of a subgroup for its GATE, g for
    the ATT, whose clever covariates are 1 and g/(1-g).

    Attributes
    ----------
    epsilons : tuple of K tuples of float, each of length 1 + k
        By arm, the control first: coefficient of H_a, then those of the k directions.
    low, high : float
        Range of Q*, in units of the outcome.
    truncation : float
        d, in [0, 0.5).
    """

    epsilons: tuple[tuple[float, ...], ...]
    low: float
    high: float
    truncation: float

    def apply(self, nuisances: Nuisances, directions: Float64 | None = None) -> tuple[Float64, ...]:
        """Target predictions, of these rows or of any others.

        Parameters
        ----------
        nuisances : Nuisances
            Of n rows, propensities not truncated; outcome regressions are clipped to [low, high].
        directions : ndarray, shape (n, k), optional
            b(W) of the further estimands the step was fitted for, at these rows.

        Returns
        -------
        tuple of K ndarray, shape (n,)
            Q* of every arm, in units of the outcome, in [low, high].
        """
        width = self.high - self.low
        stars = []
        for epsilon, p, q in zip(self.epsilons, truncate_arms(nuisances, self.truncation), nuisances.outcomes, strict=True):
            star = expit(_logit(q, self.low, self.high) + _step(epsilon, directions) / p)
            # rounding may step over a bound by the last bit
            stars.append(np.clip(self.low + width * star, self.low, self.high))
        return tuple(stars)


def fluctuate(
    a: Int8,
    y: Float64,
    nuisances: Nuisances,
    kind: str,
    truncation: float,
    weights: Float64 | None = None,
    directions: Float64 | None = None,
    bounds: tuple[float, float] | None = None,
    main: bool = True,
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
        Treatment, 0, ..., K - 1.
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
    main : bool
        Whether the arms' means are estimands, beside those of ``directions``; where not, their epsilon is 0.

    Returns
    -------
    Fluctuation
        With sum w H (Y - Q*) at most 1e-10 sum w in either arm, on the scale [0, 1].

    Raises
    ------
    EstimationError
        If an arm has no row of positive weight.
    """
    w = np.ones_like(y) if weights is None else weights * (len(y) / float(np.sum(weights)))
    low, high = _range(y, nuisances.outcomes, kind) if bounds is None else bounds
    scaled = (y - low) / (high - low)
    epsilons: list[tuple[float, ...]] = []
    for arm, (p, q) in enumerate(zip(truncate_arms(nuisances, truncation), nuisances.outcomes, strict=True)):
        rows = (a == arm) & (w > 0)
        if not rows.any():
            raise EstimationError(f"rows of arm {arm} must be at least 1; got 0.", "Every treatment arm is needed.")
        here, clever, offset, w_here = kept(scaled[rows], 1.0 / p[rows], _logit(q[rows], low, high), w[rows])
        if not main and directions is not None:
            several = clever[:, None] * directions[rows]
            epsilons.append((0.0, *solve_several(here, offset, several, w_here, 1e-10 * len(y), 0.0)))
            continue
        one = solve_one(here, offset, clever, w_here, 1e-10 * len(y))
        if directions is None:
            epsilons.append((one,))
        else:
            several = clever[:, None] * np.column_stack((np.ones_like(here), directions[rows]))
            epsilons.append(solve_several(here, offset, several, w_here, 1e-10 * len(y), one))
    return Fluctuation(tuple(epsilons), low, high, float(truncation))


def _step(epsilon: tuple[float, ...], directions: Float64 | None) -> float | Float64:
    """Return epsilon b(W), shape (n,), or the one number it is without directions."""
    if directions is None:
        return epsilon[0]
    step: Float64 = epsilon[0] + directions @ np.array(epsilon[1:])
    return step


def _range(y: Float64, outcomes: Sequence[Float64], kind: str) -> tuple[float, float]:
    """Bounds of Q*: they move with the outcome's location and scale (count: scale), and don't know which arm is which."""
    if kind == "binary":
        return 0.0, 1.0
    least, most = float(np.min(y)), float(np.max(y))
    reach = most - least
    low = max(min(least, *(float(np.min(q)) for q in outcomes)), least - reach)
    high = min(max(most, *(float(np.max(q)) for q in outcomes)), most + reach)
    if kind == "count":
        low, high = 0.0, high if high > 0.0 else 1.0
        return low, high * (1.0 + WIDENING)
    width = high - low
    if width <= 0.0:
        return low - 0.5, low + 0.5
    return low - WIDENING * width, high + WIDENING * width


def _logit(q: Float64, low: float, high: float) -> Float64:
    unit = np.clip((q - low) / (high - low), MARGIN, 1.0 - MARGIN)
    return np.log(unit) - np.log1p(-unit)
