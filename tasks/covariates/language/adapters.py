"""Low-rank adapters of a pretrained network's layers (LoRA: Hu et al. 2022, arXiv 2106.09685), through peft."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from tasks.contract.errors import SpecError


class Adapter(NamedTuple):
    """One adapted matrix: ``W + scale B A``.

    Attributes
    ----------
    layer : int
        Number of the transformer layer, from 0 at the bottom.
    name : str
        Of the module, as the network calls it.
    module : torch.nn.Module
        The module that peft has put there.
    """

    layer: int
    name: str
    module: Any


def depth_of(network: Any) -> int:
    """Return how many transformer layers a network has."""
    return int(network.config.num_hidden_layers)


def adapt(network: Any, layers: Sequence[int], rank: int) -> None:
    """Freeze a network and give every linear map of the chosen layers an adapter.

    Parameters
    ----------
    network : transformers.PreTrainedModel
        Changed in place: only its adapters require a gradient afterwards. They begin as zero maps.
    layers : sequence of int
        Numbers of layers, from 0 at the bottom.
    rank : int
        Of the adapters; their scale is 2.

    Raises
    ------
    SpecError
        If peft finds no linear maps in the network's layers.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=_linear_maps(network),
        layers_to_transform=list(layers),
        bias="none",
        task_type="CAUSAL_LM",
        fan_in_fan_out=any(type(module).__name__ == "Conv1D" for module in network.modules()),
    )
    try:
        get_peft_model(network, config)
    except ValueError as error:
        raise SpecError(
            "the model of synthesizer 'llm' must have layers that LoRA can adapt; got none.",
            "Take another model, or leave params.model out.",
        ) from error


def keep_only(network: Any, layers: Sequence[int]) -> None:
    """Take the adapters out of all layers but the chosen ones, in place; adapters that stay keep their weights."""
    for adapter in adapters(network):
        if adapter.layer not in layers:
            above, _, last = adapter.name.rpartition(".")
            setattr(network.get_submodule(above), last, adapter.module.get_base_layer())


def merge(network: Any) -> None:
    """Add the adapters to the weights and take them out, in place."""
    for adapter in adapters(network):
        adapter.module.merge()
    keep_only(network, ())


def adapters(network: Any) -> list[Adapter]:
    """List the adapters of a network, layer by layer."""
    layers = []
    for name, module in network.named_modules():
        if "default" in getattr(module, "lora_B", {}):
            layers.append(Adapter(_layer(name), name, module))
    return sorted(layers, key=lambda adapter: (adapter.layer, adapter.name))


def _linear_maps(network: Any) -> list[str]:
    """Return the last names of all linear maps inside the transformer layers."""
    kinds = (torch.nn.Linear,)
    names = {
        name.rsplit(".", 1)[-1]
        for name, module in network.base_model.named_modules()
        if (isinstance(module, kinds) or type(module).__name__ == "Conv1D") and _layer(name) >= 0
    }
    return sorted(names)


def _layer(name: str) -> int:
    numbers = re.findall(r"\.(\d+)\.", name)
    return int(numbers[0]) if numbers else -1
