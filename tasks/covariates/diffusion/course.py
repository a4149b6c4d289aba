"""Training of the denoiser: what an epoch is, and what it changes."""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from tasks.covariates.diffusion.cells import Cells
from tasks.covariates.diffusion.denoiser import Denoiser, Prior
from tasks.covariates.training.loop import Stateful, device

_EPOCH_ROWS = 12_800
_MANY_ROWS = 50_000
_WARM = 50
_FIRST, _LAST = 0.002, 0.995


class Pace(NamedTuple):
    """How a denoiser is trained; see the parameters of the same names of the synthesizer ``diffusion``."""

    epochs: int
    batch: int
    rate: float
    average: float


class Course:
    """A denoiser in training, with the moving average of its weights.

    Parameters
    ----------
    prior : Prior
    cells : Cells
        Rows to learn from.
    width, layers : int
        Of the network.
    pace : Pace
    """

    def __init__(self, prior: Prior, cells: Cells, width: int, layers: int, pace: Pace) -> None:
        rows = len(cells.codes)
        self.net = Denoiser(prior, width, layers).to(device())
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        self.low, self.high, self.codes = (torch.from_numpy(part).to(device()) for part in cells)
        self.size = min(max(pace.batch, 1024 if rows >= _MANY_ROWS else 0), rows)
        self.turns = max(rows // self.size, _EPOCH_ROWS // pace.batch, 1)
        self.reach = pace.average
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=pace.rate, betas=(0.9, 0.99), weight_decay=1e-4, foreach=True)
        most = pace.epochs * self.turns

        def factor(done: int) -> float:
            return min(1.0, (done + 1) / _WARM) * (0.05 + 0.475 * (1 + float(np.cos(np.pi * min(done / most, 1.0)))))

        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, factor)

    def parts(self) -> dict[str, Stateful]:
        """Return everything that an epoch changes."""
        return {"net": self.net, "average": self.average, "optimizer": self.optimizer, "schedule": self.schedule}

    def epoch(self, generator: torch.Generator) -> None:
        """Go over all rows once, or take as many steps as 12,800 rows would where there are fewer."""
        wanted, rows = self.turns * self.size, len(self.codes)
        order = torch.cat([torch.randperm(rows, generator=generator) for _ in range(-(-wanted // rows))])
        for start in range(0, wanted, self.size):
            self._step(order[start : start + self.size].to(self.low.device), generator)

    def _step(self, chosen: torch.Tensor, generator: torch.Generator) -> None:
        n, where = len(chosen), self.low.device
        low, high, codes = self.low[chosen], self.high[chosen], self.codes[chosen]
        spot = torch.rand(low.shape, generator=generator).to(where)
        clean = torch.special.ndtri((low + spot * (high - low)).double()).float()
        hot = [nn.functional.one_hot(codes[:, block], width).float() for block, width in enumerate(self.net.widths)]
        row = torch.cat([clean, *hot], dim=1)
        # one time from each of n equal pieces of the path: less variance than independent ones
        t = (torch.randperm(n, generator=generator)[:, None] + torch.rand((n, 1), generator=generator)) / n
        t = (_FIRST + (_LAST - _FIRST) * t).to(where)
        x = t * row + (1 - t) * torch.randn(row.shape, generator=generator).to(where)
        self.optimizer.zero_grad()
        self.net.loss(x, t, clean, codes).backward()  # type: ignore[no-untyped-call]  # torch has no types here
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.optimizer.step()
        self.schedule.step()
        # an average over the last part of the training so far, however long that is (Karras et al. 2024, arXiv 2312.02696)
        new = min(1.0, 1.0 / (self.reach * self.schedule.last_epoch))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.net.parameters()), new)
