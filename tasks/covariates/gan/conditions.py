"""Training by sampling: every level is shown often enough, however rare it is (Xu et al. 2019, arXiv 1907.00503)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from tasks.covariates.gan.modes import Encoded, Float32, Layout
from tasks.covariates.margins import Float64, Intp


class Conditions(NamedTuple):
    """The discrete columns one of which a generator is given.

    Attributes
    ----------
    cells : ndarray of intp, shape (categories,)
        Offset of each category, without the numbers ahead, in a row; blocks one after the other.
    first : ndarray of intp, shape (blocks,)
        Where each block begins among the categories.
    upper : ndarray of float64, shape (categories,)
        Number of the block plus the share of the rows up to and with this category.
    """

    cells: Intp
    first: Intp
    upper: Float64

    def draw(self, n: int, rng: np.random.Generator) -> Float32:
        """Draw conditions with the shares of the source, one-hot, shape (n, categories)."""
        result = np.zeros((n, len(self.cells)), dtype=np.float32)
        if len(self.cells):
            chosen = np.searchsorted(self.upper, rng.integers(len(self.first), size=n) + rng.random(n), side="right")
            result[np.arange(n), np.minimum(chosen, len(self.cells) - 1)] = 1.0
        return result


NO_CONDITIONS = Conditions(np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp), np.zeros(0))
"""Of a network that takes none."""


def plan_conditions(layout: Layout) -> Conditions:
    """List the discrete columns' categories."""
    blocks = [(j, block) for j, block in enumerate(layout.blocks) if block.discrete]
    starts = layout.starts - len(layout.numbers)
    none = np.zeros(0)
    cells = [starts[j] + np.arange(len(block.states)) for j, block in blocks]
    first = np.cumsum([0, *(len(block.states) for _, block in blocks)])[:-1]
    upper = [number + _rising(block.shares) for number, (_, block) in enumerate(blocks)]
    return Conditions(np.concatenate([none, *cells]).astype(np.intp), first.astype(np.intp), np.concatenate([none, *upper]))


def _rising(shares: Float64) -> Float64:
    """Return cumulative shares that end in exactly 1."""
    upper = np.cumsum(shares)
    return np.asarray(upper / upper[-1])


class Sampler(NamedTuple):
    """Rows by category: draws a condition and a real row that meets it, for a whole epoch at once.

    Attributes
    ----------
    upper : Tensor of float64, shape (categories,)
        As in :class:`Conditions`, but of the logarithms of counts.
    blocks : int
        Discrete columns.
    rows : Tensor of int64, shape (blocks * n,)
        Rows, block by block in the order of their categories.
    begin, length : Tensor of int64, shape (categories,)
        Where the rows of a category begin, and how many there are.
    n : int
        Rows of the table.
    """

    upper: torch.Tensor
    blocks: int
    rows: torch.Tensor
    begin: torch.Tensor
    length: torch.Tensor
    n: int

    def draw(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw ``size`` rows with torch's default generator, and the category of each one's condition.

        Where there are no discrete columns rows are drawn evenly and categories are empty.
        """
        if not self.blocks:
            return torch.randint(self.n, (size,)), torch.zeros(0, dtype=torch.int64)
        block = torch.randint(self.blocks, (size,))
        spot = torch.rand(size, dtype=torch.float64)
        category = torch.searchsorted(self.upper, block + spot, right=True).clamp_(max=len(self.upper) - 1)
        step = (torch.rand(size, dtype=torch.float64) * self.length[category]).long()
        return self.rows[self.begin[category] + step], category


def plan_sampler(layout: Layout, encoded: Encoded) -> Sampler:
    """Index the rows of an encoded table by category."""
    n = len(encoded.codes)
    rows, begin, length, upper = [], [], [], []
    blocks = [(j, block) for j, block in enumerate(layout.blocks) if block.discrete]
    for number, (j, block) in enumerate(blocks):
        counts = np.bincount(encoded.codes[:, j], minlength=len(block.states))
        rows.append(np.argsort(encoded.codes[:, j], kind="stable"))
        begin.append(number * n + np.concatenate(([0], np.cumsum(counts)[:-1])))
        length.append(counts)
        upper.append(number + _rising(np.log1p(counts)))

    def joined(pieces: list[np.ndarray], kind: type) -> torch.Tensor:
        return torch.from_numpy(np.concatenate([np.zeros(0), *pieces]).astype(kind))

    return Sampler(joined(upper, np.float64), len(blocks), joined(rows, np.int64), joined(begin, np.int64), joined(length, np.int64), n)
