"""Coded columns as predictors of a later column: a design matrix, and linear indices on it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.linalg

from tasks.covariates.margins import MISSING, Coded, Float64, Intp, Margin

_MOST_INDICATORS = 8
_MOST_INDICES = 8
_PRIOR_ROWS = 20.0
_BINS = 8
MOST_SQUARE = 9.0
_CAUTION = 2.0
_PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


class Block(NamedTuple):
    """How one drawn column enters the design.

    Attributes
    ----------
    table : ndarray of float64, shape (states + 1, k)
        Row of predictors of each state, the last row for missing.
    smooth : int
        The continuous state, or -1: its score is added to the first predictor, and the square of its score
        (centred, capped) to the second.
    """

    table: Float64
    smooth: int


class Index(NamedTuple):
    """Linear predictions of a column: ``design @ slope + level``, shape (n, targets).

    Attributes
    ----------
    slope : ndarray of float64, shape (p, targets)
    level : ndarray of float64, shape (targets,)
    """

    slope: Float64
    level: Float64

    def predict(self, design: Float64) -> Float64:
        """Return linear predictions, shape (n, targets)."""
        return np.asarray(design @ self.slope + self.level)


def make_block(margin: Margin, coded: Coded, classes: Intp, rows: Intp) -> Block:
    """Choose the predictors of one column for one target.

    A numeric column gives its score, the square of its score, indicators of its atoms and of missing cells; a
    category gives indicators where it has few levels, and scores of its levels against the target (see :func:`level_scores`).

    Parameters
    ----------
    margin : Margin
        Of the predictor.
    coded : Coded
        Of the predictor, n cells.
    classes : ndarray of intp, shape (n,)
        Classes of the target, from 0.
    rows : ndarray of intp
        The rows whose target may be looked at. The number of predictors does not depend on them.
    """
    states = len(margin.shares)
    present = margin.missing > 0
    columns = []
    if margin.ordered:
        columns.append(np.append(margin.position, 0.0))
        if margin.smooth != MISSING:
            columns.append(np.zeros(states + 1))
            columns += [_hot(k, states) for k in range(min(margin.smooth, _MOST_INDICATORS))]
    else:
        if states + present <= _MOST_INDICATORS:
            columns += [_hot(k, states) for k in range(1, states)]
        if states + present > 2:
            columns += list(level_scores(coded.state, states, classes, rows).T)
    if present:
        columns.append(_hot(states, states))
    return Block(np.column_stack(columns), margin.smooth)


def _hot(k: int, states: int) -> Float64:
    return np.asarray(np.arange(states + 1) == k, dtype=np.float64)


def level_scores(state: Intp, states: int, classes: Intp, rows: Intp) -> Float64:
    """Score levels by how they shift the target: correspondence analysis of levels against classes, two axes.

    Class shares of each level are shrunk to the overall shares by 20 rows, so that a rare level stands near the
    middle (Greenacre 2007, 10.1201/9781420011234). All rows fix the two axes, which are contrasts of classes;
    only ``rows`` say where a level stands on them.

    Parameters
    ----------
    state : ndarray of intp, shape (n,)
        Levels, -1 for missing.
    states : int
        Number of levels.
    classes : ndarray of intp, shape (n,)
    rows : ndarray of intp

    Returns
    -------
    ndarray of float64, shape (states + 1, 2)
        The last row belongs to missing.
    """
    width = int(classes.max()) + 1
    flat = np.where(state < 0, states, state) * width + classes
    whole, part = (np.bincount(x, minlength=(states + 1) * width).reshape(states + 1, width) for x in (flat, flat[rows]))
    share = whole.sum(axis=0) / whole.sum()

    def centred(table: npt.NDArray[np.intp]) -> Float64:
        profile = (table + _PRIOR_ROWS * share) / (table.sum(axis=1) + _PRIOR_ROWS)[:, None]
        return np.asarray((profile - share) / np.sqrt(np.maximum(share, 1e-12)))

    axes = scipy.linalg.svd(centred(whole) * np.sqrt(whole.sum(axis=1))[:, None], full_matrices=False)[2][:2]
    scores = centred(part) @ axes.T
    return np.asarray(scores if scores.shape[1] == 2 else np.column_stack([scores, np.zeros(states + 1)]))


def expand(block: Block, coded: Coded) -> Float64:
    """Return the predictors of coded cells, shape (n, k)."""
    result = block.table[coded.state]  # -1 is the last row
    if block.smooth != MISSING:
        inside = coded.state == block.smooth
        result[:, 0] += np.where(inside, coded.score, 0.0)
        result[:, 1] = np.where(inside, (np.minimum(coded.score**2, MOST_SQUARE) - 1) / np.sqrt(2), 0.0)
    return result


def target_classes(margin: Margin, coded: Coded) -> Intp:
    """Return classes of a target: its states (missing first), the continuous part cut at quantiles."""
    classes = coded.state + 1
    if margin.smooth != MISSING:
        inside = coded.state == margin.smooth
        order = np.argsort(coded.score[inside], kind="stable")
        bins = np.empty(len(order), dtype=np.intp)
        bins[order] = np.arange(len(order)) * _BINS // max(len(order), 1)
        classes[inside] += bins
    return np.unique(classes, return_inverse=True)[1].astype(np.intp)


class Basis(NamedTuple):
    """A standardised design and the eigenvectors of its products: what regressions of any target on the same rows share.

    Attributes
    ----------
    standard : ndarray of float64, shape (n, p)
        Columns of mean 0 and standard deviation 1; 0 where a column is constant.
    centre, spread : ndarray of float64, shape (p,)
        Means and standard deviations; infinite where a column is constant.
    values, vectors : ndarray of float64, shapes (p,) and (p, p)
        Eigenvalues and eigenvectors of ``standard.T @ standard``.
    """

    standard: Float64
    centre: Float64
    spread: Float64
    values: Float64
    vectors: Float64


def make_basis(design: Float64) -> Basis:
    """Standardise a design, shape (n, p), and decompose its products."""
    centre = design.mean(axis=0)
    standard = design - centre
    spread = np.sqrt((standard * standard).sum(axis=0) / len(design))
    spread = np.where(spread > 1e-9, spread, np.inf)
    standard /= spread
    values, vectors = scipy.linalg.eigh(standard.T @ standard)
    return Basis(standard, centre, spread, np.maximum(values, 0.0), vectors)


def fit_index(basis: Basis, target: npt.NDArray[np.float64]) -> Index:
    """Fit ridge regressions of every target on a standardised design (Hoerl, Kennard 1970, 10.2307/1267351).

    One penalty for all targets, by generalised cross-validation (Golub, Heath, Wahba 1979,
    10.1080/00401706.1979.10489751) with each degree of freedom counted twice: prediction
    alone asks for 1.4 (Kim, Gu 2004, 10.1046/j.1369-7412.2003.05316.x), the rest keeps drawn rows from leaning on the training rows.

    Parameters
    ----------
    basis : Basis
        Of a design of shape (n, p).
    target : ndarray of float64, shape (n, targets)

    Returns
    -------
    Index
    """
    n, values = len(basis.standard), basis.values
    level = target.mean(axis=0)
    projected = basis.vectors.T @ (basis.standard.T @ (target - level))
    total = ((target - level) ** 2).sum()
    best, weight = np.inf, np.zeros_like(values)
    for penalty in _PENALTIES:
        trial = 1.0 / (values + penalty)
        used = float((values * trial).sum()) + 1.0
        # residual sum of squares from the eigenbasis, up to the part no predictor touches
        explained = ((2 * trial - values * trial**2)[:, None] * projected**2).sum()
        left = float(total - explained)
        score = left / max(n - _CAUTION * used, 0.1 * n) ** 2
        if score < best:
            best, weight = score, trial
    slope = (basis.vectors * weight) @ projected / basis.spread[:, None]
    return Index(slope, level - basis.centre @ slope)


class Tilt(NamedTuple):
    """Which states have a linear index: the most frequent ones.

    Attributes
    ----------
    states : ndarray of intp, shape (k,)
        Missing is the number after the last state.
    shares : ndarray of float64, shape (k,)
    """

    states: Intp
    shares: Float64


def choose_tilt(state: Intp, states: int) -> Tilt:
    """Choose the states that get a linear index; none where there is only one state.

    Parameters
    ----------
    state : ndarray of intp, shape (n,)
        -1 for missing.
    states : int
    """
    distinct, counts = np.unique(np.where(state < 0, states, state), return_counts=True)
    common = np.argsort(-counts, kind="stable")[:_MOST_INDICES]
    common = common[counts[common] >= min(_PRIOR_ROWS, len(state) / 2)] if len(distinct) > 1 else common[:0]
    return Tilt(distinct[common], counts[common] / len(state))


def tilt_targets(tilt: Tilt, state: Intp, states: int) -> Float64:
    """Return indicators of the tilted states over their shares, shape (n, k)."""
    filled = np.where(state < 0, states, state)
    return np.asarray((filled[:, None] == tilt.states) / tilt.shares)
