"""TMLE, IPW, OR and AIPW against statsmodels' regressions, which say the same things in other words."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from benchmarks.learners import PerArm
from benchmarks.peers import statsmodels_ipw
from tasks.contract.nuisance import Nuisances
from tasks.estimation import estimate
from tasks.estimation.analysis import plan_of, predict
from tasks.estimation.evaluate import evaluate
from tasks.estimation.table import read_roles, read_table
from tasks.targeting.fluctuation import WIDENING
from tasks.targeting.influence import pseudo_outcomes
from tasks.targeting.sample import prepare_rows
from tests.peers.table import BOUND, COVARIATES, FOLDS, ROLES, ROWS, SEED, cut, draw, expit, linear, logistic, outcome_model

KINDS = ["binary", "continuous", "count"]


def fitted(kind: str) -> tuple[np.ndarray, np.ndarray, Nuisances]:
    frame = draw(kind)
    table = read_table(frame, read_roles(frame, ROLES))
    return (
        table.a.astype(float),
        table.y,
        predict(table, plan_of(table, "source", SEED, FOLDS, 1), PerArm(logistic(), outcome_model(kind))).nuisances,
    )


def bounds(y, q0, q1, kind) -> tuple[float, float]:
    """The range of Q* as documented, computed anew."""
    if kind == "binary":
        return 0.0, 1.0
    low, high = (float(end(np.concatenate([y, q0, q1]))) for end in (np.min, np.max))
    low, high = max(low, 2 * y.min() - y.max()), min(high, 2 * y.max() - y.min())
    if kind == "count":
        return 0.0, (1 + WIDENING) * high
    return low - WIDENING * (high - low), high + WIDENING * (high - low)


def targeted(a, y, nuisances, kind, clever):
    """TMLE by one logistic regression of all rows on clever covariates with an offset: (estimate, SE)."""
    p1 = np.clip(nuisances.g, BOUND, 1 - BOUND)
    low, high = bounds(y, nuisances.q0, nuisances.q1, kind)
    logits = [
        np.log(unit) - np.log1p(-unit) for unit in (np.clip((q - low) / (high - low), 1e-9, 1 - 1e-9) for q in (nuisances.q0, nuisances.q1))
    ]
    offset = np.where(a == 1, logits[1], logits[0])
    model = sm.GLM((y - low) / (high - low), clever(a, p1), offset=offset, family=sm.families.Binomial())
    epsilon = model.fit(tol=1e-14, maxiter=200).params
    ones = np.ones(len(a))
    star0, star1 = (low + (high - low) * expit(logits[arm] + clever(arm * ones, p1) @ epsilon) for arm in (0, 1))
    point = np.mean(star1 - star0)
    values = star1 - star0 - point + a / p1 * (y - star1) - (1 - a) / (1 - p1) * (y - star0)
    return point, np.std(values, ddof=1) / np.sqrt(len(a))


def two(a, p1):
    return np.column_stack([(1 - a) / (1 - p1), a / p1])


def one(a, p1):
    return (a / p1 - (1 - a) / (1 - p1))[:, None]


@pytest.mark.parametrize("kind", KINDS)
def test_tmle_is_a_logistic_regression_with_an_offset(kind):
    a, y, nuisances = fitted(kind)
    (ours,) = evaluate(a.astype(np.int8), y, nuisances, kind, ("tmle",), BOUND)
    point, se = targeted(a, y, nuisances, kind, two)
    assert ours.estimate == pytest.approx(point, abs=1e-6 * se)
    assert ours.se == pytest.approx(se, rel=1e-6)
    assert ours.clipped > 0.0


def test_tmle_with_one_epsilon_for_both_arms_is_another_estimator():
    """Both solve the score equation of the ATE, but only two epsilons solve each arm's: another number, well within the error."""
    a, y, nuisances = fitted("continuous")
    (ours,) = evaluate(a.astype(np.int8), y, nuisances, "continuous", ("tmle",), BOUND)
    point, _ = targeted(a, y, nuisances, "continuous", one)
    assert 1e-6 * ours.se < abs(ours.estimate - point) < 0.1 * ours.se


@pytest.mark.parametrize("kind", KINDS)
def test_ipw_is_a_weighted_regression(kind):
    """WLS of Y on A with inverse-probability weights: the same point, and the same sandwich but for n - 1 in place of n - 2.

    Both take g as known. A fitted g makes either interval too wide, not too narrow (docs/methods.md).
    """
    a, y, nuisances = fitted(kind)
    (ours,) = evaluate(a.astype(np.int8), y, nuisances, kind, ("ipw",), BOUND)
    theirs = statsmodels_ipw(a, y, nuisances.g, BOUND)
    assert ours.estimate == pytest.approx(theirs.point, abs=1e-8)
    assert ours.se == pytest.approx(theirs.se * np.sqrt((ROWS - 2) / (ROWS - 1)), rel=1e-8)
    not_robust = theirs.model.model.fit().bse[1]
    assert ours.se != pytest.approx(not_robust, rel=0.01)


