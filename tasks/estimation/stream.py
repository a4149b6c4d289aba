"""Estimates of a table that is not held in memory: exact fits by reduction, predictions batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from tasks.contract.errors import SpecError
from tasks.contract.nuisance import FoldRows, Int8, Learner, Nuisances, OutcomeModel, PartitionedLearner, PropensityModel
from tasks.contract.reduction import reduce_passes
from tasks.contract.registry import resolve
from tasks.contract.rng import rng_for
from tasks.estimation.analysis import Analysis, median_estimate
from tasks.estimation.balance import Balance
from tasks.estimation.crossfit import check_arms
from tasks.estimation.evaluate import check_names, evaluate
from tasks.estimation.overlap import overlap
from tasks.estimation.spilled import SpilledTable
from tasks.estimation.sums import BalanceRows, BalanceSums
from tasks.nuisance.folds import assign_folds, fold_strata, training_rows
from tasks.targeting.fluctuation import truncation_bound

_BLOCK = 8_192  # rows predicted at a time

Told = Callable[[str], None]
Models = list[tuple[PropensityModel | None, OutcomeModel]]


class Streamed(NamedTuple):
    """An analysis, and how many rows the nuisances were fitted on: all, or a hash sample of them."""

    analysis: Analysis
    rows: int


def analyse_spilled(
    table: SpilledTable,
    estimators: Sequence[str],
    seed: int = 0,
    learner: str | Learner = "glm",
    folds: int = 5,
    repeats: int = 1,
    truncation: Literal["auto"] | float = "auto",
    fit_rows: int = 100_000,
    told: Told = lambda _: None,
) -> Streamed:
    """Do what :func:`tasks.estimation.analysis.analyse` does, with one batch of covariates in memory at a time.

    Folds are those of the table in memory. In each fold the learner is fitted on at most ``fit_rows`` training rows (those with the
    smallest hashes of their keys); a :class:`tasks.contract.nuisance.PartitionedLearner` goes on from there to all of them. Where no
    fold has more training rows, estimates equal those in memory up to rounding.

    Parameters
    ----------
    table : SpilledTable
    estimators, seed, learner, folds, repeats, truncation
        As in :func:`tasks.estimation.analysis.analyse`; weights and known propensities are the table's.
    fit_rows : int
        Most rows that a learner gets in memory, in one fold.
    told : callable
        Gets a line of text as the work goes on.

    Returns
    -------
    Streamed

    Raises
    ------
    SpecError, EstimationError
        As :func:`tasks.estimation.analysis.analyse`.
    """
    check_names(estimators, False)
    check_arms(table.label, folds, repeats)
    if fit_rows < 1:
        raise SpecError(f"fit_rows of estimate must be at least 1; got {fit_rows}.")
    fitter: Learner = resolve("learner", learner) if isinstance(learner, str) else learner
    bound = truncation_bound(len(table.y), truncation)
    order = table.order
    a, y, weights = table.a[order], table.y[order], None if table.weights is None else table.weights[order]
    runs, measured, rows = [], None, 0
    balance: list[Balance] = []
    with threadpool_limits(limits=1):
        for repeat in range(repeats):
            fold_of = _folds(table, folds, seed, repeat)
            models, used = _fit(table, fitter, fold_of, folds, seed, repeat, fit_rows, told)
            told("predicting")
            sums = BalanceSums(table.ranges, table.levels, bound) if repeat == 0 else None
            found, rows_of_result = _predict(table, models, fold_of, sums)
            nuisances = Nuisances(*(values[order] for values in found))
            del found
            told("evaluating")
            if repeat == 0:
                balance, measured = rows_of_result, overlap(a, nuisances.g, bound, weights)
            rows = max(rows, used)
            runs.append(evaluate(a, y, nuisances, table.kind, estimators, bound, None, weights))
    assert measured is not None  # repeats >= 1
    return Streamed(Analysis([median_estimate(repeated) for repeated in zip(*runs)], measured, balance), rows)


def _folds(table: SpilledTable, folds: int, seed: int, repeat: int) -> Int8:
    return assign_folds(table.keys, fold_strata(table.label, table.y, table.kind), folds, seed, repeat)


def _fit(
    table: SpilledTable, learner: Learner, fold_of: Int8, folds: int, seed: int, repeat: int, fit_rows: int, told: Told
) -> tuple[Models, int]:
    """Fit every fold's models; return them and the number of rows that any of them has seen."""
    chosen = [training_rows(table.keys, fold_of != fold, fit_rows, seed) for fold in range(folds)]
    union = np.logical_or.reduce(chosen)
    capped = any(int(mask.sum()) < int(np.count_nonzero(fold_of != fold)) for fold, mask in enumerate(chosen))
    frame, places = table.take(union), np.flatnonzero(union)
    models: Models = []
    for fold, mask in enumerate(chosen):
        told(f"fitting fold {fold + 1} of {folds} on {int(mask.sum()):,} rows")
        rows = np.flatnonzero(mask[places])
        rows = rows[np.argsort(table.keys[places[rows]])]
        own = frame.iloc[rows].reset_index(drop=True)
        at = places[rows]
        w = None if table.weights is None else table.weights[at]
        g = None
        if table.propensity is None:
            g = learner.fit_propensity(own, table.label[at], rng_for(seed, "estimate-g", f"{repeat}/{fold}"), w)
        rng = rng_for(seed, "estimate-q", f"{repeat}/{fold}")
        models.append((g, learner.fit_outcome(own, table.label[at], table.y[at], table.kind, rng, w)))
    if not capped or not isinstance(learner, PartitionedLearner):
        return models, int(union.sum())
    sizes = [int(mask.sum()) for mask in chosen]
    refinement = learner.refinement([g for g, _ in models], [q for _, q in models], sizes, table.kind)
    state = reduce_passes(
        refinement, lambda: _parts(table, fold_of), lambda number: told(f"fitting all {len(table.y):,} rows, pass {number}")
    )
    return list(refinement.models(state)), len(table.y)


