"""Writing rows: constrained decoding in batches, with the keys and values of what is already written kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tasks.covariates.language.grammar import Grammar, draw_orders
from tasks.covariates.language.likelihood import Board, option_logits
from tasks.covariates.margins import Intp

_BATCH = 1_024


def draw_cells(network: Any, board: Board, grammar: Grammar, n: int, rng: np.random.Generator) -> Intp:
    """Draw rows, each in a random order of its columns.

    Every row walks down the trees of the grammar by itself, one token a step, so after as many steps as the longest row has tokens
    all are complete; none is rejected.

    Parameters
    ----------
    network : transformers.PreTrainedModel
    board : Board
    grammar : Grammar
    n : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of intp, shape (n, d)
        Cells numbered over all columns.
    """
    network.eval()
    with torch.no_grad():
        parts = [_draw_batch(network, board, grammar, min(_BATCH, n - begin), rng) for begin in range(0, n, _BATCH)]
    return np.concatenate(parts)


def _draw_batch(network: Any, board: Board, grammar: Grammar, n: int, rng: np.random.Generator) -> Intp:
    d = len(grammar.root)
    orders = draw_orders(n, d, rng)
    cells = np.full((n, d), -1, dtype=np.intp)
    row = np.arange(n)
    turn = np.zeros(n, dtype=np.intp)
    token = np.full(n, grammar.start, dtype=np.int64)
    state = grammar.root[orders[:, 0]].astype(np.int64)
    past = None
    while True:
        # rows that are complete go on reading their last token, unheard
        read = network.base_model(input_ids=torch.from_numpy(token[:, None]).to(board.options.device), past_key_values=past, use_cache=True)
        past = read.past_key_values
        chance = rng.random(n)
        choice = np.zeros(n, dtype=np.intp)
        open_ = np.flatnonzero((turn < d) & (grammar.fan[state] > 1))
        if len(open_):
            at = torch.from_numpy(open_).to(board.options.device)
            logits = option_logits(network, read.last_hidden_state[at, -1], torch.from_numpy(state[open_]).to(at.device), board)
            upper = np.cumsum(torch.softmax(logits.double(), dim=1).cpu().numpy(), axis=1)
            picked = (upper <= (chance[open_] * upper[:, -1])[:, None]).sum(axis=1)
            choice[open_] = np.minimum(picked, grammar.fan[state[open_]] - 1)
        busy = row[turn < d]
        token[busy] = grammar.options[state[busy], choice[busy]]
        below = grammar.child[state[busy], choice[busy]]
        ended, going = busy[below < 0], busy[below >= 0]
        state[going] = below[below >= 0]
        cells[ended, orders[ended, turn[ended]]] = -1 - below[below < 0]
        turn[ended] += 1
        more = ended[turn[ended] < d]
        state[more] = grammar.root[orders[more, turn[more]]]
        if not (turn < d).any():
            return cells
