"""Meta-learners of the conditional effect tau(w): one fixed yardstick, whatever learner the mechanisms use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.special

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64, Int8
from tasks.nuisance.forest import Rules, fit_forest
from tasks.nuisance.walk import Forest
from tasks.targeting.fluctuation import truncate, truncation_bound

#: Keys of the meta-learners, in the order in which their effects are returned.
LEARNERS = ("t", "s", "dr", "ra")
#: Settings of every base regression: few small trees, for what is compared are functions learnt from a third of the rows.
LEAF_ROWS = 20
RULES = Rules(iterations=50, rate=0.1, leaves=4, fewest=LEAF_ROWS, l2=1.0)


@dataclass(frozen=True)
class Regression:
    """Boosted trees of one target, or its mean where the rows are too few or all alike to grow a tree."""

    trees: Forest | None
    mean: float
    kind: str

    def predict(self, x: Float64) -> Float64:
        """Return E[target | x], shape (n,)."""
        if self.trees is None:
            return np.full(len(x), self.mean)
        total = self.trees.total(x)
        return np.asarray(scipy.special.expit(total) if self.kind == "binary" else np.exp(total) if self.kind == "count" else total)


class Propensity(NamedTuple):
    """g as fitted on either half of the rows."""

    first: Regression
    second: Regression

    def predict(self, x: Float64) -> Float64:
        """Return g(w), the mean of the two, shape (n,)."""
        return (self.first.predict(x) + self.second.predict(x)) / 2.0


@dataclass(frozen=True)
class MetaLearners:
    """All meta-learners as fitted on one set of rows.

    Attributes
    ----------
    control, treated : Regression
        Q0 and Q1, each on the rows of its arm.
    joint : Regression
        Q with the treatment as the last feature.
    doubly_robust, adjusted : Regression
        Regressions of the DR- and of the RA-learner's pseudo-outcomes.
    """

    control: Regression
    treated: Regression
    joint: Regression
    doubly_robust: Regression
    adjusted: Regression

    def effects(self, x: Float64) -> Float64:
        """Return tau(w) by each of ``LEARNERS``, shape (4, n), in units of the outcome."""
        arms = [np.column_stack([x, np.full(len(x), float(arm))]) for arm in (0, 1)]
        return np.stack(
            [
                self.treated.predict(x) - self.control.predict(x),
                self.joint.predict(arms[1]) - self.joint.predict(arms[0]),
                self.doubly_robust.predict(x),
                self.adjusted.predict(x),
            ]
        )


def fit_propensity(x: Float64, categorical: npt.NDArray[np.bool_], a: Int8, half: Int8) -> Propensity:
    """Fit g on either half of the rows; parameters as for :func:`fit_metalearners`."""
    treatment = a.astype(np.float64)
    first, second = (_regress(x[half == side], treatment[half == side], "binary", categorical) for side in (0, 1))
    return Propensity(first, second)


def fit_metalearners(x: Float64, categorical: npt.NDArray[np.bool_], a: Int8, y: Float64, kind: str, half: Int8) -> MetaLearners:
    """Fit every meta-learner on the same rows.

    * T: Q1(w) - Q0(w), each regression on its own arm; S: Q(1, w) - Q(0, w) of one regression (Kuenzel et al. 2019,
      DOI 10.1073/pnas.1804597116);
    * DR: phi = Q1 - Q0 + A (Y - Q1) / g - (1 - A) (Y - Q0) / (1 - g) regressed on W (Kennedy 2023, DOI 10.1214/23-EJS2157);
    * RA: A (Y - Q0) + (1 - A) (Q1 - Y) regressed on W (Curth, van der Schaar 2021, arXiv 2101.10943).

    The pseudo-outcomes of one half come from g and Q fitted on the other half; both halves' are then regressed together. g is
    truncated by the rule of Gruber et al. 2022 for the number of rows given.

    Parameters
    ----------
    x : ndarray of float64, shape (n, d)
        As :meth:`Features.matrix` gives it.
    categorical : ndarray of bool, shape (d,)
        Columns that hold codes.
    a : ndarray of int8, shape (n,)
        Treatment, 0 or 1.
    y : ndarray of float64, shape (n,)
        Outcome.
    kind : str
        ``"binary"``, ``"continuous"`` or ``"count"``.
    half : ndarray of int8, shape (n,)
        0 or 1: the half a row is in.

    Returns
    -------
    MetaLearners

    Raises
    ------
    EstimationError
        If an arm has no row in one of the halves.
    """
    for side in (0, 1):
        arms = [int(np.count_nonzero((half == side) & (a == arm))) for arm in (0, 1)]
        if min(arms) == 0:
            raise EstimationError(f"arms of half {side} must have at least 1 row each; got {arms[0]} and {arms[1]}.", "Bring more rows.")
    g = fit_propensity(x, categorical, a, half)
    treatment = a.astype(np.float64)
    control, treated = (_regress(x[a == arm], y[a == arm], kind, categorical) for arm in (0, 1))
    joint = _regress(np.column_stack([x, treatment]), y, kind, np.append(categorical, False))
    robust, adjusted = np.empty(len(y)), np.empty(len(y))
    for side in (0, 1):
        learn, apply = half != side, half == side
        q0, q1 = (_regress(x[learn & (a == arm)], y[learn & (a == arm)], kind, categorical).predict(x[apply]) for arm in (0, 1))
        p0, p1 = truncate(g[1 - side].predict(x[apply]), truncation_bound(len(y), "auto"))
        t, seen = treatment[apply], y[apply]
        robust[apply] = q1 - q0 + t * (seen - q1) / p1 - (1.0 - t) * (seen - q0) / p0
        adjusted[apply] = t * (seen - q0) + (1.0 - t) * (q1 - seen)
    second = [_regress(x, target, "continuous", categorical) for target in (robust, adjusted)]
    return MetaLearners(control, treated, joint, second[0], second[1])


def _regress(x: Float64, target: Float64, kind: str, categorical: npt.NDArray[np.bool_]) -> Regression:
    mean = float(np.mean(target))
    if len(target) < 2 * LEAF_ROWS or x.shape[1] == 0 or float(np.ptp(target)) == 0.0:
        return Regression(None, mean, kind)
    return Regression(fit_forest(x, categorical, target, kind, RULES), mean, kind)
