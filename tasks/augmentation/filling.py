"""How added rows fill up the arms: each arm's chance of treatment is brought up to one level."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tasks.contract.nuisance import Float64


class Filling(NamedTuple):
    """What one level of filling adds around each row w, per row of the source there; arrays of shape (n,).

    Attributes
    ----------
    level : float
        c, at least 0.
    added0, added1 : ndarray of float64
        Rows added to the control (treated) arm: max(0, c - P(A=a | w)).
    arm0, arm1 : ndarray of float64
        Rows of that arm, real and added: max(c, P(A=a | w)).
    """

    level: float
    added0: Float64
    added1: Float64
    arm0: Float64
    arm1: Float64

    @property
    def rows(self) -> float:
        """Added rows per source row."""
        return float(np.mean(self.added0) + np.mean(self.added1))

    @property
    def share(self) -> float:
        """Added rows as a share r = m / (n + m) of all, in [0, 1)."""
        return self.rows / (1.0 + self.rows)

    @property
    def borrowed(self) -> tuple[Float64, Float64]:
        """Share of each arm's rows around w that is added, control and treated; in [0, 1)."""
        return self.added0 / self.arm0, self.added1 / self.arm1

    @property
    def tilt(self) -> Float64:
        """Weight under which real and added rows together have the source's covariate law: 1 / (arm0 + arm1)."""
        return 1.0 / (self.arm0 + self.arm1)


def fill(g: Float64, level: float) -> Filling:
    """Fill both arms up to one level.

    For a given number of rows this spends them best where outcomes are equally noisy: the variance of a mean over w is the mean of
    sigma^2 / arm_a(w), and it is least where the smallest arms are filled first, as water fills a basin.

    Parameters
    ----------
    g : ndarray of float64, shape (n,)
        P(A = 1 | W), in [0, 1].
    level : float
        c, above 0. From 1 on both arms are equally large around every w and the table is a balanced trial of twice c rows per source row.

    Returns
    -------
    Filling
    """
    p0, p1 = 1.0 - g, np.asarray(g, dtype=np.float64)
    return Filling(level, np.maximum(level - p0, 0.0), np.maximum(level - p1, 0.0), np.maximum(level, p0), np.maximum(level, p1))


def level_of(g: Float64, rows: float) -> float:
    """Return the level that adds so many rows per source row (to 1e-9), the inverse of :attr:`Filling.rows`.

    Parameters
    ----------
    g : ndarray of float64, shape (n,)
        P(A = 1 | W).
    rows : float
        Wanted, above 0.
    """
    low, high = 0.0, 1.0 + rows
    for _ in range(80):
        middle = 0.5 * (low + high)
        if fill(g, middle).rows < rows:
            low = middle
        else:
            high = middle
    return high
