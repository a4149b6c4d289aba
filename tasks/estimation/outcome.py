"""The law of the outcome by arm, source against release."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64, Int8
from tasks.targeting.fluctuation import truncate
from tasks.targeting.influence import effective_size

#: 95 % point of Kolmogorov's limit law.
KOLMOGOROV95 = 1.3581015157406195


class ArmDistance(NamedTuple):
    """How far the outcome's law in one arm of the release is from the source's.

    Attributes
    ----------
    arm : int
        0 or 1.
    distance : float
        Kolmogorov distance between the two weighted distribution functions, in [0, 1].
    scale : float
        What two samples of one law, of these effective sizes, exceed in 5 % of cases; conservative where values repeat.
    source_size, release_size : float
        Kish's effective sizes of the weights.
    sd_ratio, sd_ratio_se : float
        Standard deviation of the release's outcome over the source's, and its standard error; NaN where the source's is 0.
    """

    arm: int
    distance: float
    scale: float
    source_size: float
    release_size: float
    sd_ratio: float
    sd_ratio_se: float


class OutcomeDistance(NamedTuple):
    """Both arms."""

    control: ArmDistance
    treated: ArmDistance

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: the record ``fidelity.outcome_distance``, None for what is not a number."""
        return {
            "arms": [
                {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in arm._asdict().items()}
                for arm in self
            ]
        }


def arm_weights(a: Int8, g: Float64, truncation: float) -> Float64:
    """Return 1 / P(A = a | W): with them the rows of either arm stand for the whole population.

    Parameters
    ----------
    a : ndarray of int8, shape (n,)
        Treatment, 0 or 1.
    g : ndarray of float64, shape (n,)
        P(A = 1 | W).
    truncation : float
        d, in [0, 0.5): propensities are kept in [d, 1-d].

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    p0, p1 = truncate(g, truncation)
    return 1.0 / np.where(a == 1, p1, p0)


def outcome_distance(
    source: tuple[Int8, Float64],
    release: tuple[Int8, Float64],
    source_weights: Float64 | None = None,
    release_weights: Float64 | None = None,
) -> OutcomeDistance:
    """Compare the outcome's law arm by arm.

    The release's arms differ from the source's even where every outcome mechanism is right: treatment is assigned otherwise. So the rows
    of each arm are weighted to stand for the whole table: the source's by :func:`arm_weights`, the release's too where its design is not
    randomized. What is compared is then the law of Y(a), identified as in the source (no hidden confounder, overlap).

    Parameters
    ----------
    source, release : tuple of ndarray of int8 and ndarray of float64, shape (n,) and (m,)
        Treatment and outcome.
    source_weights, release_weights : ndarray of float64, optional
        Row weights, positive; none: all alike.

    Returns
    -------
    OutcomeDistance
        ``scale`` is 1.36 sqrt((n1 + n2) / (n1 n2)) with Kish's effective sizes n1, n2.

    Raises
    ------
    EstimationError
        If shapes differ, a value is not finite, or an arm has fewer than two rows.
    """
    tables = [_checked(owner, *given) for owner, given in (("source", (source, source_weights)), ("release", (release, release_weights)))]
    arms = []
    for arm in (0, 1):
        sides = []
        for owner, (a, y, w) in zip(("source", "release"), tables):
            rows = a == arm
            if int(np.count_nonzero(rows)) < 2:
                raise EstimationError(f"rows of arm {arm} of the {owner} must be at least 2; got {int(np.count_nonzero(rows))}.")
            sides.append((y[rows], w[rows] / float(w[rows].sum())))
        arms.append(_arm_distance(arm, sides[0], sides[1]))
    return OutcomeDistance(arms[0], arms[1])


def weighted_kolmogorov(y: Float64, weights: Float64, other: Float64, other_weights: Float64) -> float:
    """Return the largest distance between two weighted distribution functions, in [0, 1]; weights sum to one."""
    points = np.concatenate([y, other])
    steps = np.concatenate([weights, -other_weights])
    order = np.argsort(points, kind="stable")
    difference = np.cumsum(steps[order])
    # a tied value counts whole: only the last of its rows closes the step
    ends = np.append(np.flatnonzero(np.diff(points[order]) != 0.0), len(points) - 1)
    return float(min(1.0, np.max(np.abs(difference[ends]))))


def _arm_distance(arm: int, source: tuple[Float64, Float64], release: tuple[Float64, Float64]) -> ArmDistance:
    sizes = effective_size(source[1]), effective_size(release[1])
    scale = KOLMOGOROV95 * math.sqrt(1.0 / sizes[0] + 1.0 / sizes[1])
    (log_sd, log_sd_error), (drawn, drawn_error) = (_log_sd(*side) for side in (source, release))
    finite = math.isfinite(log_sd)
    ratio = math.exp(drawn - log_sd) if finite else math.nan
    error = ratio * math.hypot(log_sd_error, drawn_error) if finite and ratio > 0.0 else math.nan
    return ArmDistance(arm, weighted_kolmogorov(*source, *release), scale, sizes[0], sizes[1], ratio, error)


def _log_sd(y: Float64, weights: Float64) -> tuple[float, float]:
    """Return the log of a weighted standard deviation and its standard error by influence values; minus infinity where nothing varies."""
    squares = (y - float(weights @ y)) ** 2
    variance = float(weights @ squares)
    if float(np.ptp(y)) == 0.0 or variance <= 0.0:
        return -math.inf, math.nan
    influence = (squares - variance) / (2.0 * variance)
    return 0.5 * math.log(variance), math.sqrt(float(np.sum((weights * influence) ** 2)))


def _checked(owner: str, table: tuple[Int8, Float64], weights: Float64 | None) -> tuple[Int8, Float64, Float64]:
    a, y = np.asarray(table[0]), np.asarray(table[1], dtype=np.float64)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=np.float64)
    if not a.shape == y.shape == w.shape or y.ndim != 1:
        raise EstimationError(f"treatment, outcome and weights of the {owner} must be of one length; got {a.shape}, {y.shape}, {w.shape}.")
    if not (np.isfinite(y).all() and np.isfinite(w).all() and np.all(w > 0.0)):
        raise EstimationError(f"outcome of the {owner} must be finite and its weights positive; got others.")
    return a, y, w
