"""Boosted trees of a few rows against scikit-learn's: every loss, kind of column, weight and gap; fast enough without compiled code."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from tasks.contract.errors import EstimationError
from tasks.nuisance.forest import Rules, fit_forest
from tasks.nuisance.methods.boosted import Params, build
from tasks.nuisance.trees import TreeColumns, fit_columns

LOSS = {"binary": "log_loss", "continuous": "squared_error", "count": "poisson"}
ROWS = 160


def covariates(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "number": rng.normal(size=rows).round(1),
            "many": pd.Categorical.from_codes(rng.integers(0, 5, rows), categories=list("abcde")),
            "full": rng.integers(0, 4, rows).astype(float),
            "two": pd.Categorical.from_codes(rng.integers(0, 2, rows), categories=["no", "yes"]),
            "only": pd.Categorical.from_codes(np.zeros(rows, dtype=np.int8), categories=["only"]),
        }
    )
    for name in ("number", "many", "only"):
        frame.loc[rng.random(rows) < 0.2, name] = np.nan
    return frame


def outcome(frame: pd.DataFrame, kind: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    eta = np.nan_to_num(frame["number"].to_numpy(), nan=-1.5) + 1.2 * (frame["many"].cat.codes.to_numpy() % 3 == 1)
    eta = eta + 0.8 * (frame["two"] == "yes").to_numpy() - 0.3 * frame["full"].to_numpy() + 0.7 * frame["only"].isna().to_numpy()
    if kind == "binary":
        return (rng.random(len(eta)) < 1 / (1 + np.exp(-2 * eta))).astype(float)
    return rng.poisson(np.exp(eta / 2)).astype(float) if kind == "count" else eta + 0.5 * rng.normal(size=len(eta))


def theirs(x, y, columns: TreeColumns, kind: str, rules: Rules, weights=None):
    model = HistGradientBoostingClassifier if kind == "binary" else HistGradientBoostingRegressor
    return model(
        loss=LOSS[kind], categorical_features=columns.categorical, early_stopping=False, random_state=3, max_iter=rules.iterations,
        learning_rate=rules.rate, max_leaf_nodes=rules.leaves, min_samples_leaf=rules.fewest, l2_regularization=rules.l2,
    ).fit(x, y, sample_weight=weights)  # fmt: skip


def linked(total: np.ndarray, kind: str) -> np.ndarray:
    return 1 / (1 + np.exp(-total)) if kind == "binary" else np.exp(total) if kind == "count" else total


def predicted(model, x: np.ndarray, kind: str) -> np.ndarray:
    return model.predict_proba(x)[:, 1] if kind == "binary" else model.predict(x)


@pytest.mark.parametrize(
    ("kind", "weighted", "rules"),
    [
        ("continuous", False, Rules(3, 0.3, 8, 5, 0.0)),
        ("continuous", True, Rules(2, 0.3, 5, 10, 1.5)),
        ("binary", False, Rules(3, 0.5, 6, 8, 1.0)),
        ("binary", True, Rules(2, 0.3, 20, 2, 0.0)),
        ("count", True, Rules(3, 0.2, 6, 10, 0.5)),
    ],
)
def test_trees_are_those_of_scikit_learn(kind: str, weighted: bool, rules: Rules) -> None:
    train, fresh = covariates(ROWS, 1), covariates(60, 2)
    fresh.loc[:5, "full"] = np.nan  # gaps where training had none
    columns, y = fit_columns(train), outcome(train, kind, 3)
    x, other = columns.matrix(train), columns.matrix(fresh)
    weights = np.random.default_rng(4).exponential(size=ROWS) if weighted else None
    forest, model = fit_forest(x, columns.categorical, y, kind, rules, weights), theirs(x, y, columns, kind, rules, weights)
    for cells in (x, other):
        np.testing.assert_allclose(linked(forest.total(cells), kind), predicted(model, cells, kind), rtol=1e-12)
    assert np.ptp(forest.total(other)) > 0.3
    assert len(forest.splits) == len(forest.leaves) == rules.iterations + 1


@pytest.mark.parametrize("weighted", [False, True])
def test_columns_of_more_values_than_bins_are_cut_at_quantiles(weighted: bool) -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(600, 1)).round(3)
    y, weights = np.sin(3 * x[:, 0]) + 0.1 * rng.normal(size=600), rng.integers(0, 3, 600).astype(float) if weighted else None
    columns, rules = TreeColumns(("u",), (None,)), Rules(2, 0.5, 12, 5, 0.0)
    forest, model = fit_forest(x, columns.categorical, y, "continuous", rules, weights), HistGradientBoostingRegressor(
        early_stopping=False, max_iter=2, learning_rate=0.5, max_leaf_nodes=12, min_samples_leaf=5, l2_regularization=0.0
    ).fit(x, y, sample_weight=weights)  # fmt: skip
    grid = np.sort(np.concatenate((x[:, 0], np.linspace(-4, 4, 400))))[:, None]
    np.testing.assert_allclose(forest.total(grid), model.predict(grid), rtol=1e-12)


@pytest.mark.parametrize(("kind", "constant", "link"), [("binary", 1.0, 1 - 1e-6), ("count", 0.0, 1e-6), ("continuous", 3.0, 3.0)])
def test_outcomes_all_alike_are_predicted_by_their_mean(kind: str, constant: float, link: float) -> None:
    frame = covariates(100, 7)
    a = np.resize([0, 1], 100).astype(np.int8)
    model = build(Params(iterations=1)).fit_outcome(frame, a, np.full(100, constant), kind, np.random.default_rng(0))
    np.testing.assert_allclose(model.predict(frame, a), link, rtol=1e-12)
    assert model.arms[0].forest is None
    forest = fit_forest(np.zeros((100, 1)), np.zeros(1, dtype=bool), np.full(100, constant), kind, Rules(1, 0.1, 4, 20, 0.0))
    np.testing.assert_allclose(linked(forest.total(np.zeros((2, 1))), kind), constant, atol=1e-14)


def test_an_arm_is_predicted_by_its_own_trees_and_few_rows_by_their_mean() -> None:
    frame, rng = covariates(140, 8), np.random.default_rng(0)
    a = (np.arange(140) < 40).astype(np.int8)
    y = outcome(frame, "continuous", 9)
    weights = np.random.default_rng(1).exponential(size=140)
    model = build(Params(iterations=2)).fit_outcome(frame, a, y, "continuous", rng, weights)
    assert model.arms[1].forest is not None  # 40 rows are two leaves of 20
    few = build(Params(iterations=2)).fit_outcome(frame.iloc[1:], a[1:], y[1:], "continuous", rng, weights[1:])
    assert few.arms[1].forest is None
    expected = np.average(y[1:40], weights=weights[1:40])
    np.testing.assert_allclose(few.predict(frame, np.ones(140, dtype=np.int8)), expected, rtol=1e-12)
    zeros, ones = np.zeros(140, dtype=np.int8), np.ones(140, dtype=np.int8)
    mixed = np.where(a == 1, model.predict(frame, ones), model.predict(frame, zeros))
    np.testing.assert_array_equal(model.predict(frame, a), mixed)
    for arm in (0, 1):
        own = frame.loc[a == arm]
        columns = fit_columns(own)
        forest = fit_forest(
            columns.matrix(own), columns.categorical, y[a == arm], "continuous", Rules(2, 0.08, 8, 20, 1.0), weights[a == arm]
        )
        np.testing.assert_array_equal(model.predict(frame, np.full(140, arm, dtype=np.int8)), forest.total(columns.matrix(frame)))
    with pytest.raises(EstimationError, match="smallest arm of the training rows must be at least 2 rows; got 1"):
        build(Params()).fit_propensity(frame, (np.arange(140) == 0).astype(np.int8), rng)
    with pytest.raises(EstimationError, match="got 0"):
        build(Params()).fit_outcome(frame, zeros, y, "continuous", rng)


def test_every_ensemble_spends_one_number_of_the_generator() -> None:
    frame, rng, same = covariates(100, 10), np.random.default_rng(5), np.random.default_rng(5)
    a = np.resize([0, 1], 100).astype(np.int8)
    build(Params(iterations=1)).fit_propensity(frame, a, rng)
    build(Params(iterations=1)).fit_outcome(frame, a, a.astype(float), "binary", rng)
    same.integers(2**31 - 1, size=3)
    assert rng.random() == same.random()


def test_columns_and_levels_that_trees_can_use() -> None:
    frame = pd.DataFrame(
        {
            "constant": [1.0] * 6,
            "gaps": [np.nan] * 6,
            "half": [1.0, np.nan] * 3,
            "level": pd.Categorical(["a"] * 6, categories=["a", "b"]),
            "gapped": pd.Categorical(["a", None] * 3, categories=["a", "b"]),
            "levels": pd.Categorical(["c", "a", "c", "b", None, "c"], categories=["d", "c", "b", "a"]),
        }
    )
    columns = fit_columns(frame)
    assert columns == TreeColumns(("half", "gapped", "levels"), (None, ("a",), ("a", "b", "c")))
    assert columns.categorical.tolist() == [False, False, True]
    np.testing.assert_array_equal(columns.matrix(frame)[:, 2], [2, 0, 2, 1, np.nan, 2])
    np.testing.assert_array_equal(columns.matrix(frame)[:, 1], [0, np.nan] * 3)
    fresh = frame.assign(levels=pd.Categorical(["x", "c", None, "a", "b", "d"], categories=["x", "a", "b", "c", "d"]))
    np.testing.assert_array_equal(columns.matrix(fresh)[:, 2], [np.nan, 2, np.nan, 0, 1, np.nan])
    # the 250 most frequent levels; of equally frequent ones the first by name
    names = [f"{at:03}" for at in range(252)]
    wide = pd.DataFrame({"w": pd.Categorical([*names, "251", "250"], categories=names[::-1])})
    assert fit_columns(wide).levels[0] == (*names[:248], "250", "251")


def test_a_tree_with_more_leaves_than_a_word_has_bits_and_trees_beyond_eight_words() -> None:
    x = np.random.default_rng(5).permutation(90.0 * np.ones(90) - np.arange(90))[:, None]
    y, columns = np.random.default_rng(6).normal(size=90), TreeColumns(("u",), (None,))
    rules = Rules(8, 0.3, 70, 1, 0.0)  # nine bytes of leaves each: seven trees to eight words
    forest, model = fit_forest(x, columns.categorical, y, "continuous", rules), theirs(x, y, columns, "continuous", rules)
    np.testing.assert_allclose(forest.total(x), model.predict(x), rtol=1e-12)
    np.testing.assert_array_equal(forest.total(x[10:20]), forest.total(x)[10:20])
    assert len(forest.total(x[:0])) == 0
