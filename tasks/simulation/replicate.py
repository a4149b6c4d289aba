"""One replicate: a data set drawn, cross-fitted once, every estimator evaluated."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.nuisance import Learner, Nuisances
from tasks.contract.results import Estimate
from tasks.contract.rng import rng_for
from tasks.nuisance.crossfit import Rows, cross_fit_small
from tasks.nuisance.plan import Plan, require_rows_per_fold
from tasks.simulation.grid import Cell
from tasks.simulation.population import Data, Source
from tasks.targeting.fluctuation import truncation_bound
from tasks.targeting.influence import Estimator

#: Errors of learners and estimators that a small data set can cause.
FAILURES = (EstimationError, ArithmeticError, np.linalg.LinAlgError)
#: Estimands whose truth is known of every law.
ESTIMANDS = ("ate", "att", "atc", "ato")


class Method(NamedTuple):
    """How data sets are analysed: cross-fitted by one learner, evaluated by every estimator, by name."""

    learner: Learner
    estimators: Mapping[str, Estimator]
    folds: int
    truncation: str | float


class Outcome(NamedTuple):
    """The result of one estimator on one data set; ``estimate`` is None where it failed. ``seconds`` of CPU, cross-fitting apart."""

    estimator: str
    estimate: Estimate | None
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
        nuisances = predict(data, method.learner, source.population.kind, method.folds, rng)
    except FAILURES:
        spent = time.thread_time() - drawn
        return Replicate(number, drawn - start, spent, tuple(Outcome(name, None, 0.0) for name in method.estimators))
    fitted = time.thread_time()
    bound = truncation_bound(cell.n, method.truncation)  # type: ignore[arg-type]  # "auto" or a number: the SPEC has checked it
    outcomes = []
    for name, estimator in method.estimators.items():
        began = time.thread_time()
        estimate = _evaluated(name, estimator, data, nuisances, source.population.kind, bound)
        outcomes.append(Outcome(name, estimate, time.thread_time() - began))
    return Replicate(number, drawn - start, fitted - drawn, tuple(outcomes))


def replicates(source: Source, method: Method, cell: Cell, seed: int, draw: int, numbers: Sequence[int]) -> list[Replicate]:
    """Run several replicates of a cell; other batches give the same replicates."""
    return [replicate(source, method, cell, seed, draw, number) for number in numbers]


def predict(data: Data, learner: Learner, kind: str, folds: int, rng: np.random.Generator) -> Nuisances:
    """Cross-fit one data set: g, Q0 and Q1 of each row by models that have not seen its fold.

    Raises
    ------
    EstimationError
        If an arm has fewer than two rows per fold.
    """
    require_rows_per_fold(data.a, folds)
    plan = Plan("simulate", int(rng.integers(2**62)), folds)
    return cross_fit_small(plan, learner, Rows(np.arange(len(data.y), dtype=np.uint64), data.a, data.y, kind), data.covariates)


def _evaluated(name: str, estimator: Estimator, data: Data, nuisances: Nuisances, kind: str, bound: float) -> Estimate | None:
    """Evaluate one estimator; None where it fails or its answer is no number."""
    try:
        estimate = estimator.evaluate(data.a, data.y, nuisances, kind, bound)
    except FAILURES:
        return None
    if estimate.estimand not in ESTIMANDS:
        raise SpecError(
            f"estimators of simulate must estimate one of {', '.join(ESTIMANDS)}; '{name}' estimates {estimate.estimand}.",
            "Leave it out: its truth is not known here.",
        )
    return estimate if np.isfinite([estimate.estimate, estimate.se, estimate.ci_low, estimate.ci_high]).all() else None
