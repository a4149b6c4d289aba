"""The gates on a time to event: each passes the source's own law and rejects the law that it is there for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.survival import table
from benchmarks.survival_release import LAWS, RELEASE_ROWS, SOURCE_ROWS, verdicts
from tasks.checks.survival import NumberGap, survival_evidence, worst

SEEN = {
    "the source's own law": set(),
    "arms exchanged": {"rmst_fidelity", "curve_distance"},
    "treated times halved": {"rmst_fidelity", "curve_distance"},
    "a third of the events at once": {"rmst_fidelity", "curve_distance"},
    "three fifths lost early": {"event_share"},
}


@pytest.mark.parametrize("law", LAWS)
def test_each_gate_rejects_what_it_is_there_for(law: str) -> None:
    release = LAWS[law](table("confounded", RELEASE_ROWS, 1_001), np.random.default_rng(10_001))
    said = verdicts(table("confounded", SOURCE_ROWS, 1), release)
    failed = {name for name, verdict in said.items() if verdict == "fail"}
    assert SEEN[law] <= failed
    assert failed == set() or law != "the source's own law"


def test_a_gap_counts_beyond_three_standard_errors() -> None:
    assert NumberGap("x", 0.5, 0.55, 0.02).excess == 0.0
    assert NumberGap("x", 0.5, 0.6, 0.02).excess == pytest.approx(0.04)
    assert NumberGap("x", 0.5, math.nan, 0.02).excess == math.inf
    assert NumberGap("x", 1.0, 1.0, 0.0).z == 0.0
    assert worst([NumberGap("x", 0.5, 0.51, 0.02), NumberGap("y", 0.5, 0.6, 0.02)]).name == "y"


def test_other_outcomes_have_no_such_gates() -> None:
    assert survival_evidence({"estimates": []}, {"estimates": []}) is None
