"""Ridge GLMs of all folds, fitted exactly over partitions: damped Newton steps from sums, one pass over the table each."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from tasks.contract.nuisance import FoldRows, OutcomeModel, PropensityModel
from tasks.nuisance.descent import Problem, Progress, advanced, model_of, started, summed
from tasks.nuisance.design import Design

_BLOCK = 8_192  # rows whose design is in memory at a time


class FoldDesign(NamedTuple):
    """The problems of one fold and the design they share; no propensity problem where g is known."""

    design: Design
    propensity: Problem | None
    outcome: Problem


State = tuple[tuple[Progress | None, Progress], ...]


@dataclass(frozen=True)
class GlmRefinement:
    """The reduction that fits g and Q of all K folds over partitions (:class:`tasks.contract.nuisance.Refinement`).

    Each pass adds up, for every fold, loss, gradient and information of the rows outside it; ``advance`` takes the Newton step,
    or halves the last one if it did not go down. A gaussian Q takes one pass, a g started at a large sample's fit three or so; a
    finished problem costs nothing in later passes. How the table is cut changes the order of the additions and nothing else.

    Attributes
    ----------
    folds : tuple of FoldDesign
        In the order of the folds.
    """

    folds: tuple[FoldDesign, ...]

    def start(self) -> State:
        """Return the start of the first pass: every problem at the sample's fit."""
        return tuple(
            (
                None if each.propensity is None else started(each.propensity, 1 + each.design.width),
                started(each.outcome, 1 + each.design.width),
            )
            for each in self.folds
        )

    def visit(self, state: State, part: FoldRows) -> State:
        """Return the state with one partition seen."""
        used = np.ones(len(part.treatment), dtype=bool) if part.weights is None else part.weights > 0.0
        with _blas().limit(limits=1):
            return tuple(
                _visited(each, pair, part, np.flatnonzero(used & (part.fold != fold)))
                for fold, (each, pair) in enumerate(zip(self.folds, state, strict=True))
            )

    def merge(self, left: State, right: State) -> State:
        """Return the state that has seen what both have seen."""
        return tuple(
            (None if g is None or h is None else g._replace(sums=g.sums.plus(h.sums)), q._replace(sums=q.sums.plus(r.sums)))
            for (g, q), (h, r) in zip(left, right, strict=True)
        )

    def advance(self, state: State) -> State:
        """Return the start of the next pass."""
        with _blas().limit(limits=1):
            return tuple(
                (None if g is None or each.propensity is None else advanced(each.propensity, g), advanced(each.outcome, q))
                for each, (g, q) in zip(self.folds, state, strict=True)
            )

    def finished(self, state: State) -> bool:
        """Return whether every problem is fitted."""
        return all(progress is None or progress.phase == "done" for pair in state for progress in pair)

    def models(self, state: State) -> tuple[tuple[PropensityModel | None, OutcomeModel], ...]:
        """Return the fitted g and Q of each fold."""
        return tuple(
            (
                None if g is None or each.propensity is None else cast(PropensityModel, model_of(each.propensity, g)),
                cast(OutcomeModel, model_of(each.outcome, q)),
            )
            for each, (g, q) in zip(self.folds, state, strict=True)
        )


@functools.cache
def _blas() -> ThreadpoolController:
    """Find the BLAS of this process once: looking for it takes longer than a small partition's sums."""
    return ThreadpoolController()


def _visited(
    each: FoldDesign, pair: tuple[Progress | None, Progress], part: FoldRows, rows: npt.NDArray[np.intp]
) -> tuple[Progress | None, Progress]:
    """Add the rows of one partition to the sums of one fold's problems, block by block."""
    open_ = [(problem, progress) for problem, progress in zip((each.propensity, each.outcome), pair) if _is_open(progress)]
    if not open_ or not len(rows):
        return pair
    width = 1 + each.design.width
    sums = list(pair)
    linear = [
        [m @ progress.point for m in problem.maps(width)] if problem and progress else [] for problem, progress in zip(each[1:], pair)
    ]
    # controls first: the rows of an arm are neighbours in every block
    rows = rows[np.argsort(part.treatment[rows], kind="stable")]
    frame = part.covariates.iloc[rows]
    columns = np.empty((width, min(_BLOCK, len(rows))))
    for start in range(0, len(rows), _BLOCK):
        here = rows[start : start + _BLOCK]
        block = columns[:, : len(here)]
        block[0], block[1:] = 1.0, each.design.columns(frame.iloc[start : start + _BLOCK])
        a, y = part.treatment[here], part.outcome[here]
        w = np.ones(len(here)) if part.weights is None else part.weights[here]
        for at, (problem, progress) in enumerate(zip((each.propensity, each.outcome), sums)):
            if problem is not None and progress is not None and progress.phase != "done":
                target = a.astype(np.float64) if problem.interactions is None else (y - problem.centre) / problem.scale
                sums[at] = progress._replace(sums=progress.sums.plus(summed(problem, progress.phase, linear[at], block.T, a, target, w)))
    return sums[0], cast(Progress, sums[1])


def _is_open(progress: Progress | None) -> bool:
    return progress is not None and progress.phase != "done"
