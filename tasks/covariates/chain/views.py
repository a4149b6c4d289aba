"""What the columns drawn before say about a column: linear indices, and codes that trees split on."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.covariates.chain.cells import Cells
from tasks.covariates.chain.rows import evenly
from tasks.covariates.coded_cells import code_cells, encode, predict_indices
from tasks.covariates.margins import MISSING, Coded, Float64, Intp, Margin
from tasks.covariates.predictors import Block, Index, Tilt, expand, fit_index, make_basis, make_block, tilt_targets

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

_LINE_ROWS = 60_000
_ROWS_AT_ONCE = 50_000
_ROWS_OF_BIN = 16
_MOST_BINS = 128


class View(NamedTuple):
    """What trees and lines see of rows.

    Attributes
    ----------
    codes : ndarray of uint8, shape (p, n)
        Design columns and linear indices, cut at quantiles.
    odds : ndarray of float32, shape (n, k)
        Linear predictions of the common states: how many times their share.
    line : ndarray of float64, shape (n,)
        Linear prediction of the score.
    """

    codes: UInt8
    odds: Float32
    line: Float64


class Lens(NamedTuple):
    """Turns coded cells of the earlier columns into a :class:`View`.

    Attributes
    ----------
    blocks : tuple of Block
        How each earlier column enters the design.
    states, line : Index
        Linear indices of the common states, and of the score.
    edges : ndarray of float64, shape (p, 2^k - 1)
        Cuts of each coded column, padded with infinity.
    """

    blocks: tuple[Block, ...]
    states: Index
    line: Index
    edges: Float64

    def look(self, cells_at: Callable[[slice], list[Coded]], n: int) -> View:
        """Return the view of ``n`` rows, block by block; ``cells_at`` gives the earlier cells of some of them."""
        codes, line = np.empty((len(self.edges), n), dtype=np.uint8), np.empty(n)
        odds = np.empty((n, self.states.slope.shape[1]), dtype=np.float32)
        for start in range(0, n, _ROWS_AT_ONCE):
            rows = slice(start, min(start + _ROWS_AT_ONCE, n))
            block, indices = self._codes(cells_at(rows), rows.stop - start)
            codes[:, rows], odds[rows], line[rows] = block, indices[:, :-1], indices[:, -1]
        return View(codes, odds, line)

    def _codes(self, drawn: list[Coded], n: int) -> tuple[UInt8, Float64]:
        """Return the codes of rows, shape (p, n), and their linear indices, shape (n, k + 1), the line last."""
        indices = predict_indices(self.blocks, (self.states, self.line), drawn, n)
        codes, at = np.zeros((len(self.edges), n), dtype=np.uint8), 0 if self.blocks else 1
        for block, cells in zip(self.blocks, drawn, strict=True):
            kept = _split_in(block)
            end = at + int(kept.sum())
            code_cells(block, cells, kept, self.edges[at:end], codes[at:end])
            at = end
        encode(indices, self.edges[at:], codes[at:])
        return codes, indices

    def features(self, drawn: list[Coded], n: int) -> Float64:
        """Return what codes are cut from: the design and its linear indices, shape (n, p)."""
        design = make_design(self.blocks, drawn, n)
        return np.column_stack([design[:, _split_on(self.blocks)], predict_indices(self.blocks, (self.states, self.line), drawn, n)])


def make_design(blocks: tuple[Block, ...], drawn: list[Coded], n: int) -> Float64:
    """Return the predictors of rows, shape (n, p); one column of zeros where there are none."""
    if not blocks:
        return np.zeros((n, 1))
    return np.column_stack([expand(block, cells) for block, cells in zip(blocks, drawn, strict=True)])


def _split_on(blocks: tuple[Block, ...]) -> npt.NDArray[np.bool_]:
    """Say which columns of the design trees split on: not the squares, which order rows as the scores do."""
    if not blocks:
        return np.ones(1, dtype=np.bool_)
    return np.concatenate([_split_in(block) for block in blocks])


def _split_in(block: Block) -> npt.NDArray[np.bool_]:
    return np.asarray(np.arange(block.table.shape[1]) != (1 if block.smooth != MISSING else -1))


def pick(cells: Coded, rows: Intp | slice) -> Coded:
    """Return the cells of some rows."""
    return Coded(cells.state[rows], cells.score[rows])


def fit_lens(
    margin: Margin, coded: Coded, tilt: Tilt, classes: Intp, seen: list[tuple[Margin, Cells]], rows: Intp, edges: Float64 | None
) -> Lens:
    """Learn how the earlier columns are seen for one target.

    Parameters
    ----------
    margin, coded : Margin, Coded
        The target and its n cells.
    tilt : Tilt
        States of the target that get a linear index.
    classes : ndarray of intp, shape (n,)
        Classes of the target (:func:`tasks.covariates.predictors.target_classes`).
    seen : list of (Margin, Cells)
        The earlier columns.
    rows : ndarray of intp
        Rows whose target may be looked at; 60,000 of them, evenly spread, fit the linear indices.
    edges : ndarray or None
        Cuts of the codes where they are known already: lenses of several folds share them.
    """
    blocks = tuple(make_block(before, cells.at(slice(None)), classes, rows) for before, cells in seen)
    used = evenly(rows, _LINE_ROWS)
    earlier = [cells.at(used) for _, cells in seen]
    design = make_design(blocks, earlier, len(used))
    basis = make_basis(design)
    states = fit_index(basis, tilt_targets(tilt, coded.state[used], len(margin.shares)))
    inside = coded.state[used] == margin.smooth
    line = Index(np.zeros((design.shape[1], 1)), np.zeros(1))
    if margin.smooth != MISSING and inside.sum() >= 20:
        line = fit_index(basis if inside.all() else make_basis(design[inside]), coded.score[used][inside, None])
    lens = Lens(blocks, states, line, np.zeros((0, 1)))
    if edges is None:
        edges = _cuts(lens.features(earlier, len(used)), len(rows))
    return lens._replace(edges=edges)


def _cuts(features: Float64, rows: int) -> Float64:
    """Cut every column between its distinct values, or at quantiles where these are many."""
    bins = 2
    while 2 * bins <= min(_MOST_BINS, rows // _ROWS_OF_BIN):
        bins *= 2
    edges = np.full((features.shape[1], bins - 1), np.inf)
    for j, column in enumerate(features.T):
        values = np.unique(column)
        if len(values) > bins:
            values = np.unique(np.quantile(column, (np.arange(bins) + 0.5) / bins))
        middle = (values[1:] + values[:-1]) / 2
        edges[j, : len(middle)] = middle
    return edges
