"""What an estimator of incidence gets, and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tasks.contract.nuisance import Float64, Int8
from tasks.contract.survival import Functional, Grid
from tasks.targeting.causes import CauseData
from tasks.targeting.survival import CurveEstimate


class CauseCase(NamedTuple):
    """One arm of a table with competing causes; arrays of shape (n,) over the rows of all arms.

    Attributes
    ----------
    time : ndarray of float64
        As in :class:`tasks.contract.survival.EventRows`.
    cause : ndarray of int8
        1 for the cause of interest, 2 for another, 0 for censoring.
    grid : Grid
    data : CauseData
        Person-periods and nuisances of the arm.
    """

    time: Float64
    cause: Int8
    grid: Grid
    data: CauseData


class IncidenceEstimator(Protocol):
    """What ``build`` of a file in ``methods`` returns."""

    def estimate(self, case: CauseCase, functionals: Sequence[Functional]) -> CurveEstimate:
        """Return the numbers of one arm's incidence with their influence values."""
        ...
