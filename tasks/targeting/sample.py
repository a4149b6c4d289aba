"""One data set as the estimators see it: checked once, its propensities truncated once, and seen as contrasts of two arms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.contract.rng import UInt64
from tasks.numerics.blocked import floats, kept, sums
from tasks.targeting.fluctuation import fluctuate, truncate_arms
from tasks.targeting.truncation import Truncation, choose_truncation


class Treatment(NamedTuple):
    """The treatment of all rows, where some lack the outcome and so are in an arm of their own.

    Attributes
    ----------
    a : ndarray of int8, shape (n,)
        0, ..., K - 1.
    p : tuple of K ndarray of float64, shape (n,)
        P(A = k | W), whether or not the outcome is known; not truncated.
    """

    a: Int8
    p: tuple[Float64, ...]


@dataclass(frozen=True)
class Sample:
    """One data set of K arms, checked; arrays of shape (n,).

    Attributes
    ----------
    a : ndarray of int8
        Treatment, 0, ..., K - 1.
    y : ndarray of float64
        Outcome.
    nuisances : Nuisances
        As given.
    p : tuple of K ndarray of float64
        P(A = k | W), truncated to [d, 1-d].
    weights : ndarray of float64
        Row weights, scaled to mean one.
    kind : str
        ``"binary"``, ``"continuous"`` or ``"count"``.
    truncation : float
        d, in [0, 1/K).
    clusters : ndarray of uint64, optional
        Hash of each row's cluster: rows of one cluster are not independent.
    treatment : Treatment, optional
        Of all rows, where ``a`` has a further arm for those that lack the outcome.
    """

    a: Int8
    y: Float64
    nuisances: Nuisances
    p: tuple[Float64, ...]
    weights: Float64
    kind: str
    truncation: float
    clusters: UInt64 | None = None
    treatment: Treatment | None = None

    @cached_property
    def targeted(self) -> tuple[Float64, ...]:
        """Q* of every arm, K arrays of shape (n,): one fluctuation for all contrasts."""
        return kept(*fluctuate(self.a, self.y, self.nuisances, self.kind, self.truncation, self.weights).apply(self.nuisances))

    @cached_property
    def adaptive(self) -> tuple[Truncation, tuple[Float64, ...]]:
        """The truncation that :func:`tasks.targeting.truncation.choose_truncation` chooses, and the Q* of every arm under it."""
        chosen, step = choose_truncation(self.a, self.y, self.nuisances, self.kind, self.truncation, self.weights)
        return chosen, kept(*step.apply(self.nuisances))

    def between(self, arm: int = 1, reference: int | None = 0) -> Rows:
        """Return the rows as a contrast of two arms sees them; without a reference, as the mean of one arm does."""
        treated = (self.a == arm).astype(np.float64)
        if reference is None:
            nothing = np.zeros_like(self.y)
            return Rows(self, arm, reference, treated, nothing, self.p[arm], np.ones_like(self.y), self.nuisances.outcomes[arm], nothing)
        control = (self.a == reference).astype(np.float64)
        q = self.nuisances.outcomes
        return Rows(self, arm, reference, treated, control, self.p[arm], self.p[reference], q[arm], q[reference])


class Rows(NamedTuple):
    """One contrast of two arms in a data set; arrays of shape (n,). All rows count, whatever arm they are in.

    Attributes
    ----------
    sample : Sample
        The data set.
    arm, reference : int, int or None
        The arms compared. Without a reference the contrast is the mean of one arm: ``control`` and ``q0`` are then 0, ``p0`` 1.
    treated, control : ndarray of float64
        1(A = arm) and 1(A = reference).
    p1, p0 : ndarray of float64
        P(A = arm | W) and P(A = reference | W), truncated.
    q1, q0 : ndarray of float64
        E[Y | A = arm, W] and E[Y | A = reference, W].
    """

    sample: Sample
    arm: int
    reference: int | None
    treated: Float64
    control: Float64
    p1: Float64
    p0: Float64
    q1: Float64
    q0: Float64

    @property
    def y(self) -> Float64:
        """Outcome."""
        return self.sample.y

    @property
    def weights(self) -> Float64:
        """Row weights, scaled to mean one."""
        return self.sample.weights

    @property
    def n(self) -> int:
        """Rows of positive weight."""
        return int(np.count_nonzero(self.weights))

    def members(self, arm: int) -> Float64:
        """Return 1(A = arm) of all rows, also of those without outcome."""
        whole = self.sample.treatment
        inside: Float64 = ((self.sample.a if whole is None else whole.a) == arm).astype(np.float64)
        return inside

    def residuals(self, target: Float64) -> Float64:
        """Return what rows with outcome add to the influence values of an effect among rows that have W with weight ``target``.

        target / P(A = k, outcome known | W) (Y - Q_k) of arm k, less the same of the reference.
        """
        return target * (self.treated * (self.y - self.q1) / self.p1 - self.control * (self.y - self.q0) / self.p0)

    @property
    def clipped(self) -> float:
        """Share of the row weight whose propensity of an arm compared was truncated."""
        return self.clipped_at(self.sample.truncation)

    def clipped_at(self, bound: float) -> float:
        """Share of the row weight whose propensity of an arm compared is below a bound."""
        p = truncate_arms(self.sample.nuisances, 0.0)
        outside = p[self.arm] < bound
        return self.mean((outside if self.reference is None else outside | (p[self.reference] < bound)).astype(np.float64))

    def mean(self, values: Float64) -> float:
        """Weighted mean."""
        total, weight = sums(self.weights * values, self.weights)
        return float(total / weight)

    def at(self, outcomes: tuple[Float64, ...]) -> Rows:
        """Return the contrast with other predictions of the outcome, one array for each arm of the data set."""
        return self._replace(q1=outcomes[self.arm], q0=self.q0 if self.reference is None else outcomes[self.reference])


def prepare(
    a: Int8,
    y: Float64,
    nuisances: Nuisances,
    kind: str,
    truncation: float,
    weights: Float64 | None = None,
    clusters: UInt64 | None = None,
    treatment: Treatment | None = None,
) -> Sample:
    """Check one data set and truncate its propensities.

    Parameters
    ----------
    a : ndarray of int8, shape (n,)
        Treatment, 0, ..., K - 1; every arm is there.
    y : ndarray of float64, shape (n,)
        Outcome.
    nuisances : Nuisances
        Out-of-fold predictions.
    kind : str
        ``"binary"``, ``"continuous"`` or ``"count"``.
    truncation : float
        d, in [0, 1/K): propensities are kept in [d, 1-d].
    weights : ndarray of float64, shape (n,), optional
        Row weights, not negative; only their proportions count.
    clusters : ndarray of uint64, shape (n,), optional
        Hash of each row's cluster.
    treatment : Treatment, optional
        Of all rows, where the last arm is that of rows without outcome.

    Returns
    -------
    Sample

    Raises
    ------
    EstimationError
        If shapes differ, a value is not finite or out of range, or an arm is empty.
    """
    n, count = len(y), nuisances.arms
    arrays: dict[str, Float64 | Int8] = {"treatment": a, "outcome": y, **nuisances._asdict()}
    if weights is not None:
        arrays["weights"] = weights
    clean = {name: _finite(name, values, n) for name, values in arrays.items()}
    arms, w = clean["treatment"], clean.get("weights", np.ones_like(clean["outcome"]))
    if not np.all(np.isin(arms, np.arange(count, dtype=np.float64))):
        shown = "0 or 1" if count == 2 else f"0 to {count - 1}"
        raise EstimationError(f"treatment of the rows must be {shown}; got other values.", "Map the labels first.")
    if np.any(w < 0.0):
        raise EstimationError(f"weights of the rows must be at least 0; got {int(np.count_nonzero(w < 0.0))} that are not.")
    sizes = [int(np.count_nonzero((arms == arm) & (w > 0.0))) for arm in range(count)]
    if min(sizes) == 0:
        shown = f"{sizes[0]} and {sizes[1]}" if count == 2 else ", ".join(str(size) for size in sizes)
        raise EstimationError(f"arms of the treatment must have at least 1 row each; got {shown}.", "Every arm is needed.")
    given = Nuisances(*(clean[name] for name in nuisances._fields))
    for name, values in zip(given._fields[: count - 1], given, strict=False):
        if np.any((values < 0.0) | (values > 1.0)):
            raise EstimationError(f"{name} of the rows must be in [0, 1]; got values outside.")
    held = truncate_arms(given, truncation)
    w = w * (n / float(np.sum(w)))
    return Sample(arms.astype(np.int8), clean["outcome"], given, held, w, kind, float(truncation), clusters, treatment)


def _finite(name: str, values: Float64 | Int8, n: int) -> Float64:
    clean = floats(values)
    if clean.shape != (n,):
        raise EstimationError(f"{name} of the rows must be of shape ({n},); got {clean.shape}.")
    wrong = int(np.count_nonzero(~np.isfinite(clean)))
    if wrong:
        raise EstimationError(f"{name} of the rows must be finite; got {wrong} values that are not.", "Drop or impute these rows.")
    return clean


def prepare_rows(a: Int8, y: Float64, nuisances: Nuisances, kind: str, truncation: float, weights: Float64 | None = None) -> Rows:
    """Check one data set of two arms and return their contrast; parameters as in :func:`prepare`."""
    return prepare(a, y, nuisances, kind, truncation, weights).between()
