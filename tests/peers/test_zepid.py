"""TMLE against zEpid's.

zEpid too has one epsilon per arm. For a binary outcome the definitions coincide: it is handed our cross-fitted predictions as
"custom models" (it knows no folds), and the bound of g. For a continuous outcome they do not: it scales by the outcome's own range
and cuts outcomes and predictions at 0.0005 from either end, where we widen the range of outcomes and predictions by 1 % and cut
nothing.
"""

import numpy as np
import pytest

from benchmarks.learners import PerArm
from benchmarks.peers import zepid_tmle
from tasks.contract.nuisance import Nuisances
from tasks.estimation.analysis import plan_of, predict
from tasks.estimation.evaluate import evaluate
from tasks.estimation.table import read_roles, read_table
from tests.peers.table import BOUND, FOLDS, ROLES, ROWS, SEED, draw, logistic, outcome_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def targeted():
    pytest.importorskip("zepid", reason="zEpid is not installed: make peers")
    return zepid_tmle


def fitted(kind: str) -> tuple[np.ndarray, np.ndarray, Nuisances]:
    frame = draw(kind)
    table = read_table(frame, read_roles(frame, ROLES))
    return table.a, table.y, predict(table, plan_of(table, "source", SEED, FOLDS, 1), PerArm(logistic(), outcome_model(kind))).nuisances


def test_binary_outcomes_agree(targeted):
    a, y, nuisances = fitted("binary")
    (one,) = evaluate(a, y, nuisances, "binary", ("tmle",), BOUND)
    theirs = targeted(a, y, *nuisances, BOUND)
    assert one.estimate == pytest.approx(theirs.point, abs=1e-6)
    assert one.se == pytest.approx(theirs.se, rel=1e-6)
    assert one.clipped > 0.0
    assert abs(targeted(a, y, *nuisances, 1e-6).point - theirs.point) > 1e-5  # the bound matters here


def test_continuous_outcomes_differ_by_far_less_than_their_error(targeted):
    """Cutting and another range move the estimate; by at most a fiftieth of its standard error on this table."""
    a, y, nuisances = fitted("continuous")
    (one,) = evaluate(a, y, nuisances, "continuous", ("tmle",), BOUND)
    theirs = targeted(a, y, *nuisances, BOUND)
    assert one.n == ROWS
    assert one.estimate == pytest.approx(theirs.point, abs=0.02 * one.se)
    assert one.se == pytest.approx(theirs.se, rel=0.02)
