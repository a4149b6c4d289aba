"""Generator and critic of the conditional tabular GAN."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from tasks.covariates.gan.conditions import Conditions
from tasks.covariates.gan.networks import Network

_LEAK = 0.2
_PENALTY = 10.0
_DECAY = 0.999
_STATISTICS_ROWS = 4_000


class Generator(nn.Module):
    """Residual layers with batch normalisation: each layer's output stands beside its input (Xu et al. 2019, arXiv 1907.00503)."""

    def __init__(self, given: int, hidden: tuple[int, ...], out: int) -> None:
        super().__init__()
        sizes = np.cumsum([given, *hidden])
        self.layers = nn.ModuleList([nn.Linear(int(size), width) for size, width in zip(sizes[:-1], hidden)])
        self.gains = nn.ParameterList([nn.Parameter(torch.ones(width)) for width in hidden])
        self.shifts = nn.ParameterList([nn.Parameter(torch.zeros(width)) for width in hidden])
        self.last = nn.Linear(int(sizes[-1]), out)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        """Return outputs of a batch, shape (n, out)."""
        for layer, gain, shift in zip(self.layers, self.gains, self.shifts):
            risen = torch.relu(functional.batch_norm(layer(state), None, None, gain, shift, training=True))
            state = torch.cat([risen, state], dim=1)
        result: torch.Tensor = self.last(state)
        return result


class Average(nn.Module):
    """The running mean of a generator's weights, which draws better than the last ones (Yazici et al. 2019, arXiv 1806.04498)."""

    def __init__(self, source: Generator, given: int, hidden: tuple[int, ...], out: int) -> None:
        super().__init__()
        self.mean = Generator(given, hidden, out)
        self.mean.load_state_dict(source.state_dict())
        self.mean.requires_grad_(False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.steps: torch.Tensor

    def follow(self, source: Generator) -> None:
        """Move towards the source's weights."""
        steps = int(self.steps.add_(1))
        near = 1 - min(_DECAY, steps / (steps + 10))
        torch._foreach_lerp_(list(self.mean.parameters()), [each.detach() for each in source.parameters()], near)


def freeze(generator: Generator, conditions: Conditions, noise: int, numbers: int, rng: np.random.Generator) -> Network:
    """Return the generator as plain layers: batch normalisation by the moments of 4,000 rows, folded into the weights.

    Parameters
    ----------
    generator : Generator
    conditions : Conditions
        As in training.
    noise, numbers : int
        Length of the noise, and of the numbers ahead of the blocks.
    rng : numpy.random.Generator
    """
    given = conditions.draw(_STATISTICS_ROWS, rng)
    state = torch.from_numpy(np.hstack([rng.standard_normal((len(given), noise), dtype=np.float32), given]))
    weights, offsets = [], []
    with torch.no_grad():
        for layer, gain, shift in zip(generator.layers, generator.gains, generator.shifts):
            weight, offset = (each.to("cpu") for each in layer.parameters())
            before = functional.linear(state, weight, offset)
            variance, mean = torch.var_mean(before, dim=0, correction=0)
            scale = gain.to("cpu") / torch.sqrt(variance + 1e-5)
            weights.append((weight * scale[:, None]).numpy().T.copy())
            offsets.append(((offset - mean) * scale + shift.to("cpu")).numpy().copy())
            risen = torch.relu((before - mean) * scale + shift.to("cpu"))
            state = torch.cat([risen, state], dim=1)
        weights.append(generator.last.weight.to("cpu").numpy().T.copy())
        offsets.append(generator.last.bias.to("cpu").numpy().copy())
    return Network(tuple(weights), tuple(offsets), True, np.zeros(numbers, dtype=np.float32))


class Critic(nn.Module):
    """Two leaky layers over packs of rows (Lin et al. 2018, arXiv 1712.04086): a pack shows when rows are all alike."""

    def __init__(self, size: int, hidden: tuple[int, int], pack: int, dropout: float) -> None:
        super().__init__()
        self.pack, self._keep = pack, 1.0 - dropout
        self.first = nn.Linear(size * pack, hidden[0])
        self.second = nn.Linear(hidden[0], hidden[1])
        self.last = nn.Linear(hidden[1], 1)

    def packed(self, rows: torch.Tensor) -> torch.Tensor:
        """Lay ``pack`` rows side by side."""
        return rows.reshape(len(rows) // self.pack, -1)

    def judge(self, packs: torch.Tensor) -> torch.Tensor:
        """Return scores of packs, shape (n, 1)."""
        state = functional.leaky_relu(self.first(packs), _LEAK)
        state = functional.leaky_relu(self.second(self._thin(state)), _LEAK)
        result: torch.Tensor = self.last(self._thin(state))
        return result

    def fool(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the mean score of generated rows; the critic's own weights get no gradient."""
        first, second, last = self.first, self.second, self.last
        state = functional.leaky_relu(functional.linear(self.packed(rows), first.weight.detach(), first.bias.detach()), _LEAK)
        state = functional.leaky_relu(functional.linear(self._thin(state), second.weight.detach(), second.bias.detach()), _LEAK)
        return functional.linear(self._thin(state), last.weight.detach(), last.bias.detach()).mean()

    def loss(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        """Return the Wasserstein loss with gradient penalty (Gulrajani et al. 2017, arXiv 1704.00028)."""
        real, fake = self.packed(real), self.packed(fake)
        scores = self.judge(torch.cat([real, fake]))
        share = torch.rand(len(real), 1, device=real.device)
        return scores[len(real) :].mean() - scores[: len(real)].mean() + _PENALTY * self._penalty(torch.lerp(fake, real, share))

    def _thin(self, state: torch.Tensor) -> torch.Tensor:
        """Leave out a share of the units."""
        return state if self._keep == 1.0 else state * torch.empty_like(state).bernoulli_(self._keep).div_(self._keep)

    def _penalty(self, packs: torch.Tensor) -> torch.Tensor:
        """Return the mean of (norm of the score's gradient - 1)^2.

        Where layers are piecewise linear the gradient is a product of weights and slopes, and slopes have no derivative of their
        own: so it is written down, and needs no second pass of differentiation.
        """
        with torch.no_grad():
            before = self.first(packs)
            near = self._thin(torch.where(before > 0, 1.0, _LEAK))
            before = self.second(before * near)
            far = self._thin(torch.where(before > 0, 1.0, _LEAK))
        gradient = ((far * self.last.weight) @ self.second.weight * near) @ self.first.weight
        penalty: torch.Tensor = ((gradient.norm(dim=1) - 1) ** 2).mean()
        return penalty
