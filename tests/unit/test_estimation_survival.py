"""Survival curves: against closed forms and statsmodels, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from statsmodels.duration.survfunc import SurvfuncRight

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.survival import event_grid, restricted_mean, survival_at
from tasks.estimation.joint import joint_quantile
from tasks.estimation.survival.analysis import analyse_survival
from tasks.estimation.survival.answer import curve_points, survival_answer
from tasks.estimation.survival.kaplan_meier import influence, kaplan_meier
from tasks.estimation.survival.methods import ipcw
from tasks.estimation.survival.protocol import ArmCase
from tasks.estimation.survival.table import read_survival
from tasks.nuisance.curve_sums import blocks, curve_sums
from tasks.targeting.influence import cluster_error
from tasks.targeting.survival import ArmData, estimate_curve, target_curve, uncensored

ROLES = {"treatment": "a", "time": "t", "event": "e", "covariates": ("x", "z")}


def confounded(n: int, seed: int) -> pd.DataFrame:
    """Exponential times; treatment, event and censoring depend on x."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=n), rng.normal(size=n)
    a = (rng.random(n) < 1 / (1 + np.exp(-0.8 * x))).astype(int)
    t = rng.exponential(1 / (0.10 * np.exp(0.7 * x - 0.5 * a)))
    c = np.minimum(rng.exponential(1 / (0.05 * np.exp(0.6 * x - 0.3 * a))), 12.0)
    return pd.DataFrame({"x": x, "z": z, "a": a, "t": np.minimum(t, c), "e": (t <= c).astype(int)})


def tied(n: int, seed: int) -> pd.DataFrame:
    """Whole days with many ties."""
    rng = np.random.default_rng(seed)
    t, c = rng.integers(1, 15, n), rng.integers(1, 20, n)
    frame = pd.DataFrame({"t": np.minimum(t, c), "e": (t <= c).astype(int), "a": np.arange(n) % 2})
    return frame.assign(x=rng.normal(size=n), z=rng.normal(size=n))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_kaplan_meier_and_greenwood_are_those_of_statsmodels(seed: int) -> None:
    frame = tied(300, seed)
    time, event = frame.t.to_numpy(float), frame.e.to_numpy(bool)
    steps = kaplan_meier(time, event, np.ones(300))
    peer = SurvfuncRight(time, event)
    np.testing.assert_allclose(steps.survival, peer.surv_prob, rtol=1e-12)
    for at in (3.0, 8.0, 12.0):
        values = influence(steps, time, event, np.full(len(steps.times), steps.at(at)), at)
        place = np.searchsorted(peer.surv_times, at, side="right") - 1
        assert np.sqrt(np.sum(values**2)) == pytest.approx(peer.surv_prob_se[place], rel=1e-10)
        assert abs(values.sum()) < 1e-10


def test_the_area_under_a_curve_is_its_integral() -> None:
    frame = tied(200, 3)
    steps = kaplan_meier(frame.t.to_numpy(float), frame.e.to_numpy(bool), np.ones(200))
    fine = np.linspace(0.0, 10.0, 200_001)
    integral = np.mean([steps.at(time) for time in (fine[:-1:200] + 1e-9)]) * 10.0
    assert float(steps.area(0.0, 10.0)) == pytest.approx(integral, abs=0.01)
    assert float(steps.area(10.0, 10.0)) == 0.0


def test_ipcw_without_covariates_is_weighted_kaplan_meier() -> None:
    frame = tied(400, 4)
    rng = np.random.default_rng(0)
    time, event, share = frame.t.to_numpy(float), frame.e.to_numpy(bool), rng.uniform(0.3, 0.9, 400)
    here = frame.a.to_numpy() == 1
    grid = event_grid(time, event, 12.0, (), most=50)
    assert len(grid.edges) == 12  # each event time ends a period
    censoring = np.broadcast_to(rng.uniform(0.0, 0.1, 12), (400, 12))
    data = ArmData(here, grid.counts(time, event), share, np.full((400, 12), 0.1), uncensored(censoring, share, 1e-6), np.ones(400))
    functionals = [survival_at(grid, 5.0), survival_at(grid, 12.0)]
    fit = ipcw.build(ipcw.Params()).estimate(ArmCase(time, event, grid, data), functionals)
    peer = kaplan_meier(time[here], event[here], 1.0 / share[here])
    np.testing.assert_allclose(fit.points, [peer.at(5.0), peer.at(12.0)], rtol=1e-9)


