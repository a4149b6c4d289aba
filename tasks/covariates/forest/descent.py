"""From drawn cells down the trees of the next column: only the predictors on a row's way are looked up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tasks.covariates.coded_cells import capped_square
from tasks.covariates.forest.leaves import Leaves
from tasks.covariates.margins import Coded, Float64, Intp
from tasks.covariates.predictors import Block
from tasks.numerics.compiled import compiled


class Drawn(NamedTuple):
    """Cells of columns drawn so far: state and score, each of shape (columns, n)."""

    state: Intp
    score: Float64

    @classmethod
    def empty(cls, columns: int, n: int) -> Drawn:
        """Return a place for cells."""
        return cls(np.empty((columns, n), dtype=np.intp), np.empty((columns, n)))

    def before(self, column: int) -> Drawn:
        """Return the columns before one."""
        return Drawn(self.state[:column], self.score[:column])

    @property
    def columns(self) -> list[Coded]:
        """The columns one by one."""
        return [Coded(state, score) for state, score in zip(self.state, self.score, strict=True)]


class Predictors(NamedTuple):
    """Blocks laid end to end, so that one predictor of one row can be looked up.

    Attributes
    ----------
    block, place : ndarray of intp, shape (p,)
        Of each predictor: which column it comes from, and its number among that column's.
    start, width, states, smooth : ndarray of intp, shape (columns,)
        Of each column: where its table starts, predictors, states without missing, and the continuous state or -1.
    table : ndarray of float64
        All tables, row by row.
    """

    block: Intp
    place: Intp
    start: Intp
    width: Intp
    states: Intp
    smooth: Intp
    table: Float64

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> Predictors:
        """Lay blocks out."""
        width = np.array([block.table.shape[1] for block in blocks], dtype=np.intp)
        sizes = np.array([block.table.size for block in blocks], dtype=np.intp)
        return cls(
            np.repeat(np.arange(len(blocks)), width),
            np.concatenate([np.arange(0), *(np.arange(wide) for wide in width)]).astype(np.intp),
            np.cumsum(sizes) - sizes,
            width,
            np.array([len(block.table) - 1 for block in blocks], dtype=np.intp),
            np.array([block.smooth for block in blocks], dtype=np.intp),
            np.concatenate([np.zeros(0), *(block.table.ravel() for block in blocks)]),
        )

    def land(self, drawn: Drawn, indices: Float64, leaves: Leaves, node: Intp) -> Intp:
        """Follow splits down to leaves, looking up only the predictors that are on a row's way.

        Parameters
        ----------
        drawn : Drawn
            The columns, n cells each.
        indices : ndarray of float64, shape (n, k)
            What is split on beside the p predictors, numbered after them.
        leaves : Leaves
        node : ndarray of intp, shape (n,)
            Where each row starts.

        Returns
        -------
        ndarray of intp, shape (n,)
            Leaves.
        """
        leaf = node.copy()
        _descend(drawn.state, drawn.score, *self, indices, leaves.left, leaves.right, leaves.feature, leaves.threshold, leaf)
        return leaf


@compiled
def _descend(  # type: ignore[no-untyped-def]  # typed by Numba at the call
    state, score, block, place, start, width, states, smooth, table, indices, left, right, feature, threshold, leaf
):
    """Move each row from its node to a leaf."""
    predictors = len(block)
    for i in range(len(leaf)):
        at = leaf[i]
        while left[at] >= 0:
            chosen = feature[at]
            if chosen >= predictors:
                value = indices[i, chosen - predictors]
            else:
                column = block[chosen]
                cell = state[column, i]
                number = place[chosen]
                value = table[start[column] + (cell if cell >= 0 else states[column]) * width[column] + number]
                if cell >= 0 and cell == smooth[column]:
                    if number == 0:
                        value += score[column, i]
                    elif number == 1:
                        value = capped_square(score[column, i])
            at = left[at] if np.float32(value) <= threshold[at] else right[at]
        leaf[i] = at
