"""The nuisance functions g, Q0, Q1: how they are learnt without seeing the row they are used on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Float64 = npt.NDArray[np.float64]
Int8 = npt.NDArray[np.int8]


def nuisance_names(arms: int) -> tuple[str, ...]:
    """Return the names of the arrays of :class:`Nuisances`: g, q0, q1 of two arms; g1, g2, ..., q0, q1, q2, ... of more."""
    propensities = ("g",) if arms == 2 else tuple(f"g{arm}" for arm in range(1, arms))
    return (*propensities, *(f"q{arm}" for arm in range(arms)))


class Nuisances(tuple[Float64, ...]):
    """Out-of-fold predictions of one data set for K arms: 2K - 1 arrays, each of shape (n,), named by :func:`nuisance_names`.

    In order: P(A = 1 | W), ..., P(A = K - 1 | W), not truncated; then E[Y | A = 0, W], ..., E[Y | A = K - 1, W], in units of the outcome.
    Arm 0 is the control. Columns of a table, partitions and takes of rows go through all arrays alike, whatever K is.
    """

    __slots__ = ()

    def __new__(cls, *arrays: Float64) -> Nuisances:
        """Take the arrays in their order."""
        if len(arrays) < 3 or len(arrays) % 2 == 0:
            raise ValueError(f"arrays of nuisances must be 2 K - 1 for K arms, 3 at least; got {len(arrays)}.")
        return super().__new__(cls, arrays)

    def __getnewargs__(self) -> tuple[Float64, ...]:
        return tuple(self)

    @classmethod
    def zeros(cls, n: int, arms: int = 2) -> Nuisances:
        """Return arrays of zeros, to be added to or written over."""
        return cls(*(np.zeros(n) for _ in nuisance_names(arms)))

    @property
    def arms(self) -> int:
        """Number of arms, K."""
        return (len(self) + 1) // 2

    @property
    def _fields(self) -> tuple[str, ...]:
        return nuisance_names(self.arms)

    def _asdict(self) -> dict[str, Float64]:
        return dict(zip(self._fields, self, strict=True))

    def _replace(self, **arrays: Float64) -> Nuisances:
        return Nuisances(*(self._asdict() | arrays).values())

    @property
    def propensities(self) -> tuple[Float64, ...]:
        """P(A = k | W) of every arm k, K arrays of shape (n,); the control's is one minus the others'."""
        given = self[: self.arms - 1]
        total = given[0]
        for values in given[1:]:
            total = total + values
        return (1.0 - total, *given)

    @property
    def outcomes(self) -> tuple[Float64, ...]:
        """E[Y | A = k, W] of every arm k, K arrays of shape (n,)."""
        return self[self.arms - 1 :]

    @property
    def g(self) -> Float64:
        """P(A = 1 | W), shape (n,), of two arms."""
        return self._of_two[0]

    @property
    def q0(self) -> Float64:
        """E[Y | A = 0, W], shape (n,), of two arms."""
        return self._of_two[1]

    @property
    def q1(self) -> Float64:
        """E[Y | A = 1, W], shape (n,), of two arms."""
        return self._of_two[2]

    @property
    def _of_two(self) -> Nuisances:
        if self.arms != 2:
            raise ValueError(f"arms of nuisances must be 2 for g, q0 and q1; got {self.arms}.")
        return self

    def observed(self, a: Int8) -> Float64:
        """Return Q(A, W): of each row the outcome regression of its own arm, shape (n,)."""
        values = self.outcomes[0]
        for arm in range(1, self.arms):
            values = np.where(a == arm, self.outcomes[arm], values)
        return values

    def with_propensities(self, *given: Float64) -> Nuisances:
        """Return the same outcome regressions beside other propensities: of the arms 1 to K - 1."""
        return Nuisances(*given, *self.outcomes)

    def rearranged(self, arms: Sequence[int]) -> Nuisances:
        """Return the nuisances of the same arms in another order: ``arms[k]`` is the present number of what becomes arm k."""
        p, q = self.propensities, self.outcomes
        return Nuisances(*(p[arm] for arm in arms[1:]), *(q[arm] for arm in arms))


class Predictions(NamedTuple):
    """g, and Q of every outcome of one data set; arrays of shape (n,).

    Attributes
    ----------
    first : Nuisances
        g, and Q of the first outcome.
    further : tuple of tuple of K ndarray of float64
        Q of every arm, for each further outcome.
    presence : tuple of (tuple of K ndarray of float64, or None)
        Of every outcome P(its cell is known | A = k, W) of every arm; None where no cell is missing. Empty where none is anywhere.
    """

    first: Nuisances
    further: tuple[tuple[Float64, ...], ...] = ()
    presence: tuple[tuple[Float64, ...] | None, ...] = ()

    @property
    def outcomes(self) -> tuple[tuple[Float64, ...], ...]:
        """Q of every outcome and arm."""
        return (self.first.outcomes, *self.further)

    def of(self, number: int) -> Nuisances:
        """Return g and Q of one outcome."""
        return self.first if number == 0 else Nuisances(*self.first[: self.first.arms - 1], *self.further[number - 1])

    def chances(self, number: int) -> tuple[Float64, ...] | None:
        """Return the chance to be known of one outcome, by arm; None where no cell is missing."""
        return self.presence[number] if self.presence else None

    def with_outcomes(self, outcomes: Sequence[tuple[Float64, ...]]) -> Predictions:
        """Return the same g and chances beside other Q, of every outcome."""
        return self._replace(first=Nuisances(*self.first[: self.first.arms - 1], *outcomes[0]), further=tuple(outcomes[1:]))

    def columns(self) -> dict[str, Float64]:
        """Return all arrays by name: those of :func:`nuisance_names`; q0_y1, ... of further outcomes; o0, o0_y1, ... of presence."""
        arrays = self.first._asdict()
        for number, outcome in enumerate(self.further, start=1):
            arrays |= {f"q{arm}{suffix_of(number)}": values for arm, values in enumerate(outcome)}
        for number, each in enumerate(self.presence):
            arrays |= {f"o{arm}{suffix_of(number)}": values for arm, values in enumerate(each or ())}
        return arrays

    def map(self, change: Callable[[Float64], Float64]) -> Predictions:
        """Return every array changed by a function."""
        presence = tuple(None if each is None else tuple(change(values) for values in each) for each in self.presence)
        further = tuple(tuple(change(values) for values in each) for each in self.further)
        return Predictions(Nuisances(*(change(values) for values in self.first)), further, presence)

    def at(self, rows: slice | npt.NDArray[np.integer]) -> Predictions:
        """Return the predictions of some rows."""
        return self.map(lambda values: values[rows])


def suffix_of(number: int) -> str:
    """Return what names of columns of one of several outcomes end in; nothing for the first."""
    return f"_y{number}" if number else ""


class PropensityModel(Protocol):
    """A fitted g."""

    def predict(self, covariates: pd.DataFrame) -> Float64:
        """Return P(A = 1 | W), shape (n,), strictly inside (0, 1); of K > 2 arms P(A = k | W), shape (n, K), rows summing to one."""
        ...


class OutcomeModel(Protocol):
    """A fitted Q."""

    def predict(self, covariates: pd.DataFrame, treatment: Int8) -> Float64:
        """Return E[Y | A, W], shape (n,), inside the range of the outcome's kind."""
        ...