def test_aipw_with_no_model_of_the_outcome_and_known_weights_is_unbiased() -> None:
    """Double robustness in one arm of a trial: hazards are wrong, g and G are right."""
    gaps = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        n = 2_000
        a, t, c = rng.integers(0, 2, n), rng.exponential(10.0, n), rng.uniform(0.0, 30.0, n)
        time, event = np.minimum(t, c), t <= c
        grid = event_grid(time, event, 10.0, (5.0,), most=20)
        edges = np.array(grid.edges)
        kept = np.broadcast_to(1.0 - (edges - grid.widths / 2.0) / 30.0, (n, len(edges)))
        data = ArmData(a == 1, grid.counts(time, event), np.full(n, 0.5), np.full((n, len(edges)), 0.2), kept, np.ones(n))
        for estimate in (estimate_curve, target_curve):
            fit = estimate(data, [survival_at(grid, 5.0), restricted_mean(grid)])
            gaps.append(fit.points - [np.exp(-0.5), 10.0 * (1.0 - np.exp(-1.0))])
    mean, error = np.mean(gaps, axis=0), np.std(gaps, axis=0) / np.sqrt(40)
    assert np.all(np.abs(mean) < 3.5 * error)


def test_targeted_curves_fall_and_solve_their_equations() -> None:
    table = read_survival(confounded(600, 1), ROLES)
    analysis = analyse_survival(table, 10.0, (3.0, 7.0), ("tmle",), folds=3, learner="glm", periods=12)
    assert analysis.unsolved < 0.02
    for curve in analysis.curves:
        assert np.all(np.diff(curve.curve) <= 1e-12)
        assert np.all((curve.curve > 0.0) & (curve.curve <= 1.0))


def test_adjustment_removes_confounding() -> None:
    table = read_survival(confounded(4_000, 2), ROLES)
    analysis = analyse_survival(table, 10.0, (), learner="glm", folds=3, periods=15)
    found = {one.estimator: one for one in analysis.estimates if one.estimand == "rmst_difference"}
    x = np.random.default_rng(0).normal(size=400_000)
    rates = [0.10 * np.exp(0.7 * x - 0.5 * a) for a in (0, 1)]
    truth = np.mean((1 - np.exp(-rates[1] * 10)) / rates[1]) - np.mean((1 - np.exp(-rates[0] * 10)) / rates[0])
    assert abs(found["km"].estimate - truth) > 5 * found["km"].se
    for name in ("ipcw", "aipw", "tmle"):
        assert abs(found[name].estimate - truth) < 3 * found[name].se
    assert found["tmle"].se < found["ipcw"].se


def test_the_order_of_rows_and_the_name_of_the_control_change_what_they_must() -> None:
    frame = confounded(400, 3)
    first = analyse_survival(read_survival(frame, ROLES), 8.0, folds=2, learner="glm", periods=8)
    shuffled = analyse_survival(read_survival(frame.sample(frac=1, random_state=1), ROLES), 8.0, folds=2, learner="glm", periods=8)
    assert first.estimates == shuffled.estimates
    other = analyse_survival(read_survival(frame, ROLES | {"control": 1}), 8.0, estimators=("km",), folds=2)
    swapped = next(one for one in other.estimates if one.estimand == "rmst_difference")
    straight = next(one for one in first.estimates if one.estimand == "rmst_difference" and one.estimator == "km")
    assert swapped.estimate == pytest.approx(-straight.estimate, abs=1e-12)


def test_simultaneous_intervals_lie_between_one_and_bonferroni() -> None:
    rng = np.random.default_rng(0)
    independent = rng.normal(size=(5_000, 4))
    assert joint_quantile(independent, np.ones(5_000)) == pytest.approx(2.49, abs=0.06)  # max of four independent normals
    assert joint_quantile(np.repeat(independent[:, :1], 4, axis=1), np.ones(5_000)) == pytest.approx(1.96, abs=0.05)


