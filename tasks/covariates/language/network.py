"""The causal language model itself: a new one, or a pretrained one reduced to the words that a table needs."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from tasks.contract.errors import SpecError
from tasks.covariates.language.pretrained import not_there
from tasks.covariates.language.vocabulary import Encode, Scale
from tasks.covariates.margins import Intp

if TYPE_CHECKING:
    from collections.abc import Sequence

_SPREAD = 0.02
_REACH = 0.5
_NUGGET = 0.1


class Packed(NamedTuple):
    """A network that pickles: its configuration and the bytes of its weights, on the processor.

    Attributes
    ----------
    config : str
        JSON.
    weights : bytes
        A ``torch.save`` of tensors only.
    """

    config: str
    weights: bytes


class Borrowed(NamedTuple):
    """A pretrained model as it was loaded: the network, its tokenizer's ``encode`` and the token that starts a row."""

    network: Any
    encode: Encode
    start: int


def new_network(size: int, longest: int, depth: int, width: int, heads: int, dropout: float, scales: Sequence[Scale]) -> Any:
    """Make a GPT-2 with random weights (Radford et al. 2019), drawn from torch's default generator.

    Embeddings of tokens that stand for neighbouring numbers begin as neighbours: they are a draw of a Gaussian process over the
    tokens' places. Reading and writing share the embeddings, so what is learnt of one bin is learnt of those beside it.

    Parameters
    ----------
    size : int
        Tokens.
    longest : int
        Most tokens of a row.
    depth, width, heads : int
        Layers, numbers per token, attention heads; ``heads`` divides ``width``.
    dropout : float
        In [0, 1).
    scales : sequence of Scale
        Tokens that lie on a line.

    Returns
    -------
    transformers.GPT2LMHeadModel
    """
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=size,
        n_positions=longest,
        n_embd=width,
        n_layer=depth,
        n_head=heads,
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        activation_function="gelu_pytorch_tanh",
        initializer_range=_SPREAD,
        bos_token_id=0,
        eos_token_id=0,
    )
    network = GPT2LMHeadModel(config)
    table = network.get_input_embeddings().weight
    with torch.no_grad():
        for scale in scales:
            apart = np.abs(scale.place[:, None] - scale.place[None, :])
            kernel = (1 - _NUGGET) * np.exp(-0.5 * (apart / _REACH) ** 2) + _NUGGET * np.eye(len(apart))
            factor = torch.from_numpy(np.linalg.cholesky(kernel)).to(table.dtype)
            table[torch.from_numpy(scale.tokens)] = _SPREAD * factor @ torch.randn(len(apart), width)
    return network


def load_pretrained(model: str, download: bool) -> Borrowed:
    """Load a causal language model and its tokenizer from a folder or, by name, from the local cache.

    Parameters
    ----------
    model : str
        A folder or a hub name.
    download : bool
        Whether files that are not in the cache may be fetched from the hub.

    Raises
    ------
    SpecError
        If the files are not there or are no causal language model.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=not download)  # nosec B615 (the SPEC names the model)
        network = AutoModelForCausalLM.from_pretrained(model, local_files_only=not download, dtype=torch.float32)  # nosec B615 (the SPEC names the model)
    except (OSError, ValueError, KeyError) as error:
        raise not_there(model) from error
    finally:
        if bars:
            transformers_logging.enable_progress_bar()
    given = [token for token in (tokenizer.bos_token_id, tokenizer.eos_token_id) if token is not None]

    def encode(text: str) -> list[int]:
        return [int(token) for token in tokenizer.encode(text, add_special_tokens=False)]

    return Borrowed(network, encode, int(given[0]) if given else encode(",")[0])


def keep_words(network: Any, kept: Intp, longest: int) -> None:
    """Reduce a pretrained network to the tokens kept, numbered anew, in place.

    Raises
    ------
    SpecError
        If the network reads fewer tokens than a row has.
    """
    reach = getattr(network.config, "max_position_embeddings", longest)
    if reach < longest:
        raise SpecError(
            f"the reach of the model of synthesizer 'llm' must be at least the {longest} tokens of a row; got {reach}.",
            "Take a model that reads longer texts, or fewer columns.",
        )
    rows = torch.from_numpy(kept.astype(np.int64))
    reading, writing = network.get_input_embeddings(), network.get_output_embeddings()
    tied = reading.weight is writing.weight
    fresh = torch.nn.Embedding(len(kept), reading.weight.shape[1], dtype=reading.weight.dtype)
    bias = getattr(writing, "bias", None)
    head = torch.nn.Linear(writing.weight.shape[1], len(kept), bias=bias is not None, dtype=writing.weight.dtype)
    with torch.no_grad():
        fresh.weight.copy_(reading.weight[rows])
        head.weight.copy_(writing.weight[rows])
        if bias is not None:
            head.bias.copy_(bias[rows])
    network.set_input_embeddings(fresh)
    network.set_output_embeddings(head)
    network.config.vocab_size = len(kept)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(network.config, name, None)
    if tied:
        head.weight = fresh.weight


def pack(network: Any) -> Packed:
    """Return a network in a form that pickles; the same weights give the same bytes."""
    buffer = io.BytesIO()
    weights = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in sorted(network.state_dict().items())}
    torch.save(weights, buffer)
    config = {**network.config.to_diff_dict(), "model_type": network.config.model_type}
    config.pop("_name_or_path", None)
    return Packed(json.dumps(config, sort_keys=True, default=str), buffer.getvalue())


def unpack(packed: Packed, to: torch.device) -> Any:
    """Return the network, ready to be asked."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(**json.loads(packed.config))
    with torch.random.fork_rng(enabled=True):
        network = AutoModelForCausalLM.from_config(config)
    network.load_state_dict(torch.load(io.BytesIO(packed.weights), weights_only=True, map_location="cpu"))
    return network.to(to).eval()
