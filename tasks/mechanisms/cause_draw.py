"""The draw of which of several competing causes drawn events have."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tasks.contract.nuisance import Float64, Int8

Mask = npt.NDArray[np.bool_]


def draw_causes(
    came: Mask, chances: Float64, period: npt.NDArray[np.intp], a: Int8, balanced: bool, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Draw the causes of events.

    Balanced draws lay the events end to end, by arm, period and chance, and read them off at unit steps from a random start (systematic
    sampling): counts of a cause by arm and period are within one of what the chances say. Each row alone has its chance.

    Parameters
    ----------
    came : ndarray of bool, shape (n,)
        Whether the row has an event.
    chances : ndarray of float64, shape (J - 1, n)
        Nested chances of the causes in the row's period: :mod:`tasks.nuisance.causes`.
    period : ndarray of intp, shape (n,)
        Of the row's time.
    a : ndarray of int8, shape (n,)
    balanced : bool
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float64, shape (n,)
        0 of no event, 1, ..., J of the causes.
    """
    codes, open_ = np.where(came, float(len(chances) + 1), 0.0), came.copy()
    for cause, chance in enumerate(chances, start=1):
        rows = np.flatnonzero(open_)
        if balanced:
            rows = rows[np.lexsort((rng.random(len(rows)), chance[rows], period[rows], a[rows]))]
            taken = np.diff(np.floor(np.cumsum(chance[rows]) + rng.random()), prepend=0.0) > 0.0
        else:
            taken = rng.random(len(rows)) < chance[rows]
        codes[rows[taken]] = cause
        open_[rows[taken]] = False
    return codes
