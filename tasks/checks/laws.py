"""How far two samples lie apart in law, beyond what sampling alone explains."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

#: Draws that make up a null distribution.
DRAWS = 499
#: Most cells that the null of an ordered law is drawn on; neighbours are put together so that each cell has the same share.
CELLS = 512
#: Fewest rows, both samples together, of a level or pattern that is a cell of its own; rarer ones are one cell.
RARE = 5
#: Points of the null: its lower quarter and its middle, which a faithful release often exceeds, and one that it rarely exceeds.
LOW, MIDDLE, HIGH = 0.25, 0.5, 0.99


class Gap(NamedTuple):
    """Distance of two laws, and where it lies when both samples follow one law.

    Attributes
    ----------
    distance : float
        Observed, in [0, 1].
    low, middle, high : float
        25 %, 50 % and 99 % points of the distance when the laws are the same.
    """

    distance: float
    low: float
    middle: float
    high: float

    @property
    def excess(self) -> float:
        """Distance beyond the 99 % point, at least 0: what sampling alone does not explain."""
        return max(0.0, self.distance - self.high)

    @property
    def interval(self) -> tuple[float, float, float]:
        """Distance beyond the middle of the null, with its limits; none below 0."""
        low, value, high = (max(0.0, self.distance - point) for point in (self.high, self.middle, self.low))
        return low, value, high


class LawEvidence(NamedTuple):
    """How far the laws of a release lie from its source's.

    Attributes
    ----------
    outcome : tuple of (str, Gap)
        Of each arm with enough rows, of every outcome.
    arms : int
        Arms there are, of all outcomes together.
    margins : tuple of (str, Gap)
        Of each covariate that varies, by its name.
    missing : Gap or None
        Of the joint patterns of missing cells, of covariates or of outcomes by arm, whichever lies further apart; None where nothing is
        missing.
    missing_of : str
        What that pattern is of; nothing for covariates.
    """

    outcome: tuple[tuple[str, Gap], ...]
    arms: int
    margins: tuple[tuple[str, Gap], ...]
    missing: Gap | None
    missing_of: str = ""


def weighted_gap(x: Float64, weight: Float64, y: Float64, rng: np.random.Generator) -> Gap:
    """Compare two samples of a number by the Kolmogorov distance, the first one weighted.

    The null is that of the difference of both empirical processes, drawn with Gaussian multipliers (van der Vaart, Wellner 1996,
    ISBN 978-0-387-94640-5, section 2.9): it knows atoms and uneven weights. Weights count as known.

    Parameters
    ----------
    x : ndarray of float64, shape (n,)
    weight : ndarray of float64, shape (n,)
        At least 0, not all 0.
    y : ndarray of float64, shape (m,)
    rng : numpy.random.Generator

    Returns
    -------
    Gap
    """
    values = np.unique(np.concatenate([x, y]))
    at_x, at_y = np.searchsorted(values, x), np.searchsorted(values, y)
    share = weight / weight.sum()
    p = np.bincount(at_x, share, len(values))
    q = np.bincount(at_y, minlength=len(values)) / len(y)
    starts = _starts(p + q)
    noise = [
        _multiplied(np.add.reduceat(law, starts), np.add.reduceat(variance, starts), rng)
        for law, variance in ((p, np.bincount(at_x, share**2, len(values))), (q, q / len(y)))
    ]
    null = np.abs(np.cumsum(noise[0] - noise[1], axis=1)).max(axis=1)
    return _gap(float(np.abs(np.cumsum(p - q)).max()), null)


def _multiplied(law: Float64, variance: Float64, rng: np.random.Generator) -> Float64:
    """Draw the noise of an empirical law's cells, shape (DRAWS, cells)."""
    drawn = rng.normal(size=(DRAWS, len(law))) * np.sqrt(variance)
    return np.asarray(drawn - law * drawn.sum(axis=1, keepdims=True), dtype=np.float64)


class Units(NamedTuple):
    """How rows of a sample count.

    Attributes
    ----------
    weight : ndarray of float64, shape (n,)
        Survey weights; at least 0, not all 0.
    place : ndarray of int64, shape (n,)
        Number of each row's cluster, from 0; rows of one are not independent. Where there are none, of the row.
    """

    weight: Float64
    place: Int64

    def take(self, rows: npt.NDArray[np.bool_]) -> Units:
        """Return some rows."""
        return Units(self.weight[rows], np.unique(self.place[rows], return_inverse=True)[1].astype(np.int64))


