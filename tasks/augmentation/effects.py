"""Effects of the augmented table: nuisances are fitted with the added rows, and averaged over the source's rows."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.contract.registry import resolve
from tasks.contract.results import Estimate
from tasks.numerics.normal import Z95
from tasks.targeting.estimators import ATE
from tasks.targeting.fluctuation import fluctuate, truncate_arms
from tasks.targeting.influence import Estimator, interval
from tasks.targeting.sample import Sample, prepare

ESTIMATORS = (*ATE, "ato")
Averaging = Literal["real", "pooled"]


class Augmented(NamedTuple):
    """Real and added rows together, the real ones first; arrays of shape (n + m,).

    Attributes
    ----------
    a : ndarray of int8
        Treatment, 0, ..., K - 1; K where the outcome is missing.
    y : ndarray of float64
        Outcome.
    nuisances : Nuisances
        Out-of-fold predictions, cross-fitted on all rows; of K + 1 arms where outcomes are missing.
    tilt : ndarray of float64
        :attr:`tasks.augmentation.filling.Filling.tilt` at each row: weights that give all rows the source's covariate law.
    real : int
        n, rows that were there.
    kind : str
        Kind of the outcome.
    truncation : float
        d, in [0, 1/K).
    """

    a: Int8
    y: Float64
    nuisances: Nuisances
    tilt: Float64
    real: int
    kind: str
    truncation: float


def effects(table: Augmented, averaging: Averaging, borrowed: float | Sequence[float] = 0.0, labels: Sequence[str] = ()) -> list[Estimate]:
    """Estimate by OR, IPW, AIPW, TMLE (ATE) and ATO on an augmented table; of K > 2 arms the effect of each against the control.

    With averaging ``real``, psi = (1/n) sum over real rows of Q1 - Q0, plus (AIPW) residuals over all rows,

        (1/n) sum_i v_i [ A_i / g_i (Y_i - Q1_i) - (1 - A_i) / (1 - g_i) (Y_i - Q0_i) ],

    where v (``tilt``, scaled to sum n) gives real and added rows together the law of the real ones. It is the efficient estimator of an
    effect where part of the data obey another covariate law and the same outcome law (Li, Luedtke 2023, DOI 10.1093/biomet/asad007;
    Dahabreh et al. 2020, DOI 10.1002/sim.8426). TMLE solves the same equation by fluctuation; IPW weights by v; ATO is overlap-weighted
    under v.
    With ``pooled`` every row counts as one, real or not.

    Parameters
    ----------
    table : Augmented
    averaging : {"real", "pooled"}
    borrowed : float, or sequence of K - 1 float
        Variance of what added rows have in common, the error of the model that gave them their outcomes: it is added to every squared
        standard error, for no number of added rows makes it smaller. One for each effect.
    labels : sequence of K str
        Of more than two arms: their labels, the control's first.

    Returns
    -------
    list of Estimate
    """
    variances = [borrowed] if isinstance(borrowed, float | int) else borrowed
    gaps = table.nuisances.arms > len(variances) + 1
    names = [name for name in ESTIMATORS if name != "ato" or not gaps]  # overlap weights need g apart from the chance to be known
    results: list[Estimate] = []
    for arm, variance in enumerate(variances, start=1):
        if averaging == "pooled":
            plain = [_registered(name, table, np.ones(len(table.y)), arm) for name in names]
        else:
            plain = [*_over_real(table, arm), *(_registered(name, table, table.tilt, arm) for name in names[len(ATE) :])]
        label, control = (labels[arm], labels[0]) if len(variances) > 1 else (None, None)
        results += [_widened(each, variance)._replace(arm=label, control=control) for each in plain]
    return results


@functools.cache
def estimator(name: str) -> Any:
    """Return a registered estimator; they are frozen, and looking up entry points costs milliseconds."""
    return resolve("estimator", name)


def between(method: Estimator, sample: Sample, arm: int) -> Estimate:
    """Evaluate an estimator on one arm against the control."""
    rows = sample.between(arm, 0)
    return interval(method.influence(rows), rows)


def _registered(name: str, table: Augmented, weights: Float64, arm: int) -> Estimate:
    return between(estimator(name), prepare(table.a, table.y, table.nuisances, table.kind, table.truncation, weights), arm)


def _over_real(table: Augmented, arm: int) -> list[Estimate]:
    n = table.real
    v = table.tilt * (n / float(np.sum(table.tilt)))
    is_real = np.arange(len(table.y)) < n
    p = truncate_arms(table.nuisances, table.truncation)
    one, zero = v * (table.a == arm) / p[arm], v * (table.a == 0) / p[0]
    raw = table.nuisances.propensities
    clipped = float(np.mean((raw[arm] < table.truncation) | (raw[0] < table.truncation)))
    ess = float(np.sum(one + zero)) ** 2 / float(np.sum((one + zero) ** 2))
    q0, q1 = table.nuisances.outcomes[0], table.nuisances.outcomes[arm]

    def plug_in(q0: Float64, q1: Float64) -> float:
        return float(np.mean((q1 - q0)[:n]))

    def values(q0: Float64, q1: Float64) -> Float64:
        centred = np.where(is_real, q1 - q0 - plug_in(q0, q1), 0.0)
        return np.asarray(centred + one * (table.y - q1) - zero * (table.y - q0), dtype=np.float64)

    efficient = values(q0, q1)
    step = fluctuate(table.a, table.y, table.nuisances, table.kind, table.truncation, v)
    stars = step.apply(table.nuisances)
    star0, star1 = stars[0], stars[arm]
    mass1, mass0 = float(np.sum(one)), float(np.sum(zero))
    mu1, mu0 = float(one @ table.y) / mass1, float(zero @ table.y) / mass0
    weighted = n * (one * (table.y - mu1) / mass1 - zero * (table.y - mu0) / mass0)
    points = {
        "or": (plug_in(q0, q1), efficient),
        "ipw": (mu1 - mu0, weighted),
        "aipw": (plug_in(q0, q1) + float(np.sum(efficient)) / n, efficient),
        "tmle": (plug_in(star0, star1), values(star0, star1)),
    }
    return [_estimate(name, point, influence, n, ess, clipped) for name, (point, influence) in points.items()]


def _estimate(name: str, point: float, values: Float64, n: int, ess: float, clipped: float) -> Estimate:
    se = math.sqrt(float(np.sum(values**2)) * n / max(n - 1, 1)) / n
    return Estimate("ate", name, point, se, point - Z95 * se, point + Z95 * se, n, ess, clipped)


def _widened(estimate: Estimate, variance: float) -> Estimate:
    se = math.sqrt(estimate.se**2 + variance)
    return estimate._replace(se=se, ci_low=estimate.estimate - Z95 * se, ci_high=estimate.estimate + Z95 * se)