class Learner(Protocol):
    """Fits g and Q on canonical frames: float64 columns with NaN, category columns with NaN.

    Treatments are 0, ..., K - 1; every arm is among the rows given. A learner that knows two arms only is refused where there are more.
    """

    def fit_propensity(
        self, covariates: pd.DataFrame, treatment: Int8, rng: np.random.Generator, weights: Float64 | None = None
    ) -> PropensityModel:
        """Fit g."""
        ...

    def fit_outcome(
        self,
        covariates: pd.DataFrame,
        treatment: Int8,
        outcome: Float64,
        kind: str,
        rng: np.random.Generator,
        weights: Float64 | None = None,
    ) -> OutcomeModel:
        """Fit Q; ``kind`` is "binary", "continuous" or "count"."""
        ...


class FoldRows(NamedTuple):
    """Rows of one partition as a refinement visits them.

    Attributes
    ----------
    covariates : DataFrame, n rows
        Canonical covariates.
    treatment : ndarray of int8, shape (n,)
        0, ..., K - 1.
    outcome : ndarray of float64, shape (n,)
        Outcome.
    fold : ndarray of int8, shape (n,)
        Fold of each row.
    weights : ndarray of float64, shape (n,), or None
        Row weights, not negative; None for equal ones.
    """

    covariates: pd.DataFrame
    treatment: Int8
    outcome: Float64
    fold: Int8
    weights: Float64 | None = None


