"""Coded columns as predictors of a later column: a design matrix, and linear indices on it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.linalg

from tasks.covariates.margins import MISSING, Coded, Float64, Intp, Margin

_MOST_INDICATORS = 8
_MOST_INDICES = 8
_PRIOR_ROWS = float(__import__('os').environ.get('PR','20'))
_BINS = 8
_MOST_SQUARE = 9.0
_PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


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
    inflation : float
        Square root of n / (n - effective degrees of freedom): undoes the shrinkage of in-sample residuals.
    """

    slope: Float64
    level: Float64
    inflation: float


def make_block(margin: Margin, coded: Coded, classes: Intp) -> Block:
    """Choose the predictors of one column for one target.

    A numeric column gives its score, an indicator of missing cells and indicators of its atoms; a category gives
    indicators where it has few levels, and scores of its levels against the target (see :func:`level_scores`).

    Parameters
    ----------
    margin : Margin
        Of the predictor.
    coded : Coded
        Of the predictor, n cells.
    classes : ndarray of intp, shape (n,)
        Classes of the target, from 0.
    """
    states = len(margin.shares)
    present = bool((coded.state == MISSING).any())
    columns = []
    if margin.ordered:
        columns.append(np.append(margin.position, 0.0))
        if margin.smooth == MISSING and states <= 2:
            return Block(np.column_stack(columns + ([_hot(states, states)] if present else [])), MISSING)
        if margin.smooth != MISSING:
            columns.append(np.zeros(states + 1))
            columns += [_hot(k, states) for k in range(min(margin.smooth, _MOST_INDICATORS))]
    elif states + present <= _MOST_INDICATORS:
        columns += [_hot(k, states) for k in range(1, states)]
    if not margin.ordered and states + present > 2:
        columns += list(level_scores(coded.state, states, classes).T)
    if present:
        columns.append(_hot(states, states))
    return Block(np.column_stack(columns), margin.smooth)


def _hot(k: int, states: int) -> Float64:
    return np.asarray(np.arange(states + 1) == k, dtype=np.float64)


def level_scores(state: Intp, states: int, classes: Intp) -> Float64:
    """Score levels by how they shift the target: correspondence analysis of levels against classes, two axes.

    Conditional class shares of each level are shrunk to the overall shares by 20 rows, so that a rare level
    stands near the middle (Benzecri 1973; Greenacre 2007, 10.1201/9781420011234).

    Parameters
    ----------
    state : ndarray of intp, shape (n,)
        Levels, -1 for missing.
    states : int
        Number of levels.
    classes : ndarray of intp, shape (n,)

    Returns
    -------
    ndarray of float64, shape (states + 1, 2)
        The last row belongs to missing. Unit variance over the rows.
    """
    width = int(classes.max()) + 1
    flat = np.where(state < 0, states, state) * width + classes
    table = np.bincount(flat, minlength=(states + 1) * width).reshape(states + 1, width).astype(np.float64)
    share = table.sum(axis=0) / table.sum()
    rows = table.sum(axis=1)
    profile = (table + _PRIOR_ROWS * share) / (rows + _PRIOR_ROWS)[:, None]
    centred = (profile - share) / np.sqrt(np.maximum(share, 1e-12))
    axes = scipy.linalg.svd(centred * np.sqrt(rows)[:, None], full_matrices=False)[2][:2]
    # the sign of an axis is arbitrary: fix it
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    scores = centred @ axes.T
    spread = np.sqrt(np.average(scores**2, axis=0, weights=rows))
    scores = scores / np.where(spread > 1e-9, spread, 1.0)
    return np.asarray(scores if scores.shape[1] == 2 else np.column_stack([scores, np.zeros(states + 1)]))


def expand(block: Block, coded: Coded) -> Float64:
    """Return the predictors of coded cells, shape (n, k)."""
    result = block.table[coded.state]  # -1 is the last row
    if block.smooth != MISSING:
        inside = coded.state == block.smooth
        result[:, 0] += np.where(inside, coded.score, 0.0)
        result[:, 1] = np.where(inside, (np.minimum(coded.score**2, _MOST_SQUARE) - 1) / np.sqrt(2), 0.0)
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


def fit_index(design: Float64, target: npt.NDArray[np.float64]) -> Index:
    """Fit ridge regressions of every target on a standardised design (Hoerl, Kennard 1970, 10.2307/1267351).

    One penalty for all targets, by generalised cross-validation (Golub, Heath, Wahba 1979,
    10.1080/00401706.1979.10489751).

    Parameters
    ----------
    design : ndarray of float64, shape (n, p)
    target : ndarray of float64, shape (n, targets)

    Returns
    -------
    Index
    """
    n = len(design)
    centre, spread = design.mean(axis=0), design.std(axis=0)
    spread = np.where(spread > 1e-9, spread, np.inf)
    standard = (design - centre) / spread
    level = target.mean(axis=0)
    values, vectors = scipy.linalg.eigh(standard.T @ standard)
    values = np.maximum(values, 0.0)
    projected = vectors.T @ (standard.T @ (target - level))
    best, weight, freedom = np.inf, np.zeros_like(values), 1.0
    for penalty in _PENALTIES:
        trial = 1.0 / (values + penalty)
        used = float((values * trial).sum()) + 1.0
        # residual sum of squares from the eigenbasis, up to the part no predictor touches
        explained = ((2 * trial - values * trial**2)[:, None] * projected**2).sum()
        left = float(((target - level) ** 2).sum() - explained)
        score = left / max(n - used, 0.1 * n) ** 2
        if score < best:
            best, weight, freedom = score, trial, used
    slope = (vectors * weight) @ projected / spread[:, None]
    return Index(slope, level - centre @ slope, float(np.sqrt(n / max(n - freedom, 0.5 * n))))


def state_targets(state: Intp, margin: Margin) -> Float64:
    """Return what the linear indices of a target's state predict: indicators of its most frequent states, and its position."""
    found, counts = np.unique(state, return_counts=True)
    common = found[np.argsort(-counts, kind="stable")][1 : 1 + _MOST_INDICES]
    columns = [(state == k).astype(np.float64) for k in common]
    if margin.ordered and margin.smooth == MISSING and len(found) > 2:
        columns = [np.append(margin.position, 0.0)[state], *columns]
    return np.column_stack(columns) if columns else np.zeros((len(state), 0))
