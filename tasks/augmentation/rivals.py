"""What else could be done: nothing, overlap weights, trimming, pooling; each with its estimated squared error of the ATE."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tasks.augmentation.agreement import Recalibration, conflict
from tasks.augmentation.criterion import Inputs, Point, fused, noise, nothing_of, spread
from tasks.augmentation.effects import estimator
from tasks.augmentation.filling import Filling, fill
from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.contract.results import Estimate

#: Rows with g outside [0.1, 0.9] are trimmed: Crump, Hotz, Imbens, Mitnik (2009), DOI 10.1093/biomet/asn055.
TRIM = 0.1
#: Fewest rows of either arm that a trimmed table must keep.
FEWEST = 10


class Rival(NamedTuple):
    """One thing to do about missing support.

    Attributes
    ----------
    name : str
        ``"augment"``, ``"nothing"``, ``"overlap"``, ``"trimming"``, ``"pooling"``.
    estimate, se : float or None
        What it estimates, in units of the outcome; None where it can't be done.
    shift : float or None
        Its estimand minus the source's ATE, as the model behind the added rows has it.
    error : float or None
        Estimated squared error as an estimate of the source's ATE.
    detail : str
        What stands behind the number, in words.
    """

    name: str
    estimate: float | None
    se: float | None
    shift: float | None
    error: float | None
    detail: str


class Pooled(NamedTuple):
    """The source and the other table as one, cross-fitted; arrays of shape (n + n_other,), the source first.

    Attributes
    ----------
    a : ndarray of int8
    y : ndarray of float64
    nuisances : Nuisances
    tau : ndarray of float64, shape (n_other,)
        Conditional effects of the other table's rows, as its own models have them.
    """

    a: Int8
    y: Float64
    nuisances: Nuisances
    tau: Float64


def rivals(inputs: Inputs, chosen: Point, recalibration: Recalibration | None, pooled: Pooled | None, truncation: float) -> list[Rival]:
    """Estimate the squared error of everything that could be done instead, and of augmenting.

    A squared error has three parts: variance; the squared difference of estimands, which is known up to its sampling error only, so that
    error's variance is added; and what a seen conflict of the tables costs. Doing nothing is also held against the fused effect: its
    squared error is at least the squared difference of the two less the fused one's own.

    Parameters
    ----------
    inputs : Inputs
    chosen : Point
        The augmentation.
    recalibration : Recalibration or None
        Agreement of source and borrowed predictions; None where outcomes are the source's own.
    pooled : Pooled or None
        None where there is no other table.
    truncation : float
        d of the pooled table's analysis.

    Returns
    -------
    list of Rival
        Augmenting first.
    """
    filling = fill(inputs.nuisances.g, chosen.level)
    reference = fused(inputs, filling, inputs.given.mean)
    augment = Rival(
        "augment",
        reference,
        float(np.sqrt(chosen.noise + chosen.borrowed + chosen.covariates)),
        0.0,
        chosen.error,
        f"{chosen.rows} rows added",
    )
    result = [augment, _nothing(inputs, chosen, reference), _overlap(inputs), _trimming(inputs)]
    if pooled is not None and recalibration is not None:
        result.append(_pooling(inputs, recalibration, pooled, truncation))
    return result


def worth(compared: Sequence[Rival]) -> float:
    """Return the squared error expected of augmenting over that of the best other way; below 1 augmenting is expected to help.

    Parameters
    ----------
    compared : sequence of Rival
        Augmenting first, as :func:`rivals` has them.
    """
    mine = compared[0].error
    assert mine is not None  # an augmentation always has an estimated error
    least = min((each.error for each in compared[1:] if each.error is not None), default=math.inf)
    return mine / least if least > 0.0 else math.inf


def tolerance(wanted: float, external: bool) -> float:
    """Return the largest worth that is let through.

    Outcomes of another table are accepted up to the SPEC's ratio: a little above 1, for expected errors are estimates. One's own never
    are above 1: there the errors differ by what is surely added.
    """
    return wanted if external else min(wanted, 1.0)


def _nothing(inputs: Inputs, chosen: Point, reference: float) -> Rival:
    estimate = _estimate("tmle", inputs, np.ones(len(inputs.y)))
    formula = nothing_of(inputs) + chosen.covariates
    # the source's own models say nothing new of the source's own estimate
    error = max(formula, estimate.se**2, (estimate.estimate - reference) ** 2 - chosen.error) if inputs.external else formula
    return Rival("nothing", estimate.estimate, estimate.se, 0.0, error, "TMLE on the source as it is")


def _overlap(inputs: Inputs) -> Rival:
    g = inputs.nuisances.g
    try:
        estimate = _estimate("ato", inputs, np.ones(len(inputs.y)))
    except EstimationError as error:
        return Rival("overlap", None, None, None, None, error.message)
    shift, squared = _estimand(inputs, g * (1.0 - g))
    return Rival(
        "overlap",
        estimate.estimate,
        estimate.se,
        shift,
        max(estimate.se**2, _weighted_noise(inputs, g * (1.0 - g))) + squared,
        "overlap weights g(1-g)",
    )


def _trimming(inputs: Inputs) -> Rival:
    kept = ((inputs.nuisances.g >= TRIM) & (inputs.nuisances.g <= 1.0 - TRIM)).astype(np.float64)
    arms = [int(np.count_nonzero((inputs.a == arm) & (kept > 0.0))) for arm in (0, 1)]
    if min(arms) < FEWEST:
        return Rival("trimming", None, None, None, None, f"only {arms[1]} treated and {arms[0]} control rows would be left")
    estimate = _estimate("aipw", inputs, kept)
    shift, squared = _estimand(inputs, kept)
    return Rival(
        "trimming",
        estimate.estimate,
        estimate.se,
        shift,
        estimate.se**2 + squared,
        f"AIPW on {int(kept.sum())} rows with g in [{TRIM}, {1 - TRIM}]",
    )


def _pooling(inputs: Inputs, recalibration: Recalibration, pooled: Pooled, truncation: float) -> Rival:
    n, g, other = len(inputs.y), inputs.nuisances.g, len(pooled.tau)
    estimate: Estimate = estimator("aipw").evaluate(pooled.a, pooled.y, pooled.nuisances, inputs.kind, truncation)
    treated = float(np.mean(pooled.a[n:]))
    # per row of the source there are other / n rows of the other table, a share of them treated
    filling = Filling(
        0.0,
        _full(g, (1.0 - treated) * other / n),
        _full(g, treated * other / n),
        1.0 - g + (1.0 - treated) * other / n,
        g + treated * other / n,
    )
    weights, tau = filling.borrowed, inputs.tau
    every = np.concatenate((tau, pooled.tau))
    shift = float(every.mean() - tau.mean())
    doubt = (other / (n + other)) ** 2 * (float(np.var(tau)) / n + float(np.var(pooled.tau)) / max(other, 1))
    charged = conflict(recalibration, *inputs.given.mean, *weights, inputs.given.variance(*weights)).squared
    variance = noise(g, filling, spread(inputs)) + inputs.given.variance(*weights) + float(np.var(every)) / (n + other)
    detail = f"AIPW on the source's and the other table's {other} rows together"
    return Rival("pooling", estimate.estimate, estimate.se, shift, variance + shift**2 + doubt + charged, detail)


def _full(like: Float64, value: float) -> Float64:
    return np.full(len(like), value)


def _estimate(name: str, inputs: Inputs, weights: Float64) -> Estimate:
    estimate: Estimate = estimator(name).evaluate(inputs.a, inputs.y, inputs.nuisances, inputs.kind, inputs.bound, weights)
    return estimate


def _estimand(inputs: Inputs, weights: Float64) -> tuple[float, float]:
    """Return by how much a weighted estimand differs from the ATE, and the mean of that difference's square."""
    tau, n = inputs.tau, len(inputs.y)
    scaled = weights / max(float(weights.mean()), 1e-300)
    mine = float(np.mean(scaled * tau))
    values = scaled * (tau - mine) - (tau - tau.mean())
    shift = mine - float(tau.mean())
    return shift, shift**2 + float(np.mean(values**2)) / n + inputs.given.variance(scaled - 1.0, scaled - 1.0)


def _weighted_noise(inputs: Inputs, weights: Float64) -> float:
    """Return the variance that outcome noise leaves in an estimate with weights h(w), g known: at best sum h^2 sigma^2 / P(a|w)."""
    variances, g = spread(inputs), inputs.nuisances.g
    scaled = weights / max(float(weights.mean()), 1e-300)
    held = np.clip(g, 1e-9, 1.0 - 1e-9)
    return float(np.sum(scaled**2 * (variances[0] / (1.0 - held) + variances[1] / held))) / len(g) ** 2
