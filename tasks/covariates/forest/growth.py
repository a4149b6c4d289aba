"""How trees are grown, and how large their leaves are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.tree import ExtraTreeClassifier, ExtraTreeRegressor

from tasks.covariates.margins import Float64, Intp

Float32 = npt.NDArray[np.float32]
_TRIAL_ROWS = 4_000
_TRIAL_TREES = 6
_ROUNDS = 3
_TOLERANCE = 0.25
_EARNED = 0.05


class Growth(NamedTuple):
    """How trees are grown.

    Attributes
    ----------
    trees : int
        Trees of a column.
    least, min_leaf : int
        Fewest rows of a leaf ever, and unless smaller leaves fit much better.
    split_rows : int
        Most rows that choose the splits of one tree.
    features : float
        Share of the predictors tried at each split.
    fold : ndarray of intp, shape (n,)
        Folds on which the size of leaves is chosen; three rounds are run, over pairs of folds.
    """

    trees: int
    least: int
    min_leaf: int
    split_rows: int
    features: float
    fold: Intp


def grow_tree(features: Float32, target: npt.NDArray[Any], fewest: int, share: float, seed: int) -> Any:
    """Grow one tree.

    Parameters
    ----------
    features : ndarray of float32, shape (n, p)
        C-contiguous and finite: scikit-learn's own look at them would cost as much as a small tree.
    target : ndarray
        States (n,), or numbers (n, k) of float64.
    fewest : int
        Rows of a leaf at least.
    share : float
        Of the predictors, tried at each split.
    seed : int
    """
    kind = ExtraTreeClassifier if target.ndim == 1 else ExtraTreeRegressor
    return kind(min_samples_leaf=fewest, max_features=share, random_state=seed).fit(features, target, check_input=False)


def choose_leaf(features: Float32, target: npt.NDArray[Any], growth: Growth, rng: np.random.Generator) -> int:
    """Choose the fewest rows of a leaf by held-out squared error.

    It is the largest that is worse than the best by no more than a quarter of a standard error; candidates are
    ``min_leaf`` times powers of 3 and a tree without splits. Leaves smaller than the data ask for would fit no
    better and lean on single rows. Leaves below ``min_leaf``, down to ``least``, must earn it: they are taken where
    they remove at least a twentieth of the variance that the tree without splits leaves.

    Parameters
    ----------
    features : ndarray of float32, shape (n, p)
    target : ndarray, shape (n,) of states or (n, k) of float64
    growth : Growth
    rng : numpy.random.Generator

    Returns
    -------
    int
        At least ``growth.least``.
    """
    n = len(features)
    chosen = rng.permutation(n)[:_TRIAL_ROWS]
    finer = [size for size in (growth.min_leaf // 9, growth.min_leaf // 3) if size >= growth.least]
    usual = [size for size in (growth.min_leaf * 3**k for k in range(8)) if 4 * size <= n]
    sizes = finer + usual
    if not usual:
        return max(growth.min_leaf, n)
    features, target = features[chosen], target[chosen]
    truth = (target[:, None] == np.unique(target)).astype(np.float64) if target.ndim == 1 else target
    # the trial tables are smaller: leaves shrink with them
    ratio = len(chosen) * (1 - 1 / _ROUNDS) / min(n, growth.split_rows)
    fold = growth.fold[chosen] % _ROUNDS
    loss = np.empty((len(sizes) + 1, len(chosen)))
    states = np.unique(target) if target.ndim == 1 else None
    for k in range(_ROUNDS):
        held = fold == k
        x, y, others, answer = features[~held], target[~held], features[held], truth[held]
        loss[-1, held] = ((answer - truth[~held].mean(axis=0)) ** 2).sum(axis=1)
        for row, size in enumerate(sizes):
            guess = np.zeros_like(answer)
            for seed in rng.integers(2**31, size=_TRIAL_TREES):
                model = grow_tree(x, y, max(int(size * ratio), 5), growth.features, int(seed))
                guess += _predict(model, others, states) / _TRIAL_TREES
            loss[row, held] = ((answer - guess) ** 2).sum(axis=1)
    picked = len(finer) + _largest(loss[len(finer) :])
    if finer:
        small = _largest(loss[: len(finer)])
        if loss[picked].mean() - loss[small].mean() > _EARNED * loss[-1].mean():
            picked = small
    return sizes[picked] if picked < len(sizes) else n


def _largest(loss: Float64) -> int:
    """Return the last row of a table of losses, shape (sizes, n), that is within the tolerance of the best."""
    worse = loss - loss[int(loss.mean(axis=1).argmin())]
    fits = worse.mean(axis=1) <= _TOLERANCE * worse.std(axis=1) / np.sqrt(loss.shape[1])
    return int(np.flatnonzero(fits)[-1])


def _predict(model: Any, features: Float32, states: npt.NDArray[Any] | None) -> Float64:
    """Return mean predictions, one column per output or, of a classifier, per state of the whole target."""
    if states is None:
        return np.asarray(model.predict(features, check_input=False))
    result = np.zeros((len(features), len(states)))
    result[:, np.searchsorted(states, model.classes_)] = model.predict_proba(features, check_input=False)
    return result
