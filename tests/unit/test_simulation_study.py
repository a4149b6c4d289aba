"""Simulated studies of two outcomes, the second missing in part: their law, its truth, and what weighting does about it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tasks.contract.errors import SpecError
from tasks.contract.nuisance import Float64, Int8, Predictions
from tasks.contract.spec import Spec
from tasks.mechanisms.laws.protocol import Inversion
from tasks.mechanisms.presence import PresenceLaw
from tasks.mechanisms.ranks import RankLaw
from tasks.numerics.correlation import spearman
from tasks.numerics.normal import quantile
from tasks.simulation.answers import by_series, to_table
from tasks.simulation.contrasts import COMPLETE, Contrast, Effect, Series
from tasks.simulation.figures import figures, places
from tasks.simulation.population import Population, source_of, truths
from tasks.simulation.replicate import replicates
from tasks.simulation.study import StudyData, StudyPopulation
from tasks.simulation.task import check
from tests.releasing import spec_of
from tests.simulating import CELL, Coin, Normal, column, method, population, three_arms

EARLY, LATE = (Contrast(outcome=name) for name in ("early", "late"))
RHO = 0.6


class NormalByRank(Normal):
    """Y ~ Normal(mean, 1), at a rank."""

    def invert(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> Inversion:
        return Inversion(lambda u: mean + np.array([quantile(float(each)) for each in u]), lambda u: u)


class CoinByRank(Coin):
    """Y ~ Bernoulli(mean), at a rank."""

    def invert(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> Inversion:
        return Inversion(lambda u: (u > 1.0 - mean).astype(float), lambda u: u)


def study(base: Population | None = None, late: str = "continuous", missing: bool = True) -> StudyPopulation:
    """Return the law of two outcomes whose residuals correlate; who is young, and whose effect is small, is seldom seen again."""
    base = base or population()
    age, arms = base.covariates["w0"].to_numpy(), base.nuisances.arms
    first = replace(base, law=NormalByRank(), outcome=column("early", "y", "outcome"))
    if late == "binary":
        law, outcomes = CoinByRank(), tuple(0.3 + 0.2 * arm + 0.0 * age for arm in range(arms))
    else:
        law, outcomes = NormalByRank(), tuple(2.0 * q for q in base.nuisances.outcomes)
    second = replace(first, law=law, kind=late, outcome=column("late", "y1", "outcome"))
    second = replace(second, nuisances=type(base.nuisances)(*base.nuisances[: arms - 1], *outcomes))
    chance = 1.0 / (1.0 + np.exp(-(0.8 + 1.2 * age)))
    presence = (None, (chance,) * arms) if missing else ()
    predictions = Predictions(first.nuisances, (outcomes,), presence)
    law_of_missing = PresenceLaw((1,), ((),) * arms, False) if missing else None
    ranks = RankLaw((np.array([[1.0, RHO], [RHO, 1.0]]),) * arms)
    return StudyPopulation(**vars(first), each=(first, second), predictions=predictions, ranks=ranks, presence=law_of_missing)


def test_outcomes_hang_together_and_are_missing_as_the_law_says() -> None:
    law = study()
    data = source_of(law, CELL).draw(6_000, np.random.default_rng(0))
    assert isinstance(data, StudyData)
    early, late = data.outcomes
    age, known = data.covariates["w0"].to_numpy(), ~np.isnan(late)
    assert not np.isnan(early).any()
    assert known.mean() == pytest.approx(1.0 - law.missing_shares(law.nuisances)[1], abs=0.02)
    assert age[known].mean() > age.mean() + 0.1
    mean = 0.8 * age + 0.2 * data.covariates["w1"].to_numpy() + data.a * (1.0 + 0.5 * age)
    for arm in (0, 1):
        here = known & (data.a == arm)
        # of normal scores that correlate by rho, Spearman's is 6 / pi arcsin(rho / 2)
        wanted = 6.0 / np.pi * np.arcsin(RHO / 2.0)
        assert spearman((early - mean)[here], (late - 2.0 * mean)[here]) == pytest.approx(wanted, abs=0.05)
    assert np.std(early - mean) == pytest.approx(1.0, abs=0.03)


def test_each_outcome_has_a_truth_and_every_effect_is_scaled() -> None:
    law = study()
    tau = law.nuisances.q1 - law.nuisances.q0
    found = truths(source_of(law, CELL))
    assert found[Effect("ate", EARLY)].value == pytest.approx(tau.mean())
    assert found[Effect("ate", LATE)].value == pytest.approx(2.0 * tau.mean())  # of all rows, known or not
    assert found[Effect("att", LATE)].value == pytest.approx(2.0 * np.average(tau, weights=law.nuisances.g))
    none = truths(source_of(law, CELL._replace(effect_scale=0.0)))
    assert {effect.contrast: truth.value for effect, truth in none.items() if effect.estimand == "ate"} == {EARLY: 0.0, LATE: 0.0}
    # of one outcome, with missing cells, nothing is named
    alone = replace(law, each=law.each[:1], predictions=law.predictions._replace(further=(), presence=law.predictions.presence[1:]))
    alone = replace(alone, ranks=None, presence=PresenceLaw((0,), ((), ()), False))
    assert set(truths(source_of(alone, CELL))) == {Effect(name) for name in ("ate", "att", "atc", "ato")}
    (one,) = replicates(source_of(alone, CELL), method("tmle", "aipw"), CELL, 0, 0, [0])
    assert [(each.estimator, each.contrasts) for each in one.outcomes] == [(name, (Contrast(),)) for name in ("tmle", "aipw", COMPLETE)]


def test_weighted_estimators_answer_for_all_rows_and_complete_rows_do_not() -> None:
    """Sixty data sets of 600 rows: the young have small effects and are seldom seen again."""
    law, cell = study(), CELL._replace(n=600)
    source = source_of(law, cell)
    drawn = replicates(source, method("aipw", "tmle"), cell, 1, 0, range(60))
    table = to_table(cell.key, 0, drawn)
    assert table.column_names[5] == "outcome"
    assert set(by_series(table)) == {Series(name, of) for name in ("aipw", "tmle") for of in (EARLY, LATE)} | {Series(COMPLETE, LATE)}
    rows = {(row["estimator"], row["outcome"]): row for row in figures(table, [cell], [truths(source)])}
    for name in ("aipw", "tmle"):
        for outcome in ("early", "late"):
            row = rows[name, outcome]
            assert abs(row["bias"]) < 4 * row["bias_mcse"] + 0.06
            assert row["coverage"] > 0.85
            assert row["failures"] == 0.0
    complete, weighted = rows[COMPLETE, "late"], rows["aipw", "late"]
    assert complete["truth"] == weighted["truth"] == pytest.approx(2.0 * rows["aipw", "early"]["truth"])
    assert complete["bias"] > 0.15
    assert complete["bias"] > abs(weighted["bias"]) + 4 * weighted["bias_mcse"]
    ranked = {(place["outcome"], place["estimator"]) for place in places(table, [cell], [truths(source)], 0)}
    assert ranked == {(outcome, name) for name, outcome in rows}


def test_three_arms_and_a_learner_that_fits_fold_by_fold() -> None:
    law, cell = study(three_arms(), "binary"), CELL._replace(n=400, learner="boosted")
    source = source_of(law, cell)
    drawn = replicates(source, method("aipw", learner="boosted"), cell, 0, 0, range(3))
    rows = figures(to_table(cell.key, 0, drawn), [cell], [truths(source)])
    assert {(row["estimator"], row["outcome"], row["arm"], row["control"]) for row in rows} == {
        (name, outcome, *pair)
        for name, outcome in (("aipw", "early"), ("aipw", "late"), (COMPLETE, "late"))
        for pair in (("low", "none"), ("high", "none"), ("high", "low"))
    }
    for row in rows:
        assert row["joint_coverage"] is not None
        if row["outcome"] == "late":
            assert row["truth"] == pytest.approx(0.4 if row["control"] == "none" and row["arm"] == "high" else 0.2)


def test_a_replicate_depends_on_its_number_alone_and_failures_are_rows() -> None:
    source, cell = source_of(study(), CELL), CELL
    together = to_table("c", 0, replicates(source, method("tmle"), cell, 3, 0, range(3)))
    apart = [to_table("c", 0, replicates(source, method("tmle"), cell, 3, 0, [number])) for number in range(3)]
    assert together.to_pylist() == [row for table in apart for row in table.to_pylist()]
    small = CELL._replace(n=14)
    table = to_table("c", 0, replicates(source_of(study(), small), method("aipw"), small, 0, 0, range(4)))
    assert table.num_rows == 4 * 3
    assert None in table.column("estimate").to_pylist()


def test_noise_needs_residuals_of_every_outcome() -> None:
    assert source_of(study(), CELL._replace(noise=2.0)).noise == 2.0
    with pytest.raises(SpecError, match=r"noise of simulate must be \[1.0\] for a binary outcome; got 2."):
        source_of(study(late="binary"), CELL._replace(noise=2.0))


def test_estimators_of_one_arm_are_refused_where_outcomes_are_missing() -> None:
    roles = {"treatment": "drug", "outcomes": ["early", "late"], "missing_outcome": "ipcw"}
    values = spec_of("x.csv", "store", roles=roles, simulate={"estimators": ["tmle", "att"]})
    rule = r"estimators of simulate must be among or, ipw, aipw, tmle, adaptive where outcomes are missing; got 'att'\."
    with pytest.raises(SpecError, match=rule) as raised:
        check(Spec.model_validate(values))
    assert raised.value.hint == 'Leave it out, or leave the rows out: roles.missing_outcome = "drop".'
    check(Spec.model_validate(values | {"simulate": {"estimators": "all"}}))
    check(Spec.model_validate(values | {"roles": roles | {"missing_outcome": "drop"}}))
