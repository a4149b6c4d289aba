"""Boosted trees on codes: means, sizes and chances given the columns drawn before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.covariates.chain.kernels import add_trees, grow
from tasks.covariates.chain.losses import Loss
from tasks.covariates.chain.rows import evenly, sample_rows
from tasks.covariates.chain.views import Float32, UInt8
from tasks.covariates.margins import Float64, Intp

JUDGED_ROWS = 30_000
_TOLERANCE = 0.25
_MOST_STEP = 2.0
_PRIOR_ROWS = 20.0
_MOST_SPLIT_OUTPUTS = 8


class Trees(NamedTuple):
    """A sum of trees.

    Attributes
    ----------
    base : ndarray of float64, shape (outputs,)
        What every row starts from.
    feature : ndarray of int16, shape (trees, nodes)
        -1 in a leaf; children of node i are 2 i + 1 and 2 i + 2.
    cut : ndarray of uint8, shape (trees, nodes)
        A row goes left where its code is at most the cut.
    value : ndarray of float32, shape (trees, nodes, outputs)
    """

    base: Float64
    feature: npt.NDArray[np.int16]
    cut: UInt8
    value: npt.NDArray[np.float32]

    def predict(self, codes: UInt8) -> Float64:
        """Return the sum for rows of codes (p, n), shape (n, outputs)."""
        out = np.tile(self.base, (codes.shape[1], 1))
        # copies: arrays that may not be written, as some are after unpickling, would be compiled for once more
        add_trees(self.feature.copy(), self.cut.copy(), self.value.copy(), codes, out)
        return out


class Boosting(NamedTuple):
    """How trees are boosted.

    Attributes
    ----------
    rounds : int
        Most trees.
    rate : float
        Shrinkage of each tree.
    depth : int
        Levels of splits.
    least : int
        Fewest rows of a leaf.
    tree_rows : int
        Most rows that grow one tree, drawn anew for each (Friedman 2002, 10.1016/S0167-9473(01)00065-2).
    patience : int
        Rounds without a better held-out loss after which growth ends.
    """

    rounds: int
    rate: float
    depth: int
    least: int
    tree_rows: int
    patience: int


def boost(
    codes: list[UInt8],
    losses: Sequence[Loss],
    learn: list[Intp],
    held: list[Intp],
    boosting: Boosting,
    rng: np.random.Generator,
    start: Callable[[int, Intp], Float32] | None = None,
) -> list[Trees]:
    """Boost one sum of trees per fold, all for the same number of rounds.

    Gradient boosting (Friedman 2001, 10.1214/aos/1013203451) with vector leaves, on a new sample of rows each round. The number
    of rounds is the smallest whose held-out loss, over the held rows of all folds together, is worse than the least by no more
    than a quarter of a standard error: a tree that does not fit strangers better is not kept.

    Parameters
    ----------
    codes : list of ndarray of uint8, shape (p, n)
        The rows as each fold sees them.
    losses : sequence of Loss
        For each fold.
    learn, held : list of ndarray of intp
        For each fold the rows that it learns from, and those it is judged by.
    boosting : Boosting
    rng : numpy.random.Generator
    start : callable, optional
        ``start(k, rows)`` is what the sums of these rows start from in fold k beside the base, shape (rows, outputs).

    Returns
    -------
    list of Trees
        One per fold.
    """
    folds = range(len(codes))
    base = [losses[k].base(learn[k]) for k in folds]
    if boosting.rounds == 0:
        return [_stack(base[k], [], boosting.depth) for k in folds]
    seen = [np.concatenate([learn[k], held[k]]) for k in folds]
    shown = [np.ascontiguousarray(codes[k][:, seen[k]]) for k in folds]
    out = [np.tile(base[k], (len(seen[k]), 1)) for k in folds]
    if start is not None:
        out = [part + start(k, seen[k]) for k, part in enumerate(out)]
    judged = [evenly(np.arange(len(learn[k]), len(seen[k])), JUDGED_ROWS) for k in folds]

    bins = max(int(part.max()) for part in shown) + 1

    def judge() -> Float64:
        return np.concatenate([losses[k].loss(seen[k][judged[k]], out[k][judged[k]]) for k in folds])

    course = [judge()]
    grown: list[list[Trees]] = []
    best = 0
    while len(grown) < boosting.rounds and len(grown) - best < boosting.patience:
        grown.append([_round(shown[k], out[k], losses[k], seen[k], len(learn[k]), bins, boosting, rng) for k in folds])
        course.append(judge())
        if course[-1].mean() < course[best].mean():
            best = len(grown)
    kept = fewest(course, best)
    return [_stack(base[k], [trees[k] for trees in grown[:kept]], boosting.depth) for k in folds]


def fewest(course: list[Float64], best: int) -> int:
    """Return the first entry whose loss is worse than that of the best by no more than a quarter of a standard error.

    Parameters
    ----------
    course : list of ndarray of float64, shape (n,)
        Losses of the same held-out rows.
    best : int
        The entry of the least mean.
    """
    for rounds in range(best):
        worse = course[rounds] - course[best]
        if worse.mean() <= _TOLERANCE * worse.std() / np.sqrt(len(worse)):
            return rounds
    return best


def _round(
    codes: UInt8, out: Float64, loss: Loss, seen: Intp, learners: int, bins: int, boosting: Boosting, rng: np.random.Generator
) -> Trees:
    """Grow one tree on a sample of the learning rows and add it to ``out``."""
    wanted = min(int(np.ceil(0.7 * learners)), boosting.tree_rows)
    chosen = sample_rows(learners, wanted, rng)
    gradient, curvature = loss.slopes(seen[chosen], out[chosen])
    outputs = gradient.shape[1]
    # one memory layout for all losses: Numba compiles for each
    split_by = np.ascontiguousarray(gradient)
    if outputs > _MOST_SPLIT_OUTPUTS:
        # the outputs that have most left to explain say where to split (Iosipoi, Vakhrushev 2022, arXiv 2211.12858)
        split_by = np.ascontiguousarray(gradient[:, np.sort(np.argsort(-(gradient**2).sum(axis=0), kind="stable")[:_MOST_SPLIT_OUTPUTS])])
    used = np.ones(len(codes), dtype=np.bool_)
    feature, cut, node = grow(codes, chosen, split_by, used, bins, boosting.depth, boosting.least, 1.0, 1e-12)
    nodes = len(feature)
    rows = np.bincount(node, minlength=nodes).astype(np.float64)
    value = np.empty((nodes, outputs))
    for o in range(outputs):
        total = np.bincount(node, weights=gradient[:, o], minlength=nodes)
        bend = rows if curvature is None else np.bincount(node, weights=curvature[:, o], minlength=nodes)
        # as if twenty rows more of the usual curvature stood in each leaf and had nothing to say
        prior = 1.0 if curvature is None else _PRIOR_ROWS * float(curvature[:, o].mean())
        value[:, o] = boosting.rate * np.clip(total / (bend + prior + 1e-12), -_MOST_STEP, _MOST_STEP)
    tree = Trees(np.zeros(outputs), feature[None], cut[None], value[None].astype(np.float32))
    add_trees(tree.feature, tree.cut, tree.value, codes, out)
    return tree


def constant(value: float) -> Trees:
    """Return no trees at all: the same number for every row."""
    return _stack(np.array([value]), [], 0)


def _stack(base: Float64, trees: list[Trees], depth: int) -> Trees:
    nodes = 2 ** (depth + 1) - 1
    if not trees:
        return Trees(base, np.zeros((0, nodes), np.int16), np.zeros((0, nodes), np.uint8), np.zeros((0, nodes, len(base)), np.float32))
    return Trees(base, *(np.concatenate([getattr(tree, name) for tree in trees]) for name in ("feature", "cut", "value")))
