"""An encoded table as tensors, and the soft rows that a generator makes."""

from __future__ import annotations

from typing import NamedTuple

import torch

from tasks.covariates.gan.modes import Encoded, Group, Layout

_TEMPERATURE = 0.2


class Rows(NamedTuple):
    """A table on its device, kept compact: a batch is spread out when it is taken.

    Attributes
    ----------
    places : Tensor of float32, shape (n, numbers)
    cells : Tensor of int64, shape (n, blocks)
        Offset of each block's category in a row.
    size : int
        Length of a row.
    """

    places: torch.Tensor
    cells: torch.Tensor
    size: int

    def take(self, rows: torch.Tensor) -> torch.Tensor:
        """Return rows as numbers and one-hot blocks, shape (len(rows), size)."""
        result = torch.zeros(len(rows), self.size, device=self.places.device)
        result[:, : self.places.shape[1]] = self.places[rows]
        return result.scatter_(1, self.cells[rows], 1.0)


def to_rows(layout: Layout, encoded: Encoded, device: torch.device) -> Rows:
    """Put an encoded table on a device."""
    cells = torch.from_numpy(encoded.codes.astype("int64") + layout.starts)
    return Rows(torch.from_numpy(encoded.places).to(device), cells.to(device), layout.size)


class Shape(NamedTuple):
    """What is needed of a layout to make soft rows.

    Attributes
    ----------
    numbers : int
        Numbers ahead of the blocks.
    groups : tuple of Group
        Blocks of equal width.
    inside : Tensor of float32, shape (categories, numbers), or None
        See :attr:`tasks.covariates.gan.modes.Layout.inside`; None where every number is always inside a mode.
    """

    numbers: int
    groups: tuple[Group, ...]
    inside: torch.Tensor | None

    def blockwise(self, logits: torch.Tensor, logarithm: bool = False) -> torch.Tensor:
        """Return the softmax, or its logarithm, of each block's logits: one operation for all blocks of a width."""
        pieces = []
        for group in self.groups:
            block_logits = logits[:, group.start - self.numbers : group.stop - self.numbers].reshape(-1, group.blocks, group.width)
            pieces.append((block_logits.log_softmax(2) if logarithm else block_logits.softmax(2)).reshape(len(logits), -1))
        return torch.cat(pieces, dim=1)

    def soften(self, out: torch.Tensor) -> torch.Tensor:
        """Turn outputs into soft rows: tanh for numbers, Gumbel softmax for blocks (Jang, Gu, Poole 2017, arXiv 1611.01144).

        A number counts as far as its column's block is in a mode: cells that are atoms or missing have none.
        """
        logits = out[:, self.numbers :]
        noise = torch.empty_like(logits).exponential_().log_()
        blocks = self.blockwise((logits - noise) / _TEMPERATURE)
        places = torch.tanh(out[:, : self.numbers])
        return torch.cat([places if self.inside is None else places * (blocks @ self.inside), blocks], dim=1)


def shape_of(layout: Layout, device: torch.device) -> Shape:
    """Return the shape of a layout's rows."""
    always = all((layout.blocks[j].modes >= 0).all() for j in layout.numbers)
    return Shape(len(layout.numbers), layout.groups, None if always else torch.from_numpy(layout.inside).to(device))
