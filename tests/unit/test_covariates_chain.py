"""The chain: compiled trees, boosting judged by strangers, shapes of residuals, and what is drawn in the end."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.registry import resolve
from tasks.covariates.chain.boost import Boosting, boost
from tasks.covariates.chain.kernels import add_trees, find_leaves, grow
from tasks.covariates.chain.lift import fit_lift
from tasks.covariates.chain.losses import ClassLoss, SizeLoss, SquaredLoss, chances
from tasks.covariates.chain.shapes import fit_shapes, normal_shapes
from tasks.covariates.coded_cells import encode
from tasks.covariates.predictors import Tilt
from tests.contract.test_synthesizers import describe, mixed, sample
from tests.unit.test_covariates_quality import memory, numbers, separation, world

PLAN = Boosting(rounds=60, rate=0.2, depth=3, least=20, tree_rows=5000, patience=10)


def coded(n: int, p: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 32, (p, n)).astype(np.uint8)


def gains(codes: np.ndarray, gradient: np.ndarray, rows: np.ndarray, least: int) -> Iterator[tuple[float, int, int]]:
    """Every allowed split of some rows and what it gains, with a penalty of 1, written out plainly."""
    base = (gradient[rows].sum(axis=0) ** 2).sum() / (len(rows) + 1.0)
    for j in range(len(codes)):
        for cut in range(int(codes.max())):
            left = rows[codes[j, rows] <= cut]
            right = rows[codes[j, rows] > cut]
            if min(len(left), len(right)) >= least:
                sums = [(gradient[side].sum(axis=0) ** 2).sum() / (len(side) + 1.0) for side in (left, right)]
                yield sum(sums) - base, j, cut


def test_codes_count_the_edges_below() -> None:
    design = np.array([[-1.0, 5.0], [0.5, 5.0], [0.6, 7.0]])
    edges = np.array([[0.0, 0.5, 2.0], [6.0, np.inf, np.inf]])
    codes = np.empty((2, 3), dtype=np.uint8)
    encode(design, edges, codes)
    assert codes.tolist() == [[0, 1, 2], [0, 0, 1]]


@pytest.mark.parametrize("outputs", [1, 3])
def test_each_split_is_the_best_of_its_node(outputs: int) -> None:
    codes, rng = coded(400, 4, 0), np.random.default_rng(1)
    gradient = rng.standard_normal((400, outputs)) + (codes[2] > 11)[:, None] + (codes[0] > 20)[:, None] * (codes[2] > 11)[:, None]
    feature, cut, node = grow(codes, np.arange(400), gradient, np.ones(4, dtype=np.bool_), 32, 3, 20, 1.0, 1e-12)
    reached = {0: np.arange(400)}
    split = 0
    for at in range(7):  # the inner nodes of three levels: siblings by subtraction are among them
        if at not in reached or feature[at] < 0:
            continue
        best = max(gains(codes, gradient, reached[at], 20))
        found = next(gain for gain, j, c in gains(codes, gradient, reached[at], 20) if (j, c) == (feature[at], cut[at]))
        assert found == pytest.approx(best[0], rel=1e-9)
        goes_left = codes[feature[at], reached[at]] <= cut[at]
        reached[2 * at + 1], reached[2 * at + 2] = reached[at][goes_left], reached[at][~goes_left]
        split += 1
    assert split >= 4
    assert (feature[0], cut[0]) == (2, 11)
    leaf = np.empty(400, dtype=np.int64)
    find_leaves(feature[None], cut[None], np.zeros(400, dtype=np.int64), codes, leaf)
    np.testing.assert_array_equal(leaf, node)
    assert np.bincount(node)[np.unique(node)].min() >= 20


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_tree_adds_the_values_of_its_leaves(outputs: int) -> None:
    codes = coded(3000, 3, 2)
    feature, cut, node = grow(codes, np.arange(3000), np.sin(codes[0] / 5.0)[:, None], np.ones(3, dtype=np.bool_), 32, 4, 50, 1.0, 1e-12)
    value = np.random.default_rng(3).standard_normal((1, len(feature), outputs)).astype(np.float32)
    out = np.ones((3000, outputs))
    add_trees(feature[None], cut[None], value, codes, out)
    np.testing.assert_allclose(out, 1 + value[0, node])


def test_hardly_a_tree_is_kept_for_noise() -> None:
    kept = []
    for seed in range(12):
        codes, rng = coded(1000, 6, seed), np.random.default_rng(seed)
        learn, held = [np.arange(800)], [np.arange(800, 1000)]
        kept.append(len(boost([codes], [SquaredLoss(rng.standard_normal(1000))], learn, held, PLAN, rng)[0].feature))
    assert np.median(kept) <= 1
    assert np.mean(kept) < 4


def test_means_sizes_and_chances_are_learnt() -> None:
    codes, rng = coded(6000, 3, 4), np.random.default_rng(5)
    learn, held = [np.arange(5000)], [np.arange(5000, 6000)]
    mean = np.sin(codes[0] / 4.0) * (codes[1] > 15)
    trees = boost([codes], [SquaredLoss(mean + 0.5 * rng.standard_normal(6000))], learn, held, PLAN, rng)[0]
    assert np.corrcoef(trees.predict(codes)[5000:, 0], mean[5000:])[0, 1] > 0.97
    size = np.where(codes[2] > 15, 2.0, 0.5)
    trees = boost([codes], [SizeLoss(size * rng.exponential(size=6000))], learn, held, PLAN, rng)[0]
    found = np.exp(trees.predict(codes)[5000:, 0])
    assert abs(found[codes[2, 5000:] > 15].mean() - 2.0) < 0.15
    assert abs(found[codes[2, 5000:] <= 15].mean() - 0.5) < 0.05
    for classes in (2, 4):
        chance = np.eye(classes)[(codes[0] // 8) % classes] * 0.7 + 0.3 / classes
        drawn = (chance.cumsum(axis=1) < rng.random((6000, 1))).sum(axis=1)
        trees = boost([codes], [ClassLoss(drawn, classes)], learn, held, PLAN, rng)[0]
        assert np.abs(chances(trees.predict(codes)[5000:]) - chance[5000:]).mean() < 0.06


def test_chances_start_from_what_is_linear_where_that_helps_strangers() -> None:
    rng = np.random.default_rng(9)
    n, learn, held = 1200, [np.arange(1000)], [np.arange(1000, 1200)]
    for states in (2, 3):
        tied = rng.random((n, states))
        tied *= states / tied.sum(axis=1, keepdims=True)
        drawn = (tied.cumsum(axis=1) / states < rng.random((n, 1))).sum(axis=1)
        tilt = Tilt(np.arange(states), np.full(states, 1 / states))
        loss = ClassLoss(drawn, states)
        lift = fit_lift(np.arange(states), tilt, loss, [tied.astype(np.float32)], learn, held)
        assert lift.strength >= 0.75
        start = lift._replace(strength=1.0).start(tied.astype(np.float32))
        # logits of equal shares: the start alone gives the chances
        kept = np.clip(tied, 0.1, 10)
        np.testing.assert_allclose(chances(start.astype(float)), kept / kept.sum(axis=1)[:, None], atol=1e-5)
        noise = tied[rng.permutation(n)].astype(np.float32)
        assert fit_lift(np.arange(states), tilt, loss, [noise], learn, held).strength <= 0.25


def test_shapes_split_where_the_law_differs_and_nowhere_else() -> None:
    codes, rng = coded(8000, 4, 6), np.random.default_rng(7)
    noise = rng.standard_normal(8000)
    assert (fit_shapes(codes, noise, 6, 6, 20.0, rng).feature == -1).mean() > 0.99
    two_humps = np.where(codes[1] > 15, noise, np.sign(noise) * 1.0 + 0.1 * noise)
    shapes = fit_shapes(codes, two_humps, 6, 6, 20.0, rng)
    assert set(shapes.feature[:, 0]) == {1}
    drawn = shapes.draw(codes, rng)
    for side in (codes[1] > 15, codes[1] <= 15):
        levels = np.linspace(0.02, 0.98, 25)
        # at the jump between the humps a quantile may be anything between them
        gap = np.abs(np.quantile(drawn[side], levels) - np.quantile(two_humps[side], levels))
        assert np.sort(gap)[:-1].max() < 0.2
    assert not np.isin(drawn, two_humps).any()


def test_the_normal_law_is_normal() -> None:
    drawn = normal_shapes(0).draw(np.zeros((1, 40_000), dtype=np.uint8), np.random.default_rng(8))
    assert abs(drawn.mean()) < 0.03
    assert abs(drawn.std() - 1) < 0.03
    assert abs((np.abs(drawn) < 0.5).mean() - 0.383) < 0.015


def test_the_chain_sees_what_a_correlation_does_not() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(3000)
    table = pd.DataFrame({"w0": x, "w1": x**2 + 0.3 * rng.standard_normal(3000), "w2": np.abs(x) * rng.standard_normal(3000)})
    table["w3"] = np.sign(rng.standard_normal(3000)) * (1 + np.abs(x)) + 0.2 * rng.standard_normal(3000)
    drawn = sample("chain", table, 10_000)
    assert np.corrcoef(drawn["w0"] ** 2, drawn["w1"])[0, 1] > 0.85
    assert np.corrcoef(np.abs(drawn["w0"]), np.abs(drawn["w2"]))[0, 1] > 0.45
    # two humps that move apart: between them hardly anything
    far = drawn[np.abs(drawn["w0"]) > 1]
    assert (np.abs(far["w3"]) < 1).mean() < 0.06
    assert abs((far["w3"] > 0).mean() - 0.5) < 0.05


@pytest.mark.slow
def test_a_classifier_hardly_tells_release_and_truth_apart() -> None:
    truth = world(10_000, 100)
    assert np.mean([separation(truth, sample("chain", world(1000, seed), 10_000, seed)) for seed in range(1, 2)]) < 0.565


@pytest.mark.slow
def test_nearest_records_do_not_point_at_the_seed() -> None:
    found = []
    for seed in range(2):
        table, hold = world(700, seed), world(300, 1000 + seed)
        found.append(memory(table, hold, sample("chain", table, 10_000, seed)))
    assert np.mean(found) < 1.5


def test_no_record_and_no_extreme_of_the_seed_comes_back() -> None:
    table = world(700, 3)
    drawn = sample("chain", table, 20_000)
    assert not set(map(tuple, numbers(table))) & set(map(tuple, numbers(drawn)))
    for column in describe(table)[3:]:
        inside = drawn[column.id]
        assert table[column.id].min() < inside.min()
        assert inside.max() < table[column.id].max()
        assert (inside == column.low).mean() + (inside == column.high).mean() < 0.005
        assert not np.isin(table[column.id], inside).any()


def test_a_model_holds_no_row() -> None:
    table = mixed(1000)
    canary = 3.1415926535897
    table.loc[17, "w3"] = canary
    stored = pickle.dumps(resolve("synthesizer", "chain").fit(table, describe(table), np.random.default_rng(1)))
    assert np.float64(canary).tobytes() not in stored
    assert np.float32(canary).tobytes() not in stored
    assert not any(np.float64(value).tobytes() in stored for value in table["w3"].dropna().to_numpy()[:50])


def test_columns_are_drawn_as_given_where_asked() -> None:
    table = mixed(300)[["w3", "w1", "w0"]]
    fits = [
        resolve("synthesizer", "chain", {"order": order}).fit(table, describe(table), np.random.default_rng(1))
        for order in ("auto", "given")
    ]
    assert [step.margin.id for step in fits[0].steps] == ["w0", "w3", "w1"]
    assert [step.margin.id for step in fits[1].steps] == ["w3", "w1", "w0"]
    for fit in fits:
        assert list(fit.sample(50, np.random.default_rng(2)).columns) == ["w3", "w1", "w0"]


def test_many_levels_keep_their_shares_and_their_company() -> None:
    rng = np.random.default_rng(11)
    code = rng.integers(0, 90, 6000)
    table = pd.DataFrame({"w0": pd.Categorical.from_codes(code, categories=[f"{k:02d}" for k in range(90)])})
    table["w1"] = np.where(code < 45, 1.0, -1.0) + rng.standard_normal(6000)
    drawn = sample("chain", table, 6000)
    low = drawn["w0"].cat.codes < 45
    assert abs(drawn["w1"][low].mean() - drawn["w1"][~low].mean() - 2.0) < 0.25
    assert drawn["w0"].value_counts().min() >= 20


def test_too_few_rows_and_wrong_parameters_are_refused() -> None:
    with pytest.raises(EstimationError, match="synthesizer 'chain' must be at least 20; got 19"):
        sample("chain", mixed(19), 10)
    with pytest.raises(SpecError, match="depth"):
        resolve("synthesizer", "chain", {"depth": 9})
