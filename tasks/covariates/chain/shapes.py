"""The shape of what boosting leaves: trees whose leaves hold binned histograms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.special
import scipy.stats

from tasks.covariates.chain.kernels import draw_bins, find_leaves, grow
from tasks.covariates.chain.views import UInt8
from tasks.covariates.margins import Float64

_CLASSES = 8
_MOST_BINS = 64
_ROWS_OF_BIN = 40
_LEVEL = 0.01


class Shapes(NamedTuple):
    """Laws of standardised residuals.

    Attributes
    ----------
    edges : ndarray of float64, shape (bins - 1,)
        Between the bins, at even ranks of all residuals.
    below, above : float
        Mean distance of the residuals in the outermost bins from their edge.
    feature, cut : ndarray, shape (trees, nodes)
        As in :class:`tasks.covariates.chain.boost.Trees`.
    upper : ndarray of float32, shape (trees, nodes, bins)
        Cumulative share of each bin in a leaf.
    """

    edges: Float64
    below: float
    above: float
    feature: npt.NDArray[np.int16]
    cut: UInt8
    upper: npt.NDArray[np.float32]

    def draw(self, codes: UInt8, rng: np.random.Generator) -> Float64:
        """Draw residuals of rows of codes (p, n), shape (n,).

        A row takes the leaf it lands in in one of the trees; the bin is drawn by the leaf's shares, the place in the bin evenly between its
        edges, exponentially beyond the outermost ones: no residual of a row comes back.
        """
        n = int(codes.shape[1])
        leaf = np.empty(n, dtype=np.int64)
        tree = rng.integers(len(self.feature), size=n)
        find_leaves(self.feature.copy(), self.cut.copy(), tree, codes, leaf)
        spot = rng.random(n)
        bins = np.empty(n, dtype=np.intp)
        draw_bins(self.upper.copy(), tree, leaf, spot, bins)
        place = rng.random(n)
        last = len(self.edges)
        low, high = self.edges[np.maximum(bins - 1, 0)], self.edges[np.minimum(bins, last - 1)]
        inner = low + place * (high - low)
        tail = -np.log(1.0 - place)
        return np.where(bins == 0, high - self.below * tail, np.where(bins == last, low + self.above * tail, inner))


def normal_shapes(depth: int) -> Shapes:
    """Return the standard normal law, whatever a row's codes: for a column with too few continuous cells to fit one."""
    edges = scipy.special.ndtri(np.arange(1, 32) / 32)
    tail = float(scipy.stats.norm.pdf(edges[-1]) * 32 - edges[-1])
    nodes = 2 ** (depth + 1) - 1
    upper = np.tile((np.arange(1, 33) / 32).astype(np.float32), (1, nodes, 1))
    return Shapes(edges, tail, tail, np.full((1, nodes), -1, np.int16), np.zeros((1, nodes), np.uint8), upper)


def fit_shapes(codes: UInt8, residual: Float64, trees: int, depth: int, prior: float, rng: np.random.Generator) -> Shapes:
    """Grow trees that separate rows whose residuals differ in law.

    A split is made where the chi-square statistic of its two sides against eight classes of residuals is beyond chance at level 0.01, with
    Bonferroni's correction for all splits that were tried (the rule of Kass 1980, 10.2307/2986296). Half of the rows choose the splits of a
    tree, the other half fill its leaves.

    Parameters
    ----------
    codes : ndarray of uint8, shape (p, n)
        Rows that taught nothing of what their residuals are measured against.
    residual : ndarray of float64, shape (n,)
    trees, depth : int
    prior : float
        Rows by which the law of all rows counts in each leaf.
    rng : numpy.random.Generator
    """
    n = len(residual)
    bins = int(np.clip(n // _ROWS_OF_BIN, 2, _MOST_BINS))
    ordered = np.sort(residual)
    cuts = np.linspace(0, n, bins + 1)[1:-1].astype(np.intp)
    half = max(min(n // (4 * bins), 200), 1)
    # an edge is the mean of the rows around its rank
    edges = np.maximum.accumulate([ordered[max(at - half, 0) : at + half].mean() for at in cuts])
    below, above = edges[0] - ordered[ordered < edges[0]], ordered[ordered > edges[-1]] - edges[-1]
    group = np.searchsorted(edges, residual, side="right")
    part = group * _CLASSES // bins
    shares = np.bincount(part, minlength=_CLASSES) / n
    scored = ((part[:, None] == np.arange(_CLASSES)) - shares) / np.sqrt(np.maximum(shares, 1e-9))
    sizes = np.array([len(np.unique(row)) for row in codes])
    worth = float(scipy.stats.chi2.isf(_LEVEL / max(int((sizes - 1).sum()), 1), _CLASSES - 1))
    least = max(100, n // 400)
    features, places, uppers = [], [], []
    for _ in range(trees):
        mixed = rng.permutation(n)
        chosen, donors = np.sort(mixed[: n // 2]), np.sort(mixed[n // 2 :])
        feature, cut, _ = grow(codes, chosen, scored[chosen], sizes > 1, int(codes.max()) + 1, depth, least, 0.0, worth)
        leaf = np.empty(len(donors), dtype=np.int64)
        find_leaves(feature[None], cut[None], np.zeros(len(donors), dtype=np.int64), np.ascontiguousarray(codes[:, donors]), leaf)
        count = np.bincount(leaf * bins + group[donors], minlength=len(feature) * bins).reshape(-1, bins).astype(np.float64)
        filled = count + prior * np.bincount(group, minlength=bins) / n
        features.append(feature)
        places.append(cut)
        uppers.append((np.cumsum(filled, axis=1) / filled.sum(axis=1, keepdims=True)).astype(np.float32))
    return Shapes(
        np.asarray(edges), float(below.mean()) if len(below) else 0.0, float(above.mean()) if len(above) else 0.0,
        np.stack(features), np.stack(places), np.stack(uppers),
    )  # fmt: skip
