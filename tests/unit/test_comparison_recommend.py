"""Summaries over seeds, the pitfall, and what is recommended with what certainty."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tasks.comparison.recommend import difference, recommend
from tasks.comparison.row import ESTIMATORS, PairError, Row, measured_row
from tasks.comparison.summary import summarize
from tasks.comparison.variants import Variant
from tasks.contract.results import Gate


def row(name: str = "forest", mode: str = "hybrid", seed: int = 0, **settings) -> Row:
    """A row whose estimates are all off by ``error`` standard errors of the source (which are 2)."""
    error = settings.pop("error", 0.1)
    values = {
        "synthesizer": name,
        "mode": mode,
        "seed": seed,
        "tstr": 0.70,
        "tstr_source": 0.71,
        "tstr_metric": "auc",
        "c2st_auc": 0.55,
        "dcr_share": 0.5,
        "source_effect": 10.0,
        "source_se": 2.0,
        "effect_error": dict.fromkeys(("or", "ipw", "aipw", "tmle"), 2.0 * error),
        "release_se": dict.fromkeys(("or", "ipw", "aipw", "tmle"), 0.5),
    }
    return Row.model_validate(values | settings)


def chosen(rows: list[Row]):
    return recommend(summarize(rows), rows)


def test_means_have_their_monte_carlo_errors() -> None:
    errors = [0.1, 0.4, -0.2]
    found = summarize([row(seed=seed, error=error, tstr=0.7 + error) for seed, error in enumerate(errors)])[0]
    assert found.scaled["tmle"].mean == pytest.approx(np.mean(errors))
    assert found.errors["or"].mcse == pytest.approx(2 * np.std(errors, ddof=1) / math.sqrt(3))
    assert found.figures["tstr"].mean == pytest.approx(0.8)
    squares = np.square(errors)
    assert found.size.mean == pytest.approx(math.sqrt(squares.mean()))
    assert found.size.mcse == pytest.approx(squares.std(ddof=1) / math.sqrt(3) / 2 / math.sqrt(squares.mean()))
    assert summarize([row()])[0].size.mcse is None


def test_good_prediction_with_a_wrong_effect_is_the_pitfall() -> None:
    wrong = {"mode": "full", "error": -3.0}
    good = [row(seed=seed, tstr=0.695, **wrong) for seed in range(3)]
    assert summarize(good)[0].pitfall
    honest = summarize([row(seed=seed, tstr=0.65, **wrong) for seed in range(3)])[0]
    assert honest.off
    assert not honest.predicts
    assert not summarize([row(seed=seed, mode="full", error=1.0) for seed in range(3)])[0].off
    rmse = {"tstr_metric": "rmse", "tstr_source": 4.0}
    assert summarize([row(tstr=4.1, error=3.0, **rmse)])[0].pitfall
    assert not summarize([row(tstr=4.3, error=3.0, **rmse)])[0].pitfall


def test_an_effect_is_not_called_wrong_within_the_comparisons_own_noise() -> None:
    """Beyond two standard errors of a large source, but not of the small releases."""
    settings = {"error": 3.0, "source_se": 0.1, "effect_error": dict.fromkeys(("or", "ipw", "aipw", "tmle"), 0.3)}
    assert not summarize([row(**settings)])[0].off
    assert summarize([row(**settings, release_se=dict.fromkeys(("or", "ipw", "aipw", "tmle"), 0.05))])[0].off
    # seeds that disagree wildly prove nothing
    spread = [row(seed=seed, error=error) for seed, error in enumerate((-4.0, 9.0, 3.0))]
    assert not summarize(spread)[0].off


def test_the_smallest_effect_error_wins_where_it_is_smaller_beyond_chance() -> None:
    errors = {"copula": (1.9, 2.1, 2.0), "forest": (0.1, 0.2, 0.15)}
    rows = [
        row(name, seed=seed, error=error, c2st_auc=0.51 if name == "copula" else 0.6)
        for name in errors
        for seed, error in enumerate(errors[name])
    ]
    found = chosen(rows)
    assert (found.synthesizer, found.mode, found.undecided) == ("forest", "hybrid", ())
    assert "copula (2.00 ± 0.06) is larger beyond chance" in found.reason


def test_among_errors_that_are_alike_the_most_faithful_covariates_win() -> None:
    errors = {"copula": (0.10, 0.12, 0.3), "forest": (0.2, 0.25, 0.15)}
    looks = {"copula": (0.62, 0.63, 0.61), "forest": (0.53, 0.52, 0.53)}
    rows = [row(name, seed=seed, error=errors[name][seed], c2st_auc=looks[name][seed]) for name in errors for seed in range(3)]
    found = chosen(rows)
    assert found.synthesizer == "forest"
    assert found.undecided == ("copula",)
    assert "The error of copula (0.20 ± 0.07) is about the same" in found.reason
    assert "harder to tell from real ones (two-sample AUC 0.527 ± 0.003 against 0.620 ± 0.006 of copula)" in found.reason
    # with looks alike too, the reason says so
    same = [each.model_copy(update={"c2st_auc": 0.53 + 0.01 * ((each.seed + (each.synthesizer == "copula")) % 2)}) for each in rows]
    assert "within error, so the smaller error decided" in chosen(same).reason
    assert chosen(same).synthesizer == min(("copula", "forest"), key=lambda name: np.square(errors[name]).mean())


def test_the_recommendation_agrees_with_its_table() -> None:
    """An error of 1.18 is not preferred to one of 0.64, however faithful the covariates; 0.559 and 0.817 are apart."""
    errors = {"forest": (0.4, 1.2, 1.6), "copula": (0.9, 0.2, 0.6)}
    looks = {"forest": (0.545, 0.572, 0.560), "copula": (0.775, 0.858, 0.818)}
    rows = [row(name, seed=seed, error=errors[name][seed], c2st_auc=looks[name][seed]) for name in errors for seed in range(3)]
    found = chosen(rows)
    assert found.synthesizer == "copula"
    assert found.undecided == ("forest",)
    assert "It is the smallest error. That of forest (1.18 ± " in found.reason
    assert "within its error" not in found.reason
    # where the errors are alike, these covariates are told apart by the errors that the table shows
    alike = [each.model_copy(update={"effect_error": rows[0].effect_error}) for each in rows]
    reason = chosen(alike).reason
    assert reason.startswith("Take forest")
    assert "harder to tell from real ones (two-sample AUC 0.559 ± 0.008 against 0.817 ± 0.024 of copula)" in reason


def test_only_the_smallest_error_is_called_so() -> None:
    """Covariates decide between a and b, whose errors are alike; b's is not the smallest, and that of c may be larger by chance."""
    errors = {"a": (0.10, 0.12, 0.11), "b": (0.05, 0.30, 0.10), "c": (0.1, 0.2, 3.0)}
    rows = [
        row(name, seed=seed, error=errors[name][seed], c2st_auc=(0.52 if name == "b" else 0.7) + 0.001 * seed)
        for name in errors
        for seed in range(3)
    ]
    found = chosen(rows)
    assert found.synthesizer == "b"
    assert "The error of a (0.11 ± 0.01) is about the same" in found.reason
    assert "That of c (1.74 ± " in found.reason
    assert "smallest error" not in found.reason
    without = chosen([each for each in rows if each.synthesizer != "a"])
    assert "It is the smallest error. That of c" in without.reason