def test_four_arms_of_a_public_trial() -> None:
    """ACTG 175: restricted means by Kaplan and Meier as published packages give them; adjusted ones agree within chance."""
    frame = pd.read_csv(Path(__file__).parents[1] / "data" / "actg175.csv")
    roles = {"treatment": "arms", "time": "days", "event": "cens", "covariates": ("age", "karnof", "cd40", "symptom")}
    analysis = analyse_survival(read_survival(frame, roles), 1_000.0, (), ("km", "tmle"), folds=2, learner="glm", periods=10)
    means = {(one.estimator, one.arm): one for one in analysis.estimates if one.estimand == "rmst"}
    expected = {"0": (827.9, 12.1), "1": (921.0, 8.4), "2": (918.4, 8.7), "3": (902.6, 9.1)}
    for arm, (mean, se) in expected.items():
        assert means["km", arm].estimate == pytest.approx(mean, abs=0.06)
        assert means["km", arm].se == pytest.approx(se, abs=0.06)
        assert abs(means["tmle", arm].estimate - mean) < se
    pairs = {
        (one.arm, one.control): one.estimate for one in analysis.estimates if (one.estimator, one.estimand) == ("tmle", "rmst_difference")
    }
    assert len(pairs) == 6
    assert pairs["2", "0"] == pytest.approx(pairs["2", "1"] + pairs["1", "0"], abs=1e-9)


def test_bands_hold_whole_curves() -> None:
    """Kaplan and Meier's curve of exponential times: the band holds all of it in 95 % of tables, pointwise intervals in far fewer."""
    band, alone, tables = 0, 0, 150
    for seed in range(tables):
        rng = np.random.default_rng(seed)
        t, c = rng.exponential(10.0, 300), rng.uniform(5.0, 30.0, 300)
        frame = pd.DataFrame({"t": np.minimum(t, c), "e": (t <= c).astype(int), "a": np.arange(300) % 2, "x": 0.0, "z": 0.0})
        curve = analyse_survival(read_survival(frame, ROLES), 9.0, estimators=("km",), periods=12).curves[0]
        truth = np.exp(-curve.times / 10.0)
        band += bool(np.all((curve.low <= truth) & (truth <= curve.high)))
        alone += bool(np.all(np.abs(curve.curve - truth) <= 1.96 * curve.se))
    assert abs(band / tables - 0.95) < 3.5 * np.sqrt(0.05 * 0.95 / tables) + 0.01
    assert alone < band - 10


def test_few_rows_at_risk_are_not_told() -> None:
    analysis = analyse_survival(read_survival(tied(60, 5), ROLES), estimators=("km",), folds=2)
    points = [point for curve in analysis.curves for point in curve_points(curve)]
    assert any(point["at_risk"] is None for point in points)
    assert all(point["at_risk"] is None or point["at_risk"] >= 5 for point in points)
    reply, lines = survival_answer(analysis, (), {"learner": "glm", "periods": 12})
    assert reply["n"] == 60
    assert any("rmst_difference" in line for line in lines)


def changed(**columns: object) -> pd.DataFrame:
    return tied(80, 6).assign(**columns)


@pytest.mark.parametrize(
    ("frame", "roles", "options", "message"),
    [
        (changed(t=-1.0), {}, {}, "must be at least 0; got 80 negative"),
        (changed(e=2), {}, {}, "must be 1 for an event and 0 for censoring"),
        (changed(e=[None] * 3 + [1] * 77), {}, {}, "event 'e' of the frame must be known in every row; got 3 missing"),
        (changed(t=[None] * 2 + [1.0] * 78), {}, {}, "time 't' of the frame must be known in every row; got 2 missing"),
        (changed(t="later"), {}, {}, "must be a number"),
        (changed(e=np.arange(80) % 2), {}, {}, "arm '0' of 'a' must have an event; got only censored rows"),
        (changed(), {}, {"horizon": 1_000.0}, "The largest usable horizon is"),
        (changed(), {}, {"horizon": 0.0}, "must be a time above 0"),
        (changed(), {}, {"horizon": 5.0, "times": (6.0,)}, "times of the outcome 't' must be in (0, 5]; got 6"),
        (changed(a=[f"arm {at % 9}" for at in range(80)]), {}, {}, "must be 2 to 8; got 9"),
        (changed(a=["low", "high"] * 40), {}, {}, "control of roles must be one of the labels"),
        (changed(), {"time": "x"}, {}, "a column with two"),
        (changed(), {"event": "died"}, {}, "column 'died' of the frame must be there"),
        (changed(), {}, {"estimators": ("cox",)}, "cox"),
    ],
)
def test_bad_input_gets_a_clear_error(frame: pd.DataFrame, roles: dict, options: dict, message: str) -> None:
    with pytest.raises((EstimationError, SpecError)) as caught:
        analyse_survival(read_survival(frame, ROLES | roles), **{"estimators": ("km",), **options})
    assert message in f"{caught.value.message} {caught.value.hint}"


