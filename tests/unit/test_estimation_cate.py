"""CATE fidelity, propensities and outcome laws: a faithful release passes, each kind of unfaithful one is seen."""

from __future__ import annotations

import json
import math
import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from tasks.contract.errors import EstimationError
from tasks.contract.rng import rng_for
from tasks.estimation.cate import cate_gap
from tasks.estimation.fidelity import Counting
from tasks.estimation.metalearners import LEARNERS, fit_metalearners, fit_propensity
from tasks.estimation.outcome import arm_weights, outcome_distance, weighted_kolmogorov
from tasks.estimation.propensity import assignment_distance, propensity_gap, propensity_law, propensity_record
from tasks.estimation.twins import Sample, Twins, learn_twins
from tasks.nuisance.trees import fit_columns

LEVELS = ["a", "b", "c"]


def world(n, seed, tau=lambda x: 1 + x, kind="continuous", randomized=False):
    """Draw (W, A, Y) with two numbers (one with gaps) and a category, confounded unless randomized; tau depends on the first number."""
    rng = np.random.default_rng(seed)
    x, level, gap = rng.normal(size=(n, 2)), rng.integers(0, 3, n), rng.random(n) < 0.05
    # what is not seen of a missing cell must not confound
    x[gap, 1] = 0.0
    g = np.full(n, 0.5) if randomized else 1 / (1 + np.exp(-1.2 * x[:, 1] + 0.4 * (level == 2)))
    a = (rng.random(n) < g).astype(np.int8)
    mean = x[:, 1] + 0.5 * (level == 1) + a * tau(x[:, 0])
    y = {
        "continuous": lambda: mean + rng.normal(size=n),
        "binary": lambda: (rng.random(n) < 1 / (1 + np.exp(-mean))).astype(float),
        "count": lambda: rng.poisson(np.exp(np.clip(0.5 * mean, -3, 3))).astype(float),
    }[kind]()
    frame = pd.DataFrame({"w0": x[:, 0], "w1": np.where(gap, np.nan, x[:, 1])})
    frame["w2"] = pd.Categorical(np.array(LEVELS)[level], categories=LEVELS)
    return Sample(frame, a, y), g


def twins_of(source, release, kind="continuous", **more):
    return learn_twins(source, release, kind, rng_for(5, "cate"), **more)


@pytest.fixture(scope="module")
def real():
    return world(2400, 0)[0]


@pytest.fixture(scope="module")
def fresh(real):
    return twins_of(real, world(2400, 1)[0])


@pytest.fixture(scope="module")
def trial(real):
    return twins_of(real, world(5000, 2, randomized=True)[0], design=np.full(5000, 0.5))


def test_figures_by_hand():
    source, release = np.zeros((2, 4, 2)), np.zeros((2, 4, 2))
    source[1, 0] = [2.0, 0.0]
    release[:, 0] = [[3.0, 1.0], [5.0, 1.0]]
    half = np.full((2, 2), 0.5)
    found = cate_gap(Twins(source, release, half, half, 7))
    t = found.learners[0]
    # row 1: mean of 3^2, 1^2, 5^2, 3^2 = 11; row 2: 1
    assert t.gap == pytest.approx(math.sqrt((11 + 1) / 2))
    assert t.reference == pytest.approx(math.sqrt((4 + 0) / 2))
    assert t.ratio == pytest.approx(math.sqrt(3))
    # row 1: mean of 3 * 3 and 1 * 5 = 7; row 2: 1
    assert t.beyond == pytest.approx(math.sqrt((7 + 1) / 2))
    assert t.se == pytest.approx(np.std([11 / (2 * t.gap), 1 / (2 * t.gap)], ddof=1) / math.sqrt(2))
    assert (found.n, found.rows) == (2, 7)
    assert found.mean.gap == pytest.approx(t.gap / 4)


def test_a_learner_that_sees_no_effect_has_no_ratio_and_spoils_no_mean():
    source, release = np.random.default_rng(0).normal(size=(2, 2, 4, 50))
    source[:, 1] = release[:, 1] = 0.0
    found = cate_gap(Twins(source, release, source[:, 0], release[:, 0], 9))
    assert math.isnan(found.learners[1].ratio)
    assert found.mean.ratio == pytest.approx(np.mean([found.learners[at].ratio for at in (0, 2, 3)]))
    record = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert record["learners"][1]["ratio"] is None
    assert record["mean"]["ratio_se"] > 0