def unit_gap(x: Float64, y: Float64, x_units: Units, y_units: Units, rng: np.random.Generator, ordered: bool = True) -> Gap:
    """Compare two samples of weighted rows in clusters: numbers by the Kolmogorov distance, levels by the total-variation distance.

    The null is that of the difference of both empirical processes, drawn with one Gaussian multiplier for each cluster (van der Vaart,
    Wellner 1996, ISBN 978-0-387-94640-5, section 2.9; Kosorok 2003, doi:10.1016/S0047-259X(02)00040-4).

    Parameters
    ----------
    x, y : ndarray, shapes (n,), (m,)
        Numbers, or codes of levels.
    x_units, y_units : Units
        Of the same rows.
    rng : numpy.random.Generator
    ordered : bool
        Whether they are numbers.

    Returns
    -------
    Gap
    """
    values, cells = np.unique(np.concatenate([x, y]), return_inverse=True)
    sides = ((cells[: len(x)], x_units), (cells[len(x) :], y_units))
    p, q = (np.asarray(np.bincount(at, units.weight / units.weight.sum(), len(values)), dtype=np.float64) for at, units in sides)
    starts = _starts(p + q) if ordered else np.arange(len(values))
    group = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(values))))
    noise = [_by_unit(group[at], units, len(starts), rng) for at, units in sides]
    if ordered:
        return _gap(float(np.abs(np.cumsum(p - q)).max()), np.abs(np.cumsum(noise[0] - noise[1], axis=1)).max(axis=1))
    return _gap(float(np.abs(p - q).sum()) / 2, np.abs(noise[0] - noise[1]).sum(axis=1) / 2)


def _by_unit(cells: Int64, units: Units, size: int, rng: np.random.Generator) -> Float64:
    """Draw the noise of an empirical law's cells with one multiplier for each cluster, shape (DRAWS, cells)."""
    count = int(units.place.max()) + 1
    share = units.weight / units.weight.sum()
    by_unit = scipy.sparse.csr_array((share, (units.place, cells)), shape=(count, size))
    multipliers = rng.normal(size=(DRAWS, count))
    drawn = np.asarray((by_unit.T @ multipliers.T).T, dtype=np.float64)
    # a cluster counts by its size, which is drawn with it: what it adds to all cells is taken off by the law itself
    return np.asarray(drawn - np.bincount(cells, share, size) * drawn.sum(axis=1, keepdims=True), dtype=np.float64)


def ordered_gap(x: Float64, y: Float64, rng: np.random.Generator) -> Gap:
    """Compare two samples of a number by the Kolmogorov distance; the null exchanges their rows.

    Parameters
    ----------
    x, y : ndarray of float64, shapes (n,), (m,)
        Without missing values, at least one each.
    rng : numpy.random.Generator

    Returns
    -------
    Gap
    """
    values = np.unique(np.concatenate([x, y]))
    here, there = (np.bincount(np.searchsorted(values, each), minlength=len(values)) for each in (x, y))
    distance = float(np.abs(np.cumsum(here / len(x) - there / len(y))).max())
    starts = _starts(here / len(x) + there / len(y))
    differences = _exchanged(np.add.reduceat(here + there, starts), len(x), rng)
    return _gap(distance, np.abs(np.cumsum(differences, axis=1)).max(axis=1))


def level_gap(x: Int64, y: Int64, rng: np.random.Generator) -> Gap:
    """Compare two samples of levels by the total-variation distance; the null exchanges their rows.

    Parameters
    ----------
    x, y : ndarray of int64, shapes (n,), (m,)
        Codes of levels, at least 0; at least one row each.
    rng : numpy.random.Generator

    Returns
    -------
    Gap
    """
    size = int(max(x.max(), y.max())) + 1
    here, there = np.bincount(x, minlength=size), np.bincount(y, minlength=size)
    rare = here + there < RARE
    if rare.any():
        here, there = (np.append(each[~rare], each[rare].sum()) for each in (here, there))
    differences = _exchanged(here + there, len(x), rng)
    distance = float(np.abs(here / len(x) - there / len(y)).sum()) / 2
    return _gap(distance, np.abs(differences).sum(axis=1) / 2)


def _exchanged(both: Int64, n: int, rng: np.random.Generator) -> Float64:
    """Draw which rows of each cell belong to the first sample; return differences of the shares, shape (DRAWS, cells)."""
    drawn = rng.multivariate_hypergeometric(both, n, size=DRAWS, method="marginals")
    return np.asarray(drawn / n - (both - drawn) / (both.sum() - n), dtype=np.float64)


def _starts(mass: Float64) -> npt.NDArray[np.intp]:
    """Return where cells begin that hold neighbouring values of about the same mass, at most ``CELLS``."""
    if len(mass) <= CELLS:
        return np.arange(len(mass))
    block = np.minimum((np.cumsum(mass) / mass.sum() * CELLS).astype(np.int64), CELLS - 1)
    return np.flatnonzero(np.diff(block, prepend=-1))


def _gap(distance: float, null: Float64) -> Gap:
    low, middle, high = np.quantile(null, [LOW, MIDDLE, HIGH])
    return Gap(distance, float(low), float(middle), float(high))
