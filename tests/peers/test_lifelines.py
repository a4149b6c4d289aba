"""Kaplan and Meier's curves, log-rank tests and Cox's ratios against lifelines, and a release of a table that lifelines ships.

The definitions coincide. Greenwood's variance is the sum of squared influence values there; the standard error here has the factor
n / (n - 1) of a sample variance, with n the rows of all arms.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.release import mint
from tasks.estimation.survival.analysis import analyse_survival
from tasks.estimation.survival.cox import fit_cox
from tasks.estimation.survival.kaplan_meier import kaplan_meier
from tasks.estimation.survival.logrank import logrank_test
from tasks.estimation.survival.risk_sets import ArmRows
from tasks.estimation.survival.table import read_survival
from tests.direct import directly, run_of

pytestmark = pytest.mark.slow

ACTG175 = Path(__file__).resolve().parents[1] / "data" / "actg175.csv"
COLUMNS = {
    "actg175": ("arms", "days", "cens", ("age", "wtkg"), 1000.0, (365.0, 730.0)),
    "gbsg2": ("horTh", "time", "cens", ("age", "tsize"), 2000.0, (500.0, 1500.0)),
}


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    """Read both tables."""
    datasets = pytest.importorskip("lifelines.datasets", reason="lifelines is not installed: make peers")
    gbsg2 = datasets.load_gbsg2()
    texts = {name: gbsg2[name].astype(str) for name in ("horTh", "menostat", "tgrade")}
    return {"actg175": pd.read_csv(ACTG175), "gbsg2": gbsg2.assign(**texts)}


@pytest.mark.parametrize("name", COLUMNS)
def test_curves_errors_and_restricted_means_are_those_of_lifelines(tables: dict[str, pd.DataFrame], name: str) -> None:
    from lifelines import KaplanMeierFitter
    from lifelines.utils import restricted_mean_survival_time

    frame, (arm, time, event, covariates, horizon, times) = tables[name], COLUMNS[name]
    roles = {"treatment": arm, "time": time, "event": event, "covariates": covariates, "control": sorted(frame[arm].unique())[0]}
    analysis = analyse_survival(read_survival(frame, roles), horizon, times, ("km",))
    numbers: dict[tuple[str, str, float], Any] = {(e.estimand, e.arm, e.time): e for e in analysis.estimates if e.control is None}
    for label, rows in frame.groupby(arm):
        fitter = KaplanMeierFitter().fit(rows[time], rows[event])
        mean = restricted_mean_survival_time(fitter, t=horizon)
        assert numbers["rmst", str(label), horizon].estimate == pytest.approx(mean, abs=1e-8 * horizon)
        for at in times:
            ours = numbers["survival", str(label), at]
            theirs = float(fitter.survival_function_at_times(at).iloc[0])
            greenwood = theirs * np.sqrt(float(fitter._cumulative_sq_.loc[:at].iloc[-1]))
            assert ours.estimate == pytest.approx(theirs, abs=1e-8)
            assert ours.se * np.sqrt((len(frame) - 1) / len(frame)) == pytest.approx(greenwood, rel=1e-8)


@pytest.mark.parametrize("stratified", [False, True])
@pytest.mark.parametrize("name", COLUMNS)
def test_log_rank_tests_and_hazard_ratios_are_those_of_lifelines(tables: dict[str, pd.DataFrame], name: str, stratified: bool) -> None:
    """Ties by Efron in both. lifelines has no stratified log-rank test: statsmodels has (tests/unit/test_estimation_hazards.py)."""
    from lifelines import CoxPHFitter
    from lifelines.statistics import multivariate_logrank_test

    frame, (arm, time, event, *_) = tables[name], COLUMNS[name]
    labels = sorted(frame[arm].unique())
    strata = (frame[COLUMNS[name][3][0]] // 20).to_numpy(np.int64) if stratified else None
    a = np.searchsorted(labels, frame[arm]).astype(np.int8)
    rows = ArmRows(a, frame[time].to_numpy(float), frame[event].to_numpy() == 1, strata=strata)
    fit, dummies = fit_cox(rows, len(labels)), pd.DataFrame({str(k): (a == k) * 1.0 for k in range(1, len(labels))})
    columns = dummies.assign(time=rows.time, event=rows.event, **({} if strata is None else {"stratum": strata}))
    peer = CoxPHFitter().fit(columns, "time", "event", strata=["stratum"] if stratified else None, fit_options={"precision": 1e-14})
    assert fit is not None
    np.testing.assert_allclose(fit.coefficients, peer.params_, atol=1e-8)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.covariance)), peer.standard_errors_, atol=1e-8)
    if not stratified:
        ours, theirs = logrank_test(rows, len(labels)), multivariate_logrank_test(rows.time, rows.a, rows.event)
        assert ours is not None
        assert ours.statistic == pytest.approx(theirs.test_statistic, rel=1e-8)
        assert ours.p_value == pytest.approx(theirs.p_value, rel=1e-6)


def test_robust_errors_are_those_of_lifelines_where_no_times_are_tied(tables: dict[str, pd.DataFrame]) -> None:
    """Among ties lifelines takes Breslow's residuals beside Efron's coefficients."""
    from lifelines import CoxPHFitter

    frame, rng = tables["gbsg2"], np.random.default_rng(0)
    n = len(frame)
    time, a = frame["time"].to_numpy(float) + rng.permutation(n) / (2.0 * n), (frame["horTh"] == "yes").to_numpy().astype(np.int8)
    w, clusters = rng.uniform(0.5, 3.0, n), rng.integers(0, 90, n).astype(np.uint64)
    fit = fit_cox(ArmRows(a, time, frame["cens"].to_numpy() == 1, w, clusters), 2)
    columns = pd.DataFrame({"time": time, "event": frame["cens"], "a": a * 1.0, "w": w, "c": clusters})
    given = {"weights_col": "w", "fit_options": {"precision": 1e-14}}
    alone = CoxPHFitter().fit(columns.drop(columns="c"), "time", "event", robust=True, **given)
    together = CoxPHFitter().fit(columns, "time", "event", cluster_col="c", **given)
    assert fit is not None
    np.testing.assert_allclose(fit.coefficients, alone.params_, atol=1e-8)
    parts = fit.values[:, 0] * w / w.sum()
    assert np.sqrt(np.sum(parts**2)) == pytest.approx(float(alone.standard_errors_.iloc[0]), abs=1e-8)
    sums = np.bincount(clusters.astype(np.int64), weights=parts)
    assert np.sqrt(np.sum(sums**2)) == pytest.approx(float(together.standard_errors_.iloc[0]), abs=1e-8)


def test_a_release_of_gbsg2_keeps_what_lifelines_sees(tables: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    """German Breast Cancer Study Group 2: adjusted restricted means of source and release, and the release's as lifelines has them."""
    from lifelines import KaplanMeierFitter
    from lifelines.utils import restricted_mean_survival_time

    tables["gbsg2"].to_parquet(tmp_path / "gbsg2.parquet", index=False)
    values = {
        "name": "gbsg2",
        "seed": 4,
        "source": {"uri": str(tmp_path / "gbsg2.parquet")},
        "roles": {"treatment": "horTh", "treated": "yes", "outcome": "time"},
        "outcomes": {"time": {"kind": "survival", "event": "cens", "horizon": 2000, "times": [500, 1500]}},
        "covariates": {"synthesizer": "copula"},
        "mechanisms": {"learner": "glm", "repeats": 1},
        "release": {"rows": 3_000, "draws": "balanced"},
        "store": {"uri": f"file://{tmp_path}/store"},
    }
    reply, _ = directly(mint, run_of(values, tmp_path / "workspace"))
    assert reply["status"] == "published", [gate for gate in reply["manifest"]["gates"] if gate["passed"] is False]
    source = {(e["estimand"], e["arm"]): e for e in reply["manifest"]["effects"]["source"]["survival"]["estimates"]}
    drawn = pd.read_parquet(Path(reply["uri"].removeprefix("file://")) / "data" / "copy-0")
    for label, rows in drawn.groupby("horTh"):
        fitter = KaplanMeierFitter().fit(rows["time"], rows["cens"])
        mean = restricted_mean_survival_time(fitter, t=2000.0)
        assert mean == pytest.approx(
            float(kaplan_meier(rows["time"].to_numpy(float), rows["cens"].to_numpy() == 1, np.ones(len(rows))).area(0.0, 2000.0)), rel=1e-8
        )
        assert abs(mean - source["rmst", str(label)]["estimate"]) < 0.5 * source["rmst", str(label)]["se"]
    ate, truth = reply["manifest"]["effects"]["source"]["ate"], reply["manifest"]["effects"]["truth"]
    assert abs(truth["ate"] - ate["estimate"]) < 0.1 * ate["se"]
