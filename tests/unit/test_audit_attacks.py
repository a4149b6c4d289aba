"""The attacks: loud on releases that leak on purpose, quiet on fresh draws of the same law."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.audit.case import require_rows
from tasks.audit.finding import Finding, finding, judge
from tasks.audit.intervals import Interval
from tasks.audit.methods.distribution import n_leaked
from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.registry import names, resolve
from tests import leaky
from tests.leaky.world import case, categories

LEAKY = Path(leaky.__file__).parent
COVARIATES = ("membership", "reconstruction", "singling_out", "linkability")


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer the leaky synthesizers as another distribution would."""
    monkeypatch.syspath_prepend(str(LEAKY))


def run(name: str, of: object, seed: int = 0, **params: object) -> dict[str, Finding]:
    return {found.statistic: found for found in resolve("attack", name, params).run(of, np.random.default_rng(seed))}


def test_every_attack_of_the_report_has_its_file() -> None:
    assert {"membership", "mechanism", "reconstruction", "singling_out", "linkability", "distribution"} <= set(names("attack"))


@pytest.mark.parametrize("synthesizer", ["bootstrap", "leaky_copy", "leaky_jitter", "leaky_tree"])
def test_membership_of_an_overfitted_release(synthesizer: str) -> None:
    found = run("membership", case(synthesizer), trees=20)
    rate = found["tpr_at_0.01_fpr_density_ratio"]
    assert rate.value >= 5 * rate.baseline
    assert rate.ci_low >= 5 * rate.baseline
    assert rate.control < 5 * rate.baseline
    for statistic in ("auc_distance", "auc_density_ratio", "tpr_at_0.01_fpr_distance", "tpr_at_0.01_fpr_density_ratio"):
        assert found[statistic].verdict == "leak found", statistic
    # 600 holdout rows say nothing of one in a thousand, and no number is made up
    few = found["tpr_at_0.001_fpr_distance"]
    assert (few.value, few.verdict) == (None, "inconclusive")
    assert "needs 1,000 holdout rows, got 600" in few.detail


def test_a_few_copies_hide_from_the_auc_and_not_from_the_rate() -> None:
    found = run("membership", case("leaky_copy5", n=1000, seed=1), trees=20)
    assert found["tpr_at_0.01_fpr_distance"].verdict == "leak found"
    assert found["auc_classifier_ratio"].verdict != "leak found"


def test_membership_of_fresh_draws_is_chance() -> None:
    inside, leaks = [], 0
    for seed in range(8):
        found = run("membership", case("fresh", n=300, seed=seed), seed, trees=20)
        areas = [each for name, each in found.items() if name.startswith("auc")]
        inside += [each.ci_low <= 0.5 <= each.ci_high for each in areas]
        leaks += any(each.verdict == "leak found" for each in found.values())
    assert np.mean(inside) > 0.95
    assert leaks <= 2


def test_in_mode_full_treatment_and_outcome_count_too() -> None:
    plain = case("fresh", n=300)
    joint = replace(plain, mode="full", release=plain.training)
    covariates_alone = replace(plain, release=replace(plain.release, treatment=plain.training.treatment, outcome=plain.training.outcome))
    assert run("membership", joint, trees=20)["auc_density_ratio"].verdict == "leak found"
    assert run("membership", covariates_alone, trees=20)["auc_density_ratio"].verdict != "leak found"


def test_reconstruction_leaks_more_the_more_rows_are_released() -> None:
    means, controls = [], []
    for released in (100, 400, 3000):
        found = [
            run("reconstruction", case("leaky_copy", 300, released, seed, categories, holdout=75), seed, secret="w0") for seed in range(3)
        ]
        means.append(np.mean([each["accuracy_program"].value for each in found]))
        controls.append(np.mean([each["accuracy_program"].control for each in found]))
    assert means[0] + 0.05 < means[1]
    assert means[1] + 0.05 < means[2]
    assert means[2] > 0.85
    # 3 x 75 controls: four standard errors of 0.033
    assert all(abs(control - 0.5) < 0.14 for control in controls)
    assert found[0]["accuracy_program"].verdict == "leak found"
    assert "'the w0' is at its second level" in found[0]["accuracy_program"].detail


def test_reconstruction_of_fresh_draws_is_chance() -> None:
    found = [run("reconstruction", case("fresh", 300, 1000, seed, categories, holdout=75), seed, secret="w0") for seed in range(3)]
    for statistic in ("accuracy_program", "accuracy_forest"):
        assert abs(np.mean([each[statistic].value for each in found]) - 0.5) < 0.07
        assert sum(each[statistic].verdict == "leak found" for each in found) <= 1


def test_the_program_solves_what_the_counts_determine() -> None:
    """Where each target is alone in a cell and the release is the table itself, the bits are read off."""
    from tasks.audit.rebuilding import reconstruct

    quasi = np.array([[a, b] for a in range(4) for b in range(5)])
    bits = np.random.default_rng(0).random(20) < 0.5
    assert np.array_equal(reconstruct(quasi, quasi, bits, 2) >= 0.5, bits)
    # cells that nobody released say nothing and break nothing
    assert reconstruct(quasi, quasi[:3], bits[:3], 2).shape == (20,)


