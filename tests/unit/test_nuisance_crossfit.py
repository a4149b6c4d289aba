"""One plan, several backends: the same predictions, and none that has seen its own row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.worlds import snapshot
from tasks.contract.columns import nuisances_of
from tasks.contract.errors import EstimationError
from tasks.contract.registry import resolve
from tasks.nuisance import task
from tasks.nuisance.crossfit import InMemory, cross_fit, cross_fit_small, fit_folds, predict_folds
from tasks.nuisance.plan import Plan, require_rows_per_fold
from tests.crossfitting import BACKENDS, FOLDS, SEED, World, cross_fit_tasks, plan, workspace

# backend, learner, most training rows of a fold: with a limit the GLM goes on by passes over all rows
WAYS = [
    ("in memory", "glm", None),
    ("in memory", "boosted", None),
    ("in memory", "glm", 200),
    ("on disk", "glm", None),
    ("on disk", "boosted", 200),
    ("on disk", "glm", 200),
    ("batched", "glm", None),
    ("tasks", "glm", None),
    ("tasks", "boosted", 200),
    ("tasks", "glm", 200),
]


def world(kind: str = "continuous", n: int = 480) -> World:
    rng = np.random.default_rng(5)
    age, bmi, site = rng.normal(50, 10, n).round(2), rng.gamma(9, 3, n).round(2), rng.choice(["north", "south"], n)
    a = (rng.random(n) < 1 / (1 + np.exp(-0.04 * (age - 50)))).astype(int)
    mean = 0.1 * age + a * (1 + 0.05 * bmi) + (site == "north")
    y = (mean + rng.normal(size=n)).round(4) if kind == "continuous" else (rng.random(n) < 1 / (1 + np.exp(6 - mean))).astype(int)
    frame = pd.DataFrame({"age": age, "bmi": np.where(rng.random(n) < 0.1, np.nan, bmi), "site": site, "a": a, "y": y})
    return World(*snapshot(frame, kind=kind))


def folds_of(table: World) -> np.ndarray:
    rows = table.rows
    return plan().assign(rows.keys, rows.a, rows.y, rows.kind, 0)


@pytest.mark.parametrize("kind", ["continuous", "binary"])
@pytest.mark.parametrize(("backend", "learner", "fit_rows"), WAYS)
def test_noise_in_the_labels_of_a_fold_does_not_reach_its_predictions(backend, learner, fit_rows, kind, tmp_path: Path) -> None:
    table = world(kind)
    fold_of = folds_of(table)
    own = fold_of == 1
    before = BACKENDS[backend](table, learner, fold_of, fit_rows, tmp_path / "before")
    after = BACKENDS[backend](table.with_noise(own), learner, fold_of, fit_rows, tmp_path / "after")
    # sums over all folds less one round otherwise; all else is the very same arithmetic
    close = 1e-6 if backend == "batched" else 0.0
    for one, other in zip(before, after):
        np.testing.assert_allclose(one[own], other[own], rtol=close, atol=0.0)
        assert np.abs(one[~own] - other[~own]).max() > 1e-3


def test_a_leak_would_be_seen() -> None:
    """Rows predicted by another fold's models, which have seen them, do move."""
    table = world()
    fold_of, covariates, learner = folds_of(table), InMemory(world().frame), resolve("learner", "glm")
    own, found = fold_of == 1, []
    for each in (table, table.with_noise(fold_of == 1)):
        models = fit_folds(plan(), learner, each.rows, covariates, fold_of, 0)[0]
        found.append(predict_folds(models[1:] + models[:1], fold_of, covariates))
    assert np.abs(found[0].q1[own] - found[1].q1[own]).max() > 1e-3


@pytest.mark.parametrize(("learner", "fit_rows", "backends"), [
    ("glm", None, ("on disk", "tasks", "batched")),
    ("glm", 200, ("on disk", "tasks")),
    ("boosted", 200, ("on disk", "tasks")),
])  # fmt: skip
def test_backends_agree(learner, fit_rows, backends, tmp_path: Path) -> None:
    table = world()
    fold_of = folds_of(table)
    expected = BACKENDS["in memory"](table, learner, fold_of, fit_rows, tmp_path)
    for backend in backends:
        found = BACKENDS[backend](table, learner, fold_of, fit_rows, tmp_path / backend)
        for one, other in zip(found, expected):
            np.testing.assert_allclose(one, other, rtol=1e-6 if backend == "batched" else 1e-9)


