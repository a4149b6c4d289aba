"""One replicate: a data set drawn, cross-fitted once, every estimator evaluated."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.nuisance import Float64, FoldedLearner, Int8, Learner, Nuisances
from tasks.contract.results import Estimate
from tasks.contract.rng import rng_for
from tasks.nuisance.folds import assign_folds, fold_strata
from tasks.simulation.grid import Cell
from tasks.simulation.population import Data, Source
from tasks.targeting.fluctuation import truncation_bound

#: What a data set may do to learners and estimators without being anybody's fault.
FAILURES = (EstimationError, ArithmeticError, np.linalg.LinAlgError)
#: Estimands whose truth is known of every law.
ESTIMANDS = ("ate", "att", "atc", "ato")
#: Fewest rows of an arm in each fold's training rows and test rows: as ``waymint estimate`` asks for.
ARM_ROWS_PER_FOLD = 2


class Evaluate(Protocol):
    """An estimator of the registry."""

    def evaluate(self, a: Int8, y: Float64, nuisances: Nuisances, kind: str, truncation: float, weights: Float64 | None = None) -> Estimate:
        """Return the estimate with its interval."""
        ...


class Method(NamedTuple):
    """How data sets are analysed: cross-fitted by one learner, evaluated by every estimator, by name."""

    learner: Learner
    estimators: Mapping[str, Evaluate]
    folds: int
    truncation: str | float


class Outcome(NamedTuple):
    """What one estimator made of one data set; ``found`` is None where it failed. ``seconds`` of CPU, cross-fitting apart."""

    estimator: str
    found: Estimate | None
    seconds: float


class Replicate(NamedTuple):
    """One replicate: the CPU seconds of drawing and of cross-fitting, and the outcome of each estimator."""

    number: int
    drawing: float
    fitting: float
    outcomes: tuple[Outcome, ...]


def replicate(source: Source, method: Method, cell: Cell, seed: int, draw: int, number: int) -> Replicate:
    """Run one replicate: a function of the SPEC's seed, the cell, the draw of the law and its own number alone.

    Parameters
    ----------
    source : Source
        Law of the cell.
    method : Method
        The cell's learner and the estimators.
    cell : Cell
    seed : int
        The SPEC's seed.
    draw : int
        Which fit of the law: 0 is the source's own.
    number : int
        Of the replicate.
    """
    rng = rng_for(seed, "simulate", f"{cell.key}/{draw}/{number}")
    start = time.thread_time()
    data = source.draw(cell.n, rng)
    drawn = time.thread_time()
    try:
        nuisances = cross_fit(data, method.learner, source.population.kind, method.folds, rng)
    except FAILURES:
        spent = time.thread_time() - drawn
        return Replicate(number, drawn - start, spent, tuple(Outcome(name, None, 0.0) for name in method.estimators))
    fitted = time.thread_time()
    bound = truncation_bound(cell.n, method.truncation)  # type: ignore[arg-type]  # "auto" or a number: the SPEC has checked it
    outcomes = []
    for name, estimator in method.estimators.items():
        began = time.thread_time()
        found = _evaluated(name, estimator, data, nuisances, source.population.kind, bound)
        outcomes.append(Outcome(name, found, time.thread_time() - began))
    return Replicate(number, drawn - start, fitted - drawn, tuple(outcomes))


def replicates(source: Source, method: Method, cell: Cell, seed: int, draw: int, numbers: Sequence[int]) -> list[Replicate]:
    """Run several replicates of a cell: cutting them otherwise changes none of them."""
    return [replicate(source, method, cell, seed, draw, number) for number in numbers]


def cross_fit(data: Data, learner: Learner, kind: str, folds: int, rng: np.random.Generator) -> Nuisances:
    """Predict g, Q0, Q1 of each row by models that have not seen its fold.

    Raises
    ------
    EstimationError
        If an arm has fewer than two rows per fold.
    """
    n = len(data.y)
    treated = int(np.count_nonzero(data.a))
    if min(treated, n - treated) < ARM_ROWS_PER_FOLD * folds:
        least = ARM_ROWS_PER_FOLD * folds
        raise EstimationError(f"rows of the smaller arm must be at least {least} for {folds} folds; got {min(treated, n - treated)}.")
    keys = np.arange(n, dtype=np.uint64)
    fold_of = assign_folds(keys, fold_strata(data.a, data.y, kind), folds, int(rng.integers(2**62)))
    if isinstance(learner, FoldedLearner):
        return learner.predict_folds(data.covariates, data.a, data.y, kind, fold_of)
    found = Nuisances(np.empty(n), np.empty(n), np.empty(n))
    for fold in range(folds):
        train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        inside, outside = (data.covariates.take(rows).reset_index(drop=True) for rows in (train, test))
        found.g[test] = learner.fit_propensity(inside, data.a[train], rng).predict(outside)
        model = learner.fit_outcome(inside, data.a[train], data.y[train], kind, rng)
        for arm, q in ((0, found.q0), (1, found.q1)):
            q[test] = model.predict(outside, np.full(len(test), arm, dtype=np.int8))
    return found


def _evaluated(name: str, estimator: Evaluate, data: Data, nuisances: Nuisances, kind: str, bound: float) -> Estimate | None:
    """Evaluate one estimator; None where it fails or its answer is no number."""
    try:
        found = estimator.evaluate(data.a, data.y, nuisances, kind, bound)
    except FAILURES:
        return None
    if found.estimand not in ESTIMANDS:
        raise SpecError(
            f"estimators of simulate must estimate one of {', '.join(ESTIMANDS)}; '{name}' estimates {found.estimand}.",
            "Leave it out: its truth is not known here.",
        )
    return found if np.isfinite([found.estimate, found.se, found.ci_low, found.ci_high]).all() else None