def test_standard_errors_are_those_of_a_mean_over_rows():
    """Twins of independent rows stand for fixed models: the gap's spread over draws of rows is what its standard error says."""
    rng, found = np.random.default_rng(1), []
    for _ in range(400):
        source = rng.normal(size=(2, 4, 150))
        release = source[::-1] + rng.exponential(size=(2, 4, 150))
        mean = cate_gap(Twins(source, release, source[:, 0], release[:, 0], 9)).mean
        found.append((mean.gap, mean.reference, mean.ratio, mean.se, mean.reference_se, mean.ratio_se))
    spread, said = np.std(found, axis=0, ddof=1)[:3], np.mean(found, axis=0)[3:]
    assert said == pytest.approx(spread, rel=0.12)


def test_another_sample_of_the_source_has_a_ratio_of_about_one(fresh):
    found = cate_gap(fresh)
    assert [each.learner for each in found.learners] == list(LEARNERS)
    assert 0.85 < found.mean.ratio < 1.15
    assert found.mean.beyond < 0.2
    # effects are 1 + w0: a person's differs from another's by 1
    assert 0.6 < found.mean.spread < 1.1
    assert found.n == 2400
    assert found.rows == 800


@pytest.mark.parametrize(
    ("tau", "least"),
    [(lambda x: np.ones_like(x), 0.6), (lambda x: 2 + x, 0.7)],
    ids=["same for all", "shifted"],
)
def test_wrong_effects_are_seen(real, tau, least):
    """One has the ATE of the truth, one its spread, and neither its effects: each off by 1 in root mean square."""
    found = cate_gap(twins_of(real, world(2400, 1, tau)[0]))
    assert found.mean.ratio > 1.4
    assert all(each.ratio > 1.15 for each in found.learners)
    assert least < found.mean.beyond < 1.2


@pytest.mark.parametrize("kind", ["binary", "count"])
def test_other_outcomes(kind):
    """Who benefits is turned upside down, at about the same ATE."""
    source = world(3600, 0, lambda x: 2 * x, kind)[0]
    bad = cate_gap(twins_of(source, world(3600, 1, lambda x: -2 * x, kind)[0], kind))
    assert bad.mean.ratio > 1.5
    assert bad.mean.beyond > bad.mean.spread


def test_a_new_sample_of_a_binary_outcome():
    source, again = (world(3600, seed, lambda x: 2 * x, "binary")[0] for seed in (0, 1))
    found = cate_gap(twins_of(source, again, "binary"))
    assert 0.8 < found.mean.ratio < 1.2
    assert found.mean.beyond < found.mean.spread / 3


def test_a_randomized_release_carries_the_effects_of_a_confounded_source(real, trial):
    """Learners shrink, so confounding colours a little what they learn: only thinning to the source's design compares like with like."""
    thinned, naive = cate_gap(trial), cate_gap(twins_of(real, world(5000, 2, randomized=True)[0]))
    assert thinned.mean.ratio < 1.15
    assert thinned.mean.beyond < naive.mean.beyond - 0.05
    assert 780 < thinned.rows <= 800


def test_order_of_rows_and_levels_does_not_matter(real, fresh):
    rng = np.random.default_rng(3)
    drawn = world(2400, 1)[0]
    mixed = []
    for table in (real, drawn):
        order = rng.permutation(len(table.y))
        frame = table.covariates.iloc[order]
        frame = frame.assign(w2=frame["w2"].cat.set_categories(LEVELS[::-1]))
        mixed.append(Sample(frame, table.a[order], table.y[order]))
    again = twins_of(*mixed)
    for name in ("source", "release", "source_g", "release_g"):
        # rows come in hash order, so they come in the same order
        assert getattr(again, name).tobytes() == getattr(fresh, name).tobytes(), name


def test_rows_are_capped_and_tables_of_other_sizes_teach_alike(real):
    small = twins_of(real, world(900, 4)[0], rows=1500)
    assert small.source.shape == (2, 4, 1500)
    assert small.rows == 300


def test_what_can_not_be_compared_is_refused(real):
    few = world(150, 0)[0]
    with pytest.raises(EstimationError, match="arm in a third of the release must be at least 40"):
        twins_of(real, few)
    with pytest.raises(EstimationError, match="arm in a third of the source must be at least 40"):
        twins_of(few, real)
    with pytest.raises(EstimationError, match="covariates of the release must be the source's"):
        twins_of(real, real._replace(covariates=real.covariates[["w1", "w0", "w2"]]))
    with pytest.raises(EstimationError, match="w0 of the covariates must be of one kind"):
        twins_of(real, real._replace(covariates=real.covariates.assign(w0=real.covariates["w2"])))
    with pytest.raises(EstimationError, match="outcome finite"):
        twins_of(real._replace(y=np.where(np.arange(2400) == 5, np.nan, real.y)), real)
    with pytest.raises(EstimationError, match="design of the release must be probabilities"):
        twins_of(real, real, design=np.ones(2400))
    with pytest.raises(EstimationError, match="thinned release must be at least 40"):
        twins_of(real, real, design=np.where(np.arange(2400) == 0, 1e-6, 1 - 1e-6))
    with pytest.raises(EstimationError, match="at least 300; got 10"):
        twins_of(real, real, rows=10)


