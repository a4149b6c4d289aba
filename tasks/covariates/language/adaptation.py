"""Which layers of a pretrained network get adapters, and the card that says why."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from tasks.contract.errors import SpecError
from tasks.covariates.language.adapters import adapt, depth_of, keep_only
from tasks.covariates.language.grammar import Grammar, draw_orders, write
from tasks.covariates.language.layers import LayerCard, choose_layers, mark
from tasks.covariates.language.likelihood import make_board
from tasks.covariates.language.probe import make_card
from tasks.covariates.margins import Intp
from tasks.covariates.training.loop import device


def adapt_layers(
    network: Any,
    grammar: Grammar,
    probe: Intp,
    layers: Literal["all", "card"] | tuple[int, ...],
    budget: float,
    rank: int,
    rng: np.random.Generator,
) -> LayerCard:
    """Add adapters to the chosen layers; the card covers all layers in any case.

    Parameters
    ----------
    network : transformers.PreTrainedModel
        Changed in place.
    grammar : Grammar
    probe : ndarray of intp, shape (n, d)
        Cells of the probe rows, numbered over all columns.
    layers : "all", "card" or tuple of int
    budget : float
        For "card": share of the cost of all layers.
    rank : int
    rng : numpy.random.Generator
        Draws the probe's column orders.

    Returns
    -------
    LayerCard

    Raises
    ------
    SpecError
        If a chosen layer is not in the network.
    """
    depth = depth_of(network)
    if isinstance(layers, tuple) and max(layers) >= depth:
        raise SpecError(
            f"layers of synthesizer 'llm' must be numbers below {depth}, the model's layers; got {max(layers)}.",
            'Number layers from 0, or set layers = "card".',
        )
    adapt(network, range(depth), rank)
    network.to(device())
    sentences = write(grammar, probe, draw_orders(len(probe), probe.shape[1], rng))
    card = make_card(network, make_board(grammar, None, device()), sentences)
    chosen = tuple(range(depth)) if layers == "all" else choose_layers(card, budget) if layers == "card" else tuple(sorted(layers))
    keep_only(network, chosen)
    return mark(card, chosen)
