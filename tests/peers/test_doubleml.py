"""AIPW and its relatives against DoubleML's interactive regression model.

The definitions coincide: one regression per arm and one classifier, cross-fitted, scored by the efficient influence function of
the ATE or the ATT. What has to be matched is the truncation of the propensity (theirs is 0.01 unless told). Their standard error
divides by n where ours divides by n - 1.
"""

import numpy as np
import pandas as pd
import pytest

from benchmarks.learners import PerArm
from benchmarks.peers import doubleml_irm, doubleml_model
from tasks.contract.nuisance import Nuisances
from tasks.estimation import estimate
from tasks.estimation.evaluate import evaluate
from tests.peers.table import BOUND, FOLDS, ROLES, ROWS, SEED, cut, logistic, outcome_model

pytestmark = pytest.mark.slow

SE_RATIO = np.sqrt(ROWS / (ROWS - 1))
KINDS = ["continuous", "binary"]


@pytest.fixture(scope="module")
def fit():
    pytest.importorskip("doubleml", reason="DoubleML is not installed: make peers")

    def run(kind, score="ATE", bound=BOUND):
        frame, cuts = cut(kind)
        return frame, doubleml_irm(doubleml_model(frame, cuts, logistic(), outcome_model(kind), bound, score))

    return run


def nuisances_of(model) -> Nuisances:
    return Nuisances(*(model.predictions[name][:, 0, 0] for name in ("ml_m", "ml_g0", "ml_g1")))


@pytest.mark.parametrize(("score", "name"), [("ATE", "aipw"), ("ATTE", "att")])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_nuisances_give_the_same_estimate(fit, kind, score, name):
    frame, theirs = fit(kind, score)
    (one,) = evaluate(frame["a"].to_numpy(), frame["y"].to_numpy(), nuisances_of(theirs.model), kind, (name,), BOUND)
    assert one.estimate == pytest.approx(theirs.point, abs=1e-10)
    assert one.se == pytest.approx(SE_RATIO * theirs.se, rel=1e-10)


@pytest.mark.parametrize(("score", "name"), [("ATE", "aipw"), ("ATTE", "att")])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_learners_and_folds_give_the_same_estimate(fit, kind, score, name):
    frame, theirs = fit(kind, score)
    (one,) = estimate(frame, ROLES, (name,), SEED, PerArm(logistic(), outcome_model(kind)), FOLDS)
    assert one.estimate == pytest.approx(theirs.point, abs=1e-6 * one.se)
    assert one.se == pytest.approx(SE_RATIO * theirs.se, rel=1e-6)
    assert one.clipped > 0.0  # so that truncation is part of what agrees


def test_another_truncation_is_another_estimate(fit):
    """The comparison can fail."""
    frame, theirs = fit("continuous", bound=0.1)
    (one,) = estimate(frame, ROLES, ("aipw",), SEED, PerArm(logistic(), outcome_model("continuous")), FOLDS)
    assert abs(one.estimate - theirs.point) > 1e-3 * one.se


def test_subgroup_effects_are_those_of_their_groups(fit):
    """Their ``gate`` regresses the same pseudo-outcomes on group indicators: the same points, and White's standard errors."""
    frame, theirs = fit("continuous")
    groups = pd.DataFrame({"g": np.where(frame["w3"] == 1.0, "one", "zero")})
    gates = theirs.model.gate(groups).summary
    ours = estimate(frame, {**ROLES, "subgroups": ("w3",)}, ("aipw",), SEED, PerArm(logistic(), outcome_model("continuous")), FOLDS)
    found = {one.estimand: one for one in ours}
    for label, name in (("zero", "gate[w3=0]"), ("one", "gate[w3=1]")):
        assert found[name].estimate == pytest.approx(gates.loc[f"Group_{label}", "coef"], abs=1e-6 * found[name].se)
        assert found[name].se == pytest.approx(gates.loc[f"Group_{label}", "std err"], rel=2e-3)
