"""Log-rank tests and Cox's ratios: against statsmodels, derivatives and what they reduce to."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.duration.survfunc import survdiff

from tasks.estimation.survival.comparison import compare_hazards
from tasks.estimation.survival.cox import fit_cox
from tasks.estimation.survival.logrank import logrank_test
from tasks.estimation.survival.risk_sets import ArmRows


def trial(n: int, seed: int, effect: float = 0.4, tied: bool = True) -> ArmRows:
    """Exponential times of three arms in three strata, whole days where tied."""
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 3, n).astype(np.int8)
    t, c = rng.exponential(10.0 / np.exp(effect * a)), rng.exponential(20.0, n)
    time = np.minimum(t, c)
    return ArmRows(a, np.ceil(time) if tied else time, t <= c, strata=rng.integers(0, 3, n))


@pytest.mark.parametrize("stratified", [False, True])
def test_the_test_is_that_of_statsmodels(stratified: bool) -> None:
    rows = trial(300, 1)
    strata = rows.strata if stratified else None
    ours = logrank_test(rows._replace(strata=strata), 3)
    statistic, p_value = survdiff(rows.time, rows.event, rows.a, strata=strata)
    assert ours is not None
    assert (ours.statistic, ours.p_value) == (pytest.approx(statistic, rel=1e-10), pytest.approx(p_value, rel=1e-8))


@pytest.mark.parametrize("stratified", [False, True])
def test_ratios_are_those_of_statsmodels(stratified: bool) -> None:
    rows = trial(300, 2)
    strata = rows.strata if stratified else None
    ours = fit_cox(rows._replace(strata=strata), 3)
    dummies = np.column_stack([rows.a == arm for arm in (1, 2)]).astype(float)
    peer = PHReg(rows.time, dummies, status=rows.event, strata=strata, ties="efron").fit()
    assert ours is not None
    np.testing.assert_allclose(ours.coefficients, peer.params, atol=1e-6)
    np.testing.assert_allclose(np.sqrt(np.diag(ours.covariance)), peer.bse, rtol=1e-6)


@pytest.mark.parametrize("tied", [False, True])
def test_influence_values_are_derivatives_by_the_weights_of_rows(tied: bool) -> None:
    rows = trial(80, 3, tied=tied)
    w = np.random.default_rng(0).uniform(0.5, 2.0, 80)
    fit = fit_cox(rows._replace(weights=w), 3)
    assert fit is not None
    for row in range(0, 80, 9):
        step = np.zeros(80)
        step[row] = 1e-5
        up, down = (fit_cox(rows._replace(weights=w + side * step), 3) for side in (1.0, -1.0))
        assert up is not None
        assert down is not None
        np.testing.assert_allclose(fit.values[row] / w.sum(), (up.coefficients - down.coefficients) / 2e-5, atol=1e-6)


def test_weights_that_are_copies_give_the_ratio_of_the_copied_rows() -> None:
    """Without ties a weight of two is a row twice over, up to how the two of them tie."""
    rows = trial(200, 4, tied=False)
    one, twice = fit_cox(rows, 3), fit_cox(rows._replace(weights=np.full(200, 2.0)), 3)
    assert one is not None
    assert twice is not None
    np.testing.assert_allclose(one.coefficients, twice.coefficients, atol=1e-10)
    np.testing.assert_allclose(one.values, twice.values, atol=1e-8)


def test_robust_errors_and_tests_agree_with_plain_ones_where_rows_are_independent() -> None:
    rows = trial(4_000, 5, effect=0.1, tied=False)
    plain = compare_hazards(rows, ("none", "low", "high"))
    robust = compare_hazards(rows._replace(clusters=np.arange(4_000, dtype=np.uint64)), ("none", "low", "high"))
    assert [(one.arm, one.control) for one in plain.tests] == [(None, None), ("low", "none"), ("high", "none"), ("high", "low")]
    for one, other in zip(plain.ratios, robust.ratios, strict=True):
        assert one.se == pytest.approx(other.se, rel=0.05)
        assert one.log_ratio == other.log_ratio
    for first, second in zip(plain.tests, robust.tests, strict=True):
        assert first.statistic == pytest.approx(second.statistic, rel=0.1)


def test_clusters_of_equal_rows_widen_what_is_told() -> None:
    rows = trial(300, 6)
    four = ArmRows(*(None if values is None else np.repeat(values, 4) for values in rows))  # type: ignore[arg-type]
    plain = compare_hazards(rows, ("none", "low", "high"))
    clustered = compare_hazards(four._replace(clusters=np.repeat(np.arange(300, dtype=np.uint64), 4)), ("none", "low", "high"))
    for one, other in zip(plain.ratios, clustered.ratios, strict=True):
        assert one.se == pytest.approx(other.se, rel=0.15)


@pytest.mark.parametrize("seed", range(3))
def test_the_level_is_kept_under_equal_hazards(seed: int) -> None:
    p_values = []
    for number in range(400):
        done = logrank_test(trial(90, 1_000 * seed + number, effect=0.0), 3)
        assert done is not None
        p_values.append(done.p_value)
    assert abs(np.mean(np.array(p_values) < 0.05) - 0.05) < 3.5 * np.sqrt(0.05 * 0.95 / 400)


def test_an_arm_without_events_has_no_ratio_and_arms_never_together_no_test() -> None:
    a, time = np.repeat([0, 1], 20).astype(np.int8), np.arange(1.0, 41.0)
    silent = compare_hazards(ArmRows(a, time, a == 0), ("0", "1"))
    assert silent.ratios == ()
    assert silent.tests[0].p_value is not None
    apart = compare_hazards(ArmRows(a, time, a == 0, strata=a.astype(np.int64)), ("0", "1"))
    assert apart.tests[0].p_value is None
    assert apart.entries["logrank"][0]["statistic"] is None