def test_tasks_do_what_memory_does_from_folds_to_averages(tmp_path: Path) -> None:
    """The tasks' own fold assignment, collected predictions and averaged models against those of one call in memory."""
    table = world("binary")
    run, parts = workspace(table, tmp_path, "glm", None)
    assigned = task.folds.fn(run, table.schema, parts, 0)
    space = run.space()
    np.testing.assert_array_equal(space.table(assigned)["fold"].to_numpy(), folds_of(table))
    fitted = cross_fit_tasks(run, table.schema, parts, assigned)
    whole = cross_fit(task.plan_of(run.spec, parts), resolve("learner", "glm"), table.rows, InMemory(table.frame))
    for one, other in zip(nuisances_of(space.table(fitted.nuisances)), whole.nuisances):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    averages = [space.table(task.average.fn(run, table.schema, parts, fitted.fits, part)) for part in parts.parts]
    start = 0
    for part in averages:
        for name, model_values in zip(("g", "q0", "q1"), zip(*(model.predict(table.frame) for model in whole.models))):
            mean = np.mean(model_values, axis=0)[start : start + part.num_rows]
            np.testing.assert_allclose(part[name].to_numpy(), mean, rtol=1e-12)
        start += part.num_rows
    # a second run finds everything finished
    assert cross_fit_tasks(run, table.schema, parts, task.folds.fn(run, table.schema, parts, 0)) == fitted


def test_order_of_rows_changes_nothing() -> None:
    table = world()
    order = np.random.default_rng(0).permutation(table.table.num_rows)
    other = World(table.table.take(order), table.schema)
    learner = resolve("learner", "boosted")
    one, two = (cross_fit(plan(200), learner, each.rows, InMemory(each.frame)).nuisances for each in (table, other))
    for left, right in zip(one, two):
        np.testing.assert_array_equal(left[order], right)


def test_repeats_are_averaged_and_known_propensities_kept() -> None:
    table, learner = world(), resolve("learner", "glm")
    two = Plan("table", SEED, FOLDS, 2)
    rows, covariates = table.rows, InMemory(table.frame)
    folds = [two.assign(rows.keys, rows.a, rows.y, rows.kind, repeat) for repeat in range(2)]
    assert (folds[0] != folds[1]).any()
    own = [predict_folds(fit_folds(two, learner, rows, covariates, each, repeat)[0], each, covariates) for repeat, each in enumerate(folds)]
    found = cross_fit(two, learner, rows, covariates)
    np.testing.assert_allclose(found.nuisances.q1, (own[0].q1 + own[1].q1) / 2, rtol=1e-14)
    assert len(found.models) == 2 * FOLDS
    known = np.linspace(0.2, 0.8, len(rows.y))
    np.testing.assert_array_equal(cross_fit(two, learner, rows._replace(propensity=known), covariates).nuisances.g, known)
    assert (cross_fit(two, learner, rows._replace(propensity=0.4), covariates).nuisances.g == 0.4).all()
    small = cross_fit_small(two, learner, rows, table.frame).first
    np.testing.assert_allclose(small.q0, found.nuisances.q0, rtol=1e-6)


def test_a_plan_says_when_passes_are_needed() -> None:
    glm, boosted = resolve("learner", "glm"), resolve("learner", "boosted")
    assert plan(200).refines(glm, 301)
    assert not plan(200).refines(glm, 300)
    assert not plan(200).refines(boosted, 10_000)
    assert not plan().refines(glm, 10_000)
    assert plan(200).training(np.arange(600, dtype=np.uint64), np.arange(600).astype(np.int8) % 3, 1).sum() == 200
    assert plan().rng(0, 1).random() == plan().rng(0, 1).random() != plan().rng(1, 1).random()
    with pytest.raises(EstimationError, match="rows of the smaller arm must be at least 6 for 3 folds; got 5"):
        require_rows_per_fold(np.repeat([0, 1], [5, 20]).astype(np.int8), 3)
