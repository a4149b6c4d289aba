"""The probe: one batch read before training, from which the layer card is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from tasks.covariates.language.adapters import Adapter, adapters
from tasks.covariates.language.grammar import Sentences
from tasks.covariates.language.layers import Layer, LayerCard
from tasks.covariates.language.likelihood import Board, option_logits, token_losses
from tasks.covariates.margins import Float64

_RIDGE = 1e-3
_STEP = 1e-2


def make_card(network: Any, board: Board, sentences: Sentences) -> LayerCard:
    """Measure every adapted layer on a probe batch, before any training (Xu et al. 2026, arXiv 2602.04019).

    An adapter adds ``scale B A x`` to a map's output, with B = 0 at first. To first order it can only take up what of the loss's
    gradient lies in the span of ``z = A x``. With ``G = dL/dB`` and ``S = mean z z'`` on the probe's tokens, the part of the residual
    that it can take up, for squared loss exactly, has the norm

        ||G (S + r I)^(-1/2)||_F,   r = 0.001 tr S / rank,

    the gradient's norm freed of the scale of what the layer reads. ``residual`` is the root of the sum of its squares over the
    layer's maps. For the coupling, each layer's B takes a small step along -G (S + r I)^-1, and the changes of the square roots of all
    options' probabilities at all choices are noted (their length is Fisher's metric); ``coupling`` are the cosines of these changes.

    Parameters
    ----------
    network : transformers.PreTrainedModel
        With fresh adapters in every layer.
    board : Board
    sentences : Sentences
        The probe batch.

    Returns
    -------
    LayerCard
        With no layer chosen.
    """
    adapted = adapters(network)
    network.eval()
    reads = _gradients(network, adapted, board, sentences)
    numbers = sorted({adapter.layer for adapter in adapted})
    changes = _changes(network, adapted, reads, numbers, board, sentences)
    norms = np.linalg.norm(changes, axis=1)
    directions = changes / np.where(norms > 0, norms, 1.0)[:, None]
    layers = []
    for number in numbers:
        mine = [k for k, adapter in enumerate(adapted) if adapter.layer == number]
        shapes = [(adapted[k].module.in_features, adapted[k].module.out_features) for k in mine]
        rank = len(reads[mine[0]].narrow)
        weights = sum(before + after for before, after in shapes) * rank
        eigenvalues = [np.linalg.eigvalsh(_ridged(reads[k].narrow)) for k in mine]
        layers.append(
            Layer(
                number,
                float(np.sqrt(sum((reads[k].gradient * reads[k].step).sum() for k in mine))),
                float(np.mean([reads[k].energy for k in mine])),
                float(np.mean([reads[k].rank for k in mine])),
                float(max(values[-1] / values[0] for values in eigenvalues)),
                weights,
                6.0 * weights,
                2.0 * sum(before * after for before, after in shapes),
                False,
            )
        )
    coupling = directions @ directions.T
    return LayerCard(tuple(layers), tuple(tuple(float(cosine) for cosine in row) for row in coupling), len(sentences.tokens))


class _Read(NamedTuple):
    """What one map reads and how its adapter would answer: ``gradient`` G (out, r), ``narrow`` S (r, r), ``step`` G (S + r I)^-1."""

    gradient: Float64
    narrow: Float64
    step: Float64
    energy: float
    rank: float


def _ridged(moments: Float64) -> Float64:
    return np.asarray(moments + np.eye(len(moments)) * (_RIDGE * np.trace(moments) / len(moments) + 1e-30))


def _gradients(network: Any, layers: Sequence[Adapter], board: Board, sentences: Sentences) -> list[_Read]:
    """Run the probe once, forwards and backwards."""
    seen: dict[int, torch.Tensor] = {}

    def listen(k: int) -> Any:
        def hook(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
            seen[k] = inputs[0].detach().reshape(-1, inputs[0].shape[-1])

        return hook

    hooks = [adapter.module.register_forward_pre_hook(listen(k)) for k, adapter in enumerate(layers)]
    weights = [adapter.module.lora_B["default"].weight for adapter in layers]
    losses, _ = token_losses(network, board, sentences)
    gradients = torch.autograd.grad(losses.mean(), weights)
    for hook in hooks:
        hook.remove()
    # padding behind a row's end is read by nobody
    real = torch.from_numpy(_real_tokens(sentences)).to(board.options.device)
    reads = []
    for k, adapter in enumerate(layers):
        wide = seen[k][real].double()
        narrow = (wide @ adapter.module.lora_A["default"].weight.double().T).detach()
        moments = wide.T @ wide / len(wide)
        second = (narrow.T @ narrow / len(narrow)).cpu().numpy()
        gradient = gradients[k].detach().double().cpu().numpy()
        total = float(torch.trace(moments))
        top = float(torch.linalg.eigvalsh(moments)[-1])
        reads.append(_Read(gradient, second, np.linalg.solve(_ridged(second), gradient.T).T, total / len(moments), total / max(top, 1e-30)))
    return reads


def _real_tokens(sentences: Sentences) -> npt.NDArray[np.bool_]:
    """Return which tokens are read for some choice, at it or before it, flat."""
    real = sentences.choices[:, :-1] >= 0
    return np.asarray(np.flip(np.maximum.accumulate(np.flip(real, axis=1), axis=1), axis=1)).ravel()


def _changes(
    network: Any, layers: Sequence[Adapter], reads: Sequence[_Read], numbers: Sequence[int], board: Board, sentences: Sentences
) -> Float64:
    """Return how a small step of each layer changes the log-probabilities of all options at all choices, shape (layers, answers)."""
    plain = _answers(network, board, sentences)
    rows = []
    for number in numbers:
        mine = [(adapter, read) for adapter, read in zip(layers, reads, strict=True) if adapter.layer == number]
        length = float(np.sqrt(sum((read.gradient * read.step).sum() for _, read in mine)))
        with torch.no_grad():
            for adapter, read in mine:
                weight = adapter.module.lora_B["default"].weight
                weight.copy_(torch.from_numpy(-_STEP * read.step / max(length, 1e-30)).to(weight))
            rows.append((_answers(network, board, sentences) - plain).double().cpu().numpy())
            for adapter, _ in mine:
                adapter.module.lora_B["default"].weight.zero_()
    return np.stack(rows)


def _answers(network: Any, board: Board, sentences: Sentences) -> torch.Tensor:
    """Return square roots of the options' probabilities at every choice, flat."""
    to = board.options.device
    tokens = torch.from_numpy(sentences.tokens[:, :-1].astype(np.int64)).to(to)
    row, place = np.nonzero(sentences.choices >= 0)
    states = torch.from_numpy(sentences.states[row, place].astype(np.int64)).to(to)
    with torch.no_grad():
        hidden = network.base_model(input_ids=tokens, use_cache=False).last_hidden_state
        logits = option_logits(network, hidden[torch.from_numpy(row).to(to), torch.from_numpy(place).to(to)], states, board)
        return torch.softmax(logits.double(), dim=1).sqrt().flatten()
