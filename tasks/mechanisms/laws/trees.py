"""Trees whose leaves hold the law of an outcome's support cells."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.tree import DecisionTreeRegressor

from tasks.contract.nuisance import Float64, Int8
from tasks.numerics.compiled import compiled

Int64 = npt.NDArray[np.int64]
FEWEST_ROWS = 20  # rows whose law a leaf holds
_THRESHOLDS = 9  # of the outcome, at which splits are judged
_SPLIT_ROWS = 10_000
_POOLED = 0.01  # weight of all arms' law in the law of one arm: it makes every mean between the outermost cells attainable
_DIGITS = 2  # of features in standard deviations: no threshold lies between two rows' own values


class Trees(NamedTuple):
    """Trees of all arms in one array of nodes; node ``a`` is the law of arm a and the parent of its trees' roots.

    Attributes
    ----------
    roots : ndarray of int64, shape (K, T)
        By arm.
    feature : ndarray of int64, shape (nodes,)
        Feature of a split, -1 in a leaf.
    threshold : ndarray of float64, shape (nodes,)
        A row goes left where its feature is at most the threshold.
    left, right, parent : ndarray of int64, shape (nodes,)
        -1 for none.
    start : ndarray of int64, shape (nodes + 1,)
        Where each node's cells start in ``cell`` and ``weight``.
    cell : ndarray of int64
        Cells of positive weight, ascending within a node.
    weight : ndarray of float64
        Their shares, sum 1 within a node.
    """

    roots: Int64
    feature: Int64
    threshold: Float64
    left: Int64
    right: Int64
    parent: Int64
    start: Int64
    cell: Int64
    weight: Float64


def grow(features: Float64, a: Int8, cell: Int64, cells: int, weights: Float64, trees: int, leaves: int, rng: np.random.Generator) -> Trees:
    """Grow the trees of all arms.

    Splits reduce the squared error of the indicators 1(Y <= t) at nine quantiles t, which is the continuous ranked probability score on
    a grid. Half of an arm's rows choose the splits of a tree, the others fill its leaves: no row shapes a leaf that it is drawn from.
    Every leaf is filled by at least 20 rows; a split with a smaller side is undone.

    Parameters
    ----------
    features : ndarray of float64, shape (n, p)
        In standard deviations.
    a : ndarray of int8, shape (n,)
        Treatment.
    cell : ndarray of int64, shape (n,)
        The cell of each row, in [0, cells).
    cells : int
        Number of cells.
    weights : ndarray of float64, shape (n,)
        Row weights.
    trees, leaves : int
        Trees of an arm, and most leaves of one.
    rng : numpy.random.Generator

    Returns
    -------
    Trees

    References
    ----------
    Meinshausen (2006), Quantile regression forests, JMLR 7; Athey, Tibshirani, Wager (2019), DOI 10.1214/18-AOS1709.
    """
    x = np.round(features, _DIGITS)
    nodes = _Nodes()
    pooled = np.bincount(cell, weights, cells) / float(weights.sum())
    arms = int(a.max(initial=1)) + 1
    for arm in range(arms):
        of_arm = np.bincount(cell[a == arm], weights[a == arm], cells)
        share = of_arm / float(of_arm.sum()) if of_arm.sum() > 0.0 else pooled
        nodes.add(-1, (1.0 - _POOLED) * share + _POOLED * pooled)
    roots = np.empty((arms, trees), dtype=np.int64)
    for arm in range(arms):
        rows = np.flatnonzero((a == arm) & (weights > 0.0))
        for number in range(trees):
            mixed = rng.permutation(rows)
            half = len(mixed) // 2
            seed = int(rng.integers(2**31))
            roots[arm, number] = _plant(nodes, x, mixed[:half][:_SPLIT_ROWS], mixed[half:], cell, cells, weights, leaves, arm, seed)
    return nodes.joined(roots)


def _plant(
    nodes: _Nodes,
    x: Float64,
    chosen: Int64,
    donors: Int64,
    cell: Int64,
    cells: int,
    weights: Float64,
    leaves: int,
    arm: int,
    seed: int,
) -> int:
    """Add one tree; an arm too small for two leaves is its own law."""
    if min(len(chosen), len(donors)) < 2 * FEWEST_ROWS:
        return arm
    some = min(x.shape[1], 2 * x.shape[1] // 3 + 1)
    tree = DecisionTreeRegressor(max_leaf_nodes=leaves, min_samples_leaf=FEWEST_ROWS, max_features=some, random_state=seed)
    planted = tree.fit(x[chosen], _indicators(cell[chosen]), sample_weight=weights[chosen]).tree_

    def put(node: int, rows: Int64, parent: int) -> int:
        at = nodes.add(parent, np.bincount(cell[rows], weights[rows], cells) / float(weights[rows].sum()))
        if planted.children_left[node] >= 0:
            feature = int(planted.feature[node])
            threshold = float(np.round(planted.threshold[node], _DIGITS + 1))
            goes = x[rows, feature] <= threshold
            if FEWEST_ROWS <= int(goes.sum()) <= len(rows) - FEWEST_ROWS:
                nodes.feature[at], nodes.threshold[at] = feature, threshold
                nodes.left[at] = put(int(planted.children_left[node]), rows[goes], at)
                nodes.right[at] = put(int(planted.children_right[node]), rows[~goes], at)
        return at

    return put(0, donors, arm)


def _indicators(cell: Int64) -> Float64:
    """Return 1(cell <= t) at up to nine different quantiles t, shape (n, k)."""
    at = np.unique(np.quantile(cell, np.arange(1, _THRESHOLDS + 1) / (_THRESHOLDS + 1), method="inverted_cdf"))
    below = at[at < cell.max()] if len(at) > 1 or at[0] < cell.max() else at - 1
    below = below if len(below) else at
    return np.asarray(cell[:, None] <= below[None, :], dtype=np.float64)


class _Nodes:
    """Nodes as they are made."""

    def __init__(self) -> None:
        self.feature: list[int] = []
        self.threshold: list[float] = []
        self.left: list[int] = []
        self.right: list[int] = []
        self.parent: list[int] = []
        self.cell: list[Int64] = []
        self.weight: list[Float64] = []

    def add(self, parent: int, shares: Float64) -> int:
        used = np.flatnonzero(shares > 0.0)
        for values, value in ((self.feature, -1), (self.left, -1), (self.right, -1), (self.parent, parent)):
            values.append(value)
        self.threshold.append(0.0)
        self.cell.append(used)
        self.weight.append(shares[used])
        return len(self.feature) - 1

    def joined(self, roots: Int64) -> Trees:
        sizes = np.array([len(each) for each in self.cell], dtype=np.int64)
        integers = (np.array(values, dtype=np.int64) for values in (self.left, self.right, self.parent))
        left, right, parent = integers
        return Trees(
            roots,
            np.array(self.feature, dtype=np.int64),
            np.array(self.threshold),
            left,
            right,
            parent,
            np.concatenate(([0], np.cumsum(sizes))).astype(np.int64),
            np.concatenate(self.cell).astype(np.int64),
            np.concatenate(self.weight),
        )


@compiled
def descend(roots, a, tree, columns, feature, threshold, gap, left, right, node):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Write the leaf that each row falls into.

    ``a`` and ``tree`` choose each row's root, ``columns`` are the features by columns, ``gap`` says where missing cells go left.
    """
    for i in range(a.shape[0]):
        at = roots[a[i], tree[i]]
        while feature[at] >= 0:
            value = columns[feature[at], i]
            at = left[at] if value <= threshold[at] or (gap[at] and np.isnan(value)) else right[at]
        node[i] = at
