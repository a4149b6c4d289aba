"""GLMs fitted over partitions against the fits in memory, which they must equal."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from tasks.contract.nuisance import PartitionedLearner
from tasks.contract.reduction import reduce_passes
from tasks.contract.registry import resolve
from tasks.nuisance.design import with_treatment
from tasks.nuisance.ridge import FAMILY, fit_ridge, mean_of
from tests.refining import FOLDS, cut, fold_models, partitioned, world

KINDS = ("continuous", "binary", "count")
LEARNER = resolve("learner", "glm")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_that_is_everything_is_the_fit_in_memory(kind, weighted):
    table = world(1500, kind, weighted=weighted)
    fits = fold_models(table, kind, cap=10**6)
    found, _ = partitioned(table, fits, kind, parts=4)
    for (g, q), (g_own, q_own) in zip(zip(*fits[:2]), found):
        assert np.allclose(g.predict(table.covariates), g_own.predict(table.covariates), rtol=0, atol=1e-8)
        assert np.allclose(q.predict(table.covariates, table.a), q_own.predict(table.covariates, table.a), rtol=0, atol=1e-8)
        assert (g_own.strength, q_own.strength) == pytest.approx((g.strength, q.strength))
        assert (q_own.low, q_own.high) == pytest.approx((q.low, q.high), abs=1e-8)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_from_a_small_sample_coefficients_become_those_of_all_rows(kind, weighted):
    """The sample's design and penalty, the full table's coefficients: one solve in memory tells which."""
    table = world(2000, kind, weighted=weighted)
    fits = fold_models(table, kind, cap=500)
    found, passes = partitioned(table, fits, kind, parts=3)
    assert passes <= 8
    for fold, (g, q) in enumerate(found):
        rows = table.folds != fold
        a, n = table.a[rows], int(rows.sum())
        w = None if table.weights is None else table.weights[rows]
        x = np.column_stack((np.ones(n), g.design.matrix(table.covariates.loc[rows])))
        penalty = np.r_[0.0, np.ones(g.design.width)]
        assert g.strength == pytest.approx(fits[0][fold].strength * 500 / n)
        expected = fit_ridge(x, a.astype(float), penalty, "binomial", w, strengths=(g.strength,)).coefficients
        assert np.allclose(mean_of("binomial", x @ g.coefficients), mean_of("binomial", x @ expected), atol=1e-7)
        assert np.abs(g.coefficients - fits[0][fold].coefficients).max() > 1e-2
        x = with_treatment(q.design.matrix(table.covariates.loc[rows]), a)
        penalty = np.r_[0.0, 0.0, np.ones(q.design.width), np.full(q.design.width, 4.0)]
        y = (table.y[rows] - q.centre) / q.scale
        expected = fit_ridge(x, y, penalty, FAMILY[kind], w, strengths=(q.strength,)).coefficients
        family = FAMILY[kind]
        assert np.allclose(mean_of(family, x @ q.coefficients), mean_of(family, x @ expected), rtol=1e-6, atol=1e-7)
        if kind == "count":
            eta = x @ q.coefficients
            assert (q.low, q.high) == pytest.approx((eta.min() - np.log(2), eta.max() + np.log(2)), abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_start_is_walked_back_from(kind):
    """Newton's step from far off overshoots: without halving it would not arrive."""
    table = world(800, kind)
    fits = fold_models(table, kind, cap=10**6)
    bad = tuple([replace(m, coefficients=m.coefficients + 3.0) for m in models] for models in fits[:2])
    found, passes = partitioned(table, (*bad, fits[2]), kind, parts=2)
    assert passes > 4
    for (g, q), (g_own, q_own) in zip(zip(*fits[:2]), found):
        assert np.allclose(g.predict(table.covariates), g_own.predict(table.covariates), atol=1e-7)
        assert np.allclose(q.predict(table.covariates, table.a), q_own.predict(table.covariates, table.a), rtol=1e-6, atol=1e-7)


def test_no_model_sees_its_own_fold():
    table = world(900, "continuous")
    fits = fold_models(table, "continuous", cap=200)
    changed = table._replace(y=np.where(table.folds == 2, 100.0, table.y), a=np.where(table.folds == 2, 1, table.a).astype(np.int8))
    before, after = (partitioned(one, fits, "continuous", parts=3)[0] for one in (table, changed))
    same = [np.array_equal(b.coefficients, a.coefficients) for (_, b), (_, a) in zip(before, after)]
    assert same == [fold == 2 for fold in range(FOLDS)]
    assert np.array_equal(before[2][0].coefficients, after[2][0].coefficients)


def test_rows_of_weight_zero_are_not_there():
    table = world(900, "binary", weighted=True)
    table.weights[::3] = 0.0
    gone = table._replace(**{name: getattr(table, name)[table.weights > 0] for name in ("a", "y", "folds", "weights")})
    gone = gone._replace(covariates=table.covariates.loc[table.weights > 0].reset_index(drop=True))
    fits = fold_models(table, "binary", cap=250)
    for (g, q), (g_own, q_own) in zip(partitioned(table, fits, "binary", 3)[0], partitioned(gone, fits, "binary", 1)[0]):
        assert np.allclose(g.coefficients, g_own.coefficients, atol=1e-9)
        assert np.allclose(q.coefficients, q_own.coefficients, atol=1e-9)


def test_a_known_propensity_is_not_fitted_and_states_pickle():
    table = world(700, "count")
    _, outcomes, rows = fold_models(table, "count", cap=200)
    refinement = LEARNER.refinement([None] * FOLDS, outcomes, rows, "count")
    straight = reduce_passes(refinement, lambda: cut(table, 3))
    state = refinement.start()
    while not refinement.finished(state):
        start = pickle.dumps(state)
        total = pickle.loads(start)
        for part in cut(table, 3):
            own = pickle.loads(pickle.dumps(refinement)).visit(pickle.loads(start), part)
            total = refinement.merge(total, pickle.loads(pickle.dumps(own)))
        state = refinement.advance(total)
    assert pickle.dumps(refinement.models(state)) == pickle.dumps(refinement.models(straight))
    assert all(g is None for g, _ in refinement.models(state))
    with pytest.raises(ValueError, match="finished"):
        refinement.models(refinement.start())


def test_who_can_do_it_says_so():
    assert isinstance(LEARNER, PartitionedLearner)
    assert not isinstance(resolve("learner", "boosted"), PartitionedLearner)
    assert not isinstance(resolve("learner", "stack"), PartitionedLearner)
    table = world(300, "binary")
    boosted = resolve("learner", "boosted", {"iterations": 2})
    rng = np.random.default_rng(0)
    with pytest.raises(TypeError, match="must be those of this learner"):
        LEARNER.refinement([None], [boosted.fit_outcome(table.covariates, table.a, table.y, "binary", rng)], [300], "binary")
