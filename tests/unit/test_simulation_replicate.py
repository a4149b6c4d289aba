"""Laws of cells, their truth, and replicates: what they depend on and what not."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.registry import resolve
from tasks.nuisance.folds import assign_folds, fold_strata
from tasks.simulation.answers import by_series, tallies, to_table
from tasks.simulation.contrasts import Contrast, Effect, Series
from tasks.simulation.figures import figures, places
from tasks.simulation.population import source_of, truths
from tasks.simulation.replicate import predict, replicates
from tests.simulating import CELL, method, population, three_arms


def test_truth_is_that_of_the_law_under_each_design() -> None:
    law = population()
    tau = law.nuisances.q1 - law.nuisances.q0
    found = truths(source_of(law, CELL))
    assert found[Effect("ate")].value == pytest.approx(tau.mean())
    assert found[Effect("ate")].se == pytest.approx(tau.std() / np.sqrt(len(tau)))
    for name, weight in {"att": law.nuisances.g, "atc": 1 - law.nuisances.g, "ato": law.nuisances.g * (1 - law.nuisances.g)}.items():
        assert found[Effect(name)].value == pytest.approx(np.average(tau, weights=weight))
    assert found[Effect("att")].value > found[Effect("ate")].value > found[Effect("atc")].value
    trial = truths(source_of(law, CELL._replace(design="randomized")))
    assert trial[Effect("att")].value == pytest.approx(trial[Effect("ate")].value)


def test_the_effect_is_scaled_inside_the_outcome_s_range() -> None:
    law = population("binary")
    none, double = (source_of(law, CELL._replace(effect_scale=scale)) for scale in (0.0, 5.0))
    assert {name: truth.value for (name, _), truth in truths(none).items()} == dict.fromkeys(("ate", "att", "atc", "ato"), 0.0)
    assert 0.0 < double.nuisances.q1.min() <= double.nuisances.q1.max() < 1.0
    assert truths(double)[Effect("ate")].value > truths(source_of(law, CELL))[Effect("ate")].value
    assert population("count").scaled(-10.0)[1].min() > 0.0
    linear = population()
    np.testing.assert_allclose(linear.scaled(2.0)[1] - linear.nuisances.q0, 2.0 * (linear.nuisances.q1 - linear.nuisances.q0))


def test_data_sets_are_of_the_law() -> None:
    source = source_of(population(), CELL._replace(design="tilted", tilt=2.0))
    data = source.draw(60_000, np.random.default_rng(0))
    age = data.covariates["w0"].to_numpy()
    expected = 1 / (1 + np.exp(-2.0 * age))
    assert abs(np.mean(data.a - expected)) < 0.01
    assert abs(np.mean((data.a - expected) * age)) < 0.01
    mean = 0.8 * age + 0.2 * data.covariates["w1"].to_numpy() + data.a * (1 + 0.5 * age)
    assert abs(np.mean(data.y - mean)) < 0.02
    assert np.std(data.y - mean) == pytest.approx(1.0, abs=0.02)
    wide = source_of(population(), CELL._replace(noise=3.0)).draw(20_000, np.random.default_rng(0))
    age = wide.covariates["w0"].to_numpy()
    mean = 0.8 * age + 0.2 * wide.covariates["w1"].to_numpy() + wide.a * (1 + 0.5 * age)
    assert np.std(wide.y - mean) == pytest.approx(3.0, abs=0.06)


def test_a_withheld_covariate_is_hidden_from_estimators_and_biases_them() -> None:
    law, names = population(), ("aipw",)
    hidden = CELL._replace(withheld="age")
    assert list(source_of(law, hidden).draw(50, np.random.default_rng(0)).covariates) == ["w1", "w2"]
    bias = []
    for cell in (CELL, hidden):
        source = source_of(law, cell)
        found = replicates(source, method(*names), cell, 0, 0, range(20))
        truth = truths(source)[Effect("ate")].value
        bias.append(np.mean([each.outcomes[0].estimates[0].estimate for each in found if each.outcomes[0].estimates[0]]) - truth)
    assert abs(bias[0]) < 0.15
    assert bias[1] > 0.5


def test_impossible_cells_are_refused() -> None:
    with pytest.raises(SpecError, match="withheld of simulate must be one of at least two covariates that vary; got 'height'"):
        source_of(population(), CELL._replace(withheld="height"))
    with pytest.raises(SpecError, match=r"noise of simulate must be \[1.0\] for a binary outcome; got 2"):
        source_of(population("binary"), CELL._replace(noise=2.0))
    source = source_of(population(), CELL)
    with pytest.raises(SpecError, match="'gate' estimates gate"):
        replicates(source, method("gate"), CELL, 0, 0, [0])


def test_a_replicate_depends_on_seed_cell_draw_and_number_alone() -> None:
    source, names = source_of(population(), CELL), ("or", "ipw", "aipw", "tmle", "adaptive", "att", "atc", "ato")
    whole = to_table(CELL.key, 0, replicates(source, method(*names), CELL, 7, 0, range(6)))
    pieces = [to_table(CELL.key, 0, replicates(source, method(*names), CELL, 7, 0, numbers)) for numbers in ((4, 5), (0,), (1, 2, 3))]
    assert (
        pa.concat_tables(pieces)
        .sort_by([("replicate", "ascending"), ("estimator", "ascending")])
        .equals(whole.sort_by([("replicate", "ascending"), ("estimator", "ascending")]))
    )
    # fewer estimators: the same answers of those that are left
    alone = to_table(CELL.key, 0, replicates(source, method("tmle"), CELL, 7, 0, range(6)))
    assert by_series(alone)[Series("tmle")].numbers["estimate"].tolist() == by_series(whole)[Series("tmle")].numbers["estimate"].tolist()
    estimates = {
        by_series(to_table("", 0, replicates(source, method("or"), cell, seed, draw, [0])))[Series("or")].numbers["estimate"][0]
        for cell, seed, draw in ((CELL, 7, 0), (CELL._replace(noise=2.0), 7, 0), (CELL, 8, 0), (CELL, 7, 1))
    }
    assert len(estimates) == 4


def test_estimators_are_unbiased_and_cover_where_they_should() -> None:
    """150 data sets of 400 rows from a law that the learner can learn."""
    cell = CELL._replace(n=400)
    source = source_of(population(), cell)
    known = truths(source)
    names = ("or", "ipw", "aipw", "tmle", "att", "ato")
    table = to_table(cell.key, 0, replicates(source, method(*names), cell, 1, 0, range(150)))
    rows = {each["estimator"]: each for each in figures(table, [cell], [known])}
    assert list(rows) == list(names)
    for name in ("aipw", "tmle", "att", "ato"):
        assert abs(rows[name]["bias"]) < 4 * rows[name]["bias_mcse"] + 0.02, name
        assert rows[name]["coverage"] > 0.88, name
        assert rows[name]["se_ratio"] == pytest.approx(1.0, abs=0.25), name
    assert rows["att"]["truth"] == known[Effect("att")].value
    assert rows["tmle"]["replicates"] == 150
    assert tallies(table, known)[Series("tmle")].answered == 150
    assert tallies(table, known)[Series("tmle")].square / 150 == pytest.approx(rows["tmle"]["rmse"] ** 2)
    ranked = places(table, [cell], [known], 0)
    assert {place["estimator"] for place in ranked} == {"or", "ipw", "aipw", "tmle"}  # att and ato have nobody to compete with
    assert sum(place["probability_best"] for place in ranked) == pytest.approx(1.0)


def test_a_data_set_without_support_is_a_failure_of_all_and_no_error() -> None:
    cell = CELL._replace(n=50, design="tilted", tilt=10.0)
    law = population(strength=4.0)
    law.covariates["w0"] += 3.0
    narrow = type(law)(**{**law.__dict__, "nuisances": law.nuisances.with_propensities(np.full(4_000, 1e-4))})
    source = source_of(narrow, cell._replace(design="fitted", tilt=None))
    found = replicates(source, method("or", "tmle"), cell, 0, 0, range(3))
    assert all(outcome.estimates == (None,) for each in found for outcome in each.outcomes)
    (first, second) = figures(to_table(cell.key, 0, found), [cell], [truths(source)])
    assert first["failures"] == second["failures"] == 1.0
    assert first["rmse"] is first["truth"] is None
    with pytest.raises(EstimationError, match="rows of the smaller arm must be at least 4"):
        predict(source.draw(50, np.random.default_rng(0)), resolve("learner", "glm"), "continuous", 2, np.random.default_rng(0))


@pytest.mark.parametrize("kind", ["binary", "count", "continuous"])
def test_all_folds_at_once_are_the_folds_one_by_one(kind: str) -> None:
    """The compiled path of the GLM learner gives what its fits give, to six digits."""
    law = population("binary" if kind == "binary" else "continuous")
    data = source_of(law, CELL).draw(300, np.random.default_rng(2))
    y = (
        np.random.default_rng(3).poisson(np.exp(0.3 * data.covariates["w0"].to_numpy() + 0.4 * data.a)).astype(float)
        if kind == "count"
        else data.y
    )
    frame = data.covariates.copy()
    frame.loc[::7, "w1"] = np.nan
    learner = resolve("learner", "glm")
    folds = assign_folds(np.arange(300, dtype=np.uint64), fold_strata(data.a, y, kind), 3, 0)
    found = learner.predict_folds(frame, data.a, y, kind, folds).first
    for fold in range(3):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        inside, outside = frame.iloc[train].reset_index(drop=True), frame.iloc[test].reset_index(drop=True)
        rng = np.random.default_rng(0)
        np.testing.assert_allclose(found.g[test], learner.fit_propensity(inside, data.a[train], rng).predict(outside), rtol=1e-6)
        model = learner.fit_outcome(inside, data.a[train], y[train], kind, rng)
        for arm, q in ((0, found.q0), (1, found.q1)):
            np.testing.assert_allclose(q[test], model.predict(outside, np.full(len(test), arm, dtype=np.int8)), rtol=1e-6)


def test_any_learner_can_be_tried() -> None:
    source, cell = source_of(population("binary"), CELL), CELL._replace(learner="boosted")
    (found,) = replicates(source, method("aipw", learner="boosted"), cell, 0, 0, [0])
    outcome = found.outcomes[0].estimates[0]
    assert outcome is not None
    assert abs(outcome.estimate - truths(source)[Effect("ate")].value) < 5 * outcome.se


def test_each_pair_of_three_arms_has_a_truth_and_answers_of_its_own() -> None:
    """60 data sets of 500 rows: truths by hand, transitive; bias and both kinds of intervals; two of three pairs tell the effects apart."""
    law, cell = three_arms(), CELL._replace(n=500)
    source = source_of(law, cell)
    known = truths(source)
    pairs = [Contrast("low", "none"), Contrast("high", "none"), Contrast("high", "low")]
    low, high, between = (known[Effect("ate", pair)].value for pair in pairs)
    assert (high, between) == pytest.approx((2 * low, low))
    tau, p = law.nuisances.outcomes[2] - law.nuisances.outcomes[0], law.nuisances.propensities
    for estimand, weight in {"att": p[2], "atc": p[0], "ato": 1 / sum(1 / each for each in p)}.items():
        assert known[Effect(estimand, pairs[1])].value == pytest.approx(np.average(tau, weights=weight))
    assert Effect("att", pairs[2]) not in known  # an effect among the rows of one arm compares with the control

    drawn = replicates(source, method("aipw", "tmle", "att", "ato"), cell, 1, 0, range(60))
    table = to_table(cell.key, 0, drawn)
    rows = figures(table, [cell], [known])
    assert [(row["arm"], row["control"]) for row in rows if row["estimator"] == "tmle"] == [pair[:2] for pair in pairs]
    assert len([row for row in rows if row["estimator"] == "att"]) == 2
    for row in rows:
        assert abs(row["bias"]) < 4 * row["bias_mcse"] + 0.03, row["estimator"]
        assert row["coverage"] > 0.83, row["estimator"]
        assert row["joint_coverage"] > 0.83
        assert row["joint_coverage"] <= 1.0
    numbers = {series: answered.numbers for series, answered in by_series(table).items()}
    assert all(np.all(each["joint_low"] <= each["ci_low"]) for each in numbers.values())
    estimates = [numbers[Series("tmle", pair)]["estimate"] for pair in pairs]
    np.testing.assert_allclose(estimates[1] - estimates[0], estimates[2], atol=1e-9)
    places_of = places(table, [cell], [known], 0)
    assert {(place["estimand"], place["arm"], place["control"]) for place in places_of} == {("ate", *pair[:2]) for pair in pairs}

    null = source_of(law, cell._replace(effect_scale=0.0, design="randomized"))
    assert {truth.value for truth in truths(null).values()} == {0.0}
    np.testing.assert_allclose(null.nuisances.propensities, np.full((3, 4_000), 1 / 3))
    (first, *_) = figures(to_table(cell.key, 0, replicates(null, method("aipw"), cell, 1, 0, range(4))), [cell], [truths(null)])
    assert first["type1_error"] == first["power"]


def test_data_sets_that_lack_an_arm_are_failures_of_every_contrast() -> None:
    law = three_arms()
    few = law.nuisances.with_propensities(np.full(4_000, 0.5), np.full(4_000, 1e-9))
    source, cell = source_of(replace(law, nuisances=few), CELL), CELL
    drawn = replicates(source, method("tmle", "att"), cell, 0, 0, range(2))
    assert [len(outcome.estimates) for outcome in drawn[0].outcomes] == [3, 2]
    rows = figures(to_table(cell.key, 0, drawn), [cell], [truths(source)])
    assert {row["failures"] for row in rows} == {1.0}
    assert {row["joint_coverage"] for row in rows} == {None}