def test_weighted_ipw_is_a_regression_by_both_weights():
    """Survey weights times inverse propensities: the point to 1e-9, the sandwich but for its small-sample factor."""
    a, y, nuisances = fitted("continuous")
    survey = np.random.default_rng(5).gamma(2.0, 1.0, len(y)) + 0.1
    (ours,) = evaluate(a.astype(np.int8), y, nuisances, "continuous", ("ipw",), BOUND, weights=survey)
    p1 = np.clip(nuisances.g, BOUND, 1 - BOUND)
    fit = sm.WLS(y, sm.add_constant(a), weights=survey * (a / p1 + (1 - a) / (1 - p1))).fit(cov_type="HC1")
    assert ours.estimate == pytest.approx(fit.params[1], abs=1e-9)
    assert ours.se == pytest.approx(fit.bse[1] * np.sqrt((ROWS - 2) / (ROWS - 1)), rel=1e-6)


def test_weighted_ipw_in_clusters_is_a_regression_with_a_cluster_sandwich():
    """The sandwich of statsmodels with its factor G / (G - 1) (n - 1) / (n - k) taken to ours, and t of G - 1 degrees of freedom."""
    a, y, nuisances = fitted("continuous")
    rng = np.random.default_rng(6)
    survey, villages = rng.gamma(2.0, 1.0, len(y)) + 0.1, rng.integers(0, 40, len(y))
    ours = evaluate(a.astype(np.int8), y, nuisances, "continuous", ("ipw",), BOUND, weights=survey, clusters=villages.astype(np.uint64))[0]
    p1 = np.clip(nuisances.g, BOUND, 1 - BOUND)
    weights = survey * (a / p1 + (1 - a) / (1 - p1))
    fit = sm.WLS(y, sm.add_constant(a), weights=weights).fit(cov_type="cluster", cov_kwds={"groups": villages}, use_t=True)
    assert ours.estimate == pytest.approx(fit.params[1], abs=1e-9)
    assert ours.se == pytest.approx(fit.bse[1] * np.sqrt((ROWS - 2) / (ROWS - 1)), rel=1e-6)
    half = (ours.ci_high - ours.ci_low) / 2
    assert half == pytest.approx(ours.se * stats.t.ppf(0.975, 39), rel=1e-9)


def test_ipw_with_known_propensities_end_to_end():
    frame, _ = cut()
    known = expit(1.3 * frame["w0"] - 0.6 * frame["w1"]).to_numpy()
    (ours,) = estimate(frame, ROLES, ("ipw",), propensity=known, learner=PerArm(logistic(), linear()))
    theirs = statsmodels_ipw(frame["a"].to_numpy(), frame["y"].to_numpy(), known, BOUND)
    assert ours.estimate == pytest.approx(theirs.point, abs=1e-8)
    assert ours.se == pytest.approx(theirs.se * np.sqrt((ROWS - 2) / (ROWS - 1)), rel=1e-8)


def g_computation(frame, train, test, family) -> np.ndarray:
    """Contrast of predictions of a regression on (W, A, A W), fitted on other rows."""

    def design(rows, a):
        x = np.column_stack([np.ones(len(rows)), frame[COVARIATES].to_numpy()[rows]])
        return np.column_stack([x, a[:, None] * x])

    a = frame["a"].to_numpy()
    fit = sm.GLM(frame["y"].to_numpy()[train], design(train, a[train]), family=family).fit(tol=1e-14)
    one, zero = (fit.predict(design(test, np.full(len(test), arm))) for arm in (1, 0))
    return one - zero


def test_outcome_regression_is_cross_fitted_g_computation():
    """OLS of Y on W, A and A W fits a line per arm: the same plug-in from the same folds."""
    frame, cuts = cut()
    (ours,) = estimate(frame, ROLES, ("or",), SEED, PerArm(logistic(), linear()), FOLDS)
    contrasts = np.concatenate([g_computation(frame, *one, sm.families.Gaussian()) for one in cuts])
    assert ours.estimate == pytest.approx(contrasts.mean(), abs=1e-8)


def test_outcome_regression_differs_from_in_sample_g_computation_within_its_error():
    """The textbook's g-computation predicts the rows it was fitted on; cross-fitting moves the estimate by far less than its error."""
    frame, _ = cut()
    (ours,) = estimate(frame, ROLES, ("or",), SEED, PerArm(logistic(), linear()), FOLDS)
    everyone = np.arange(ROWS)
    in_sample = g_computation(frame, everyone, everyone, sm.families.Gaussian()).mean()
    assert 1e-9 < abs(ours.estimate - in_sample) < 0.1 * ours.se


def test_logistic_outcome_regression_agrees_where_the_penalty_is_small():
    """scikit-learn's C = 1000 penalises a little, statsmodels' maximum likelihood does not."""
    frame, cuts = cut("binary")
    (ours,) = estimate(frame, ROLES, ("or",), SEED, PerArm(logistic(), logistic()), FOLDS)
    contrasts = np.concatenate([g_computation(frame, *one, sm.families.Binomial()) for one in cuts])
    assert ours.estimate == pytest.approx(contrasts.mean(), abs=1e-3 * ours.se)


@pytest.mark.parametrize("kind", KINDS)
def test_aipw_is_the_intercept_of_the_pseudo_outcomes(kind):
    a, y, nuisances = fitted(kind)
    (ours,) = evaluate(a.astype(np.int8), y, nuisances, kind, ("aipw",), BOUND)
    phi = pseudo_outcomes(prepare_rows(a.astype(np.int8), y, nuisances, kind, BOUND))
    theirs = sm.OLS(phi, np.ones(len(phi))).fit(cov_type="HC1")
    assert ours.estimate == pytest.approx(theirs.params[0], abs=1e-10)
    assert ours.se == pytest.approx(theirs.bse[0], rel=1e-10)