class Refinement(Protocol):
    """A reduction over :class:`FoldRows` that turns each fold's models of a sample into those of all its training rows.

    ``start``, ``visit``, ``merge`` and ``advance`` are those of :class:`tasks.contract.reduction.Reduction`; states pickle.
    """

    def start(self) -> Any:
        """Return the start of the first pass."""
        ...

    def visit(self, state: Any, part: FoldRows) -> Any:
        """Return a pass's start with one partition seen (runs on a worker)."""
        ...

    def merge(self, left: Any, right: Any) -> Any:
        """Return the state that has seen what both have seen; both come from one pass."""
        ...

    def advance(self, state: Any) -> Any:
        """Return the start of the next pass."""
        ...

    def finished(self, state: Any) -> bool:
        """Return whether a start needs no further pass."""
        ...

    def models(self, state: Any) -> tuple[tuple[PropensityModel | None, OutcomeModel], ...]:
        """Return g (None where it was not fitted) and Q of each fold, once finished."""
        ...


@runtime_checkable
class PartitionedLearner(Protocol):
    """A learner that can go on from a sample to any number of rows, one partition in memory at a time."""

    def refinement(
        self, propensities: Sequence[PropensityModel | None], outcomes: Sequence[OutcomeModel], rows: Sequence[int], kind: str
    ) -> Refinement:
        """Return the passes that refine what this learner fitted on a sample of each fold's training rows.

        Parameters
        ----------
        propensities, outcomes : sequence of K models
            Fold k's models, fitted on rows outside fold k; None for a g that is known.
        rows : sequence of K int
            Rows each fold's models were fitted on.
        kind : {"binary", "continuous", "count"}
            Kind of the outcome.
        """
        ...


@runtime_checkable
class StreamedLearner(Protocol):
    """A learner that fits any number of rows by going over them in batches, as often as it likes."""

    def refit(
        self,
        propensity: PropensityModel | None,
        outcome: OutcomeModel | None,
        batches: Callable[[], Iterator[FoldRows]],
        fold: int,
        heaviest: float,
    ) -> tuple[PropensityModel | None, OutcomeModel | None]:
        """Return g and Q of all rows outside a fold, in the place of those of a sample of them.

        Parameters
        ----------
        propensity, outcome : fitted models of the sample
            None for a g that is known, or for one of both that is not to be fitted.
        batches : callable
            Starts to go over all rows.
        fold : int
            Whose rows are left out.
        heaviest : float
            Largest weight of a row.
        """
        ...


@runtime_checkable
class FoldedLearner(Protocol):
    """A learner that cross-fits a table in one call, for thousands of small tables."""

    def predict_folds(
        self,
        covariates: pd.DataFrame,
        treatment: Int8,
        outcome: Float64,
        kind: str,
        folds: Int8,
        further: Sequence[tuple[Float64, str]] = (),
    ) -> Predictions:
        """Return out-of-fold g and Q of every outcome, each of shape (n,): up to rounding what fits without a fold's rows predict for them.

        ``further`` holds further outcomes and their kinds. Where an outcome is NaN, Q is fitted on the other rows, and the chance to be
        known on all.
        """
        ...
