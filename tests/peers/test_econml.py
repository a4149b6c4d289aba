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


def test_another_truncation_is_another_estimate(fit):
    """The comparison can fail."""
    frame, _, theirs = fit("continuous", bound=0.1)
    (one,) = estimate(frame, ROLES, ("aipw",), SEED, Joint(logistic(), outcome_model("continuous")), FOLDS)
    assert abs(one.estimate - theirs.point) > 1e-3 * one.se
