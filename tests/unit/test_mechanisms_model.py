"""Cross-fitting, targeting, the assembled mechanisms and their draws."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Nuisances
from tasks.contract.registry import resolve
from tasks.mechanisms.draw import design_probability, draw_outcome, draw_treatment
from tasks.mechanisms.laws.choice import fit_law
from tasks.mechanisms.laws.counts import CountLaw
from tasks.mechanisms.laws.methods.binary import BinaryLaw
from tasks.mechanisms.model import Mechanisms, assemble, effect_of
from tasks.mechanisms.targeting import Targeting, target
from tasks.mechanisms.targets import Targets
from tasks.nuisance.crossfit import CrossFit, InMemory, Rows, cross_fit
from tasks.nuisance.fold_model import FoldModel, averaged, fit_fold
from tasks.nuisance.folds import training_rows
from tasks.nuisance.plan import Plan
from tasks.targeting.fluctuation import truncation_bound


def base_world(n: int, seed: int, continuous: bool = False) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """The base world of the benchmarks with moderate overlap; its continuous sister has noise that grows with w4 and A."""
    rng = np.random.default_rng(seed)
    w1, w2 = (rng.random(n) < 0.5).astype(float), (rng.random(n) < 0.5).astype(float)
    w3 = (rng.random(n) < 0.3 + 0.35 * (w1 + w2) / 2).astype(float)
    w4, w5 = rng.normal(size=n), rng.normal(size=n)
    w6 = w4 / 2 + w5 / 2 + rng.normal(size=n)
    tau = 2 + 0.5 * np.sin(w1) + 0.3 * np.log(w2 + 1) - 0.2 * w3**2 + 0.1 * np.exp(w4) - 0.3 * np.tanh(w5) + 0.2 * np.cos(w6)
    g = 1 / (1 + np.exp(0.4 - 0.7 * w1 + 0.7 * w2 - 0.5 * w3 - 0.4 * w4 + 0.4 * w5 - 0.5 * w6))
    a = (rng.random(n) < g).astype(np.int8)
    eta = -0.5 + tau * a + 0.5 * w1 + w2 - w3 + 0.2 * w4 - 0.3 * w5 + 0.1 * w6
    y = 10 + 3 * eta + np.exp(0.3 + 0.5 * w5 + 0.4 * a) * rng.normal(size=n) if continuous else rng.random(n) < 1 / (1 + np.exp(-eta))
    return pd.DataFrame({"w0": w1, "w1": w2, "w2": w3, "w3": w4, "w4": w5, "w5": w6}), a, np.asarray(y, dtype=float), tau


def keys_of(n: int) -> np.ndarray:
    return np.random.default_rng(1).permutation(n).astype(np.uint64)


def fold_by_fold(
    frame: pd.DataFrame, a: np.ndarray, y: np.ndarray, kind: str, seed: int, learner: str = "glm", weights: np.ndarray | None = None
) -> CrossFit:
    rows = Rows(keys_of(len(y)), a, y, kind, weights)
    return cross_fit(Plan("table", seed, 5), resolve("learner", learner), rows, InMemory(frame))


def fitted(
    n: int, seed: int, kind: str, learner: str = "glm", weights: np.ndarray | None = None
) -> tuple[Mechanisms, Targeting, pd.DataFrame, np.ndarray, np.ndarray, Nuisances]:
    frame, a, y, _ = base_world(n, seed, kind == "continuous")
    found, models, _ = fold_by_fold(frame, a, y, kind, seed, learner, weights)
    targeting = target(a, y, found, kind, truncation_bound(n, "auto"), weights)
    law = fit_law(a, y, targeting.q0, targeting.q1, frame, kind, np.random.default_rng(0), weights)
    return assemble(models, targeting, averaged(models, frame), law, kind, weights), targeting, frame, a, y, found


@pytest.mark.parametrize("kind", ["binary", "continuous"])
@pytest.mark.parametrize("learner", ["glm", "boosted"])
def test_source_effect_of_the_mechanisms_is_the_tmle(kind: str, learner: str) -> None:
    model, targeting, frame, _, _, _ = fitted(400, 3, kind, learner)
    told = model.predict(frame)
    assert told.q1.mean() == pytest.approx(targeting.q1.mean(), abs=1e-9)
    assert told.q0.mean() == pytest.approx(targeting.q0.mean(), abs=1e-9)
    assert model.truth(frame)[0] == pytest.approx(targeting.ate, abs=1e-8)
    # without the offsets it is not: averaging fold models moves the means
    bare = Mechanisms(model.models, model.fluctuation, ((0.0,), (0.0,)), model.law, kind, Targets())
    assert abs(bare.truth(frame)[0] - targeting.ate) > 1e-6


def test_weighted_source_effect_is_the_weighted_tmle() -> None:
    weights = np.random.default_rng(8).exponential(size=400)
    model, targeting, frame, _, _, _ = fitted(400, 3, "binary", weights=weights)
    told = model.predict(frame)
    assert np.average(told.q1 - told.q0, weights=weights) == pytest.approx(targeting.ate, abs=1e-8)


def test_targeting_solves_the_score() -> None:
    frame, a, y, _ = base_world(500, 1)
    found = fold_by_fold(frame, a, y, "binary", 0).nuisances
    bound = truncation_bound(500, "auto")
    full = target(a, y, found, "binary", bound)
    assert full.truncation.reason == "overlap suffices"
    g = np.clip(found.g, bound, 1 - bound)
    assert abs(np.mean(a * (y - full.q1) / g)) < 1e-8
    assert abs(np.mean((1 - a) * (y - full.q0) / (1 - g))) < 1e-8


def with_groups(n: int, seed: int, kind: str) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, Nuisances, tuple[FoldModel, ...]]:
    frame, a, y, _ = base_world(n, seed, kind == "continuous")
    frame["w6"] = pd.Categorical(np.where(frame["w0"] + frame["w1"] > 1, "both", np.where(frame["w0"] + frame["w1"] > 0, "one", "none")))
    frame.loc[:20, "w6"] = np.nan
    found, models, _ = fold_by_fold(frame, a, y, kind, seed)
    return frame, a, y, found, models


@pytest.mark.parametrize("kind", ["binary", "continuous"])
def test_subgroups_and_the_treated_carry_their_own_efficient_estimates(kind: str) -> None:
    n = 900
    frame, a, y, found, models = with_groups(n, 5, kind)
    targets = Targets((("w2", "0"), ("w2", "1"), ("w6", "both"), ("w6", "none"), ("w6", "one")), att=True)
    bound = truncation_bound(n, "auto")
    directions = targets.directions(targets.members(frame), found, bound)
    got = target(a, y, found, kind, bound, directions=directions)
    g = np.clip(found.g, bound, 1 - bound)
    # each estimand's efficient score is solved at Q*: its plug-in then equals its one-step estimate, which is the TMLE
    phi = got.q1 - got.q0 + np.where(a == 1, (y - got.q1) / g, -(y - got.q0) / (1 - g))
    members = targets.members(frame).astype(bool)
    for rows in [np.ones(n, dtype=bool), *members.T]:
        assert np.mean((got.q1 - got.q0)[rows]) == pytest.approx(np.mean(phi[rows]), abs=1e-7 * np.ptp(y))
    att = np.sum(a * (y - got.q0) - (1 - a) * g / (1 - g) * (y - got.q0)) / a.sum()
    assert np.mean((got.q1 - got.q0)[a == 1]) == pytest.approx(att, abs=1e-7 * np.ptp(y))
    # the ATE alone leaves them where they were
    plain = target(a, y, found, kind, bound)
    raw = plain.q1 - plain.q0 + np.where(a == 1, (y - plain.q1) / g, -(y - plain.q0) / (1 - g))
    assert max(abs(np.mean((plain.q1 - plain.q0)[rows]) - np.mean(raw[rows])) for rows in members.T) > 1e-4 * np.ptp(y)
    # and the assembled mechanisms keep all of them over the source
    law = fit_law(a, y, got.q0, got.q1, frame, kind, np.random.default_rng(0))
    made = assemble(models, got, averaged(models, frame), law, kind, None, targets, (targets.members(frame), a))
    told = made.predict(frame)
    for rows in [np.ones(n, dtype=bool), a == 1, *members.T]:
        assert np.mean(told.q1[rows] - told.q0[rows]) == pytest.approx(np.mean(got.q1[rows] - got.q0[rows]), abs=1e-8 * np.ptp(y))
    again = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(again.predict(frame).q1, told.q1)


def test_effect_is_recovered_over_seeds() -> None:
    errors, scores = [], []
    for seed in range(8):
        frame, a, y, _ = base_world(1000, 100 + seed)
        found = fold_by_fold(frame, a, y, "binary", 0).nuisances
        got = target(a, y, found, "binary", truncation_bound(1000, "auto"))
        errors.append(got.ate - 0.4186)
        scores.append(errors[-1] / got.se)
    assert abs(np.mean(errors)) < 0.03
    assert max(np.abs(scores)) < 3.5
    assert 0.3 < np.std(scores) < 2.0


def test_stack_predicts_no_worse_than_its_worse_member() -> None:
    rows: dict[str, list[float]] = {"glm": [], "boosted": [], "stack": []}
    for seed in range(3):
        frame, a, y, _ = base_world(600, seed, continuous=True)
        fresh, b, z, _ = base_world(4000, 50 + seed, continuous=True)
        for name, found in rows.items():
            model = resolve("learner", name).fit_outcome(frame, a, y, "continuous", np.random.default_rng(0))
            found.append(float(np.mean((z - model.predict(fresh, b)) ** 2)))
    best = min(np.mean(rows["glm"]), np.mean(rows["boosted"]))
    assert np.mean(rows["stack"]) < 1.03 * best


def test_row_order_does_not_matter_with_keys() -> None:
    frame, a, y, _ = base_world(300, 2)
    keys = keys_of(300)
    order = np.random.default_rng(7).permutation(300)
    learner, train = resolve("learner", "stack"), np.ones(300, dtype=bool)
    one = fit_fold(learner, frame, a, y, "binary", train, np.random.default_rng(0), keys=keys)
    other = fit_fold(learner, frame.iloc[order], a[order], y[order], "binary", train, np.random.default_rng(0), keys=keys[order])
    for left, right in zip(one.predict(frame), other.predict(frame)):
        assert left.tobytes() == right.tobytes()


def test_training_rows_are_a_hash_sample() -> None:
    keys, train = keys_of(1000), np.arange(1000) % 5 > 0
    kept = training_rows(keys, train, 200, seed=9)
    assert kept.sum() == 200
    assert not (kept & ~train).any()
    order = np.random.default_rng(0).permutation(1000)
    np.testing.assert_array_equal(training_rows(keys[order], train[order], 200, seed=9), kept[order])
    np.testing.assert_array_equal(training_rows(keys, train, 5000, seed=9), train)
    assert (training_rows(keys, train, 200, seed=10) != kept).any()


def test_one_fold_is_refused() -> None:
    with pytest.raises(EstimationError, match="folds of cross-fitting"):
        Plan("table", 0, 1)


def test_small_table_goes_through_the_stack() -> None:
    model, targeting, frame, _, _, _ = fitted(200, 5, "continuous", "stack")
    assert model.truth(frame)[0] == pytest.approx(targeting.ate, abs=1e-8)


def test_mechanisms_pickle_and_stay_small() -> None:
    model, _, frame, _, _, _ = fitted(400, 3, "continuous", "boosted")
    data = pickle.dumps(model)
    assert len(data) < 5_000_000
    np.testing.assert_array_equal(pickle.loads(data).predict(frame).q1, model.predict(frame).q1)


def test_drawn_outcomes_have_the_sources_law_by_arm() -> None:
    model, targeting, frame, a, y, found = fitted(3000, 4, "continuous")
    told = Nuisances(found.g, targeting.q0, targeting.q1)
    drawn = draw_outcome(model.law, a, told, frame, np.random.default_rng(2)).y
    # 1.63 sqrt(2 / n) is the 1 % point of two independent samples; the smaller arm has about 1300 rows
    assert max(ks_2samp(drawn[a == arm], y[a == arm]).statistic for arm in (0, 1)) < 0.06
    many = np.repeat(np.arange(len(a)), 50)
    again = draw_outcome(model.law, a[many], Nuisances(*(v[many] for v in told)), frame.iloc[many], np.random.default_rng(3)).y
    for arm in (0, 1):
        rows, mean = a == arm, np.where(a == 1, told.q1, told.q0)
        error, residual = (again - mean[many])[a[many] == arm], (y - mean)[rows]
        assert error.mean() == pytest.approx(0.0, abs=5 * error.std() / np.sqrt(len(error)))
        assert error.std() == pytest.approx(residual.std(), rel=0.02)
        assert not np.isin(np.round(error, 12), np.round(residual, 12)).any()


def test_noise_that_grows_with_w_is_seen_and_even_noise_is_not() -> None:
    frame, a, _, _ = base_world(1500, 6)
    rng = np.random.default_rng(0)
    zero = np.zeros(1500)
    spread = np.exp(0.6 * frame["w4"].to_numpy())
    uneven = fit_law(a, spread * rng.normal(size=1500), zero, zero, frame, "continuous", rng)
    assert uneven.scale is not None
    relative = np.log(uneven.scale.predict(frame, a))
    assert np.corrcoef(relative, np.log(spread))[0, 1] > 0.9
    even = [fit_law(a, rng.normal(size=1500), zero, zero, frame, "continuous", rng).scale for _ in range(6)]
    assert sum(found is not None for found in even) <= 2


def test_count_law_sees_overdispersion() -> None:
    rng = np.random.default_rng(1)
    n = 6000
    a, mean = rng.integers(0, 2, n).astype(np.int8), rng.uniform(1, 6, n)
    y = np.where(a == 1, rng.poisson(mean * rng.gamma(2.0, 0.5, n)), rng.poisson(mean)).astype(float)
    law = fit_law(a, y, mean, mean, pd.DataFrame(index=range(n)), "count", rng)
    assert isinstance(law, CountLaw)
    assert law.dispersion[1] == pytest.approx(0.5, abs=0.12)
    assert law.dispersion[0] < 0.05
    flat = np.full(200_000, 3.0)
    drawn = law.draw(np.ones(200_000, dtype=np.int8), flat, pd.DataFrame(), rng)
    assert drawn.mean() == pytest.approx(3.0, abs=0.03)
    assert drawn.var() == pytest.approx(3 + 9 * law.dispersion[1], rel=0.05)
    assert (drawn == np.rint(drawn)).all()


def test_binary_draw_and_declared_range() -> None:
    rng = np.random.default_rng(0)
    q = np.full(100_000, 0.3)
    told = Nuisances(q, q, q)
    a = np.zeros(100_000, dtype=np.int8)
    drawn = draw_outcome(BinaryLaw(), a, told, pd.DataFrame(index=range(100_000)), rng)
    assert set(np.unique(drawn.y)) == {0.0, 1.0}
    assert drawn.y.mean() == pytest.approx(0.3, abs=0.006)
    assert drawn.clipped == 0.0
    held = draw_outcome(CountLaw((0.0, 0.0)), a, Nuisances(q, q * 10, q), pd.DataFrame(index=range(100_000)), rng, (0.0, 2.0))
    assert held.y.max() == 2.0
    assert held.clipped == pytest.approx(0.5768, abs=0.01)  # P(Poisson(3) > 2)


def test_treatment_designs() -> None:
    rng = np.random.default_rng(0)
    g = rng.uniform(0.05, 0.95, 50_000)
    trial = design_probability(g, "randomized", 0.25, 1.0)
    assert (trial == 0.25).all()
    drawn = draw_treatment(Nuisances(trial, trial, trial), rng)
    assert drawn.dtype == np.int8
    assert drawn.mean() == pytest.approx(0.25, abs=0.01)
    np.testing.assert_array_equal(design_probability(g, "fitted", 0.5, 1.0), g)
    assert draw_treatment(Nuisances(g, g, g), rng)[g > 0.8].mean() == pytest.approx(g[g > 0.8].mean(), abs=0.02)
    np.testing.assert_allclose(design_probability(g, "tilted", 0.5, 1.0), g, atol=1e-12)
    np.testing.assert_allclose(design_probability(g, "tilted", 0.5, 0.0), 0.5)
    assert design_probability(g, "tilted", 0.5, 3.0).std() > g.std()


def test_too_few_rows_for_residuals_are_refused() -> None:
    a = np.array([0] * 10 + [1] * 3, dtype=np.int8)
    with pytest.raises(EstimationError, match="residuals"):
        fit_law(
            a, np.arange(13.0), np.zeros(13), np.zeros(13), pd.DataFrame({"w0": np.arange(13.0)}), "continuous", np.random.default_rng(0)
        )


def test_effect_of_gives_monte_carlo_error() -> None:
    tau = np.array([1.0, 2.0, 3.0, 4.0])
    mean, error = effect_of(Nuisances(tau, np.zeros(4), tau))
    assert mean == 2.5
    assert error == pytest.approx(tau.std(ddof=1) / 2)
