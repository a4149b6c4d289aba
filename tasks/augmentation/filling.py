"""How added rows fill up the arms: each arm's chance is brought up to one level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tasks.contract.nuisance import Float64


class Filling(NamedTuple):
    """What one level of filling adds around each row w, per row of the source there; arrays of shape (n,).

    Attributes
    ----------
    level : float
        c, at least 0.
    added : tuple of K ndarray of float64
        Rows added to each arm, the control first: max(0, c - P(A=a | w)).
    arms : tuple of K ndarray of float64
        Rows of each arm, real and added: max(c, P(A=a | w)).
    rest : float or ndarray of float64
        Rows without the outcome, of no use to any arm.
    """

    level: float
    added: tuple[Float64, ...]
    arms: tuple[Float64, ...]
    rest: float | Float64 = 0.0

    @property
    def rows(self) -> float:
        """Added rows per source row."""
        return float(sum(np.mean(added) for added in self.added))

    @property
    def share(self) -> float:
        """Added rows as a share r = m / (n + m) of all, in [0, 1)."""
        return self.rows / (1.0 + self.rows)

    @property
    def borrowed(self) -> tuple[Float64, ...]:
        """Share of each arm's rows around w that is added; in [0, 1)."""
        return tuple(added / rows for added, rows in zip(self.added, self.arms, strict=True))

    @property
    def tilt(self) -> Float64:
        """Weight under which real and added rows together have the source's covariate law: 1 / (sum of all arms and the rest)."""
        return np.asarray(1.0 / (sum(self.arms) + self.rest), dtype=np.float64)

    @property
    def design(self) -> tuple[Float64, ...]:
        """Shares of the arms 1 to K - 1 in real and added rows together, as far as these have the outcome."""
        total = sum(self.arms)
        return tuple(np.asarray(rows / total, dtype=np.float64) for rows in self.arms[1:])


def fill(chances: Sequence[Float64], level: float) -> Filling:
    """Fill all arms up to one level.

    For a given number of rows this spends them best where outcomes are equally noisy: the variance of a mean over w is the mean of
    sigma^2 / arm_a(w), and it is least where the smallest arms are filled first, as water fills a basin.

    Parameters
    ----------
    chances : sequence of K ndarray of float64, shape (n,)
        P(A = a | W) of every arm, in [0, 1].
    level : float
        c, above 0. From 1 on all arms are equally large around every w and the table is a balanced trial of K c rows per source row.

    Returns
    -------
    Filling
    """
    return Filling(level, tuple(np.maximum(level - p, 0.0) for p in chances), tuple(np.maximum(level, p) for p in chances))


def fill_known(chances: Sequence[Float64], level: float) -> Filling:
    """Fill all arms up to one level where ``chances`` are those of an arm *and* a known outcome: the rest of the rows is not used."""
    return fill(chances, level)._replace(rest=rest_of(chances))


def rest_of(chances: Sequence[Float64]) -> Float64:
    """Return the share of rows without the outcome, shape (n,)."""
    return np.asarray(np.clip(1.0 - np.sum(chances, axis=0), 0.0, 1.0), dtype=np.float64)


def level_of(chances: Sequence[Float64], rows: float) -> float:
    """Return the level that adds so many rows per source row (to 1e-9), the inverse of :attr:`Filling.rows`.

    Parameters
    ----------
    chances : sequence of K ndarray of float64, shape (n,)
        P(A = a | W) of every arm.
    rows : float
        Wanted, above 0.
    """
    low, high = 0.0, 1.0 + rows
    for _ in range(80):
        middle = 0.5 * (low + high)
        if fill(chances, middle).rows < rows:
            low = middle
        else:
            high = middle
    return high
