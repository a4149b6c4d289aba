"""How likely rows are under the model, among all rows that the grammar lets it write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from tasks.covariates.language.grammar import Grammar, draw_orders, write
from tasks.covariates.margins import Float64, Intp

if TYPE_CHECKING:
    from tasks.covariates.language.grammar import Sentences

_BATCH = 512


class Board(NamedTuple):
    """The grammar as a device holds it.

    Attributes
    ----------
    options : torch.Tensor of int64, shape (states, f)
    prior : torch.Tensor of float32, shape (states, f)
        Added to the logits of the options; minus infinity beyond the last one.
    """

    options: torch.Tensor
    prior: torch.Tensor


def make_board(grammar: Grammar, prior: Float64 | None, to: torch.device) -> Board:
    """Put a grammar on a device; ``prior`` are log odds of options, shape (states, f), or None for equal ones."""
    there = np.arange(grammar.options.shape[1])[None, :] < grammar.fan[:, None]
    added = np.where(there, 0.0 if prior is None else prior, -np.inf).astype(np.float32)
    return Board(torch.from_numpy(grammar.options.astype(np.int64)).to(to), torch.from_numpy(added).to(to))


def option_logits(network: Any, hidden: torch.Tensor, states: torch.Tensor, board: Board) -> torch.Tensor:
    """Return logits of the options of each state, shape (m, f), from the last layer's output, shape (m, width)."""
    logits: torch.Tensor = network.get_output_embeddings()(hidden)
    return logits.gather(1, board.options[states]).float() + board.prior[states]


def token_losses(network: Any, board: Board, sentences: Sentences) -> tuple[torch.Tensor, torch.Tensor]:
    """Return minus the log-probability of every choice made, and the row each belongs to; both of shape (choices,).

    The probability of a token is that among the options its state has: words that could not stand there take no part.
    """
    to = board.options.device
    tokens = torch.from_numpy(sentences.tokens[:, :-1].astype(np.int64)).to(to)
    row, place = np.nonzero(sentences.choices >= 0)
    states = torch.from_numpy(sentences.states[row, place].astype(np.int64)).to(to)
    choices = torch.from_numpy(sentences.choices[row, place].astype(np.int64)).to(to)
    where = torch.from_numpy(row).to(to)
    hidden = network.base_model(input_ids=tokens, use_cache=False).last_hidden_state[where, torch.from_numpy(place).to(to)]
    logits = option_logits(network, hidden, states, board)
    return torch.nn.functional.cross_entropy(logits, choices, reduction="none"), where


def log_likelihood(network: Any, board: Board, grammar: Grammar, cells: Intp, orders: int, rng: np.random.Generator) -> Float64:
    """Return the log-probability of rows.

    A row is written in a random order of its columns, so its probability is the mean over orders; that over ``orders`` random ones
    is taken for it. The orders' likelihoods differ little once a model is trained.

    Parameters
    ----------
    network : transformers.PreTrainedModel
    board : Board
    grammar : Grammar
    cells : ndarray of intp, shape (n, d)
        Cells numbered over all columns; a negative one has probability 0.
    orders : int
        At least 1.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float64, shape (n,)
        In nats.
    """
    n, d = cells.shape
    result = np.full((orders, n), -np.inf)
    complete = np.flatnonzero((cells >= 0).all(axis=1))
    network.eval()
    with torch.no_grad():
        for k in range(orders):
            order = draw_orders(n, d, rng)
            for begin in range(0, len(complete), _BATCH):
                rows = complete[begin : begin + _BATCH]
                losses, where = token_losses(network, board, write(grammar, cells[rows], order[rows]))
                sums = np.bincount(where.cpu().numpy(), weights=losses.double().cpu().numpy(), minlength=len(rows))
                result[k, rows] = -sums
    highest = result.max(axis=0)
    safe = np.where(np.isfinite(highest), highest, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(safe + np.log(np.exp(result - safe).mean(axis=0)))
