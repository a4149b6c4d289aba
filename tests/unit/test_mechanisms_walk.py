"""Boosted trees against scikit-learn's, grown and walked; and the weights of a stack against their conditions."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from tasks.nuisance.forest import Rules, fit_forest
from tasks.nuisance.methods.boosted import BoostedLearner, Params, build
from tasks.nuisance.simplex import convex_weights
from tasks.nuisance.trees import TreeColumns, fit_columns
from tasks.nuisance.walk import Forest

LOSS = {"binary": "log_loss", "continuous": "squared_error", "count": "poisson"}
LEVELS = [f"level {at:02}" for at in range(40)]


def covariates(rows: int, seed: int, missing: bool = True) -> pd.DataFrame:
    """Numbers smooth, rounded, and of two values; categories of many, two, and one level; gaps."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "w0": rng.normal(size=rows),
            "w1": pd.Categorical.from_codes(np.minimum(rng.geometric(0.1, rows) - 1, 39), categories=LEVELS),
            "w2": np.round(rng.exponential(3.0, rows)),
            "w3": pd.Categorical.from_codes(rng.integers(0, 2, rows), categories=["false", "true"]),
            "w4": rng.integers(0, 2, rows).astype(float),
            "w5": pd.Categorical.from_codes(np.zeros(rows, dtype=np.int8), categories=["only"]),
        }
    )
    if missing:
        for name in ("w0", "w1", "w4", "w5"):
            frame.loc[rng.random(rows) < 0.15, name] = np.nan
    return frame


