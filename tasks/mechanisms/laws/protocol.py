"""What every law of an outcome can do, and how one is fitted, written and read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.nuisance import Float64, Int8
from tasks.mechanisms.laws.support import Support


class Inversion(NamedTuple):
    """The law of Y at given rows, driven by U uniform on (0, 1): Y = quantile(U) is a draw.

    Attributes
    ----------
    quantile : callable
        From U, shape (n,), to Y, shape (n,). It need not rise everywhere.
    partial : callable
        From u, shape (n,), to E[Y; U < u], the integral of the quantiles below u; at 1 it is the mean.
    """

    quantile: Callable[[Float64], Float64]
    partial: Callable[[Float64], Float64]


class OutcomeLaw(Protocol):
    """The law of Y given (A, W) once its mean is given."""

    @property
    def key(self) -> str:
        """Name of the method that fitted it."""
        ...

    @property
    def reach(self) -> tuple[float, float] | None:
        """Least and largest mean it can have; None where there is no bound."""
        ...

    def draw(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> Float64:
        """Return outcomes, shape (n,), with expectation ``mean`` (moved into the reach) exactly, rounding and bounds included."""
        ...

    def invert(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> Inversion:
        """Return the law at given rows as functions of uniform numbers: over U and ``rng`` its draws have the law of ``draw``."""
        ...


class LawRows(NamedTuple):
    """Source rows as laws are fitted to them.

    Attributes
    ----------
    covariates : DataFrame, n rows
        Canonical.
    a : ndarray of int8, shape (n,)
        Treatment.
    y : ndarray of float64, shape (n,)
        Outcome.
    mean : ndarray of float64, shape (n,)
        Out-of-fold targeted mean of the row's own arm.
    weights : ndarray of float64, shape (n,)
        Row weights, not negative.
    """

    covariates: pd.DataFrame
    a: Int8
    y: Float64
    mean: Float64
    weights: Float64

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> LawRows:
        """Return some of the rows."""
        at = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return LawRows(self.covariates.iloc[at].reset_index(drop=True), self.a[at], self.y[at], self.mean[at], self.weights[at])

    def arms(self) -> list[npt.NDArray[np.bool_]]:
        """Return which rows each arm has, the control first."""
        return [self.a == arm for arm in range(int(self.a.max(initial=1)) + 1)]


class LawMethod(Protocol):
    """A way to fit laws: what ``build`` of a file in ``tasks/mechanisms/laws/methods`` returns."""

    @property
    def rank(self) -> int:
        """Place in the order from simple to complex: among laws of indistinguishable score the lowest rank is chosen."""
        ...

    def suits(self, support: Support, kind: str) -> bool:
        """Return whether its draws lie in the support: only such laws are chosen by themselves."""
        ...

    def fit(self, rows: LawRows, support: Support, rng: np.random.Generator) -> OutcomeLaw:
        """Fit the law."""
        ...

    def write(self, law: Any) -> dict[str, Any]:
        """Return the law as a JSON object with the key ``kind``; every number rests on at least five rows."""
        ...

    def read(self, values: dict[str, Any]) -> OutcomeLaw:
        """Read what ``write`` returned.

        Raises
        ------
        pydantic.ValidationError
            If it is incomplete.
        """
        ...
