"""How many rows to add: what each number of them buys and costs, in squared error of the effect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tasks.augmentation.agreement import Recalibration, conflict
from tasks.augmentation.effects import Averaging
from tasks.augmentation.ensemble import Ensemble
from tasks.augmentation.filling import Filling, fill, level_of
from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64, Int8, Nuisances

#: Numbers of added rows that are looked at.
POINTS = 12
#: Fewest rows of an arm that its residual spread is learnt from.
FEWEST = 5


class Inputs(NamedTuple):
    """What is known before a row is added; arrays of shape (n,), over the source's rows.

    Attributes
    ----------
    a : ndarray of int8
        Treatment.
    y : ndarray of float64
        Outcome.
    nuisances : Nuisances
        The source's own out-of-fold predictions.
    observed, given : Ensemble
        Predictions by the source's fold models, and by those of the table that outcomes come from (the same ones for "self").
    kind : {"binary", "continuous", "count"}
        Kind of the outcome.
    bound : float
        d: the truncation of the source's own analysis.
    external : bool
        Whether outcomes come from another table.
    """

    a: Int8
    y: Float64
    nuisances: Nuisances
    observed: Ensemble
    given: Ensemble
    kind: str
    bound: float
    external: bool

    @property
    def tau(self) -> Float64:
        """Conditional effects as the table that outcomes come from has them, shape (n,)."""
        q0, q1 = self.given.mean
        return q1 - q0


class Point(NamedTuple):
    """One number of added rows: shift and gain; all in squared units of the outcome but where said.

    Attributes
    ----------
    level : float
        c of :func:`tasks.augmentation.filling.fill`.
    rows : int
        m, added rows.
    share : float
        r = m / (n + m).
    shift : float
        r (E_add[tau] - E_real[tau]), in units of the outcome: what averaging over all rows would move the effect by.
    noise : float
        Variance that the source's own outcomes leave: mean_a of sigma^2 P(a|w) / arm_a(w)^2, over n.
    borrowed : float
        Variance of the borrowed predictions (:meth:`tasks.augmentation.ensemble.Ensemble.variance`).
    conflict : float
        Squared error that disagreement between source and borrowed predictions is charged with. Where outcomes are the source's own
        there is no second source: the squared change of the estimate stands here, and the noise of drawing outcomes.
    covariates : float
        Variance of the mean effect over the source's n rows.
    gain : float
        Drop of noise and borrowed variance against adding nothing, what conflict costs subtracted.
    error : float
        Estimated squared error: noise + borrowed + conflict + covariates, and the squared shift where all rows are averaged over.
    """

    level: float
    rows: int
    share: float
    shift: float
    noise: float
    borrowed: float
    conflict: float
    covariates: float
    gain: float
    error: float


def spread(inputs: Inputs) -> tuple[Float64, Float64]:
    """Return Var(Y | A = a, W) of control and treated, shape (n,) each: of the kind's law, scaled by each arm's residuals.

    Raises
    ------
    EstimationError
        If an arm has fewer than five rows.
    """
    variances = []
    for arm, q, observed in ((0, inputs.given.mean[0], inputs.nuisances.q0), (1, inputs.given.mean[1], inputs.nuisances.q1)):
        rows = inputs.a == arm
        if int(np.count_nonzero(rows)) < FEWEST:
            raise EstimationError(
                f"rows of arm {arm} must be at least {FEWEST} for an augmentation; got {int(np.count_nonzero(rows))}.",
                "Bring rows of that arm, or release the other table instead.",
            )
        if inputs.kind == "binary":
            variances.append(np.asarray(q * (1.0 - q), dtype=np.float64))
            continue
        shape = np.maximum(observed, 1e-12) if inputs.kind == "count" else np.ones(len(q))
        variances.append(shape * float(np.mean((inputs.y - observed)[rows] ** 2) / np.mean(shape[rows])))
    return variances[0], variances[1]


def noise(g: Float64, filling: Filling, variances: tuple[Float64, Float64]) -> float:
    """Return (1/n^2) sum over rows and arms of P(a|w) sigma_a^2 / arm_a(w)^2: what the source's own outcomes add to the variance."""
    each = (1.0 - g) * variances[0] / filling.arm0**2 + g * variances[1] / filling.arm1**2
    return float(np.sum(each)) / len(g) ** 2