def test_one_seed_takes_the_smallest_error_and_says_that_it_cannot_tell() -> None:
    found = chosen([row("copula", error=0.01, c2st_auc=0.7), row("forest", error=5.0, c2st_auc=0.6)])
    assert found.synthesizer == "copula"
    assert "chance may explain it: one seed can't tell" in found.reason
    near = chosen([row("copula", error=0.01, c2st_auc=0.7), row("forest", error=0.1, c2st_auc=0.6)])
    assert near.synthesizer == "forest"
    assert "in one seed" in near.reason


def test_what_fails_its_gates_is_left_out_however_good_its_effect() -> None:
    rows = [row("bootstrap", seed=seed, error=0.0, c2st_auc=0.5, gates_failed=("near_copies", "closeness_z")) for seed in range(3)]
    rows += [row("forest", seed=seed, error=1.0, gates_failed=("closeness_z",) if seed == 0 else ()) for seed in range(3)]
    found = chosen(rows)
    assert found.synthesizer == "forest"
    assert found.left_out == {"bootstrap": "fails closeness_z in 3, near_copies in 3 of 3 seeds"}
    assert "Left out: bootstrap fails closeness_z in 3" in found.reason
    nobody = chosen(rows[:3])
    assert nobody.synthesizer is None
    assert "no hybrid qualifies" in nobody.reason


def test_gates_of_the_source_leave_nobody_out_and_are_told() -> None:
    found = chosen([row(seed=seed, gates_failed=("source_overlap",)) for seed in range(2)])
    assert found.synthesizer == "forest"
    assert "source_overlap fails whatever the synthesizer" in found.reason


def test_full_mode_is_never_recommended() -> None:
    rows = [row(mode="full", error=0.0)]
    assert chosen(rows).synthesizer is None
    assert "mode 'hybrid' did not take part" in chosen(rows).reason


