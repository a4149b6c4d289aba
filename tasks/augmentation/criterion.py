"""How many rows to add: what each number of them buys and costs, in squared error of the effect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tasks.augmentation.agreement import Recalibration, conflict
from tasks.augmentation.effects import Averaging
from tasks.augmentation.ensemble import Ensemble
from tasks.augmentation.filling import Filling, fill, fill_known, level_of, rest_of
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
        The source's own out-of-fold predictions. Where outcomes are missing, of one arm more, to which the rows without belong
        (:mod:`tasks.targeting.unobserved`).
    observed, given : Ensemble
        Predictions by the source's fold models, and by those of the table that outcomes come from (the same ones for "self").
    kind : {"binary", "continuous", "count"}
        Kind of the outcome.
    bound : float
        d: the truncation of the source's own analysis.
    external : bool
        Whether outcomes come from another table.
    reference : tuple of K ndarray of float64, or None
        Chances by which rows are added, where these are those of another outcome.
    """

    a: Int8
    y: Float64
    nuisances: Nuisances
    observed: Ensemble
    given: Ensemble
    kind: str
    bound: float
    external: bool
    reference: tuple[Float64, ...] | None = None

    @property
    def arms(self) -> int:
        """K."""
        return len(self.given)

    @property
    def gaps(self) -> bool:
        """Whether some rows lack the outcome."""
        return self.nuisances.arms > self.arms

    @property
    def chances(self) -> tuple[Float64, ...]:
        """P(A = a | W) of every arm, where outcomes are missing times the chance to be known."""
        return self.nuisances.propensities[: self.arms]

    def filling(self, level: float) -> Filling:
        """Fill all arms up to a level."""
        if self.reference is not None:
            added, real = fill(self.reference, level).added, self.chances
            rows = tuple(p + more for p, more in zip(real, added, strict=True))
            return Filling(level, added, rows, rest_of(real) if self.gaps else 0.0)
        return fill_known(self.chances, level) if self.gaps else fill(self.chances, level)

    def tau(self, arm: int = 1) -> Float64:
        """Return conditional effects against the control as the table that outcomes come from has them, shape (n,)."""
        q = self.given.mean
        return np.asarray(q[arm] - q[0], dtype=np.float64)


class Parts(NamedTuple):
    """The parts of one effect's squared error, as in :class:`Point`; ``arm`` is the one that is held against the control."""

    arm: int
    shift: float
    noise: float
    borrowed: float
    conflict: float
    covariates: float
    gain: float
    error: float


class Point(NamedTuple):
    """One number of added rows: shift and gain; all in squared units of the outcome but where said.

    Of more than two arms they are means over the effects of all arms against the control; the shift is the largest of them.

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
    pairs : tuple of Parts
        Of every effect.
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
    pairs: tuple[Parts, ...] = ()

    def record(self, labels: Sequence[str] = ()) -> dict[str, Any]:
        """Return the numbers by name; where labels of more than two arms are given, with those of each effect."""
        values = {name: value for name, value in self._asdict().items() if name != "pairs"}
        if len(labels) <= 2:
            return values
        pairs = [{"arm": labels[each.arm], "control": labels[0], **dict(list(each._asdict().items())[1:])} for each in self.pairs]
        return {**values, "pairs": pairs}


def spread(inputs: Inputs) -> tuple[Float64, ...]:
    """Return Var(Y | A = a, W) of every arm, shape (n,) each: of the kind's law, scaled by each arm's residuals.

    Raises
    ------
    EstimationError
        If an arm has fewer than five rows.
    """
    variances = []
    for arm, (q, observed) in enumerate(zip(inputs.given.mean, inputs.nuisances.outcomes)):  # of a further arm nothing is asked
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
    return tuple(variances)


def noise(chances: Sequence[Float64], filling: Filling, variances: Sequence[Float64], arm: int = 1) -> float:
    """Return (1/n^2) sum over rows and both arms of P(a|w) sigma_a^2 / arm_a(w)^2: what the source's outcomes add to the variance."""
    each = sum(chances[one] * variances[one] / filling.arms[one] ** 2 for one in (0, arm))
    return float(np.sum(each)) / len(chances[0]) ** 2


def point(
    inputs: Inputs,
    filling: Filling,
    averaging: Averaging,
    recalibration: Recalibration | None,
    variances: Sequence[Float64],
    before: Sequence[float],
) -> Point:
    """Estimate what one filling buys and costs, with :func:`spread` and :func:`nothing_of`; other parameters as in :func:`curve`."""
    pairs = tuple(parts(inputs, filling, averaging, recalibration, variances, each, arm) for arm, each in enumerate(before, start=1))
    means = {name: sum(getattr(each, name) for each in pairs) / len(pairs) for name in Parts._fields[2:]}
    shift = max((each.shift for each in pairs), key=abs)
    return Point(filling.level, round(filling.rows * len(inputs.y)), filling.share, shift, **means, pairs=pairs)


