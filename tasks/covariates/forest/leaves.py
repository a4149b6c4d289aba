"""A forest of randomised trees whose leaves hold the conditional law of one column."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.covariates.forest.growth import Float32, Growth, choose_leaf, grow_tree
from tasks.covariates.margins import Coded, Float64, Intp

FEWEST_SMOOTH = 5


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
        Continuous donors of a leaf are ``[start, start + size)``.
    centre, spread : ndarray of float64, shape (nodes,)
        Mean and standard deviation of a leaf's continuous donors.
    shares : ndarray of float32, shape (nodes, states + 1)
        Law of the state in a leaf, smoothed towards its parent; missing is the last.
    position : ndarray of float32, shape (nodes, k)
        Mean of the state indices over a leaf's rows.
    residual : ndarray of float32, shape (donors,)
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
    centre: Float64
    spread: Float64
    shares: Float32
    position: Float32
    residual: Float32
    pooled: Float64


class Rows(NamedTuple):
    """Rows that trees are grown from.

    Attributes
    ----------
    features : ndarray of float32, shape (n, p)
    slant : ndarray of float64, shape (n, k)
        Linear indices of states.
    state : ndarray of intp, shape (n,)
        States from 0; missing is the last.
    is_smooth : ndarray of bool, shape (n,)
        Continuous cells.
    residual : ndarray of float64, shape (n,)
        Continuous cells net of their linear prediction, 0 elsewhere.
    """

    features: Float32
    slant: Float64
    state: Intp
    is_smooth: npt.NDArray[np.bool_]
    residual: Float64

    def take(self, chosen: Intp) -> Rows:
        """Return the chosen rows."""
        return Rows(
            np.take(self.features, chosen, axis=0), self.slant[chosen], self.state[chosen], self.is_smooth[chosen], self.residual[chosen]
        )


def make_rows(features: Float32, slant: Float64, coded: Coded, residual: Float64, smooth: int, states: int) -> Rows:
    """Gather the rows of one column; arguments as in :class:`Rows`, ``smooth`` the continuous state or -1."""
    is_smooth = coded.state == smooth if smooth >= 0 else np.zeros(len(features), dtype=np.bool_)
    return Rows(features, slant, np.where(coded.state < 0, states, coded.state), is_smooth, np.where(is_smooth, residual, 0.0))


def grow(rows: Rows, states: int, prior: float, growth: Growth, rng: np.random.Generator) -> Leaves:
    """Grow the trees of one column and fill their leaves.

    Splits are those of extremely randomised trees (Geurts, Ernst, Wehenkel 2006, 10.1007/s10994-006-6226-1): a
    categorical target by Gini impurity of its states; a target with a continuous part by the summed squared error of
    its residual, the residual's size and its states' indicators. Half of the rows choose the splits of a tree, the
    other half fill its leaves: no row shapes a leaf that it is drawn from.

    Parameters
    ----------
    rows : Rows
    states : int
        Number of states, missing not counted.
    prior : float
        Rows that a leaf's parent counts for in the leaf's shares (additive smoothing towards the parent).
    growth : Growth
    rng : numpy.random.Generator

    Returns
    -------
    Leaves
        Every leaf is filled by at least ``growth.least`` rows, unless the tree has no split.
    """
    n = len(rows.state)
    target = _target(rows)
    size = choose_leaf(rows.features, target, growth, rng)
    fewest_donors = growth.min_leaf if size >= growth.min_leaf else max(growth.least, size // 2)
    parts = []
    for seed in rng.integers(2**31, size=growth.trees):
        mixed = rng.permutation(n)
        chosen, donors = mixed[: min(n // 2, growth.split_rows)], mixed[n // 2 :]
        fewest = max(int(size * len(chosen) / n), 5)
        tree = grow_tree(np.take(rows.features, chosen, axis=0), np.take(target, chosen, axis=0), fewest, growth.features, int(seed)).tree_
        parts.append(_fill(tree, rows.take(donors), states, prior, fewest_donors))
    return _join(parts, np.sort(rows.residual[rows.is_smooth]))


def _target(rows: Rows) -> npt.NDArray[Any]:
    if not rows.is_smooth.any():
        return rows.state
    others = np.unique(rows.state[~rows.is_smooth])
    spread = float(rows.residual[rows.is_smooth].std())
    scaled = rows.residual / spread if spread > 0 else rows.residual
    # its size lets trees see where the spread changes; a state's indicator weighs as much as the whole spread
    return np.column_stack([scaled, np.abs(scaled), *[2.0 * (rows.state == other) for other in others]])


def _fill(tree: Any, rows: Rows, states: int, prior: float, min_leaf: int) -> Leaves:
    """Fill one tree with donors; a split is kept where both sides hold enough of them."""
    left, right = np.asarray(tree.children_left, dtype=np.intp), np.asarray(tree.children_right, dtype=np.intp)
    landed = np.asarray(tree.apply(rows.features), dtype=np.intp)
    inner = np.flatnonzero(left >= 0)
    reached = np.bincount(landed, minlength=len(left))
    # children are numbered after their parent
    for node in inner[::-1]:
        reached[node] = reached[left[node]] + reached[right[node]]
    kept = left >= 0
    kept[kept] = np.minimum(reached[left[kept]], reached[right[kept]]) >= min_leaf
    left, right = np.where(kept, left, -1), np.where(kept, right, -1)
    nodes = len(left)
    feature, threshold = np.maximum(tree.feature, 0).astype(np.intp), tree.threshold.astype(np.float64)
    # a row stays at the first node on its way whose split was given up
    stop = np.arange(nodes)
    for node in inner:
        if not kept[node] or stop[node] != node:
            stop[tree.children_left[node]] = stop[tree.children_right[node]] = stop[node]
    leaf = stop[landed]
    smooth_leaf, residual = leaf[rows.is_smooth], rows.residual[rows.is_smooth]
    order = np.lexsort((residual, smooth_leaf))
    size = np.bincount(smooth_leaf, minlength=nodes)
    start = np.concatenate(([0], np.cumsum(size)[:-1]))
    centre, spread = _kernels(residual[order], start, size)
    count = np.bincount(leaf * (states + 1) + rows.state, minlength=nodes * (states + 1)).reshape(nodes, states + 1).astype(np.float64)
    held = np.bincount(leaf, minlength=nodes)
    columns = [np.bincount(leaf, weights=column, minlength=nodes) for column in rows.slant.T]
    position = np.column_stack(columns) / np.maximum(held, 1)[:, None] if columns else np.zeros((nodes, 0))
    shares = _smooth_shares(count, left, right, prior)
    return Leaves(
        np.zeros(1, dtype=np.intp), left, right, feature, threshold, start, size, centre, spread,
        shares.astype(np.float32), position.astype(np.float32), residual[order].astype(np.float32), np.zeros(0),
    )  # fmt: skip


def _smooth_shares(count: Float64, left: Intp, right: Intp, prior: float) -> Float64:
    """Return shares of states in every node, those of its parent counting for ``prior`` rows; counts come in leaves only."""
    inner = np.flatnonzero(left >= 0)
    total = count.copy()
    # children are numbered after their parent
    for node in inner[::-1]:
        total[node] = total[left[node]] + total[right[node]]
    plain = total / np.maximum(total.sum(axis=1, keepdims=True), 1.0)
    parent = np.zeros(len(left), dtype=np.intp)
    parent[left[inner]] = inner
    parent[right[inner]] = inner
    return np.asarray((total + prior * plain[parent]) / np.maximum(total.sum(axis=1, keepdims=True) + prior, 1e-12))


def _kernels(donors: Float64, start: Intp, size: Intp) -> tuple[Float64, Float64]:
    """Return mean and standard deviation (ddof 1) of the continuous donors of every leaf; 0 where there are too few."""
    centre, spread = np.zeros(len(start)), np.zeros(len(start))
    for node in np.flatnonzero(size >= FEWEST_SMOOTH):
        mine, count = donors[start[node] : start[node] + size[node]], int(size[node])
        # what mean() and std() add up, without their checks: leaves are small and many
        mean = np.add.reduce(mine) / count
        apart = mine - mean
        centre[node], spread[node] = mean, np.sqrt(np.add.reduce(apart * apart) / (count - 1))
    return centre, spread


def _join(parts: list[Leaves], pooled: Float64) -> Leaves:
    nodes = np.cumsum([0] + [len(part.left) for part in parts])
    donors = np.cumsum([0] + [len(part.residual) for part in parts])
    moved = {"roots": nodes, "left": nodes, "right": nodes, "start": donors}

    def stack(name: str) -> Any:
        pieces = [getattr(part, name) for part in parts]
        if name not in moved:
            return np.concatenate(pieces)
        # -1 stays: a leaf has no children
        return np.concatenate([np.where(piece < 0, piece, piece + by) for piece, by in zip(pieces, moved[name], strict=False)])

    return Leaves(**{name: stack(name) for name in Leaves._fields if name != "pooled"}, pooled=pooled)