def test_every_learner_finds_who_benefits():
    sample, _ = world(6000, 7)
    features = fit_columns(sample.covariates)
    half = (np.arange(6000) % 2).astype(np.int8)
    fitted = fit_metalearners(features.matrix(sample.covariates), features.categorical, sample.a, sample.y, "continuous", half)
    new, g = world(2000, 8)
    g_model = fit_propensity(features.matrix(sample.covariates), features.categorical, sample.a, half)
    x = features.matrix(new.covariates)
    truth = 1 + new.covariates["w0"].to_numpy()
    effects = pickle.loads(pickle.dumps(fitted)).effects(x)
    assert effects.tobytes() == fitted.effects(x).tobytes()
    for learner, tau in zip(LEARNERS, effects):
        assert np.corrcoef(tau, truth)[0, 1] > 0.85, learner
        assert np.mean(tau) == pytest.approx(1.0, abs=0.2), learner
    assert np.corrcoef(g_model.predict(x), g)[0, 1] > 0.9


def test_rare_levels_and_unknown_ones_count_as_missing():
    texts = [f"level {n}" for n in range(300)]
    frame = pd.DataFrame({"w0": pd.Categorical(np.repeat(texts, 2)[:-20], categories=texts)})
    features = fit_columns(frame)
    assert len(features.levels[0]) == 250
    other = pd.DataFrame({"w0": pd.Categorical([texts[0], "new", None], categories=[texts[0], "new"])})
    assert np.isnan(features.matrix(other)[:, 0]).tolist() == [False, True, True]


def test_assignment_distance_is_scipys():
    g, other = np.array([0.0, 0.2, 0.5, 0.9, 1.0, 0.3]), np.array([1.0, 0.7, 0.5, 0.0, 1.0, 0.3])
    want = [jensenshannon([1 - p, p], [1 - q, q], base=2) for p, q in zip(g, other)]
    assert assignment_distance(g, other) == pytest.approx(want, abs=1e-12)
    assert assignment_distance(g, other)[[0, 2]].tolist() == [1.0, 0.0]


def test_propensities_of_a_new_sample_and_of_a_trial(fresh, trial):
    same, other = propensity_gap(fresh), propensity_gap(trial)
    assert same.distance == pytest.approx(same.reference, abs=0.02)
    # thinning is for effects: of treatment itself the trial's own design is compared
    assert other.distance > 1.8 * other.reference
    assert other.reference == pytest.approx(same.reference, abs=0.01)
    assert 0 < other.se < 0.01
    record = propensity_record(other, propensity_law(np.array([0.2, 0.8]), np.array([0.5])), "randomized")
    assert record["assignment"]["similarity"] == pytest.approx(1 - other.distance)
    assert record["law"]["distance"] == 1.0
    assert record["design"] == "randomized"
    json.dumps(record, allow_nan=False)


def test_the_scale_of_the_propensity_law_is_what_sampling_brings():
    rng = np.random.default_rng(9)
    found = [propensity_law(rng.beta(2, 2, 2000), rng.beta(2, 2, 3000)) for _ in range(200)]
    assert np.mean([each.distance**2 for each in found]) == pytest.approx(np.mean([each.scale**2 for each in found]), rel=0.1)
    assert propensity_law(rng.beta(2, 2, 2000), rng.beta(3, 2, 3000)).distance > 3 * found[0].scale
    a, b = rng.random(99), rng.random(50) ** 2
    want = jensenshannon(*(np.histogram(g, 20, (0, 1))[0] for g in (a, b)), base=2)
    assert propensity_law(a, b).distance == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("g", [np.array([]), np.array([0.5, 1.5]), np.array([0.5, np.nan]), np.full((2, 2), 0.5)])
def test_propensities_must_be_probabilities(g):
    with pytest.raises(EstimationError, match="g of the release"):
        propensity_law(np.array([0.5]), g)


