"""Small worlds with numbers, categories and gaps, cut into partitions: what tests of fits by reduction share."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tasks.contract.nuisance import FoldRows
from tasks.contract.reduction import reduce_passes
from tasks.contract.registry import resolve
from tasks.nuisance.folds import assign_folds, training_rows

FOLDS = 4


class World(NamedTuple):
    """Canonical rows with their folds and keys."""

    covariates: pd.DataFrame
    a: np.ndarray
    y: np.ndarray
    folds: np.ndarray
    keys: np.ndarray
    weights: np.ndarray | None


def world(n: int, kind: str, seed: int = 0, weighted: bool = False) -> World:
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(n, 3))
    covariates = pd.DataFrame({"w0": w[:, 0], "w1": np.where(rng.random(n) < 0.1, np.nan, w[:, 1]), "w2": np.round(w[:, 2])})
    level = np.where(rng.random(n) < 0.05, None, rng.choice(["a", "b", "c"], n))
    covariates["w3"] = pd.Categorical(level, categories=["a", "b", "c"])
    a = (rng.random(n) < 1 / (1 + np.exp(-w[:, 0]))).astype(np.int8)
    a[:2] = 0, 1
    eta = 0.3 * w[:, 0] + 0.4 * a * (1 + w[:, 1]) + 0.2 * (level == "b")
    y = {
        "continuous": 50 + 7 * (eta + rng.normal(size=n)),
        "binary": (rng.random(n) < 1 / (1 + np.exp(-eta))) * 1.0,
        "count": rng.poisson(np.exp(eta)) * 1.0,
    }[kind]
    keys = rng.permutation(n).astype(np.uint64) * np.uint64(2**40 + 15)
    weights = rng.exponential(size=n) + 1e-3 if weighted else None
    return World(covariates, a, y, assign_folds(keys, a.astype(np.int64), FOLDS, seed), keys, weights)


def fold_models(table: World, kind: str, cap: int) -> tuple[list[Any], list[Any], list[int]]:
    """Fit the GLM of each fold on at most ``cap`` of its training rows, in memory."""
    learner, rng = resolve("learner", "glm"), np.random.default_rng(0)
    propensities, outcomes, rows = [], [], []
    for fold in range(FOLDS):
        train = np.flatnonzero(training_rows(table.keys, table.folds != fold, cap, 0))
        train = train[np.argsort(table.keys[train])]
        if table.weights is not None:
            train = train[table.weights[train] > 0]
        frame = table.covariates.iloc[train].reset_index(drop=True)
        w = None if table.weights is None else table.weights[train]
        propensities.append(learner.fit_propensity(frame, table.a[train], rng, w))
        outcomes.append(learner.fit_outcome(frame, table.a[train], table.y[train], kind, rng, w))
        rows.append(len(train))
    return propensities, outcomes, rows


def cut(table: World, parts: int | list[int]) -> list[FoldRows]:
    """Cut into parts of equal size, or at the places given."""
    n = len(table.y)
    edges = [0, *parts, n] if isinstance(parts, list) else np.linspace(0, n, parts + 1).astype(int).tolist()
    return [
        FoldRows(
            table.covariates.iloc[start:stop],
            table.a[start:stop],
            table.y[start:stop],
            table.folds[start:stop],
            None if table.weights is None else table.weights[start:stop],
        )
        for start, stop in itertools.pairwise(edges)
    ]


def partitioned(table: World, fits: tuple[Any, ...], kind: str, parts: int | list[int]) -> tuple[Any, int]:
    """Refine the folds' models over a cutting; return the models and the number of passes."""
    refinement = resolve("learner", "glm").refinement(*fits, kind)
    passes: list[int] = []
    state = reduce_passes(refinement, lambda: cut(table, parts), passes.append)
    return refinement.models(state), passes[-1]