def _parts(table: SpilledTable, fold_of: Int8) -> Iterator[FoldRows]:
    for rows, frame in table.batches():
        w = None if table.weights is None else table.weights[rows]
        yield FoldRows(frame, table.label[rows], table.y[rows], fold_of[rows], w)


def _predict(table: SpilledTable, models: Models, fold_of: Int8, sums: BalanceSums | None) -> tuple[Nuisances, list[Balance]]:
    """Predict each row by its fold's models, oriented; and add up balance on the way, where asked."""
    n = len(table.y)
    # the propensity of the treated label, and the outcome under control and treatment
    found = Nuisances(np.empty(n) if table.propensity is None else table.propensity, np.empty(n), np.empty(n))
    state = sums.start() if sums is not None else {}
    treated = table.a
    for rows, frame in table.batches():
        for fold, (g, q) in enumerate(models):
            here = np.flatnonzero(fold_of[rows] == fold)
            for start in range(0, len(here), _BLOCK):
                at = here[start : start + _BLOCK]
                block, places = frame.iloc[at].reset_index(drop=True), at + rows.start
                if g is not None:
                    p = g.predict(block)
                    found.g[places] = 1.0 - p if table.flipped else p
                for arm in (0, 1):
                    target = (found.q0, found.q1)[1 - arm if table.flipped else arm]
                    target[places] = q.predict(block, _constant(arm, len(at)))
        if sums is not None:
            w = None if table.weights is None else table.weights[rows]
            state = sums.merge(state, sums.visit(sums.start(), BalanceRows(frame, treated[rows], found.g[rows], w)))
    return found, [] if sums is None else sums.finish(state, table.names)


def _constant(value: int, n: int) -> npt.NDArray[np.int8]:
    return np.full(n, value, dtype=np.int8)