def parts(
    inputs: Inputs,
    filling: Filling,
    averaging: Averaging,
    recalibration: Recalibration | None,
    variances: Sequence[Float64],
    before: float,
    arm: int,
) -> Parts:
    """Estimate the squared error of one arm's effect against the control."""
    tau, n = inputs.tau(arm), len(inputs.y)
    weights = filling.borrowed
    added = np.asarray(sum(filling.added), dtype=np.float64)
    mass = float(np.sum(added))
    shift = filling.share * (float(added @ tau) / mass - float(tau.mean())) if mass > 0.0 else 0.0
    own_noise = noise(inputs.chances, filling, variances, arm)
    borrowed = inputs.given.variance(weights[0], weights[arm], arm)
    if recalibration is not None:
        charged = conflict(recalibration, inputs.given.mean, weights, borrowed, arm).squared
    else:
        charged = own_change(inputs, filling, arm) ** 2 + drawing(filling, variances, arm)
    covariates = float(np.var(tau)) / n
    variance = own_noise + borrowed
    if recalibration is None:  # one's own predictions can look better than the analysis they come from, and not be
        variance = max(variance, before)
    error = variance + charged + covariates + (shift**2 if averaging == "pooled" else 0.0)
    gain = before - (own_noise + borrowed + charged)
    return Parts(arm, shift, own_noise, borrowed, charged, covariates, gain, error)


def drawing(filling: Filling, variances: Sequence[Float64], arm: int = 1) -> float:
    """Return (1/n^2) sum over rows and both arms of added_a sigma_a^2 / arm_a^2: what drawing outcomes adds to the variance."""
    each = sum(filling.added[one] * variances[one] / filling.arms[one] ** 2 for one in (0, arm))
    return float(np.sum(each)) / len(filling.arms[0]) ** 2


def own_change(inputs: Inputs, filling: Filling, arm: int = 1) -> float:
    """Return how much the source's own effect moves when its predictions take the place of weights: a filling by itself.

    The bias that this may bring can't be seen in the same rows, so the whole change counts as error.
    """
    predictions, truncated = inputs.observed.mean, fill(inputs.chances, inputs.bound)
    return fused(inputs, filling, predictions, arm) - fused(inputs, truncated, predictions, arm)


def nothing_of(inputs: Inputs, arm: int = 1) -> float:
    """Return noise and uncertainty of the source's own analysis: truncating at d is filling up to d with one's own predictions."""
    chances = inputs.chances
    filling = fill(chances, inputs.bound)
    weights = filling.borrowed
    return noise(chances, filling, spread(inputs), arm) + inputs.observed.variance(weights[0], weights[arm], arm)


def fused(inputs: Inputs, filling: Filling, q: Sequence[Float64], arm: int = 1) -> float:
    """Return the effect that endlessly many added rows of a filling give, computed on the source's rows alone.

    psi = mean(Q_k - Q_0) + mean(1(A = k) (Y - Q_k) / arm_k - 1(A = 0) (Y - Q_0) / arm_0).
    """
    one = (inputs.a == arm) / filling.arms[arm] * (inputs.y - q[arm])
    zero = (inputs.a == 0) / filling.arms[0] * (inputs.y - q[0])
    return float(np.mean(q[arm] - q[0] + one - zero))


def levels_of(inputs: Inputs, most: float) -> list[float]:
    """Return the levels that are looked at, ascending in the number of rows they add; ``most`` as in :func:`curve`."""
    chances, n = inputs.chances, len(inputs.y)
    largest = most / (1.0 - most)
    least = min(max(1.0 / n, fill(chances, inputs.bound).rows), 0.5 * largest)
    return [level_of(chances, rows) for rows in np.geomspace(least, largest, POINTS).tolist()]


def curve(
    inputs: Inputs, most: float, averaging: Averaging, recalibration: Recalibration | None, levels: Sequence[float] | None = None
) -> list[Point]:
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
    levels : sequence of float, optional
        By default :func:`levels_of`.

    Returns
    -------
    list of Point
        By number of rows, ascending; at least one row each.
    """
    variances, before = spread(inputs), [nothing_of(inputs, arm) for arm in range(1, inputs.arms)]
    wanted = levels_of(inputs, most) if levels is None else levels
    points = [point(inputs, inputs.filling(level), averaging, recalibration, variances, before) for level in wanted]
    return [each for each in points if each.rows >= 1]


def choose(points: Sequence[Point]) -> Point:
    """Return the point of least estimated squared error; of equal ones that of fewest rows."""
    if not points:
        raise EstimationError("numbers of added rows must hold at least one; got none.", "Raise augment.most.")
    return min(points, key=lambda each: (each.error, each.rows))