def test_kolmogorov_is_scipys_and_weights_are_repeated_rows():
    rng = np.random.default_rng(10)
    y, other = rng.integers(0, 9, 60).astype(float), rng.integers(0, 12, 90).astype(float)
    even = np.full(60, 1 / 60), np.full(90, 1 / 90)
    assert weighted_kolmogorov(y, even[0], other, even[1]) == pytest.approx(ks_2samp(y, other).statistic, abs=1e-12)
    times = rng.integers(1, 5, 60)
    want = ks_2samp(np.repeat(y, times), other).statistic
    assert weighted_kolmogorov(y, times / times.sum(), other, even[1]) == pytest.approx(want, abs=1e-12)
    assert weighted_kolmogorov(y, even[0], y + 100, even[0]) == 1.0
    assert weighted_kolmogorov(y, even[0], y[::-1], even[0]) == pytest.approx(0.0, abs=1e-12)


def test_weights_undo_confounding_and_without_them_a_trial_looks_wrong():
    (source, g), (trial, _) = world(6000, 11), world(6000, 12, randomized=True)
    given = (source.a, source.y), (trial.a, trial.y)
    naive, weighted = outcome_distance(*given), outcome_distance(*given, arm_weights(source.a, g, 0.02))
    for arm in (0, 1):
        assert naive[arm].distance > 2 * naive[arm].scale
        assert weighted[arm].distance < weighted[arm].scale
        assert weighted[arm].source_size < naive[arm].source_size
        assert weighted[arm].sd_ratio == pytest.approx(1, abs=4 * weighted[arm].sd_ratio_se)
    wrong = outcome_distance(given[0], (trial.a, 1.15 * trial.y), arm_weights(source.a, g, 0.02))
    assert all(arm.distance > arm.scale for arm in wrong)
    assert all(arm.sd_ratio > 1.1 for arm in wrong)


def test_the_scale_is_exceeded_in_one_case_of_twenty():
    """Also with weights, for which Kish's size is only about right."""
    rng, beyond, spreads = np.random.default_rng(13), np.zeros(2), []
    for _ in range(400):
        x, other = rng.normal(size=(2, 400))
        a, b = (rng.integers(0, 2, 400).astype(np.int8) for _ in range(2))
        w = np.exp(0.5 * rng.normal(size=400))
        plain, weighted = outcome_distance((a, x), (b, other)), outcome_distance((a, x), (b, other), w)
        beyond += [plain.treated.distance > plain.treated.scale, weighted.treated.distance > weighted.treated.scale]
        spreads.append((math.log(weighted.treated.sd_ratio) ** 2, (weighted.treated.sd_ratio_se / weighted.treated.sd_ratio) ** 2))
    assert np.all((beyond >= 6) & (beyond <= 32)), beyond
    drawn, said = np.mean(spreads, axis=0)
    assert said == pytest.approx(drawn, rel=0.25)


def test_outcomes_that_can_not_be_compared():
    a, y = np.array([0, 0, 1, 1], dtype=np.int8), np.array([1.0, 1.0, 2.0, 3.0])
    flat = outcome_distance((a, y), (a, y))
    assert math.isnan(flat.control.sd_ratio)
    assert json.loads(json.dumps(flat.as_dict(), allow_nan=False))["arms"][0]["sd_ratio"] is None
    with pytest.raises(EstimationError, match="rows of arm 1 of the release must be at least 2; got 0"):
        outcome_distance((a, y), (np.zeros(4, dtype=np.int8), y))
    with pytest.raises(EstimationError, match="of one length"):
        outcome_distance((a, y), (a, y), np.ones(3))
    with pytest.raises(EstimationError, match="weights positive"):
        outcome_distance((a, y), (a, y), np.zeros(4))


def test_means_over_people_are_weighted() -> None:
    """Weights that are whole numbers give the figures of rows that are there so often; errors stay those of the rows that there are."""
    rng = np.random.default_rng(11)
    times = rng.integers(1, 4, 300)
    source, release = rng.normal(size=(2, 2, 4, 300))
    release += 0.5 * (times > 2)
    g, other = rng.uniform(0.2, 0.8, size=(2, 2, 300))
    weighted = Twins(source, release, g, other, 9, Counting(times.astype(float)))
    repeated = Twins(*(np.repeat(values, times, axis=-1) for values in (source, release, g, other)), 9)
    one, many, plain = (cate_gap(each).mean for each in (weighted, repeated, weighted._replace(counting=Counting())))
    assert one.gap == pytest.approx(many.gap)
    assert one.ratio == pytest.approx(many.ratio)
    assert one.beyond == pytest.approx(many.beyond)
    assert one.gap > plain.gap
    assert one.se > many.se
    assert propensity_gap(weighted).distance == pytest.approx(propensity_gap(repeated).distance)
    law = propensity_law(g[0], other[0], times.astype(float))
    assert law.distance == pytest.approx(propensity_law(np.repeat(g[0], times), other[0]).distance)
    assert law.source_rows == 300
