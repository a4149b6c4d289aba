"""Bounds, folds, training rows and the models of a fold against their definitions written out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.contract.errors import EstimationError
from tasks.contract.rng import mix, salt
from tasks.nuisance.bounds import require_arms, within
from tasks.nuisance.crossfit import InMemory, Rows, cross_fit, rows_at
from tasks.nuisance.fold_model import KnownPropensity, averaged, fit_fold
from tasks.nuisance.folds import FoldUnits, assign_folds, assign_parts, fold_strata, hash_limit, training_rows
from tasks.nuisance.plan import Plan, release_name, require_rows_per_fold


# -- bounds, folds and plans -------------------------------------------------------------------------------------------
def test_predictions_stay_inside_the_range_of_their_kind() -> None:
    values = np.array([-1.0, 0.0, 0.5, 1.0, 2.0])
    np.testing.assert_array_equal(within("binary", values), [1e-6, 1e-6, 0.5, 1 - 1e-6, 1 - 1e-6])
    np.testing.assert_array_equal(within("count", values), [1e-6, 1e-6, 0.5, 1, 2])
    np.testing.assert_array_equal(within("continuous", values), values)


def test_an_arm_of_one_row_is_refused_whichever_it_is() -> None:
    for arm in (0, 1):
        require_arms(np.array([arm, arm, 1 - arm, 1 - arm, arm], dtype=np.int8))
        with pytest.raises(EstimationError, match="at least 2 rows; got 1"):
            require_arms(np.array([arm, arm, 1 - arm, arm], dtype=np.int8))
    with pytest.raises(EstimationError, match="at least 4 rows; got 3"):
        require_arms(np.repeat([0, 1], [3, 9]).astype(np.int8), fewest=4)


def test_folds_are_ranks_of_hashes_within_strata() -> None:
    keys = np.random.default_rng(0).permutation(60).astype(np.uint64) * np.uint64(977)
    strata = np.resize([0, 0, 0, 1, 3], 60)
    found = assign_folds(keys, strata, 4, 9, 2)
    hashes = mix(keys, salt(9, "fold", 2))
    for row in range(60):
        rank = np.count_nonzero(hashes[strata == strata[row]] < hashes[row])
        assert found[row] == (rank + strata[row]) % 4
    assert found.dtype == np.int8
    assert (assign_folds(keys, strata, 4, 9) != found).any()
    assert (assign_folds(keys, strata, 4, 9) == assign_folds(keys, strata, 4, 9, 0)).all()
    assert len(assign_folds(keys[:0], strata[:0], 4, 9)) == 0


def test_strata_are_the_arm_and_a_binary_outcome() -> None:
    a, y = np.array([0, 0, 1, 1], dtype=np.int8), np.array([0.0, 1, 0, 1])
    assert fold_strata(a, y, "binary").tolist() == [0, 1, 2, 3]
    assert fold_strata(a, y, "count").tolist() == fold_strata(a, y, "continuous").tolist() == [0, 0, 1, 1]


def test_a_sample_of_training_rows_has_the_smallest_hashes() -> None:
    keys = np.random.default_rng(1).permutation(50).astype(np.uint64)
    train = np.arange(50) % 3 != 0
    hashes = mix(keys, salt(5, "fit-rows"))
    sampled = training_rows(keys, train, 10, 5)
    assert sorted(hashes[sampled]) == sorted(hashes[train])[:10]
    count = int(train.sum())
    for cap in (count, count + 1):
        whole = training_rows(keys, train, cap, 5)
        assert (whole == train).all()
        assert whole is not train
    assert training_rows(keys, train, count - 1, 5).sum() == count - 1


def test_a_plan_decides_folds_training_rows_and_randomness() -> None:
    rng = np.random.default_rng(0)
    a, y = rng.integers(0, 2, 240).astype(np.int8), rng.integers(0, 2, 240).astype(float)
    keys = np.arange(240, dtype=np.uint64)
    plan = Plan("trial", 3, 4, 2, 50)
    fold_of = plan.assign(keys, a, y, "binary", 1)
    np.testing.assert_array_equal(fold_of, assign_folds(keys, fold_strata(a, y, "binary"), 4, 3, 1))
    np.testing.assert_array_equal(plan.training(keys, fold_of, 2), training_rows(keys, fold_of != 2, 50, 3))
    np.testing.assert_array_equal(Plan("trial", 3, 4).training(keys, fold_of, 2), fold_of != 2)
    numbers = {Plan(name, seed, 4).rng(*at).random() for name in "ab" for seed in (1, 2) for at in ((0, 0), (0, 1), (1, 0))}
    assert len(numbers) == 12
    assert release_name(3) == "release/copy-3"
    for folds, repeats in ((1, 1), (2, 0)):
        with pytest.raises(EstimationError, match=f"got {folds} and {repeats}"):
            Plan("trial", 3, folds, repeats)
    Plan("trial", 3, 2, 1)
    for treated in (8, 32):
        require_rows_per_fold((np.arange(40) < treated).astype(np.int8), 4)
    for treated in (7, 33):
        with pytest.raises(EstimationError, match="must be at least 8 for 4 folds; got 7"):
            require_rows_per_fold((np.arange(40) < treated).astype(np.int8), 4)


# -- models of a fold --------------------------------------------------------------------------------------------------
class Constant:
    """A learner whose g is the training rows' share of treated, and whose Q is their number, their mean and the arm; it keeps the order."""

    def __init__(self) -> None:
        self.orders: list[list[float]] = []

    def fit_propensity(self, covariates, treatment, rng, weights=None):
        self.orders.append(covariates["w"].tolist())
        return KnownPropensity(float(np.average(treatment, weights=weights)))

    def fit_outcome(self, covariates, treatment, outcome, kind, rng, weights=None):
        mean = float(np.average(outcome, weights=weights))

        class Model:
            def predict(self, covariates, treatment):
                return mean + 100.0 * treatment + 1e-3 * covariates["w"].to_numpy()

        return Model()


