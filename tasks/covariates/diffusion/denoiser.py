"""The network of the diffusion synthesizer: what a noisy row was, on top of what a linear law says."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from tasks.covariates.diffusion.cells import Float32

_FREQUENCIES = 8
_MOST_LOGIT = 30.0


class Prior(NamedTuple):
    """The linear law that the network starts from.

    Attributes
    ----------
    vectors : ndarray of float32, shape (numbers, numbers)
        Eigenvectors of the numbers' correlation, in columns.
    values : ndarray of float32, shape (numbers,)
        Eigenvalues.
    shares : tuple of ndarray of float32
        Share of each category, block by block.
    """

    vectors: Float32
    values: Float32
    shares: tuple[Float32, ...]


class Denoiser(nn.Module):
    """Estimates the clean row from ``x_t = t x_1 + (1 - t) noise``.

    Numbers: the posterior mean under a Gaussian law of the numbers, plus the network's output times that law's posterior
    standard deviation. Categories: log shares plus the exact log likelihood of the noisy indicators, plus the network's output. So an
    untrained network draws from a Gaussian copula with independent categories, and only what differs is learnt. The idea of scaling
    inputs and outputs by a simple law is Karras et al. 2022, arXiv 2206.00364; probabilities of categories as the estimate of
    the data are Eijkelboom et al. 2024, arXiv 2406.04843.

    Parameters
    ----------
    prior : Prior
    width, layers : int
        Units of a hidden layer, and how many residual layers.
    """

    vectors: torch.Tensor
    values: torch.Tensor
    shares: torch.Tensor

    def __init__(self, prior: Prior, width: int, layers: int) -> None:
        super().__init__()
        self.numbers = len(prior.values)
        self.widths = [len(share) for share in prior.shares]
        self.register_buffer("vectors", torch.from_numpy(prior.vectors))
        self.register_buffer("values", torch.from_numpy(prior.values))
        shares = np.concatenate(prior.shares) if prior.shares else np.zeros(0, dtype=np.float32)
        self.register_buffer("shares", torch.from_numpy(shares))
        size = 2 * self.numbers + len(shares)
        self.enter = nn.Linear(size + 2 * _FREQUENCIES + 1, width)
        self.inner = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.clock = nn.ModuleList(nn.Linear(2 * _FREQUENCIES + 1, width) for _ in range(layers))
        self.leave = nn.Linear(width, self.numbers + len(shares))
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """Return the linear estimate of the numbers, the scale of what it misses, the network's share of that, and logits by block.

        Parameters
        ----------
        x : Tensor of float32, shape (n, numbers + categories)
        t : Tensor of float32, shape (n, 1)
            In (0, 1).
        """
        noise = 1 - t
        numbers, hot = x[:, : self.numbers], x[:, self.numbers :]
        spread = t**2 * self.values + noise**2
        linear = (t * self.values / spread * (numbers @ self.vectors)) @ self.vectors.T
        scale = ((self.values * noise**2 / spread) @ (self.vectors**2).T).sqrt()
        likely = self.shares.log() + (t / noise**2 * hot).clamp(-1e4, 1e4)
        parts = torch.split(likely, self.widths, dim=1) if self.widths else []
        chance = [part.softmax(dim=1) for part in parts]
        seen = torch.cat(chance, dim=1) - self.shares if chance else hot
        seen = seen / (self.shares * (1 - self.shares)).sqrt().clamp(min=0.1)
        angle = (t.log() - noise.log()) / 4
        clock = torch.cat([angle, *[f(angle * 2.0**k) for k in range(-2, _FREQUENCIES - 2) for f in (torch.sin, torch.cos)]], dim=1)
        h = self.enter(torch.cat([numbers / (t**2 + noise**2).sqrt(), linear, seen, clock], dim=1))
        for inner, timed in zip(self.inner, self.clock, strict=True):
            h = h + nn.functional.silu(inner(h) + timed(clock))
        out = self.leave(nn.functional.silu(h))
        logits = []
        at = self.numbers
        for part in parts:
            centred = part - part.amax(dim=1, keepdim=True)
            logits.append(centred.clamp(min=-_MOST_LOGIT) + out[:, at : at + part.shape[1]])
            at += part.shape[1]
        return linear, scale, out[:, : self.numbers], logits

    def estimate(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Return the estimate of the clean row: mean of the numbers, probabilities of the categories."""
        linear, scale, out, logits = self(x, t)
        return torch.cat([linear + scale * out, *[part.softmax(dim=1) for part in logits]], dim=1)

    def loss(self, x: torch.Tensor, t: torch.Tensor, clean: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Return the mean over rows: squared errors in units of their scale, and log losses of the categories.

        Parameters
        ----------
        x, t : Tensor
            As in :meth:`forward`.
        clean : Tensor of float32, shape (n, numbers)
        codes : Tensor of int64, shape (n, blocks)
        """
        linear, scale, out, logits = self(x, t)
        total: torch.Tensor = 0.5 * (((clean - linear) / scale - out) ** 2).sum(dim=1).mean()
        for block, part in enumerate(logits):
            total = total + nn.functional.cross_entropy(part, codes[:, block])
        return total


def freeze(net: Denoiser) -> dict[str, Float32]:
    """Return the weights as numpy arrays."""
    return {name: value.detach().cpu().numpy().copy() for name, value in net.state_dict().items()}


def thaw(weights: dict[str, Float32], widths: tuple[int, ...]) -> Denoiser:
    """Rebuild a network from its weights."""
    shares = tuple(np.split(weights["shares"], np.cumsum(widths)[:-1])) if widths else ()
    layers = len({name.split(".")[1] for name in weights if name.startswith("inner.")})
    net = Denoiser(Prior(weights["vectors"], weights["values"], shares), weights["enter.weight"].shape[0], layers)
    state: dict[str, Any] = {name: torch.from_numpy(value.copy()) for name, value in weights.items()}
    net.load_state_dict(state)
    return net.eval()
