"""AIPW against EconML's LinearDRLearner.

Without features its final stage regresses the pseudo-outcomes on a constant, so that its average effect is AIPW. It fits one
regression on (W, A) for both arms, where DoubleML fits one per arm; its HC1 standard error of a mean is ours to the letter. Its
truncation is 1e-6 unless told.
"""

import numpy as np
import pytest

from benchmarks.learners import Joint, expectation
from benchmarks.peers import econml_dr
from tasks.contract.nuisance import Nuisances
from tasks.estimation import estimate
from tasks.estimation.evaluate import evaluate
from tests.peers.table import BOUND, COVARIATES, FOLDS, ROLES, ROWS, SEED, cut, logistic, outcome_model

pytestmark = pytest.mark.slow

KINDS = ["continuous", "binary"]


@pytest.fixture(scope="module")
def fit():
    pytest.importorskip("econml", reason="EconML is not installed: make peers")

    def run(kind, bound=BOUND):
        frame, cuts = cut(kind)
        return frame, cuts, econml_dr(frame, cuts, logistic(), outcome_model(kind), bound)

    return run


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_nuisances_give_the_same_estimate(fit, kind):
    frame, cuts, theirs = fit(kind)
    w = frame[COVARIATES].to_numpy()
    g, q0, q1 = np.empty((3, ROWS))
    for (_, test), propensity, regression in zip(cuts, theirs.model.models_propensity[0], theirs.model.models_regression[0], strict=True):
        g[test] = expectation(propensity, w[test])
        for arm, q in enumerate((q0, q1)):
            x = np.column_stack([w[test], np.full(len(test), arm)])
            q[test] = regression.predict_proba(x)[:, 1] if kind == "binary" else np.ravel(regression.predict(x))
    (one,) = evaluate(frame["a"].to_numpy(), frame["y"].to_numpy(), Nuisances(g, q0, q1), kind, ("aipw",), BOUND)
    assert one.estimate == pytest.approx(theirs.point, abs=1e-10)
    assert one.se == pytest.approx(theirs.se, rel=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_learners_and_folds_give_the_same_estimate(fit, kind):
    frame, _, theirs = fit(kind)
    (one,) = estimate(frame, ROLES, ("aipw",), SEED, Joint(logistic(), outcome_model(kind)), FOLDS)
    assert one.estimate == pytest.approx(theirs.point, abs=1e-6 * one.se)
    assert one.se == pytest.approx(theirs.se, rel=1e-6)
    assert one.clipped > 0.0


def test_four_arms_give_the_same_contrasts():
    """Each pair of arms: their final stage is a constant for each arm."""
    pytest.importorskip("econml", reason="EconML is not installed: make peers")
    from econml.dr import LinearDRLearner

    arms, rng = 4, np.random.default_rng(12)
    frame, cuts = cut("continuous")
    w = frame[COVARIATES].to_numpy()
    logits = np.column_stack((np.zeros(ROWS), 0.8 * w[:, 0], -0.6 * w[:, 1], 0.5 * w[:, 0] + 0.5 * w[:, 1]))
    share = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    a = (rng.random((ROWS, 1)) > share.cumsum(axis=1)).sum(axis=1)
    y = frame["y"].to_numpy() + 0.7 * a * w[:, 0]
    theirs = LinearDRLearner(
        model_propensity=logistic(), model_regression=outcome_model("continuous"), min_propensity=BOUND, cv=cuts, random_state=0
    )
    theirs.fit(y, a, X=None, W=w)
    p, q = np.empty((arms, ROWS)), np.empty((arms, ROWS))
    for (_, test), propensity, regression in zip(cuts, theirs.models_propensity[0], theirs.models_regression[0], strict=True):
        p[:, test] = propensity.predict_proba(w[test]).T
        for arm in range(arms):
            x = np.column_stack([w[test], np.tile(np.eye(arms)[arm, 1:], (len(test), 1))])
            q[arm, test] = np.ravel(regression.predict(x))
    found = evaluate(a.astype(np.int8), y, Nuisances(*p[1:], *q), "continuous", ("aipw",), BOUND)
    pairs = {(one.arm, one.control): one for one in found if one.estimand == "ate"}
    for (arm, control), one in pairs.items():
        assert one.estimate == pytest.approx(float(theirs.ate(T0=int(control), T1=int(arm))), abs=1e-9)
        if control == "0":  # they give no standard error of other pairs
            answer = theirs.ate_inference(T0=0, T1=int(arm))
            assert one.se == pytest.approx(float(answer.stderr_mean), rel=1e-6)


def test_another_truncation_is_another_estimate(fit):
    """The comparison can fail."""
    frame, _, theirs = fit("continuous", bound=0.1)
    (one,) = estimate(frame, ROLES, ("aipw",), SEED, Joint(logistic(), outcome_model("continuous")), FOLDS)
    assert abs(one.estimate - theirs.point) > 1e-3 * one.se
