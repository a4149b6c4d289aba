"""What an estimator of curves gets, and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from tasks.contract.nuisance import Float64
from tasks.contract.survival import Functional, Grid
from tasks.targeting.survival import ArmData, CurveEstimate


class ArmCase(NamedTuple):
    """One arm of a table; arrays of shape (n,) over the rows of all arms.

    Attributes
    ----------
    time : ndarray of float64
        As in :class:`tasks.contract.survival.EventRows`.
    event : ndarray of bool
    grid : Grid
    data : ArmData
        Person-periods and nuisances of the arm.
    """

    time: Float64
    event: npt.NDArray[np.bool_]
    grid: Grid
    data: ArmData


class CurveEstimator(Protocol):
    """What ``build`` of a file in ``methods`` returns."""

    def estimate(self, case: ArmCase, functionals: Sequence[Functional]) -> CurveEstimate:
        """Return the numbers of one arm's curve with their influence values."""
        ...
