"""The layer card: which layers of a pretrained network gain from adaptation to a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

_LEAST_COUPLED = 0.05


class Layer(NamedTuple):
    """One transformer layer of the card.

    Attributes
    ----------
    layer : int
        Its number, from 0 at the bottom.
    residual : float
        Projected residual norm: how much of the gradient its adapters can take up, see :func:`tasks.covariates.language.probe.make_card`.
    energy : float
        Activation energy: mean square of what its linear maps read.
    rank : float
        Stable rank of the second moments of what they read, tr S / max eigenvalue, at least 1: how many directions carry the energy.
    condition : float
        Largest over smallest eigenvalue of the second moments of what its adapters read, ridge included.
    parameters : int
        Weights of its adapters.
    flops : float
        Multiplications and additions that adapting it takes for a token, forwards and backwards, its own alone.
    reach : float
        Those of carrying the gradient down from the layer above to this one, needed for the lowest adapted layer and all above.
    chosen : bool
        Whether it is adapted.
    """

    layer: int
    residual: float
    energy: float
    rank: float
    condition: float
    parameters: int
    flops: float
    reach: float
    chosen: bool


class LayerCard(NamedTuple):
    """What is known of every layer before training.

    Attributes
    ----------
    layers : tuple of Layer
        From the bottom up.
    coupling : tuple of tuple of float
        Cosines of what a step of one layer and a step of another do to the network's answers: 0 where gains add up, 1 where one
        does what the other has done.
    rows : int
        Rows of the probe batch.
    """

    layers: tuple[Layer, ...]
    coupling: tuple[tuple[float, ...], ...]
    rows: int

    def as_dict(self) -> dict[str, Any]:
        """Return the card as JSON values."""
        return {"layers": [layer._asdict() for layer in self.layers], "coupling": [list(row) for row in self.coupling], "rows": self.rows}

    def __str__(self) -> str:
        """Return the card as a table of plain text."""
        head = f"{'layer':>5} {'residual':>9} {'energy':>9} {'rank':>6} {'condition':>9} {'parameters':>10} {'coupled to':>11}  adapted"
        lines = [head]
        for one in self.layers:
            others = [(abs(cosine), k) for k, cosine in enumerate(self.coupling[one.layer]) if k != one.layer]
            strongest = max(others, default=(0.0, -1))
            coupled = f"{strongest[1]} ({strongest[0]:.2f})" if strongest[0] > _LEAST_COUPLED else "none"
            lines.append(
                f"{one.layer:>5} {one.residual:>9.4f} {one.energy:>9.3g} {one.rank:>6.1f} {one.condition:>9.3g} {one.parameters:>10}"
                f" {coupled:>11}  {'yes' if one.chosen else 'no'}"
            )
        return "\n".join(lines)


def choose_layers(card: LayerCard, budget: float) -> tuple[int, ...]:
    """Choose the layers that promise most for a share of all layers' cost.

    With residual norms r and coupling C, a set of layers S promises ``r_S' C_S^-1 r_S`` (the quadratic model's gain; the sum of r^2
    where layers are not coupled). Layers are taken one by one, each time the one that adds most per weight of its adapters, as long as
    the budget holds.

    Parameters
    ----------
    card : LayerCard
    budget : float
        In (0, 1].

    Returns
    -------
    tuple of int
        Ascending; at least one layer.
    """
    cost = np.array([layer.parameters for layer in card.layers], dtype=np.float64)
    chosen: list[int] = []
    while True:
        left = [
            k for k in range(len(cost)) if k not in chosen and (not chosen or cost[chosen].sum() + cost[k] <= budget * cost.sum() + 1e-9)
        ]
        if not left:
            return tuple(sorted(card.layers[k].layer for k in chosen))
        before = _promise(card, chosen)
        gains = [(_promise(card, [*chosen, k]) - before) / cost[k] for k in left]
        # of equals the upper one: gradients need not be carried further down
        chosen.append(left[len(gains) - 1 - int(np.argmax(gains[::-1]))])


def mark(card: LayerCard, chosen: Sequence[int]) -> LayerCard:
    """Return the card with its choice."""
    return card._replace(layers=tuple(layer._replace(chosen=layer.layer in chosen) for layer in card.layers))


def _promise(card: LayerCard, chosen: list[int]) -> float:
    if not chosen:
        return 0.0
    residual = np.array([card.layers[k].residual for k in chosen])
    coupled = np.array([[card.coupling[i][k] for k in chosen] for i in chosen])
    # layers that work against each other promise no more than their sum; nearly the same step twice is not inverted
    values, vectors = np.linalg.eigh(np.clip(coupled, 0.0, 1.0))
    return float((((residual @ vectors) ** 2) / np.maximum(values, _LEAST_COUPLED)).sum())