def targets(frame: pd.DataFrame, kind: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    codes = frame["w1"].cat.codes.to_numpy()
    eta = np.nan_to_num(frame["w0"].to_numpy(), nan=-0.7) + 0.8 * (codes % 3 == 1) - 0.1 * frame["w2"].to_numpy()
    eta += 0.5 * frame["w5"].isna().to_numpy() + 0.4 * (frame["w3"] == "true").to_numpy()
    if kind == "binary":
        return (rng.random(len(eta)) < 1.0 / (1.0 + np.exp(-eta))).astype(np.float64)
    return rng.poisson(np.exp(0.5 * eta)).astype(np.float64) if kind == "count" else eta + rng.normal(size=len(eta))


def grown(
    x: np.ndarray, y: np.ndarray, columns: TreeColumns, kind: str, weights: np.ndarray | None = None, **options: object
) -> HistGradientBoostingClassifier | HistGradientBoostingRegressor:
    model = HistGradientBoostingClassifier if kind == "binary" else HistGradientBoostingRegressor
    own = columns.categorical if columns.categorical.any() else None
    settings = {"max_iter": 40, "max_leaf_nodes": 8, "min_samples_leaf": 20, "learning_rate": 0.2, **options}
    return model(loss=LOSS[kind], categorical_features=own, early_stopping=False, random_state=3, **settings).fit(
        x, y, sample_weight=weights
    )


def ours(
    x: np.ndarray, y: np.ndarray, columns: TreeColumns, kind: str, weights: np.ndarray | None = None, leaves: int = 8, fewest: int = 20
) -> Forest:
    return fit_forest(x, columns.categorical, y, kind, Rules(40, 0.2, leaves, fewest, 0.0), weights)


def told(model: HistGradientBoostingClassifier | HistGradientBoostingRegressor, x: np.ndarray, kind: str) -> np.ndarray:
    return np.asarray(model.predict_proba(x)[:, 1] if kind == "binary" else model.predict(x))


def linked(forest: Forest, x: np.ndarray, kind: str) -> np.ndarray:
    total = forest.total(x)
    return 1.0 / (1.0 + np.exp(-total)) if kind == "binary" else np.exp(total) if kind == "count" else total


@pytest.mark.parametrize("kind", ["binary", "continuous", "count"])
@pytest.mark.parametrize("missing", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_sums_are_those_of_scikit_learn(kind: str, missing: bool, weighted: bool) -> None:
    train, other = covariates(900, 1, missing), covariates(2_000, 2)
    columns = fit_columns(train)
    weights = np.random.default_rng(4).exponential(size=900) if weighted else None
    target = targets(train, kind, 3)
    model = grown(columns.matrix(train), target, columns, kind, weights)
    forest = ours(columns.matrix(train), target, columns, kind, weights)
    for frame in (train, other):
        x = columns.matrix(frame)
        np.testing.assert_allclose(linked(forest, x, kind), told(model, x, kind), rtol=1e-12)
    assert np.ptp(forest.total(columns.matrix(other))) > 0.5


@pytest.mark.parametrize(("leaves", "fewest"), [(2, 20), (40, 20), (255, 1)])
def test_sums_are_those_of_scikit_learn_for_any_size_of_tree(leaves: int, fewest: int) -> None:
    train, other = covariates(3_000, 5), covariates(1_000, 6)
    columns = fit_columns(train)
    x, target = columns.matrix(train), targets(train, "continuous", 7)
    model = grown(x, target, columns, "continuous", max_leaf_nodes=leaves, min_samples_leaf=fewest)
    forest = ours(x, target, columns, "continuous", None, leaves, fewest)
    x = columns.matrix(other)
    np.testing.assert_allclose(forest.total(x), model.predict(x), rtol=1e-12, atol=1e-12)


def test_of_equal_gains_the_same_column_and_bin_win_as_in_scikit_learn() -> None:
    rng = np.random.default_rng(20)
    base = rng.integers(0, 6, 600).astype(float)
    # columns that part the rows alike, bins without rows in most leaves, categories of equal means, rows of no weight
    x = np.column_stack((base, 5.0 - base, base % 3, base, np.where(base > 4, np.nan, base), base**2))
    columns = TreeColumns(tuple(f"w{at}" for at in range(6)), (None, tuple("abcdef"), tuple("abc"), None, None, None))
    y = (rng.random(600) < np.where(base > 2, 0.7, 0.3)).astype(np.float64)
    weights = rng.integers(0, 3, 600).astype(float)
    every = (
        np.array(np.meshgrid(np.arange(6.0), np.arange(6.0), np.arange(3.0), [1.0, 4.0, np.nan], [2.0, np.nan], [0.5, 10.0]))
        .reshape(6, -1)
        .T
    )
    for own in (None, weights):
        model = grown(x, y, columns, "binary", own)
        np.testing.assert_allclose(linked(ours(x, y, columns, "binary", own), every, "binary"), told(model, every, "binary"), rtol=1e-12)


def test_trees_without_a_split_and_cells_at_and_beyond_every_edge() -> None:
    rng = np.random.default_rng(8)
    x = rng.normal(size=(400, 3))
    numbers = TreeColumns(("w0", "w1", "w2"), (None, None, None))
    y = rng.normal(size=400)
    np.testing.assert_allclose(ours(x, y, numbers, "continuous", None, 8, 250).total(x), y.mean(), rtol=1e-12)
    forest, model = ours(x, x[:, 0] * x[:, 1], numbers, "continuous"), grown(x, x[:, 0] * x[:, 1], numbers, "continuous")
    assert len(forest.edges) > 20
    edges = np.column_stack([np.resize(forest.edges[forest.starts[at] : forest.starts[at + 1]], 300) for at in range(3)])
    beyond = np.array([[np.inf] * 3, [-np.inf] * 3, [np.nan] * 3, [1e308, -1e308, np.nan]])
    for cells in (edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf), beyond):
        np.testing.assert_allclose(forest.total(cells), model.predict(cells), rtol=1e-12)


@pytest.mark.parametrize("kind", ["binary", "continuous", "count"])
def test_a_learner_predicts_what_scikit_learn_predicts(kind: str) -> None:
    train, other = covariates(700, 9), covariates(700, 10)
    other["w1"] = other["w1"].cat.set_categories(["never seen", *reversed(LEVELS)])
    other.loc[:40, "w1"] = "never seen"
    y = targets(train, kind, 11)
    treatment = (np.random.default_rng(12).random(700) < 0.5).astype(np.int8)
    found = build(Params()).fit_outcome(train, treatment, y, kind, np.random.default_rng(13))
    for arm in (0, 1):
        own = train.loc[treatment == arm]
        columns = fit_columns(own)
        options = {"max_iter": 50, "learning_rate": 0.08, "l2_regularization": 1.0}
        model = grown(columns.matrix(own), y[treatment == arm], columns, kind, **options)
        for frame in (train, other):
            predicted = found.predict(frame, np.full(700, arm, dtype=np.int8))
            np.testing.assert_allclose(predicted, told(model, columns.matrix(frame), kind), rtol=1e-12)


def test_a_level_beside_gaps_only_is_told_from_them() -> None:
    rng = np.random.default_rng(14)
    seen = rng.random(400) < 0.5
    frame = pd.DataFrame({"w0": pd.Categorical(np.where(seen, "yes", None), categories=["yes"]), "w1": rng.normal(size=400)})
    model = build(Params()).fit_propensity(frame, (rng.random(400) < np.where(seen, 0.9, 0.1)).astype(np.int8), rng)
    predicted = model.predict(frame)
    assert predicted[seen].mean() > 0.8
    assert predicted[~seen].mean() < 0.2


def _fitted(rows: int = 1_200) -> tuple[BoostedLearner, pd.DataFrame, Forest, TreeColumns]:
    train = covariates(rows, 15)
    learner = build(Params())
    model = learner.fit_propensity(train, targets(train, "binary", 16).astype(np.int8), np.random.default_rng(17))
    assert model.forest is not None
    return learner, train, model.forest, model.columns


def test_sums_do_not_depend_on_the_block_a_row_is_in() -> None:
    _, train, forest, columns = _fitted()
    x = columns.matrix(train)
    whole = forest.total(x)
    order = np.random.default_rng(18).permutation(len(x))
    np.testing.assert_array_equal(forest.total(x[order]), whole[order])
    np.testing.assert_array_equal(np.concatenate([forest.total(x[at : at + 7]) for at in range(0, len(x), 7)]), whole)
    np.testing.assert_array_equal(forest.total(np.asfortranarray(x)), whole)
    assert len(forest.total(x[:0])) == 0


def test_a_fitted_model_pickles_small_and_predicts_the_same() -> None:
    learner, train, _, columns = _fitted()
    target = targets(train, "binary", 16)
    model = learner.fit_propensity(train, target.astype(np.int8), np.random.default_rng(17))
    held = pickle.dumps(model)
    np.testing.assert_array_equal(pickle.loads(held).predict(train), model.predict(train))
    assert len(held) < len(pickle.dumps(grown(columns.matrix(train), target, columns, "binary", max_iter=50)))


@pytest.mark.parametrize("weighted", [True, False])
def test_weights_of_a_stack_have_the_smallest_log_loss(weighted: bool) -> None:
    rng = np.random.default_rng(19)
    truth = rng.normal(size=600)
    y = (rng.random(600) < 1 / (1 + np.exp(-truth))).astype(np.float64)
    predictions = 1 / (1 + np.exp(-np.column_stack((truth + rng.normal(size=600), 0.5 * truth - 0.3, rng.normal(size=600)))))
    w = rng.exponential(size=600) if weighted else None
    own = np.ones(600) if w is None else w

    def loss(share: np.ndarray) -> float:
        p = predictions @ share
        return -float(np.average(y * np.log(p) + (1 - y) * np.log1p(-p), weights=own))

    share = convex_weights(predictions, y, "binary", w)
    assert share.min() >= 0.0
    assert share.sum() == pytest.approx(1.0, abs=1e-12)
    # the conditions of a minimum on the simplex: equal gains where there is weight, none larger elsewhere
    likelihood = np.where(y[:, None] > 0.5, predictions, 1 - predictions)
    gains = (own / own.sum() / (likelihood @ share)) @ likelihood
    assert gains.max() < 1 + 1e-9
    np.testing.assert_allclose(gains[share > 0], 1.0, atol=1e-6)
    for move in rng.dirichlet(np.ones(3), 200):
        assert loss(share) <= loss(0.99 * share + 0.01 * move) + 1e-12


def test_weights_of_a_stack_at_the_corners() -> None:
    y = np.tile([0.0, 1.0], 50)
    good, bad = np.where(y > 0.5, 0.9, 0.1), np.where(y > 0.5, 0.2, 0.8)
    np.testing.assert_allclose(convex_weights(np.column_stack((bad, good)), y, "binary"), [0.0, 1.0], atol=1e-9)
    np.testing.assert_allclose(convex_weights(np.column_stack((good, good)), y, "binary"), [0.5, 0.5], atol=1e-9)
    np.testing.assert_allclose(convex_weights(good[:, None], y, "binary"), [1.0])
