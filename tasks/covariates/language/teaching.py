"""How the model is taught: epochs of rows in random column orders, weights averaged on the way."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from tasks.contract.roles import Column
from tasks.covariates.journal import Curve, Journal
from tasks.covariates.language.grammar import Grammar, draw_orders, write
from tasks.covariates.language.likelihood import Board, make_board, token_losses
from tasks.covariates.language.measuring import make_measure
from tasks.covariates.language.model import read_frame
from tasks.covariates.language.vocabulary import Vocabulary
from tasks.covariates.margins import Float64, Intp
from tasks.covariates.training.loop import train

_WARM = 0.05
_LAST = 0.05
_CLIP = 1.0


class Course(NamedTuple):
    """How long and how fast.

    Attributes
    ----------
    epochs : int
        Most epochs.
    every : int
        Epochs from one measurement to the next.
    patience : int
        Measurements without a better one after which training stops.
    batch : int
        Rows of a step.
    rate : float
        Learning rate at its highest: it rises over the first twentieth of the steps and falls to a twentieth along a half cosine.
    decay : float
        Weight decay of matrices.
    memory : float
        Share of the average that a step keeps, in [0, 1): 0 takes the last weights.
    """

    epochs: int
    every: int
    patience: int
    batch: int
    rate: float
    decay: float
    memory: float


class Pace:
    """How many steps were made, on which the learning rate and the average depend, and the best held-out log-likelihoods so far."""

    def __init__(self) -> None:
        self.steps = 0
        self.best: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        """Return both."""
        return {"steps": self.steps, "best": list(self.best)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take both over."""
        self.steps, self.best = int(state_dict["steps"]), list(state_dict["best"])

    def lost(self, likelihoods: Float64) -> float:
        """Return by how much held-out rows have become less likely than they were at best, less a standard error; in nats per row."""
        best = np.array(self.best) if self.best else likelihoods
        if not self.best or likelihoods.mean() > best.mean():
            self.best = likelihoods.tolist()
        gap = best - likelihoods
        return max(0.0, float(gap.mean() - gap.std() / np.sqrt(len(gap))))


class Pupil(NamedTuple):
    """A network in training.

    Attributes
    ----------
    network : transformers.PreTrainedModel
        Whose weights the steps change.
    average : transformers.PreTrainedModel
        Whose weights are the average over steps; the network itself where nothing is averaged.
    learnt, averaged : torch.nn.ParameterList
        The trainable weights of either.
    optimizer : torch.optim.AdamW
    pace : Pace
    """

    network: Any
    average: Any
    learnt: torch.nn.ParameterList
    averaged: torch.nn.ParameterList
    optimizer: torch.optim.AdamW
    pace: Pace

    def parts(self) -> dict[str, Any]:
        """Return all that an epoch changes."""
        return {"learnt": self.learnt, "averaged": self.averaged, "optimizer": self.optimizer, "pace": self.pace}


def make_pupil(network: Any, course: Course) -> Pupil:
    """Make a network ready to be taught: the weights that require a gradient are."""
    average = copy.deepcopy(network) if course.memory > 0 else network
    learnt, averaged = (torch.nn.ParameterList(weight for weight in one.parameters() if weight.requires_grad) for one in (network, average))
    groups = [
        {"params": [weight for weight in learnt if weight.ndim > 1], "weight_decay": course.decay},
        {"params": [weight for weight in learnt if weight.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=course.rate, betas=(0.9, 0.98), foreach=True)
    return Pupil(network, average, learnt, averaged, optimizer, Pace())


def make_epoch(pupil: Pupil, board: Board, grammar: Grammar, cells: Intp, course: Course) -> Callable[[torch.Generator], None]:
    """Return what trains one epoch: every row once, its columns in a new random order (GReaT: Borisov et al. 2023, arXiv 2210.06280).

    Parameters
    ----------
    pupil : Pupil
    board : Board
    grammar : Grammar
    cells : ndarray of intp, shape (n, d)
        Cells numbered over all columns.
    course : Course
    """
    n, d = cells.shape
    batches = max(1, round(n / course.batch))
    total = course.epochs * batches

    def epoch(generator: torch.Generator) -> None:
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        orders = draw_orders(n, d, rng)
        pupil.network.train()
        for rows in np.array_split(rng.permutation(n), batches):
            for group in pupil.optimizer.param_groups:
                group["lr"] = course.rate * _level(pupil.pace.steps / total)
            pupil.optimizer.zero_grad(set_to_none=True)
            losses, _ = token_losses(pupil.network, board, write(grammar, cells[rows], orders[rows]))
            torch.autograd.backward(losses.mean())
            torch.nn.utils.clip_grad_norm_(list(pupil.learnt), _CLIP)
            pupil.optimizer.step()
            pupil.pace.steps += 1
            _average(pupil, course.memory)

    return epoch


def teach(
    network: Any,
    vocabulary: Vocabulary,
    prior: Float64 | None,
    teaching: pd.DataFrame,
    validation: pd.DataFrame,
    columns: tuple[Column, ...],
    course: Course,
    generator: torch.Generator,
    journal: Journal,
) -> Curve:
    """Train the weights of a network that require a gradient, and leave it with the best ones.

    Parameters
    ----------
    network : transformers.PreTrainedModel
        On its device.
    vocabulary : Vocabulary
    prior : ndarray of float64 or None
        Log odds of options, added to the network's.
    teaching, validation : pandas.DataFrame
        Canonical rows.
    columns : tuple of Column
    course : Course
    generator : torch.Generator
    journal : Journal

    Returns
    -------
    Curve
    """
    pupil = make_pupil(network, course)
    board = make_board(vocabulary.grammar, prior, next(network.parameters()).device)
    curve = train(
        pupil.parts(),
        make_epoch(pupil, board, vocabulary.grammar, read_frame(vocabulary, teaching), course),
        make_measure(pupil.average, pupil.pace.lost, board, vocabulary, validation, columns),
        epochs=course.epochs,
        every=course.every,
        patience=course.patience,
        generator=generator,
        journal=journal,
    )
    if pupil.average is not pupil.network:
        network.load_state_dict(pupil.average.state_dict())
    return curve


def _level(done: float) -> float:
    if done < _WARM:
        return (done + 1e-3) / (_WARM + 1e-3)
    return _LAST + (1 - _LAST) * 0.5 * (1 + math.cos(math.pi * (done - _WARM) / (1 - _WARM)))


def _average(pupil: Pupil, memory: float) -> None:
    if pupil.average is pupil.network:
        return
    # a young average forgets its first weights sooner
    keep = min(memory, pupil.pace.steps / (pupil.pace.steps + 9))
    with torch.no_grad():
        torch._foreach_lerp_(list(pupil.averaged), list(pupil.learnt), 1 - keep)