def test_a_variant_that_could_not_be_made_is_told_with_its_reason() -> None:
    rows = [row(), Row(synthesizer="copula", mode="hybrid", seed=0, refused="rows of synthesizer 'copula' must be at least 20; got 12.")]
    found = chosen(rows)
    assert found.left_out["copula"] == "could not be made (rows of synthesizer 'copula' must be at least 20; got 12)"
    assert summarize(rows)[1].seeds == 0
    partly = summarize([row(seed=0), Row(synthesizer="forest", mode="hybrid", seed=1, refused="why")])[0]
    assert (partly.seeds, partly.refused) == (1, ("why",))


def test_differences_are_paired_by_seed() -> None:
    left = {seed: row(seed=seed, c2st_auc=0.5 + 0.1 * seed) for seed in range(3)}
    right = {seed: row(seed=seed, c2st_auc=0.49 + 0.1 * seed) for seed in range(3)} | {9: row(seed=9, c2st_auc=0.0)}
    found = difference(left, right, lambda each: each.c2st_auc)
    assert found.mean == pytest.approx(0.01)
    assert found.high - found.low < 1e-9
    assert difference({}, right, lambda each: each.c2st_auc) is None
    assert difference({0: left[0]}, right, lambda each: each.c2st_auc).low == -math.inf


def test_a_row_is_put_together_from_the_records() -> None:
    def effects(shift: float) -> dict:
        names = ("or", "ipw", "aipw", "tmle", "adaptive")
        ates = [{"estimand": "ate", "estimator": name, "estimate": 1.0 + at + shift, "se": 0.5} for at, name in enumerate(names)]
        return {"estimates": [{"estimand": "att", "estimator": "att", "estimate": 9.0, "se": 1.0}, *ates]}

    gate = {"threshold": 0.0, "rule": "at most", "value": 1.0}
    found = measured_row(
        Variant("x", 0, "full", 3),
        {"source": effects(0.0), "release": effects(0.25)},
        "adaptive",
        {"ledger": [{"name": "contrast", "value": 0.1, "se": 0.2}, {"name": "covariate_law", "value": -0.1, "se": 0.3}],
         "tstr": [{"metric": "rmse", "tstr": {"value": 4.0}, "trtr": {"value": 3.9}}]},
        {"c2st": {"auc": 0.6, "ci_low": 0.5, "ci_high": 0.7}, "dcr_share": 0.48},
        {"cate": {"mean": {"ratio": 1.2}}},
        [Gate(name="near_copies", passed=False, status="failed", **gate), Gate(name="levels", passed=True, status="passed", **gate)],
        {"fit": {"cpu_seconds": 1.5, "peak_mib": 10.0}, "sample": {"cpu_seconds": 0.5, "peak_mib": 20.0}},
    )  # fmt: skip
    assert found.source_effect == 5.0
    assert found.effect_error == pytest.approx({"or": -3.75, "ipw": -2.75, "aipw": -1.75, "tmle": -0.75})
    assert (found.contrast_term, found.covariate_se, found.c2st_auc, found.dcr_share, found.cate_ratio) == (0.1, 0.3, 0.6, 0.48, 1.2)
    assert (found.gates_failed, found.fit_seconds, found.sample_seconds, found.peak_mib) == (("near_copies",), 1.5, 0.5, 20.0)


def test_of_several_arms_the_worst_pair_decides() -> None:
    """The first pair is kept, the second is off: the summary shows the second, and its size rests on both."""
    pairs = tuple(
        PairError(
            arm=arm,
            control="none",
            effect_error=dict.fromkeys(ESTIMATORS, error),
            release_se=dict.fromkeys(ESTIMATORS, 0.1),
            source_effect=1.0,
            source_se=0.5,
        )
        for arm, error in (("low", 0.1), ("high", -2.0))
    )
    first = Row(
        synthesizer="copula", mode="hybrid", seed=1, pairs=pairs, tstr=1.0, tstr_source=1.0, tstr_metric="rmse",
        **{name: getattr(pairs[0], name) for name in ("effect_error", "release_se", "source_effect", "source_se")},
    )  # fmt: skip
    (summary,) = summarize([first, first.model_copy(update={"seed": 2})])
    assert (summary.arm, summary.control) == ("high", "none")
    assert summary.scaled["tmle"].mean == -4.0
    assert summary.off
    assert summary.pitfall
    assert [pair.wrong for pair in summary.pairs] == [(), ESTIMATORS]
    assert summary.size is not None
    assert summary.size.mean == pytest.approx(math.sqrt((0.2**2 + 4.0**2) / 2))
    assert summary.figures["source_effect"].mean == 1.0
