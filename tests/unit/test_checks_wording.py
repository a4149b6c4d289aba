"""Outcomes, statuses and sentences of gates written out, case by case."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tasks.checks.evidence import Evidence
from tasks.checks.metric import Metric, gate, measure_all, shorten, tabulate
from tasks.checks.refusal import SPENT
from tasks.checks.table import markdown
from tasks.checks.verdict import advice, cautions, decide, explain, outcome, passed, private_numbers, tells_of_holdout, verdict_of
from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.gates import GATES, GateRow, gate_row, gate_rows
from tasks.contract.results import Gate
from tasks.contract.spec import GatesSpec

MORE = "The data can't tell: bring more rows, or release more, or set gates.inconclusive = 'warn'."


def metric(rule="at most", value=1.0, threshold=2.0, low=None, high=None, refused=False, decision="value", name="n") -> Metric:
    return Metric(name, value, rule, threshold, low, high, refused, "seen", decision)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (metric(threshold=None), "off"),
        (metric(threshold=None, refused=True), "off"),
        (metric(refused=True), "fail"),
        (metric(value=None), "fail"),
        (metric(value=2.0), "pass"),
        (metric(value=2.01), "fail"),
        (metric("at least", 2.0), "pass"),
        (metric("at least", 1.99), "fail"),
        (metric("equal to", 2.0), "pass"),
        (metric("equal to", 1.0), "fail"),
        (metric(low=1.0, high=2.0, decision="interval"), "pass"),
        (metric(low=1.0, high=2.1, decision="interval"), "inconclusive"),
        (metric(low=2.0, high=3.0, decision="interval"), "inconclusive"),
        (metric(low=2.1, high=3.0, decision="interval"), "fail"),
        (metric(low=None, high=1.0, decision="interval"), "pass"),
        (metric(low=1.0, high=None, decision="interval"), "inconclusive"),
        (metric(low=3.0, high=None, decision="interval"), "fail"),
        (metric("at least", low=2.0, high=3.0, decision="interval"), "pass"),
        (metric("at least", low=1.0, high=2.0, decision="interval"), "inconclusive"),
        (metric("at least", low=1.0, high=1.9, decision="interval"), "fail"),
        (metric("at least", 0.9, 0.8, 0.7, 0.95, decision="ratio"), "pass"),
        (metric("at least", 0.7, 0.8, 0.5, 1.0, decision="ratio"), "inconclusive"),
        (metric("at least", 0.7, 0.8, 0.5, 0.99, decision="ratio"), "fail"),
        (metric("at least", 0.7, 0.8, 0.5, None, decision="ratio"), "inconclusive"),
        (metric("at least", None, 0.8, 0.5, 1.2, decision="ratio"), "fail"),
    ],
)
def test_outcomes(given: Metric, expected: str) -> None:
    assert outcome(given) == expected
    assert verdict_of(given) == verdict_of(given, False)
    for strict in (False, True):
        answer = verdict_of(given, strict)
        status = "refused" if given.refused and expected != "off" else {"pass": "passed", "fail": "failed"}.get(expected, expected)
        kept = {"pass": True, "fail": False, "off": None, "inconclusive": False if strict else None}[expected]
        assert passed(answer.outcome, strict) is kept
        assert answer == Gate(
            name="n", value=None if given.refused else given.value, threshold=given.threshold, rule=given.rule, passed=kept, status=status,
            outcome=expected, detail="seen", low=given.low, high=given.high,
        )  # fmt: skip


def told(status: str, value: float | None = 1.0, threshold: float | None = 2.0, name="fidelity", detail="", **more) -> Gate:
    kept = {"passed": True, "inconclusive": None, "off": None}.get(status, False)
    return Gate(name=name, value=value, threshold=threshold, rule="at most", passed=kept, status=status, detail=detail, **more)


def test_decisions_name_what_failed_what_is_off_and_what_cannot_tell() -> None:
    strict = told("inconclusive", name="c").model_copy(update={"passed": False})
    gates = [
        told("passed"),
        told("failed", name="a"),
        told("off", name="o"),
        told("inconclusive", name="i"),
        strict,
        told("refused", name="r"),
    ]
    assert decide(gates) == (False, ("a", "c", "r"), ("o",), ("i",))
    assert decide(gates[2:4]) == (True, (), ("o",), ("i",))
    assert decide([]) == (False, (), (), ())


def test_sentences_and_advice() -> None:
    refusal = "There is too little data to judge: bring more rows, or raise source.holdout where the holdout is the smaller part."
    lines = explain(
        [
            told("failed", 2.5, name="closeness_z", detail="0.9 of the rows"),
            told("failed", 1.25, name="min_arm"),
            told("refused", None, name="near_copies", detail=SPENT),
            told("refused", None, name="levels"),
            told("passed"),
            told("failed", 3.0, name="theirs"),
        ]
    )
    end = "switches it off; the manifest will say so."
    space = " " * len("closeness_z  ")
    assert lines == [
        "closeness_z  must be at most 2; got 2.5, 0.5 above.",
        f"{space}0.9 of the rows.",
        f"{space}{gate_row('closeness_z').advice} gates.closeness_z = false {end}",
        "min_arm      must be at most 2; got 1.25, 0.75 below.",
        f"{space}{gate_row('min_arm').advice} gates.min_arm = false {end}",
        "near_copies  must be at most 2; got a refusal.",
        f"{space}{SPENT}.",
        f"{space}There is a way out at holdout_budget. gates.near_copies = false {end}",
        "levels       must be at most 2; got a refusal.",
        f"{space}{refusal} gates.levels = false {end}",
        "theirs       must be at most 2; got 3, 1 above.",
        f"{space}See the check's own documentation. gates.theirs = false {end}",
    ]
    assert advice(told("refused", None)).startswith(gate_row("fidelity").advice)
    assert advice(told("inconclusive")).startswith(MORE)
    assert explain([told("failed", None, None)])[0] == "fidelity  must be at most nothing; got a refusal."
    assert explain([told("failed", 1.0, None)])[0] == "fidelity  must be at most nothing; got a refusal."


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (1.0, None, None, "got 1, limits unknown."),
        (None, 0.12345, 3.0, "got no number, limits 0.1235 to 3."),
        (1.0, None, 3.0, "got 1, limits unknown to 3."),
        (1.0, 0.5, None, "got 1, limits 0.5 to unknown."),
    ],
)
def test_cautions(value, low, high, text) -> None:
    unsure = told("inconclusive", value, low=low, high=high)
    (sentence,) = cautions([told("passed"), unsure, unsure.model_copy(update={"passed": False}), told("failed")])
    more = "More rows would tell; gates.inconclusive = 'fail' rejects what can't be told."
    assert sentence == f"Gate fidelity is inconclusive: must be at most 2; {text} {more}"


def test_the_holdout_is_charged_for_failed_gates_that_compare_with_it() -> None:
    assert tells_of_holdout([told("passed", name="fidelity"), told("failed", name="closeness_z")])
    for gates in (
        [told("failed")],
        [told("refused", None, name="closeness_z")],
        [told("passed", name="closeness_z")],
        [told("failed", name="x")],
    ):
        assert not tells_of_holdout(gates)
    assert private_numbers([told("failed", 3.0, name="closeness_z"), told("failed"), told("failed", name="x")]) == {"closeness_z": 3.0}


def test_many_lines_are_shortened() -> None:
    assert shorten(list("abcde")) == "a; b; c; d; e"
    assert shorten(list("abcdefg")) == "a; b; c; d; e; and 2 more"
    assert shorten(list("abc"), 2) == "a; b; and 1 more"
    assert shorten([]) == ""


def test_a_metric_takes_rule_decision_and_threshold_from_its_row() -> None:
    found = gate("dcr_margin", 0.9, GatesSpec(), low=0.8, high=1.1, detail="seen")
    assert found == Metric("dcr_margin", 0.9, "at least", 0.8, 0.8, 1.1, False, "seen", "ratio")
    assert gate("fidelity", None, GatesSpec(fidelity=False), refused=True) == Metric("fidelity", None, "at most", None, refused=True)
    with pytest.raises(EstimationError, match="must be a row of the table of gates; got 'new'"):
        gate("new", 1.0, GatesSpec())
    assert measure_all(Evidence(), GatesSpec()) == []
    table = tabulate([metric(low=0.5, high=None, name="a"), metric(value=None, high=3.0, refused=True, name="b")])
    assert table.columns.tolist() == ["metric", "value", "low", "high", "refused"]
    np.testing.assert_array_equal(table[["value", "low", "high"]], [[1.0, 0.5, np.nan], [np.nan, np.nan, 3.0]])
    assert table["refused"].tolist() == [False, True]
    assert len(tabulate([])) == 0


@pytest.mark.parametrize(
    ("threshold", "value", "limit"),
    [("margin", 0.2, 0.8), ("switch", True, 0.0), ("count", 7, 1.0), ("share", 0.3, 0.3), ("rows", 50, 50.0), ("positive", True, 1.0)],
)
def test_limits(threshold, value, limit) -> None:
    row = GateRow("n", "law", "at most", threshold, 0.5, "T", "M.", "D", "A.")
    assert row.limit(value) == limit
    assert row.limit(False) is None
    assert (row.decision, row.asks_holdout, row.private, row.asked_of_added_rows, row.section) == ("value", False, False, True, "gates")
    with pytest.raises(AttributeError):
        row.name = "m"


def test_a_row_of_the_documentation() -> None:
    row = GateRow("n", "law", "at most", "switch", True, "T", "M.", "largest gap", "A.", decision="ratio", asks_holdout=True)
    other = GateRow("m", "form", "at least", "share", 0.50, "T", "M.", "share", "A.", private=True, decision="interval", section="augment")
    head, line, first, second = markdown([row, other]).split("\n")
    assert head.count("|") == line.count("|") == first.count("|") == 9
    assert set(line) == {"|", "-"}
    assert first == "| `gates.n` | true | law | at most | ratio and limit | yes |  | largest gap |"
    assert second == "| `augment.m` | 0.5 | form | at least | interval |  | yes | share |"


def test_a_plug_in_may_not_take_the_name_of_a_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "rival-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rival\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[waymint.check]\nrival = rival_of_gates\n")
    row = 'GateRow("{}", "law", "at most", "share", 0.25, "T", "M.", "D", "A.")'
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("fidelity", "twice"):
        rows = ", ".join([row.format(name)] * 2)
        (tmp_path / "rival_of_gates.py").write_text(f"from tasks.contract.gates import GateRow\nGATES = ({rows})\n")
        monkeypatch.delitem(sys.modules, "rival_of_gates", raising=False)
        monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / name)])
        with pytest.raises(SpecError, match=f"gates of check 'rival' must have names of their own; got '{name}'"):
            gate_rows()
    assert gate_row(GATES[-1].name) is GATES[-1]
