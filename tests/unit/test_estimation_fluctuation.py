import math
import pickle

import numpy as np
import pytest

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.nuisance import Nuisances
from tasks.targeting.fluctuation import Fluctuation, fluctuate, truncate, truncation_bound


def world(kind: str, n: int = 400, seed: int = 0):
    rng = np.random.default_rng(seed)
    w = rng.normal(size=n)
    g = 1 / (1 + np.exp(-2 * w))
    a = (rng.random(n) < g).astype(np.int8)
    q0, q1 = 1 / (1 + np.exp(-w)), 1 / (1 + np.exp(-w - 0.7))
    mean = np.where(a == 1, q1, q0)
    if kind == "binary":
        y = (rng.random(n) < mean).astype(float)
    elif kind == "count":
        y, q0, q1 = rng.poisson(3 * mean).astype(float), 3 * q0, 3 * q1
    else:
        y = 10 * mean + rng.normal(size=n)
        q0, q1 = 10 * q0 - 1, 10 * q1 + 2  # biased on purpose: there is something to target
    return a, y, Nuisances(g, q0, q1)


def scores(a, y, nuisances, fluctuation):
    star0, star1 = fluctuation.apply(nuisances)
    p0, p1 = truncate(nuisances.g, fluctuation.truncation)
    width = fluctuation.high - fluctuation.low
    return np.mean((1 - a) / p0 * (y - star0)) / width, np.mean(a / p1 * (y - star1)) / width


@pytest.mark.parametrize("kind", ["binary", "continuous", "count"])
@pytest.mark.parametrize("truncation", [0.0, 1e-6, 0.05])
def test_the_score_of_each_arm_is_zero(kind, truncation):
    a, y, nuisances = world(kind)
    fluctuation = fluctuate(a, y, nuisances, kind, truncation)
    assert np.max(np.abs(scores(a, y, nuisances, fluctuation))) < 1e-10
    star0, star1 = fluctuation.apply(nuisances)
    assert min(star0.min(), star1.min()) >= fluctuation.low
    assert max(star0.max(), star1.max()) <= fluctuation.high


def test_the_score_is_zero_under_weights():
    a, y, nuisances = world("continuous")
    w = np.random.default_rng(1).exponential(size=len(y))
    fluctuation = fluctuate(a, y, nuisances, "continuous", 0.05, w)
    star0, star1 = fluctuation.apply(nuisances)
    p0, p1 = truncate(nuisances.g, 0.05)
    assert abs(np.sum(w * a / p1 * (y - star1))) < 1e-8 * len(y)
    assert abs(np.sum(w * (1 - a) / p0 * (y - star0))) < 1e-8 * len(y)
    assert fluctuate(a, y, nuisances, "continuous", 0.05, 7.0 * w).epsilons[1] == pytest.approx(fluctuation.epsilons[1], rel=1e-9)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_arm_whose_outcomes_are_all_the_same_stays_finite(value):
    a, y, nuisances = world("binary")
    y = np.where(a == 1, value, y)
    fluctuation = fluctuate(a, y, nuisances, "binary", 0.02)
    assert math.isfinite(fluctuation.epsilons[1][0])
    assert fluctuation.apply(nuisances)[1] == pytest.approx(np.full(len(y), value), abs=1e-6)


def test_predictions_on_the_bounds_and_beyond_are_clipped():
    a, y, nuisances = world("binary")
    hard = nuisances._replace(q0=np.where(nuisances.q0 > 0.5, 1.0, 0.0), q1=nuisances.q1 + 0.5)
    fluctuation = fluctuate(a, y, hard, "binary", 0.02)
    assert all(np.isfinite(star).all() for star in fluctuation.apply(hard))
    assert np.max(np.abs(scores(a, y, hard, fluctuation))) < 1e-8


def test_one_wild_prediction_does_not_stretch_the_range():
    a, y, nuisances = world("continuous")
    wild = nuisances.q1.copy()
    wild[0] = 1e12
    fluctuation = fluctuate(a, y, nuisances._replace(q1=wild), "continuous", 0.02)
    assert fluctuation.high < y.max() + 1.1 * np.ptp(y)


def test_a_constant_outcome_predicted_exactly_needs_no_fluctuation():
    a, _, nuisances = world("continuous")
    y = np.full(len(a), 3.0)
    fluctuation = fluctuate(a, y, Nuisances(nuisances.g, y, y), "continuous", 0.02)
    assert fluctuation.apply(Nuisances(nuisances.g, y, y))[1] == pytest.approx(y, abs=1e-8)


def test_without_epsilon_nothing_moves():
    _, _, nuisances = world("continuous")
    same0, same1 = Fluctuation(((0.0,), (0.0,)), -20.0, 20.0, 0.01).apply(nuisances)
    assert same0 == pytest.approx(nuisances.q0)
    assert same1 == pytest.approx(nuisances.q1)


def test_an_empty_arm_is_refused():
    a, y, nuisances = world("binary")
    with pytest.raises(EstimationError, match="arm 1 must be at least 1"):
        fluctuate(np.zeros_like(a), y, nuisances, "binary", 0.02)
    with pytest.raises(EstimationError):
        fluctuate(a, y, nuisances, "binary", 0.02, np.where(a == 1, 0.0, 1.0))


def test_a_fluctuation_survives_pickling():
    fluctuation = Fluctuation(((0.1,), (-0.2,)), 0.0, 1.0, 0.01)
    assert pickle.loads(pickle.dumps(fluctuation)) == fluctuation


def test_truncation_bound_follows_its_formula():
    assert truncation_bound(1000, "auto") == pytest.approx(5 / (math.sqrt(1000) * math.log(1000)))
    assert truncation_bound(1, "auto") == truncation_bound(30, "auto") == 0.25
    assert truncation_bound(10**14, "auto") == 1e-6
    assert truncation_bound(10, 0.1) == 0.1


@pytest.mark.parametrize("rule", [0.5, -0.1, math.nan, "some"])
def test_a_truncation_that_is_none_is_refused(rule):
    with pytest.raises(SpecError, match="truncation of the propensity"):
        truncation_bound(100, rule)


def test_truncated_complements_are_exact():
    g = np.random.default_rng(0).random(10_000)
    p0, p1 = truncate(g, 0.013)
    swapped0, swapped1 = truncate(1.0 - g, 0.013)
    assert np.array_equal(p0, swapped1)
    assert np.array_equal(p1, swapped0)
    assert p1.min() >= 0.013 - 1e-15
    assert np.max(np.abs(p1 - np.clip(g, 0.013, 1 - 0.013))) < 2e-16
