"""What else could be done: nothing, overlap weights, trimming, pooling; each with its estimated squared error of the ATE."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tasks.augmentation.agreement import Recalibration, conflict
from tasks.augmentation.criterion import Inputs, Parts, Point, fused, noise, nothing_of, spread
from tasks.augmentation.effects import between, estimator
from tasks.augmentation.filling import Filling
from tasks.contract.disclosure import few
from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.contract.results import Estimate
from tasks.targeting.sample import prepare

#: Rows with g outside [0.1, 0.9], of K arms below 0.2 / K, are trimmed: Crump, Hotz, Imbens, Mitnik (2009), DOI 10.1093/biomet/asn055.
TRIM = 0.1
#: Propensities of more than two arms are taken to be at least this, so that their inverses are finite.
_LEAST = 1e-12
#: Fewest rows of any arm that a trimmed table must keep.
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
    pairs : tuple of Rival
        Of more than two arms the effect of each against the control, in the order of the arms: the error is then their mean, and the
        other numbers are None.
    """

    name: str
    estimate: float | None
    se: float | None
    shift: float | None
    error: float | None
    detail: str
    pairs: tuple[Rival, ...] = ()

    def record(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return the numbers by name; of more than two arms with those of each effect."""
        values = {name: value for name, value in self._asdict().items() if name != "pairs"}
        if not self.pairs:
            return values
        numbers = ("estimate", "se", "shift", "error")
        of_pairs = zip(labels[1:], self.pairs, strict=True)
        pairs = [{"arm": label, "control": labels[0]} | {name: getattr(each, name) for name in numbers} for label, each in of_pairs]
        return {**values, "pairs": pairs}


class Pooled(NamedTuple):
    """The source and the other table as one, cross-fitted; arrays of shape (n + n_other,), the source first.

    Attributes
    ----------
    a : ndarray of int8
    y : ndarray of float64
    nuisances : Nuisances
    other : tuple of K ndarray of float64, shape (n_other,)
        Q of every arm at the other table's rows, as its own models have them.
    """

    a: Int8
    y: Float64
    nuisances: Nuisances
    other: tuple[Float64, ...]


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
    by_arm = [_of_arm(inputs, chosen, recalibration, pooled, truncation, arm) for arm in range(1, inputs.arms)]
    return by_arm[0] if len(by_arm) == 1 else [_joined(pairs) for pairs in zip(*by_arm, strict=True)]


def _of_arm(
    inputs: Inputs, chosen: Point, recalibration: Recalibration | None, pooled: Pooled | None, truncation: float, arm: int
) -> list[Rival]:
    """Compare the ways for the effect of one arm against the control."""
    mine = chosen.pairs[arm - 1]
    filling = inputs.filling(chosen.level)
    reference = fused(inputs, filling, inputs.given.mean, arm)
    augment = Rival(
        "augment",
        reference,
        float(np.sqrt(mine.noise + mine.borrowed + mine.covariates)),
        0.0,
        mine.error,
        f"{chosen.rows} rows added",
    )
    result = [augment, _nothing(inputs, mine, reference), _overlap(inputs, arm), _trimming(inputs, arm)]
    if pooled is not None and recalibration is not None:
        result.append(_pooling(inputs, recalibration, pooled, truncation, arm))
    return result


def _joined(pairs: Sequence[Rival]) -> Rival:
    """Put the effects of all arms together: a way that can't be gone for one of them can't be gone."""
    errors = [each.error for each in pairs if each.error is not None]
    detail = next((each.detail for each in pairs if each.error is None), pairs[0].detail)
    mean = sum(errors) / len(errors) if len(errors) == len(pairs) else None
    return Rival(pairs[0].name, None, None, None, mean, detail, tuple(pairs))


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


def _nothing(inputs: Inputs, mine: Parts, reference: float) -> Rival:
    estimate = _estimate("tmle", inputs, np.ones(len(inputs.y)), mine.arm)
    formula = nothing_of(inputs, mine.arm) + mine.covariates
    # the source's own models say nothing new of the source's own estimate
    error = max(formula, estimate.se**2, (estimate.estimate - reference) ** 2 - mine.error) if inputs.external else formula
    return Rival("nothing", estimate.estimate, estimate.se, 0.0, error, "TMLE on the source as it is")


def _overlap(inputs: Inputs, arm: int) -> Rival:
    if inputs.gaps:
        return Rival("overlap", None, None, None, None, "not built for missing outcomes")
    weights = _overlap_weights(inputs)
    try:
        estimate = _estimate("ato", inputs, np.ones(len(inputs.y)), arm)
    except EstimationError as error:
        return Rival("overlap", None, None, None, None, error.message)
    shift, squared = _estimand(inputs, weights, arm)
    return Rival(
        "overlap",
        estimate.estimate,
        estimate.se,
        shift,
        max(estimate.se**2, _weighted_noise(inputs, weights, arm)) + squared,
        "overlap weights g(1-g)" if inputs.arms == 2 else "generalised overlap weights 1 / sum(1 / g)",
    )


def _overlap_weights(inputs: Inputs) -> Float64:
    """Return h(W), shape (n,): g(1-g), of more than two arms 1 / sum 1/g_k (Li, Li 2019, DOI 10.1214/19-AOAS1282)."""
    if inputs.arms == 2:
        g = inputs.nuisances.g
        return g * (1.0 - g)
    return np.asarray(1.0 / sum(1.0 / np.maximum(p, _LEAST) for p in inputs.nuisances.propensities), dtype=np.float64)


def _trimming(inputs: Inputs, arm: int) -> Rival:
    if inputs.nuisances.arms == 2:
        kept = ((inputs.nuisances.g >= TRIM) & (inputs.nuisances.g <= 1.0 - TRIM)).astype(np.float64)
        region = f"g in [{TRIM}, {1 - TRIM}]"
    else:
        least = 2.0 * TRIM / inputs.arms
        kept = np.all(np.column_stack(inputs.chances) >= least, axis=1).astype(np.float64)
        region = f"every g at least {least:.3g}"
    arms = [int(np.count_nonzero((inputs.a == one) & (kept > 0.0))) for one in range(inputs.arms)]
    if min(arms) < FEWEST:
        left = f"{arms[1]} treated and {arms[0]} control rows" if inputs.arms == 2 else f"{few(min(arms))} rows of an arm"
        return Rival("trimming", None, None, None, None, f"only {left} would be left")
    estimate = _estimate("aipw", inputs, kept, arm)
    shift, squared = _estimand(inputs, kept, arm)
    return Rival(
        "trimming",
        estimate.estimate,
        estimate.se,
        shift,
        estimate.se**2 + squared,
        f"AIPW on {int(kept.sum())} rows with {region}",
    )


def _pooling(inputs: Inputs, recalibration: Recalibration, pooled: Pooled, truncation: float, arm: int) -> Rival:
    n, chances, other = len(inputs.y), inputs.chances, len(pooled.other[0])
    estimate = between(estimator("aipw"), prepare(pooled.a, pooled.y, pooled.nuisances, inputs.kind, truncation), arm)
    shares = [float(np.mean(pooled.a[n:] == one)) for one in range(1, inputs.arms)]
    # per row of the source there are other / n rows of the other table, a share of them of each arm
    control = float(np.mean(pooled.a[n:] == 0)) if inputs.gaps else 1.0 - sum(shares)
    more = [share * other / n for share in (control, *shares)]
    filling = Filling(0.0, tuple(_full(chances[0], each) for each in more), tuple(p + each for p, each in zip(chances, more, strict=True)))
    weights, tau, tau_other = filling.borrowed, inputs.tau(arm), pooled.other[arm] - pooled.other[0]
    every = np.concatenate((tau, tau_other))
    shift = float(every.mean() - tau.mean())
    doubt = (other / (n + other)) ** 2 * (float(np.var(tau)) / n + float(np.var(tau_other)) / max(other, 1))
    borrowed = inputs.given.variance(weights[0], weights[arm], arm)
    charged = conflict(recalibration, inputs.given.mean, weights, borrowed, arm).squared
    variance = noise(chances, filling, spread(inputs), arm) + borrowed + float(np.var(every)) / (n + other)
    detail = f"AIPW on the source's and the other table's {other} rows together"
    return Rival("pooling", estimate.estimate, estimate.se, shift, variance + shift**2 + doubt + charged, detail)


def _full(like: Float64, value: float) -> Float64:
    return np.full(len(like), value)


def _estimate(name: str, inputs: Inputs, weights: Float64, arm: int) -> Estimate:
    return between(estimator(name), prepare(inputs.a, inputs.y, inputs.nuisances, inputs.kind, inputs.bound, weights), arm)


def _estimand(inputs: Inputs, weights: Float64, arm: int) -> tuple[float, float]:
    """Return by how much a weighted estimand differs from the ATE, and the mean of that difference's square."""
    tau, n = inputs.tau(arm), len(inputs.y)
    scaled = weights / max(float(weights.mean()), 1e-300)
    mine = float(np.mean(scaled * tau))
    values = scaled * (tau - mine) - (tau - tau.mean())
    shift = mine - float(tau.mean())
    return shift, shift**2 + float(np.mean(values**2)) / n + inputs.given.variance(scaled - 1.0, scaled - 1.0, arm)


def _weighted_noise(inputs: Inputs, weights: Float64, arm: int) -> float:
    """Return the variance that outcome noise leaves in an estimate with weights h(w), g known: at best sum h^2 sigma^2 / P(a|w)."""
    variances, n = spread(inputs), len(inputs.y)
    scaled = weights / max(float(weights.mean()), 1e-300)
    held = [np.clip(p, 1e-9, 1.0 - 1e-9) for p in inputs.nuisances.propensities]
    if inputs.arms == 2:
        held[0] = 1.0 - held[1]
    return float(np.sum(scaled**2 * (variances[0] / held[0] + variances[arm] / held[arm]))) / n**2
