"""Laws of cells, their truth, and replicates: what they depend on and what not."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.registry import resolve
from tasks.nuisance.folds import assign_folds, fold_strata
from tasks.simulation.answers import by_estimator, tallies, to_table
from tasks.simulation.figures import figures, places
from tasks.simulation.population import source_of, truths
from tasks.simulation.replicate import predict, replicates
from tests.simulating import CELL, method, population


def test_truth_is_that_of_the_law_under_each_design() -> None:
    law = population()
    tau = law.q1 - law.q0
    found = truths(source_of(law, CELL))
    assert found["ate"].value == pytest.approx(tau.mean())
    assert found["ate"].se == pytest.approx(tau.std() / np.sqrt(len(tau)))
    for name, weight in {"att": law.g, "atc": 1 - law.g, "ato": law.g * (1 - law.g)}.items():
        assert found[name].value == pytest.approx(np.average(tau, weights=weight))
    assert found["att"].value > found["ate"].value > found["atc"].value
    trial = truths(source_of(law, CELL._replace(design="randomized")))
    assert trial["att"].value == pytest.approx(trial["ate"].value)


def test_the_effect_is_scaled_inside_the_outcome_s_range() -> None:
    law = population("binary")
    none, double = (source_of(law, CELL._replace(effect_scale=scale)) for scale in (0.0, 5.0))
    assert {name: truth.value for name, truth in truths(none).items()} == dict.fromkeys(("ate", "att", "atc", "ato"), 0.0)
    assert 0.0 < double.q1.min() <= double.q1.max() < 1.0
    assert truths(double)["ate"].value > truths(source_of(law, CELL))["ate"].value
    assert population("count").scaled(-10.0).min() > 0.0
    linear = population()
    np.testing.assert_allclose(linear.scaled(2.0) - linear.q0, 2.0 * (linear.q1 - linear.q0))


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
        truth = truths(source)["ate"].value
        bias.append(np.mean([each.outcomes[0].estimate.estimate for each in found if each.outcomes[0].estimate]) - truth)
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
    assert by_estimator(alone)["tmle"][1]["estimate"].tolist() == by_estimator(whole)["tmle"][1]["estimate"].tolist()
    estimates = {
        by_estimator(to_table("", 0, replicates(source, method("or"), cell, seed, draw, [0])))["or"][1]["estimate"][0]
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
    assert rows["att"]["truth"] == known["att"].value
    assert rows["tmle"]["replicates"] == 150
    assert tallies(table, known)["tmle"].answered == 150
    assert tallies(table, known)["tmle"].square / 150 == pytest.approx(rows["tmle"]["rmse"] ** 2)
    ranked = places(table, [cell], [known], 0)
    assert {place["estimator"] for place in ranked} == {"or", "ipw", "aipw", "tmle"}  # att and ato have nobody to compete with
    assert sum(place["probability_best"] for place in ranked) == pytest.approx(1.0)


def test_a_data_set_without_support_is_a_failure_of_all_and_no_error() -> None:
    cell = CELL._replace(n=50, design="tilted", tilt=10.0)
    law = population(strength=4.0)
    law.covariates["w0"] += 3.0
    narrow = type(law)(**{**law.__dict__, "g": np.full(len(law.g), 1e-4)})
    source = source_of(narrow, cell._replace(design="fitted", tilt=None))
    found = replicates(source, method("or", "tmle"), cell, 0, 0, range(3))
    assert all(outcome.estimate is None for each in found for outcome in each.outcomes)
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
    found = learner.predict_folds(frame, data.a, y, kind, folds)
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
    outcome = found.outcomes[0].estimate
    assert outcome is not None
    assert abs(outcome.estimate - truths(source)["ate"].value) < 5 * outcome.se
