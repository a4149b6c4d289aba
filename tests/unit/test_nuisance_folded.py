"""Several outcomes of a small table, cross-fitted in one call, some of whose cells are missing."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.contract.errors import EstimationError
from tasks.contract.registry import resolve
from tasks.nuisance.crossfit import InMemory, Rows, cross_fit_small, fit_folds
from tasks.nuisance.plan import Plan
from tasks.simulation.population import source_of
from tests.simulating import CELL, population


def small(rows: int = 200) -> tuple[Rows, object]:
    """Draw rows with a continuous outcome, a count, and a binary one; the last two have missing cells, which go by a covariate."""
    rng = np.random.default_rng(5)
    data = source_of(population(), CELL).draw(rows, rng)
    age = data.covariates["w0"].to_numpy()
    gone = [rng.random(rows) < 1 / (1 + np.exp(1.5 - age)) for _ in range(2)]
    count = np.where(gone[0], np.nan, rng.poisson(np.exp(0.3 * age + 0.4 * data.a)).astype(float))
    binary = np.where(gone[1], np.nan, (rng.random(rows) < 1 / (1 + np.exp(-age))).astype(float))
    further = ((count, "count"), (binary, "binary"))
    return Rows(np.arange(rows, dtype=np.uint64), data.a, data.y, "continuous", further=further, gaps=(False, True, True)), data.covariates


def test_all_outcomes_at_once_are_those_fold_by_fold() -> None:
    """The compiled path gives g, every Q and every chance to be known as the fits of single folds do."""
    rows, frame = small()
    plan, learner = Plan("simulate", 3, 3), resolve("learner", "glm")
    found = cross_fit_small(plan, learner, rows, frame)
    fold_of = plan.assign(rows.keys, rows.a, rows.y, rows.kind, 0)
    models, _ = fit_folds(plan, learner, rows, InMemory(frame), fold_of, 0)
    assert [each is not None for each in found.presence] == [False, True, True]
    for fold, model in enumerate(models):
        here = np.flatnonzero(fold_of == fold)
        alone = model.predict_all(frame.iloc[here]).columns()
        assert set(alone) == set(found.columns())
        for name, values in found.columns().items():
            np.testing.assert_allclose(values[here], alone[name], rtol=1e-6, err_msg=name)


def test_the_same_for_a_learner_that_fits_fold_by_fold() -> None:
    rows, frame = small()
    found = cross_fit_small(Plan("simulate", 3, 2, repeats=2), resolve("learner", "boosted"), rows, frame)
    assert [len(each) for each in found.further] == [2, 2]
    assert all(np.isfinite(values).all() and values.std() > 0.0 for values in found.columns().values())


def test_an_arm_that_nobody_s_outcome_is_known_of_is_refused() -> None:
    rows, frame = small()
    count = np.where(rows.a == 1, np.nan, 1.0)
    with pytest.raises(EstimationError, match="smallest arm"):
        cross_fit_small(Plan("simulate", 3, 2), resolve("learner", "glm"), rows._replace(further=((count, "count"),)), frame)