@pytest.mark.parametrize("name", ["singling_out", "linkability"])
def test_copies_are_singled_out_and_linked(name: str) -> None:
    found = run(name, case("leaky_copy"))
    for each in found.values():
        assert each.verdict == "leak found"
        assert each.value > each.control + 0.1
    quiet = [run(name, case("fresh", n=300, seed=seed), seed) for seed in range(6)]
    # 2.5 % each by chance
    assert sum(each.verdict == "leak found" for found in quiet for each in found.values()) <= 1


def test_linkability_of_one_column_says_nothing() -> None:
    given = case("fresh", n=100)
    narrow = {
        name: replace(getattr(given, name), covariates=getattr(given, name).covariates[["w0"]])
        for name in ("training", "holdout", "release")
    }
    only = run("linkability", replace(given, **narrow))["rate"]
    assert (only.value, only.verdict) == (None, "inconclusive")


def test_the_distribution_attack_tells_two_populations_apart() -> None:
    found = run("distribution", case("bootstrap", n=500), games=30, rows=200, drawn=400, apart=6.0)
    accuracy, leaked = found["accuracy"], found["n_leaked"]
    assert accuracy.value > 0.8
    assert accuracy.verdict == "leak found"
    assert accuracy.control < accuracy.value
    assert leaked.value is None or leaked.value > 2
    assert leaked.ci_low > 0
    # worlds that are hardly two can't be told apart
    close = run("distribution", case("bootstrap", n=500), games=30, rows=200, drawn=400, apart=0.01)["accuracy"]
    assert close.ci_low < 0.5


def test_n_leaked_follows_its_formula() -> None:
    assert n_leaked(0.5, 0.4, 0.5) == 0
    assert n_leaked(0.3, 0.4, 0.5) == 0
    assert n_leaked(1.0, 0.4, 0.5) == float("inf")
    # the figures of shares .5 and .4 in the paper's notation
    assert [round(n_leaked(w, 0.4, 0.5), 1) for w in (0.75, 0.9, 0.99)] == [1.6, 5.6, 17.7]


@pytest.mark.parametrize("name", [*COVARIATES, "mechanism"])
def test_the_same_generator_finds_the_same(name: str) -> None:
    given = case("fresh", n=150)
    fewer = {"trees": 20} if name in ("membership", "mechanism") else {}
    assert run(name, given, 3, **fewer) == run(name, given, 3, **fewer)


def test_too_few_rows_are_refused() -> None:
    given = case("fresh", n=80)
    require_rows(given)
    small = replace(given, holdout=given.holdout.take(np.arange(49)))
    with pytest.raises(EstimationError, match="holdout rows of audit must be at least 50; got 49"):
        require_rows(small)


def test_an_unknown_secret_is_refused() -> None:
    with pytest.raises(SpecError, match="got 'w9'"):
        run("reconstruction", case("fresh", n=100), secret="w9")


@pytest.mark.parametrize(
    ("excess", "verdict"),
    [
        (Interval(0.2, 0.01, 0.4), "leak found"),
        (Interval(0.2, 0.0, 0.4), "inconclusive"),
        (Interval(0.0, -0.04, 0.04), "none found at this size"),
        (Interval(0.0, -0.06, 0.06), "inconclusive"),
        (Interval(float("nan"), float("nan"), float("nan")), "inconclusive"),
    ],
)
def test_the_verdict_follows_from_the_interval(excess: Interval, verdict: str) -> None:
    assert judge(excess, 0.05) == verdict


def test_a_number_that_can_clear_nobody_clears_nobody() -> None:
    told = {"baseline": 0.5, "control": 0.5, "tolerance": 0.1, "confidence": 0.95, "targets": 9, "controls": 9}
    value = Interval(0.5, 0.48, 0.52)
    assert finding("x", "y", value, **told).verdict == "none found at this size"
    assert finding("x", "y", value, **told, can_clear=False).verdict == "inconclusive"
    assert finding("x", "y", None, **told).verdict == "inconclusive"


def test_missing_cells_and_categories_reach_the_models() -> None:
    from tasks.audit.encoding import discretise, matrix

    frame = pd.DataFrame({"w0": [1.0, np.nan, 3.0, 9.0], "w1": pd.Categorical(["b", None, "a", "b"], categories=["a", "b"])})
    assert matrix(frame)[:, 1].tolist() == [1, -1, 0, 1]
    assert np.isnan(matrix(frame)[1, 0])
    (codes,) = discretise([frame], frame, 2)
    assert codes[:, 1].tolist() == [2, 0, 1, 2]
    assert codes[1, 0] == 0
    assert codes[3, 0] > codes[0, 0] > 0