def test_times_of_zero_and_text_answers_are_read() -> None:
    frame = tied(100, 7)
    frame.loc[:4, "t"] = 0
    frame["e"] = frame.e.map({0: "no", 1: "yes"})
    analysis = analyse_survival(read_survival(frame, ROLES), 8.0, estimators=("km", "aipw"), folds=2, learner="glm")
    assert all(np.isfinite(one.estimate) for one in analysis.estimates)


def test_the_face_draws_the_curves_of_a_table() -> None:
    import waymint

    path = Path(__file__).parents[1] / "data" / "actg175.csv"
    result = waymint.estimate(
        path, treatment="arms", control=0, outcome="days", outcome_kind="survival", event="cens", horizon=1_000.0, times=(365.0,),
        covariates=("age", "cd40"), estimators=("km",), progress=False,
    )  # fmt: skip
    assert set(result.frame()["estimand"]) == {"survival", "risk_difference", "rmst", "rmst_difference"}
    assert result.plot().axes[0].get_legend_handles_labels()[1] == ["arm 0", "arm 1", "arm 2", "arm 3"]
    assert result.curves()["arm"].nunique() == 4
    assert len(result.hazard_ratios()) == 6
    assert result.tests()["p_value"].min() < 1e-6
    assert "up to 1000" in result.headline()


def test_rows_of_one_cluster_say_no_more_than_once() -> None:
    """Each row three times, as one cluster: the same estimates, curves and errors, but for G / (G - 1) and t."""
    frame = tied(200, 5)
    once = analyse_survival(read_survival(frame, ROLES), 12.0, (5.0,), ("km",))
    thrice = pd.concat([frame] * 3, ignore_index=True)
    clusters = np.tile(np.arange(200, dtype=np.uint64), 3)
    again = analyse_survival(read_survival(thrice, ROLES, None, clusters), 12.0, (5.0,), ("km",))
    weighted = analyse_survival(read_survival(frame, ROLES, np.full(200, 2.5)), 12.0, (5.0,), ("km",))
    for one, other, heavy in zip(once.estimates, again.estimates, weighted.estimates, strict=True):
        assert other.estimate == pytest.approx(one.estimate, rel=1e-12)
        assert other.se == pytest.approx(one.se, rel=1e-9)
        assert (other.ci_high - other.estimate) / other.se > (one.ci_high - one.estimate) / one.se or other.ci_high == 1.0
        assert heavy[5:9] == pytest.approx(one[5:9], rel=1e-9)
    for one, other in zip(once.curves, again.curves, strict=True):
        np.testing.assert_allclose(other.se, one.se, rtol=1e-9, atol=1e-15)


def test_sums_over_clusters_give_the_error_of_clusters_in_whatever_blocks() -> None:
    rng = np.random.default_rng(6)
    clusters = np.repeat(np.arange(3_000, dtype=np.uint64), rng.integers(1, 9, 3_000))
    n = len(clusters)
    values, w = rng.normal(size=(n, 2)) + rng.normal(size=(3_000, 2))[clusters.astype(int)], rng.uniform(0.5, 2.0, n)
    total = None
    for here in blocks(n, clusters):
        part = curve_sums(values[here], w[here], clusters[here])
        total = part if total is None else total.plus(part)
    assert total is not None
    mean, se = total.estimate()
    for column in range(2):
        assert mean[column] == pytest.approx(np.average(values[:, column], weights=w))
        assert se[column] == pytest.approx(cluster_error(values[:, column] - mean[column], w, clusters)[0])
    cuts = [here.start for here in blocks(n, clusters)][1:]
    assert len(cuts) == n // 8_192
    assert all(clusters[at] != clusters[at - 1] for at in cuts)
