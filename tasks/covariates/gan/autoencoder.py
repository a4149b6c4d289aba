"""Encoder and decoder of the tabular variational autoencoder."""

from __future__ import annotations

import math

import torch
from torch import nn

from tasks.covariates.gan.networks import Network
from tasks.covariates.gan.tensors import Shape

_LEAST_SPREAD = 0.01


class Autoencoder(nn.Module):
    """Rectified layers from rows to a Gaussian code and back, and one standard deviation per number."""

    def __init__(self, size: int, numbers: int, hidden: tuple[int, ...], code: int) -> None:
        super().__init__()
        self.inward = nn.ModuleList(nn.Linear(one, two) for one, two in zip((size, *hidden[:-1]), hidden))
        self.middle = nn.Linear(hidden[-1], code)
        self.width = nn.Linear(hidden[-1], code)
        back = (code, *reversed(hidden))
        self.outward = nn.ModuleList(nn.Linear(one, two) for one, two in zip(back, (*back[1:], size)))
        self.log_spread = nn.Parameter(torch.full((numbers,), math.log(0.1)))

    def spread(self) -> torch.Tensor:
        """Return the standard deviation of each number around its mean."""
        return self.log_spread.exp().clamp(_LEAST_SPREAD, 1.0)

    def decode(self, state: torch.Tensor) -> torch.Tensor:
        """Return outputs for codes, shape (n, size)."""
        for k, layer in enumerate(self.outward):
            state = layer(state)
            if k < len(self.outward) - 1:
                state = torch.relu(state)
        return state

    def loss(self, rows: torch.Tensor, shape: Shape, weight: float) -> torch.Tensor:
        """Return the negative evidence lower bound per row, its likelihood weighted.

        Parameters
        ----------
        rows : Tensor, shape (n, size)
        shape : Shape
        weight : float
            Factor on the likelihood: above 1 the code follows rows more closely than the bound asks for.
        """
        state = rows
        for layer in self.inward:
            state = torch.relu(layer(state))
        middle, log_variance = self.middle(state), self.width(state).clamp(-10, 10)
        out = self.decode(middle + torch.exp(0.5 * log_variance) * torch.randn_like(middle))
        numbers, blocks = rows[:, : shape.numbers], rows[:, shape.numbers :]
        loss = -(blocks * shape.blockwise(out[:, shape.numbers :], logarithm=True)).sum()
        spread = self.spread()
        off = 0.5 * ((numbers - torch.tanh(out[:, : shape.numbers])) / spread) ** 2 + torch.log(spread)
        # a cell that is an atom or missing has no number
        loss = loss + (off if shape.inside is None else off * (blocks @ shape.inside)).sum()
        divergence = 0.5 * (middle**2 + log_variance.exp() - 1 - log_variance).sum()
        total: torch.Tensor = (weight * loss + divergence) / len(rows)
        return total


def freeze(module: Autoencoder) -> Network:
    """Return the decoder as plain layers."""
    layers = [[each.detach().to("cpu").numpy() for each in layer.parameters()] for layer in module.outward]
    spread = module.spread().detach().to("cpu").numpy().copy()
    return Network(tuple(weight.T.copy() for weight, _ in layers), tuple(offset.copy() for _, offset in layers), False, spread)
