"""One replicate: a data set drawn, cross-fitted once, every estimator evaluated."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.nuisance import Learner, Nuisances
from tasks.contract.results import Estimate
from tasks.contract.rng import UInt64, rng_for
from tasks.estimation.contrasts import TREATED, estimates_of
from tasks.nuisance.crossfit import Rows, cross_fit_small
from tasks.nuisance.plan import Plan, require_rows_per_fold
from tasks.simulation.clustered import ClusterData
from tasks.simulation.contrasts import COMPLETE, ROWS, TWINS, Contrast, View, contrasts
from tasks.simulation.grid import Cell
from tasks.simulation.population import Data, Population, Source
from tasks.simulation.study import StudyData, complete_data, views_of
from tasks.simulation.survival import TimesData, predict_data
from tasks.simulation.unadjusted import unadjusted
from tasks.targeting.fluctuation import truncation_bound
from tasks.targeting.influence import Estimator
from tasks.targeting.sample import Sample, prepare

#: Errors of learners and estimators that a small data set can cause.
FAILURES = (EstimationError, ArithmeticError, np.linalg.LinAlgError)
#: Estimands whose truth is known of every law.
ESTIMANDS = ("ate", "att", "atc", "ato")


class Method(NamedTuple):
    """How data sets are analysed: cross-fitted by one learner, evaluated by every estimator, by name; and what needs no cross-fit."""

    learner: Learner
    estimators: Mapping[str, Estimator]
    folds: int
    truncation: str | float
    unadjusted: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """The results of one estimator on one data set: of each contrast, None where it failed. ``seconds`` of CPU, cross-fitting apart."""

    estimator: str
    contrasts: tuple[Contrast, ...]
    estimates: tuple[Estimate | None, ...]
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
    population = source.population
    if not method.estimators:
        return Replicate(number, drawn - start, 0.0, tuple(_unadjusted(method, data, population)))
    try:
        trials = _trials(data, population, method, cell.n, rng)
    except FAILURES:
        spent = time.thread_time() - drawn
        compared = {name: tuple(population.compared(name)) for name in _names(population, method)}
        nothing = (Outcome(name, each, (None,) * len(each), 0.0) for name, each in compared.items())
        return Replicate(number, drawn - start, spent, (*nothing, *_unadjusted(method, data, population)))
    fitted = time.thread_time()
    outcomes = []
    for name, views in trials.items():
        began = time.thread_time()
        estimator = method.estimators[TWINS.get(name, name)]
        estimates = tuple(each for view in views for each in _evaluated(name, estimator, view.sample, population.labels))
        outcomes.append(Outcome(name, tuple(population.compared(name)), estimates, time.thread_time() - began))
    return Replicate(number, drawn - start, fitted - drawn, (*outcomes, *_unadjusted(method, data, population)))


def _unadjusted(method: Method, data: Data, population: Population) -> list[Outcome]:
    """Evaluate what uses neither covariates nor a cross-fit, on a data set of times."""
    outcomes: list[Outcome] = []
    if not isinstance(data, TimesData):
        return outcomes
    for name in method.unadjusted:
        began = time.thread_time()
        estimates = unadjusted(name, data, population.labels)
        outcomes.append(Outcome(name, tuple(population.compared(name)), estimates, time.thread_time() - began))
    return outcomes


def _names(population: Population, method: Method) -> list[str]:
    """Return the names of what is tried: the estimators, and what stands beside them for comparison."""
    apt = {COMPLETE: bool(population.incomplete), ROWS: population.units is not None}
    twins = [name for name, of in TWINS.items() if apt[name] and of in method.estimators]
    return [*method.estimators, *twins]


def _trials(data: Data, population: Population, method: Method, n: int, rng: np.random.Generator) -> dict[str, list[View]]:
    """Cross-fit one data set; return what each estimator sees of every outcome."""
    names = _names(population, method)
    if isinstance(data, StudyData):
        views = views_of(data, population, method.learner, method.folds, method.truncation, rng)
        trials = dict.fromkeys(method.estimators, views)
        if COMPLETE in names:
            trials[COMPLETE] = [_view(name, left, kind, method, rng) for name, kind, left in complete_data(data, population)]
        return trials
    if isinstance(data, TimesData):
        bound = truncation_bound(n, method.truncation, data.arms)  # type: ignore[arg-type]  # the SPEC has checked it
        # of a time to event, what estimators see are numbers without censoring
        seen = predict_data(data, method.learner, method.folds, method.truncation, rng)
        views = [View(each.name, prepare(data.a, each.outcomes, each.nuisances, "continuous", bound)) for each in seen]
        return dict.fromkeys(names, views)
    views = [_view(None, data, population.kind, method, rng)]
    trials = dict.fromkeys(names, views)
    if ROWS in names:
        trials[ROWS] = [view._replace(sample=replace(view.sample, clusters=None)) for view in views]
    return trials


def _view(name: str | None, data: Data, kind: str, method: Method, rng: np.random.Generator) -> View:
    """Cross-fit rows that all have the outcome."""
    nuisances = predict(data, method.learner, kind, method.folds, rng)
    bound = truncation_bound(len(data.y), method.truncation, nuisances.arms)  # type: ignore[arg-type]  # the SPEC has checked it
    return View(name, prepare(data.a, data.y, nuisances, kind, bound, clusters=_clusters(data)))


def _clusters(data: Data) -> UInt64 | None:
    """Return the number of each row's cluster, where rows come in clusters."""
    return data.clusters if isinstance(data, ClusterData) else None


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
    require_rows_per_fold(data.a, folds, data.arms)
    plan = Plan("simulate", int(rng.integers(2**62)), folds)
    rows = Rows(np.arange(len(data.y), dtype=np.uint64), data.a, data.y, kind, clusters=_clusters(data), arms=data.arms)
    return cross_fit_small(plan, learner, rows, data.covariates).first


def _evaluated(name: str, estimator: Estimator, sample: Sample, labels: Sequence[str]) -> tuple[Estimate | None, ...]:
    """Evaluate one estimator on every contrast; None where it fails or its answer is no number."""
    try:
        # the means of the arms, which come beside more than two of them, are no effects
        estimates = [each for each in estimates_of(estimator, sample, labels, pairs=name not in TREATED) if each.estimand != "mean"]
    except FAILURES:
        return (None,) * len(contrasts(labels, name))
    stranger = next((each.estimand for each in estimates if each.estimand not in ESTIMANDS), None)
    if stranger is not None:
        raise SpecError(
            f"estimators of simulate must estimate one of {', '.join(ESTIMANDS)}; '{name}' estimates {stranger}.",
            "Leave it out: its truth is not known here.",
        )
    return tuple(each if np.isfinite([each.estimate, each.se, each.ci_low, each.ci_high]).all() else None for each in estimates)