def test_a_fold_is_fitted_on_its_training_rows_of_positive_weight_in_the_order_of_their_keys() -> None:
    n = 12
    frame, a, y = pd.DataFrame({"w": np.arange(n, dtype=float)}), np.resize([0, 1, 1], n).astype(np.int8), np.arange(n, dtype=float) ** 2
    train, weights = np.arange(n) < 10, np.where(np.arange(n) == 3, 0.0, 1.0 + np.arange(n))
    learner, rng = Constant(), np.random.default_rng(0)
    model = fit_fold(learner, frame, a, y, "continuous", train, rng, weights, np.arange(n, dtype=np.uint64)[::-1])
    used = np.flatnonzero(train & (weights > 0))
    assert model.rows == 9
    assert learner.orders == [used[::-1].tolist()]
    g, q0, q1 = model.predict(frame)
    np.testing.assert_allclose(g, np.average(a[used], weights=weights[used]))
    np.testing.assert_allclose(q0, np.average(y[used], weights=weights[used]) + 1e-3 * np.arange(n))
    np.testing.assert_allclose(q1, q0 + 100.0)
    plain = fit_fold(learner, frame, a, y, "continuous", train, rng)
    assert (plain.rows, learner.orders[-1]) == (10, list(range(10)))
    assert fit_fold(learner, frame, a, y, "continuous", train, rng, None, None, 0.25).predict(frame).g.tolist() == [0.25] * n
    both = averaged([model, plain], frame)
    for one, left, right in zip(both, model.predict(frame), plain.predict(frame)):
        np.testing.assert_allclose(one, (left + right) / 2)
    with pytest.raises(EstimationError, match="smallest arm"):
        fit_fold(learner, frame, a, y, "continuous", np.arange(n) < 3, rng)


def test_predictions_come_in_blocks_of_any_number_of_rows() -> None:
    frame = pd.DataFrame({"w": np.arange(8_192 * 2 + 5, dtype=float)})
    model = fit_fold(
        Constant(),
        frame.iloc[:4],
        np.array([0, 0, 1, 1], dtype=np.int8),
        np.ones(4),
        "count",
        np.ones(4, dtype=bool),
        np.random.default_rng(),
    )
    g, q0, q1 = model.predict(frame)
    np.testing.assert_allclose(q0, 1 + 1e-3 * frame["w"])
    np.testing.assert_allclose(q1, 101 + 1e-3 * frame["w"])
    assert (g == 0.5).all()


