"""A forest of randomised trees whose leaves hold the coded cells of one column: its conditional law."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.tree import ExtraTreeClassifier, ExtraTreeRegressor

from tasks.covariates.margins import Coded, Float64, Intp

Float32 = npt.NDArray[np.float32]
_FEWEST_SMOOTH = 5
_TRIAL_ROWS = 4_000
_TRIAL_TREES = 6
_ROUNDS = 3
_TOLERANCE = 0.25


class Leaves(NamedTuple):
    """Trees joined into one array of nodes, and the donors of every leaf.

    Attributes
    ----------
    roots : ndarray of intp, shape (trees,)
        Root node of each tree.
    left, right : ndarray of intp, shape (nodes,)
        Children; -1 in a leaf.
    feature : ndarray of intp, shape (nodes,)
    threshold : ndarray of float64, shape (nodes,)
        A row goes left where its feature is at most the threshold.
    start, size : ndarray of intp, shape (nodes,)
        Donors of a leaf are ``[start, start + size)``.
    wide_start, wide_size : ndarray of intp, shape (nodes,)
        Donors of the leaf's parent.
    smooth_size : ndarray of intp, shape (nodes,)
        How many donors of a leaf are continuous: they come first and sorted.
    centre, spread : ndarray of float64, shape (nodes,)
        Mean and standard deviation of a leaf's continuous donors.
    state : ndarray of int16 or int32, shape (donors,)
    residual : ndarray of float32, shape (donors,)
        Empty where no donor is continuous.
    pooled : ndarray of float64
        Sorted residuals of the whole table, for leaves with too few continuous donors.
    """

    roots: Intp
    left: Intp
    right: Intp
    feature: Intp
    threshold: Float64
    start: Intp
    size: Intp
    wide_start: Intp
    wide_size: Intp
    smooth_size: Intp
    centre: Float64
    spread: Float64
    state: npt.NDArray[np.int16] | npt.NDArray[np.int32]
    residual: Float32
    pooled: Float64


class Growth(NamedTuple):
    """How trees are grown.

    Attributes
    ----------
    trees : int
        Trees of a column.
    min_leaf : int
        Fewest rows of a leaf, where the column's own choice is not larger.
    split_rows : int
        Most rows that choose the splits of one tree.
    features : float
        Share of the predictors tried at each split.
    fold : ndarray of intp, shape (n,)
        Folds on which the size of leaves is chosen; three rounds are run, over pairs of folds.
    """

    trees: int
    min_leaf: int
    split_rows: int
    features: float
    fold: Intp


def grow(features: Float32, coded: Coded, residual: Float64, smooth: int, growth: Growth, rng: np.random.Generator) -> Leaves:
    """Grow the trees of one column and fill their leaves.

    Splits are those of extremely randomised trees (Geurts, Ernst, Wehenkel 2006, 10.1007/s10994-006-6226-1): a
    categorical target by Gini impurity of its states; a target with a continuous part by the summed squared error of
    its residual and its states' indicators.

    Parameters
    ----------
    features : ndarray of float32, shape (n, p)
    coded : Coded
        States (missing included) of the n cells.
    residual : ndarray of float64, shape (n,)
        Continuous cells net of their linear prediction; anything elsewhere.
    smooth : int
        The continuous state, or -1.
    growth : Growth
    rng : numpy.random.Generator

    Returns
    -------
    Leaves
        Every leaf holds at least ``growth.min_leaf`` rows that chose its splits.
    """
    n = len(features)
    is_smooth = coded.state == smooth if smooth >= 0 else np.zeros(n, dtype=np.bool_)
    residual = np.where(is_smooth, residual, 0.0)
    target = _target(coded.state, residual, is_smooth)
    # donors of a leaf: continuous ones first, by residual
    rank = np.where(is_smooth, residual, np.inf)
    size = choose_leaf(features, target, growth, rng)
    parts = []
    for seed in rng.integers(2**31, size=growth.trees):
        mixed = rng.permutation(n)
        # half of the rows choose the splits, the other half fill the leaves
        chosen, donors = mixed[: min(n // 2, growth.split_rows)], mixed[n // 2 :]
        share = len(chosen) / max(n, 1)
        model = _kind(target)(min_samples_leaf=max(int(size * share), 5), max_features=growth.features, random_state=int(seed))
        tree = model.fit(features[chosen], target[chosen]).tree_
        donors = donors[np.argsort(rank[donors], kind="stable")]
        parts.append(_fill(tree, features[donors], coded.state[donors], residual[donors], is_smooth[donors], growth.min_leaf))
    return _join(parts, np.sort(residual[is_smooth]))


def _target(state: Intp, residual: Float64, is_smooth: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64] | Intp:
    if not is_smooth.any():
        return state
    others = np.unique(state[~is_smooth])
    spread = float(residual[is_smooth].std())
    scaled = residual / spread if spread > 0 else residual
    # a state's indicator weighs as much as the whole spread of the continuous part
    # its size lets trees see where the spread changes; a state's indicator weighs as much as the whole spread
    return np.column_stack([scaled, np.abs(scaled), *[2.0 * (state == other) for other in others]])


def _kind(target: npt.NDArray[Any]) -> Any:
    return ExtraTreeClassifier if target.ndim == 1 else ExtraTreeRegressor


def choose_leaf(features: Float32, target: npt.NDArray[Any], growth: Growth, rng: np.random.Generator) -> int:
    """Choose the fewest rows of a leaf by held-out squared error: the largest within one standard error of the best.

    Candidates are ``min_leaf`` times powers of 3 and a tree without splits. Leaves smaller than the data ask for
    would fit no better and lean on single rows.

    Parameters
    ----------
    features : ndarray of float32, shape (n, p)
    target : ndarray, shape (n,) of states or (n, k) of float64
    growth : Growth
    rng : numpy.random.Generator

    Returns
    -------
    int
        At least ``growth.min_leaf``; in rows of one tree.
    """
    n = len(features)
    chosen = rng.permutation(n)[:_TRIAL_ROWS]
    sizes = [size for size in (growth.min_leaf * 3**k for k in range(8)) if 4 * size <= n]
    if not sizes:
        return max(growth.min_leaf, n)
    features, target = features[chosen], target[chosen]
    truth = (target[:, None] == np.unique(target)).astype(np.float64) if target.ndim == 1 else target
    # the trial tables are smaller: leaves shrink with them
    ratio = len(chosen) * (1 - 1 / _ROUNDS) / min(n, growth.split_rows)
    fold = growth.fold[chosen] % _ROUNDS
    loss = np.empty((len(sizes) + 1, len(chosen)))
    for k in range(_ROUNDS):
        held = fold == k
        loss[-1, held] = ((truth[held] - truth[~held].mean(axis=0)) ** 2).sum(axis=1)
        for row, size in enumerate(sizes):
            guess = np.zeros_like(truth[held])
            for seed in rng.integers(2**31, size=_TRIAL_TREES):
                leaf = max(int(size * ratio), 5)
                model = _kind(target)(min_samples_leaf=leaf, max_features=growth.features, random_state=int(seed))
                model.fit(features[~held], target[~held])
                guess += _predict(model, features[held], target) / _TRIAL_TREES
            loss[row, held] = ((truth[held] - guess) ** 2).sum(axis=1)
    worse = loss - loss[int(loss.mean(axis=1).argmin())]
    fits = worse.mean(axis=1) <= _TOLERANCE * worse.std(axis=1) / np.sqrt(len(chosen))
    return [*sizes, n][int(np.flatnonzero(fits)[-1])]


def _predict(model: Any, features: Float32, target: npt.NDArray[Any]) -> Float64:
    """Return mean predictions, one column per output or per state of the whole target."""
    if target.ndim == 2:
        return np.asarray(model.predict(features))
    states = np.unique(target)
    result = np.zeros((len(features), len(states)))
    result[:, np.searchsorted(states, model.classes_)] = model.predict_proba(features)
    return result


def _fill(tree: Any, features: Float32, state: Intp, residual: Float64, is_smooth: npt.NDArray[np.bool_], min_leaf: int) -> Leaves:
    """Fill one tree with donors, given in the order that donors of a leaf shall have; prune leaves of too few."""
    left, right = np.asarray(tree.children_left, dtype=np.intp), np.asarray(tree.children_right, dtype=np.intp)
    path = tree.decision_path(features)
    reached = np.bincount(path.indices, minlength=len(left))
    # both children must hold enough, else their parent is the leaf
    split = left >= 0
    kept = split.copy()
    kept[split] = np.minimum(reached[left[split]], reached[right[split]]) >= min_leaf
    left, right = np.where(kept, left, -1), np.where(kept, right, -1)
    nodes = len(left)
    empty = np.zeros(0)
    zero = np.zeros(nodes, dtype=np.intp)
    bare = Leaves(
        zero[:1], left, right, np.maximum(tree.feature, 0).astype(np.intp), tree.threshold.astype(np.float64),
        zero, zero, zero, zero, zero, empty, empty, empty.astype(np.int32), empty.astype(np.float32), empty,
    )  # fmt: skip
    leaf = descend(bare, np.zeros(len(features), dtype=np.intp), features)
    order = np.argsort(leaf, kind="stable")
    sizes = np.bincount(leaf, minlength=nodes)
    start = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    # nodes are numbered depth first: the donors below a node are contiguous
    parent = zero.copy()
    inner = np.flatnonzero(kept)
    parent[left[inner]] = inner
    parent[right[inner]] = inner
    smooth_count = np.bincount(leaf[is_smooth], minlength=nodes)
    centre, spread = _kernels(residual[order], start, smooth_count)
    donors = residual[order] if is_smooth.any() else empty
    # donors are most of a model: 24 trees of thousands of rows for each column
    narrow = np.int16 if int(state.max(initial=0)) < 2**15 else np.int32
    return bare._replace(
        start=start, size=sizes, wide_start=start[parent], wide_size=reached[parent], smooth_size=smooth_count,
        centre=centre, spread=spread, state=state[order].astype(narrow), residual=donors.astype(np.float32),
    )  # fmt: skip


def _kernels(donors: Float64, start: Intp, count: Intp) -> tuple[Float64, Float64]:
    """Return mean and standard deviation (ddof 1) of the continuous donors of every leaf; 0 where there are too few."""
    centre, spread = np.zeros(len(start)), np.zeros(len(start))
    nodes = np.flatnonzero(count >= _FEWEST_SMOOTH)
    for node in nodes:
        mine = donors[start[node] : start[node] + count[node]]
        centre[node], spread[node] = mine.mean(), mine.std(ddof=1)
    return centre, spread


def _join(parts: list[Leaves], pooled: Float64) -> Leaves:
    nodes = np.cumsum([0] + [len(part.left) for part in parts])
    donors = np.cumsum([0] + [len(part.state) for part in parts])
    moved = {"roots": nodes, "left": nodes, "right": nodes, "start": donors, "wide_start": donors}

    def stack(name: str) -> Any:
        pieces = [getattr(part, name) for part in parts]
        offsets = moved.get(name, np.zeros(len(parts) + 1, dtype=np.intp))
        if name not in moved:
            return np.concatenate(pieces)
        # -1 stays: a leaf has no children
        return np.concatenate([np.where(piece < 0, piece, piece + by) for piece, by in zip(pieces, offsets, strict=False)])

    return Leaves(**{name: stack(name) for name in Leaves._fields if name != "pooled"}, pooled=pooled)


def land(leaves: Leaves, features: Float32, rng: np.random.Generator) -> Intp:
    """Send each row down one tree, all trees equally often; return the leaf it lands in, shape (n,)."""
    return descend(leaves, leaves.roots[rng.permutation(len(features)) % len(leaves.roots)], features)


def descend(leaves: Leaves, node: Intp, features: Float32) -> Intp:
    """Follow the splits from the given nodes down to leaves, shape (n,)."""
    node = node.copy()
    active = np.flatnonzero(leaves.left[node] >= 0)
    while len(active):
        at = node[active]
        goes_left = features[active, leaves.feature[at]] <= leaves.threshold[at]
        at = np.where(goes_left, leaves.left[at], leaves.right[at])
        node[active] = at
        active = active[leaves.left[at] >= 0]
    return node


def draw(leaves: Leaves, node: Intp, prior: float, bandwidth: float, rng: np.random.Generator) -> tuple[Intp, Float64]:
    """Draw states and residuals from the laws in the leaves.

    The state is that of a donor of the leaf, or, with probability ``prior / (prior + count)``, of its parent
    (additive smoothing towards the parent). A residual comes from a Gaussian kernel estimate over the leaf's m
    continuous donors with bandwidth ``h = bandwidth * 1.06 * sd * m^(-1/5)`` (Silverman 1986, 10.1201/9781315140919),
    shrunk to the donors' mean so that their variance is kept: no donor's own value is returned.

    Parameters
    ----------
    leaves : Leaves
    node : ndarray of intp, shape (n,)
        Leaf of each row.
    prior : float
        Weight of the parent, in rows.
    bandwidth : float
        Factor on the normal-reference bandwidth.
    rng : numpy.random.Generator

    Returns
    -------
    state : ndarray of intp, shape (n,)
    residual : ndarray of float64, shape (n,)
        Meaningful where the state is continuous.
    """
    n = len(node)
    count = leaves.size[node]
    widen = rng.random(n) * (prior + count) < prior
    start = np.where(widen, leaves.wide_start[node], leaves.start[node])
    size = np.where(widen, leaves.wide_size[node], count)
    pick = np.minimum((rng.random(n) * size).astype(np.intp), size - 1)
    state = leaves.state[start + pick].astype(np.intp)
    return state, _smoothed(leaves, node, bandwidth, rng)


def _smoothed(leaves: Leaves, node: Intp, bandwidth: float, rng: np.random.Generator) -> Float64:
    n, pooled = len(node), len(leaves.pooled)
    if pooled == 0:
        return np.zeros(n)
    few = leaves.smooth_size[node] < _FEWEST_SMOOTH
    m = np.where(few, pooled, leaves.smooth_size[node])
    pick = np.minimum((rng.random(n) * m).astype(np.intp), m - 1)
    donor = np.where(few, leaves.pooled[np.minimum(pick, pooled - 1)], leaves.residual[np.where(few, 0, leaves.start[node] + pick)])
    centre = np.where(few, leaves.pooled.mean(), leaves.centre[node])
    spread = np.where(few, leaves.pooled.std(), leaves.spread[node])
    ratio = bandwidth * 1.06 * m**-0.2
    return np.asarray(centre + (donor - centre + ratio * spread * rng.standard_normal(n)) / np.sqrt(1 + ratio**2))