def point(
    inputs: Inputs,
    filling: Filling,
    averaging: Averaging,
    recalibration: Recalibration | None,
    variances: tuple[Float64, Float64],
    before: float,
) -> Point:
    """Estimate what one filling buys and costs, with :func:`spread` and :func:`nothing_of`; other parameters as in :func:`curve`."""
    g, tau, n = inputs.nuisances.g, inputs.tau, len(inputs.y)
    weights = filling.borrowed
    added = filling.added0 + filling.added1
    mass = float(np.sum(added))
    shift = filling.share * (float(added @ tau) / mass - float(tau.mean())) if mass > 0.0 else 0.0
    own_noise = noise(g, filling, variances)
    borrowed = inputs.given.variance(*weights)
    if recalibration is not None:
        charged = conflict(recalibration, *inputs.given.mean, *weights, borrowed).squared
    else:
        charged = own_change(inputs, filling) ** 2 + drawing(filling, variances)
    covariates = float(np.var(tau)) / n
    variance = own_noise + borrowed
    if recalibration is None:  # one's own predictions can look better than the analysis they come from, and not be
        variance = max(variance, before)
    error = variance + charged + covariates + (shift**2 if averaging == "pooled" else 0.0)
    rows = round(filling.rows * n)
    gain = before - (own_noise + borrowed + charged)
    return Point(filling.level, rows, filling.share, shift, own_noise, borrowed, charged, covariates, gain, error)


def drawing(filling: Filling, variances: tuple[Float64, Float64]) -> float:
    """Return (1/n^2) sum over rows and arms of added_a sigma_a^2 / arm_a^2: what drawing outcomes independently adds to the variance."""
    each = filling.added0 * variances[0] / filling.arm0**2 + filling.added1 * variances[1] / filling.arm1**2
    return float(np.sum(each)) / len(filling.arm0) ** 2


def own_change(inputs: Inputs, filling: Filling) -> float:
    """Return how much the source's own effect moves when its predictions take the place of weights: a filling by itself.

    The bias that this may bring can't be seen in the same rows, so the whole change counts as error.
    """
    return fused(inputs, filling, inputs.observed.mean) - fused(inputs, fill(inputs.nuisances.g, inputs.bound), inputs.observed.mean)


def nothing_of(inputs: Inputs) -> float:
    """Return noise and uncertainty of the source's own analysis: truncating at d is filling up to d with one's own predictions."""
    filling = fill(inputs.nuisances.g, inputs.bound)
    return noise(inputs.nuisances.g, filling, spread(inputs)) + inputs.observed.variance(*filling.borrowed)


def fused(inputs: Inputs, filling: Filling, q: tuple[Float64, Float64]) -> float:
    """Return the effect that endlessly many added rows of a filling give, computed on the source's rows alone.

    psi = mean(Q1 - Q0) + mean(A (Y - Q1) / arm1 - (1 - A) (Y - Q0) / arm0).
    """
    one = (inputs.a == 1) / filling.arm1 * (inputs.y - q[1])
    zero = (inputs.a == 0) / filling.arm0 * (inputs.y - q[0])
    return float(np.mean(q[1] - q[0] + one - zero))


def curve(inputs: Inputs, most: float, averaging: Averaging, recalibration: Recalibration | None) -> list[Point]:
    """Estimate shift, gain and squared error along the number of added rows.

    Parameters
    ----------
    inputs : Inputs
    most : float
        Largest share r of added rows, in (0, 1).
    averaging : {"real", "pooled"}
        What the average will run over.
    recalibration : Recalibration or None
        Agreement of the source's outcomes with the given predictions; None where they are its own.

    Returns
    -------
    list of Point
        By number of rows, ascending; at least one row each.
    """
    g, n = inputs.nuisances.g, len(inputs.y)
    largest = most / (1.0 - most)
    least = min(max(1.0 / n, fill(g, inputs.bound).rows), 0.5 * largest)
    levels = [level_of(g, rows) for rows in np.geomspace(least, largest, POINTS).tolist()]
    variances, before = spread(inputs), nothing_of(inputs)
    found_points = [point(inputs, fill(g, level), averaging, recalibration, variances, before) for level in levels]
    return [each for each in found_points if each.rows >= 1]


def choose(points: Sequence[Point]) -> Point:
    """Return the point of least estimated squared error; of equal ones that of fewest rows."""
    if not points:
        raise EstimationError("numbers of added rows must hold at least one; got none.", "Raise augment.most.")
    return min(points, key=lambda each: (each.error, each.rows))