def test_cross_fitting_tells_what_it_does_and_keeps_weights_and_known_propensities() -> None:
    n = 30
    frame, a = pd.DataFrame({"w": np.arange(n, dtype=float)}), np.resize([0, 1], n).astype(np.int8)
    rows = Rows(np.arange(n, dtype=np.uint64), a, np.arange(n) * 1.0, "continuous", np.linspace(1, 2, n), np.linspace(0.2, 0.8, n))
    lines: list[str] = []
    found = cross_fit(Plan("trial", 1, 3), Constant(), rows, InMemory(frame), lines.append)
    assert lines == [*(f"fitting fold {fold} of 3 on 20 rows" for fold in (1, 2, 3)), "predicting"]
    assert (found.rows, [model.rows for model in found.models]) == (n, [20] * 3)
    fold_of = Plan("trial", 1, 3).assign(rows.keys, a, rows.y, "continuous", 0)
    for fold, model in enumerate(found.models):
        train = fold_of != fold
        assert model.propensity.value == pytest.approx(rows.propensity.mean())
        np.testing.assert_allclose(
            found.nuisances.q0[~train], np.average(rows.y[train], weights=rows.weights[train]) + 1e-3 * np.flatnonzero(~train)
        )
    sample = cross_fit(Plan("trial", 1, 3, 1, 12), Constant(), rows, InMemory(frame))
    assert [model.rows for model in sample.models] == [12] * 3
    assert 12 < sample.rows <= n
    np.testing.assert_array_equal(found.nuisances.g, rows.propensity)
    part = rows_at(rows, np.array([4, 2]))
    assert [values.tolist() for values in (part.keys, part.a, part.y)] == [[4, 2], [0, 0], [4.0, 2.0]]
    np.testing.assert_array_equal(part.weights, rows.weights[[4, 2]])
    np.testing.assert_array_equal(part.propensity, rows.propensity[[4, 2]])
    plain = rows_at(rows._replace(weights=None, propensity=0.3), np.array([1]))
    assert (plain.kind, plain.weights, plain.propensity) == ("continuous", None, 0.3)
    few = InMemory(frame).take(np.arange(n) < 3)
    assert few["w"].tolist() == [0, 1, 2]
    assert InMemory(frame).take(np.ones(n, dtype=bool)) is frame


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 300), st.integers(1, 6), st.integers(1, 80), st.sampled_from(("plain", "strata", "clusters")))
def test_partitions_are_assigned_as_the_whole_is(seed: int, n: int, pieces: int, most: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    keys, a, y = (
        rng.permutation(n).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15),
        rng.integers(0, 3, n).astype(np.int8),
        rng.integers(0, 2, n),
    )
    clusters = rng.integers(0, max(n // 3, 1), n).astype(np.uint64) if kind == "clusters" else None
    strata = rng.integers(0, 4, n) if kind == "strata" else None
    whole = FoldUnits(keys, a, y.astype(float), clusters, strata)
    cuts = np.sort(rng.integers(0, n + 1, pieces - 1))
    parts = [FoldUnits(*(None if column is None else column[start:stop] for column in whole)) for start, stop in pairwise((0, *cuts, n))]
    expected = Plan("trial", 5, 4).assign(keys, a, y.astype(float), "binary", 1, clusters, strata)
    np.testing.assert_array_equal(assign_parts(lambda: iter(parts), n, "binary", 4, 5, 1, most), expected)
    if kind == "plain":
        np.testing.assert_array_equal(expected, assign_folds(keys, fold_strata(a, y.astype(float), "binary"), 4, 5, 1))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 300), st.integers(1, 6), st.integers(1, 320), st.booleans())
def test_partitions_lend_the_training_rows_of_the_whole(seed: int, n: int, pieces: int, cap: int, clustered: bool) -> None:
    rng = np.random.default_rng(seed)
    units = rng.integers(0, max(n // 4, 1), n).astype(np.uint64) if clustered else rng.permutation(n).astype(np.uint64)
    hashes, cuts = mix(units, salt(9, "fit-rows")), np.sort(rng.integers(0, n + 1, pieces - 1))
    limit = hash_limit((units[start:stop] for start, stop in pairwise((0, *cuts, n))), cap, 9)
    taken = np.ones(n, dtype=bool) if limit is None else hashes <= np.uint64(limit)
    np.testing.assert_array_equal(taken, training_rows(units, np.ones(n, dtype=bool), cap, 9))
    distinct, sizes = np.unique(hashes, return_counts=True)
    assert taken.sum() == (sizes[np.cumsum(sizes) <= max(cap, sizes[0])].sum() if n > cap else n)
    assert sorted(np.unique(hashes[taken])) == sorted(distinct)[: len(np.unique(hashes[taken]))]
