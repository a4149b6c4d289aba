"""Mode-specific normalisation: a table as numbers in [-1, 1] and one-hot blocks, the way networks like it.

Every column has one block of categories: its levels or atoms, the Gaussian modes of its continuous part, and missing. A column with a
continuous part also has one number, its place inside its mode (Xu et al. 2019, arXiv 1907.00503). Blocks of equal width stand side
by side in a row, so that a softmax over all of them takes few operations.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture
from threadpoolctl import threadpool_limits

from tasks.contract.roles import Column
from tasks.covariates.folds import assign_folds
from tasks.covariates.margins import MISSING, Coded, Float64, Intp, Margin, fit_margin
from tasks.covariates.protocol import MIN_ROWS

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

MOST_MODES = 10
_GRID = 1_000
_LEAST_WEIGHT = 0.005
_REACH = 4.0
_EDGE = 0.99


class Block(NamedTuple):
    """The categories of one column.

    Attributes
    ----------
    margin : Margin
    states : ndarray of intp, shape (width,)
        State of each category; -1 is missing, the continuous state stands once per mode.
    modes : ndarray of intp, shape (width,)
        Mode of each category, -1 where it has none.
    shares : ndarray of float64, shape (width,)
        Share of the rows.
    centre, spread : ndarray of float64, shape (modes,)
        Mean and standard deviation of each mode.
    """

    margin: Margin
    states: Intp
    modes: Intp
    shares: Float64
    centre: Float64
    spread: Float64

    @property
    def discrete(self) -> bool:
        """Whether the column consists of levels or atoms, and has at least two."""
        return not len(self.centre) and len(self.states) > 1


class Group(NamedTuple):
    """Blocks of one width that stand side by side: ``blocks`` blocks of ``width`` categories from offset ``start``."""

    start: int
    blocks: int
    width: int

    @property
    def stop(self) -> int:
        """Offset behind the last block."""
        return self.start + self.blocks * self.width


class Layout(NamedTuple):
    """How a row is laid out: numbers first, then the blocks, narrow ones ahead.

    Attributes
    ----------
    names : tuple of str
        Columns as in the table.
    blocks : tuple of Block
        In order of width.
    numbers : tuple of int
        Blocks that have a number, in the order of the numbers.
    """

    names: tuple[str, ...]
    blocks: tuple[Block, ...]
    numbers: tuple[int, ...]

    @property
    def starts(self) -> Intp:
        """Offset of each block."""
        widths = [len(block.states) for block in self.blocks]
        return np.asarray(len(self.numbers) + np.concatenate(([0], np.cumsum(widths)))[:-1], dtype=np.intp)

    @property
    def size(self) -> int:
        """Length of a row."""
        return len(self.numbers) + sum(len(block.states) for block in self.blocks)

    @property
    def groups(self) -> tuple[Group, ...]:
        """Blocks of equal width."""
        joined: list[Group] = []
        for start, block in zip(self.starts, self.blocks, strict=True):
            width = len(block.states)
            if joined and joined[-1].width == width:
                joined[-1] = joined[-1]._replace(blocks=joined[-1].blocks + 1)
            else:
                joined.append(Group(int(start), 1, width))
        return tuple(joined)

    @property
    def inside(self) -> Float32:
        """Which category belongs to the modes of which number, shape (size - numbers, numbers), 0 or 1."""
        shift = len(self.numbers)
        result = np.zeros((self.size - shift, shift), dtype=np.float32)
        for k, j in enumerate(self.numbers):
            result[self.starts[j] - shift + np.flatnonzero(self.blocks[j].modes >= 0), k] = 1.0
        return result


class Encoded(NamedTuple):
    """An encoded table: ``places`` (n, numbers) in [-1, 1], 0 outside the modes; ``codes`` (n, blocks), the category within the block."""

    places: Float32
    codes: Int32


def encode(table: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator) -> tuple[Layout, Encoded]:
    """Lay out a table's columns and encode its rows.

    Modes come from a variational Gaussian mixture on 1,000 points of the column's smoothed quantile function, not on the rows
    themselves, and a mode of fewer than 20 rows is none: no mode can stand on single rows. Rounded values are spread
    over their rounding interval, else a critic would recognise real cells by their grid.

    Parameters
    ----------
    table : pandas.DataFrame, shape (n, d)
        Canonical.
    columns : tuple of Column
    rng : numpy.random.Generator

    Returns
    -------
    Layout
    Encoded
    """
    fold = assign_folds(table, rng)
    encoded: list[tuple[Block, Float32, Int32]] = []
    for column in columns:
        margin, coded = fit_margin(table[column.id], column, fold, rng)
        encoded.append(_encode_column(margin, coded, rng))
    order = sorted(range(len(encoded)), key=lambda k: (len(encoded[k][0].states), k))
    blocks = tuple(encoded[k][0] for k in order)
    numbers = tuple(j for j, block in enumerate(blocks) if len(block.centre))
    places = [encoded[order[j]][1] for j in numbers]
    layout = Layout(tuple(column.id for column in columns), blocks, numbers)
    empty = np.zeros((len(table), 0), dtype=np.float32)
    return layout, Encoded(np.column_stack(places) if places else empty, np.column_stack([encoded[k][2] for k in order]))


def _encode_column(margin: Margin, coded: Coded, rng: np.random.Generator) -> tuple[Block, Float32, Int32]:
    n = len(coded.state)
    smooth = np.flatnonzero(coded.state == margin.smooth) if margin.smooth != MISSING else np.zeros(0, dtype=np.intp)
    centre, spread, weight = _fit_modes(margin, len(smooth)) if len(smooth) else (np.zeros(0),) * 3
    solid = [state for state in range(MISSING, len(margin.shares)) if state != margin.smooth or state == MISSING]
    solid = [state for state in solid if (coded.state == state).any()]
    states = np.array(solid + [margin.smooth] * len(centre), dtype=np.intp)
    modes = np.array([-1] * len(solid) + list(range(len(centre))), dtype=np.intp)
    place, code = np.zeros(n, dtype=np.float32), np.zeros(n, dtype=np.int32)
    code[:] = np.searchsorted(np.array(solid, dtype=np.intp), coded.state)
    if len(smooth):
        value = np.interp(coded.score[smooth], margin.knots, margin.heights)
        density = np.log(weight / spread) - 0.5 * ((value[:, None] - centre) / spread) ** 2
        chance = np.cumsum(np.exp(density - density.max(axis=1, keepdims=True)), axis=1)
        mode = (chance <= rng.random(len(smooth))[:, None] * chance[:, -1:]).sum(axis=1).clip(0, len(centre) - 1)
        place[smooth] = np.clip((value - centre[mode]) / (_REACH * spread[mode]), -_EDGE, _EDGE)
        code[smooth] = len(solid) + mode
    shares = np.bincount(code, minlength=len(states)) / n
    return Block(margin, states, modes, shares, centre, spread), place, code


def _fit_modes(margin: Margin, rows: int) -> tuple[Float64, Float64, Float64]:
    """Return means, standard deviations and weights of the Gaussian modes of a column's continuous part."""
    points = min(max(rows, MIN_ROWS), _GRID)
    values = np.interp(ndtri((np.arange(points) + 0.5) / points), margin.knots, margin.heights)
    middle, width = float(values.mean()), float(values.std())
    alone = np.array([middle]), np.array([max(width, 1e-9)]), np.ones(1)
    if width == 0 or rows < 2 * MIN_ROWS:
        return alone
    mixture = BayesianGaussianMixture(
        n_components=MOST_MODES, weight_concentration_prior_type="dirichlet_process", weight_concentration_prior=0.001, random_state=0
    )
    with threadpool_limits(1), warnings.catch_warnings():
        # a mixture that still moves a little is as good a normalisation as one that does not
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit((values[:, None] - middle) / width)
    kept = np.flatnonzero(mixture.weights_ > max(_LEAST_WEIGHT, MIN_ROWS / rows))
    if not len(kept):
        return alone
    kept = kept[np.argsort(mixture.means_[kept, 0])]
    spread = np.sqrt(mixture.covariances_[kept, 0, 0])
    return middle + width * mixture.means_[kept, 0], width * spread, mixture.weights_[kept]


def values_of(block: Block, code: Int32, place: Float64) -> Float64:
    """Return the values that places inside modes stand for, 0 where the category is no mode."""
    mode = block.modes[code]
    return np.where(mode >= 0, block.centre[mode] + _REACH * block.spread[mode] * place, 0.0)
