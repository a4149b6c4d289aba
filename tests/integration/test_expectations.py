"""Great Expectations itself judges: its success is the verdict, and its pages need nobody."""

import json
import re
from pathlib import Path

import pytest

from tasks.checks import expectations
from tasks.checks.metric import Metric
from tasks.contract.errors import EstimationError
from tasks.contract.gates import GATES

CREATED = "2026-01-02T03:04:05Z"
GOOD = [
    Metric("near_copies", 0.4, "at least", 0.01),
    Metric("near_copy_share", 0.011),
    Metric("exact_copies", 0.01, "at least", 0.01),
    Metric("closeness_z", 2.33, "at most", 2.33),
    Metric("dcr_margin", 0.8, "at least", 0.8, low=0.5, high=0.95, decision="ratio"),
    Metric("closeness_excess", 0.01, "at most", 0.05, low=-0.03, high=0.05, decision="interval"),
    Metric("closeness_groups", 0.01, "at least", 0.01),
    Metric("isolated_rows", 0.01, "at least", 0.01),
    Metric("holdout_budget", 1.0, "at least", 1.0),
    Metric("holdout_query", 0.0, "at most", 4.0),
    Metric("membership_tpr", 0.02, "at most", 0.05, low=0.01, high=0.04, decision="interval"),
    Metric("membership_auc", 0.5, "at most", 0.6, low=0.45, high=0.55, decision="interval"),
    Metric("attribute_advantage", 0.0, "at most", 0.1, low=-0.05, high=0.05, decision="interval"),
    Metric("linkability_advantage", 0.0, "at most", 0.1, low=-0.05, high=0.05, decision="interval"),
    Metric("singling_out_advantage", 0.0, "at most", 0.1, low=-0.05, high=0.05, decision="interval"),
    Metric("source_overlap", 0.1, "at most", 0.1),
    Metric("release_overlap", 0.0, "at most", 0.1),
    Metric("source_ess", 0.2, "at least", 0.2),
    Metric("min_arm", 50.0, "at least", 50.0),
    Metric("fidelity", 0.3, "at most", 2.58, detail="ATE 1.1 against 1 <in> the source"),
    Metric("outcome_law", 0.01, "at most", 0.05, low=0.0, high=0.03, decision="interval"),
    Metric("margins", 0.05, "at most", 0.05),
    Metric("missingness", 0.0, "at most", 0.05),
    Metric("support", 0.0, "equal to", 0.0),
    Metric("calibration", 0.001, "at most", 0.05),
    Metric("rmst_fidelity", 1.2, "at most", 3.5),
    Metric("curve_distance", 0.0, "at most", 0.05),
    Metric("event_share", 0.0, "at most", 0.05),
    Metric("incidence_fidelity", 1.2, "at most", 3.5),
    Metric("incidence_distance", 0.0, "at most", 0.05),
    Metric("cause_share", 0.0, "at most", 0.05),
    Metric("levels", 0.0, "equal to", 0.0),
    Metric("columns", 0.0, "equal to", 0.0),
]
BAD = {
    "near_copies": {"value": 0.0099},
    "exact_copies": {"value": 0.0},
    "closeness_z": {"value": 2.34},
    "dcr_margin": {"value": 0.79, "high": 0.99},
    "closeness_excess": {"value": 0.08, "low": 0.051, "high": 0.11},
    "closeness_groups": {"value": 0.001},
    "isolated_rows": {"value": 0.001},
    "holdout_budget": {"value": 0.0},
    "holdout_query": {"value": 4.1},
    "membership_tpr": {"value": 0.2, "low": 0.06, "high": 0.4},
    "membership_auc": {"value": 0.7, "low": 0.61, "high": None},
    "attribute_advantage": {"value": 0.2, "low": 0.11, "high": 0.3},
    "linkability_advantage": {"value": 0.2, "low": 0.11, "high": 0.3},
    "singling_out_advantage": {"value": 0.2, "low": 0.11, "high": 0.3},
    "source_overlap": {"value": 0.11},
    "release_overlap": {"value": 1.0},
    "source_ess": {"value": 0.19},
    "min_arm": {"value": 49.0},
    "fidelity": {"value": 2.6},
    "calibration": {"value": 0.06},
    "rmst_fidelity": {"value": 3.6},
    "curve_distance": {"value": 0.06},
    "event_share": {"value": 0.06},
    "incidence_fidelity": {"value": 3.6},
    "incidence_distance": {"value": 0.06},
    "cause_share": {"value": 0.06},
    "outcome_law": {"value": 0.1, "low": 0.06, "high": 0.2},
    "margins": {"value": 0.06},
    "missingness": {"value": 0.2},
    "support": {"value": 3.0},
    "levels": {"value": 1.0},
    "columns": {"value": 2.0},
}


def changed(name, **values):
    return [metric._replace(**values) if metric.name == name else metric for metric in GOOD]


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judge")
    result = expectations.judge(GOOD, folder, CREATED)
    assert not list(folder.iterdir())
    return result


def test_every_gate_of_the_spec_has_an_expectation_of_its_own():
    kinds = {metric.name: type(expectations.expectation(metric)) for metric in GOOD if metric.rule}
    assert set(kinds) == {row.name for row in GATES if row.section == "gates"}
    assert [kind.__name__ for kind in kinds.values()] == [next(r.expectation for r in GATES if r.name == name) for name in kinds]
    assert not any(kind.__name__.startswith("ExpectMetric") for kind in kinds.values())


def test_metrics_on_their_bounds_pass(judged):
    assert [gate.name for gate in judged.gates] == [metric.name for metric in GOOD if metric.rule]
    assert {gate.status for gate in judged.gates} == {"passed"}


def test_each_gate_rejects_what_it_must(tmp_path: Path):
    worst = [metric._replace(**BAD.get(metric.name, {})) for metric in GOOD]
    result = expectations.judge(worst, tmp_path, CREATED)
    assert {gate.name for gate in result.gates if gate.status == "failed"} == set(BAD)
    assert all(gate.passed is False for gate in result.gates)


@pytest.mark.parametrize("name", ["closeness_z", "dcr_margin"])
def test_one_failure_leaves_the_others_alone(tmp_path: Path, name):
    result = expectations.judge(changed(name, **BAD[name]), tmp_path, CREATED)
    assert [gate.name for gate in result.gates if not gate.passed] == [name]
    assert json.loads(result.files["results.json"])["success"] is False


UNSURE = {
    "closeness_excess": {"value": 0.03, "low": -0.01, "high": 0.07},
    "membership_tpr": {"value": None, "low": None, "high": None},
    "membership_auc": {"value": 0.61, "low": 0.59, "high": 0.63},
    "attribute_advantage": {"value": 0.0, "low": -0.2, "high": None},
    "dcr_margin": {"value": 0.79, "high": 1.01},
}


@pytest.mark.parametrize(("strict", "passed"), [(False, None), (True, False)])
def test_what_the_data_can_not_tell_is_inconclusive_and_fails_only_where_asked(tmp_path: Path, strict, passed):
    unsure = [metric._replace(**UNSURE.get(metric.name, {})) for metric in GOOD]
    result = expectations.judge(unsure, tmp_path, CREATED, strict)
    found = {gate.name: gate for gate in result.gates if gate.outcome == "inconclusive"}
    assert set(found) == set(UNSURE)
    assert {(gate.status, gate.passed) for gate in found.values()} == {("inconclusive", passed)}
    assert all(gate.passed and gate.outcome == "pass" for gate in result.gates if gate.name not in UNSURE)
    assert json.loads(result.files["results.json"])["success"] is not strict
    assert "inconclusive" in result.files["results.json"].decode()
    assert result.files["docs/index.html"].decode().count("inconclusive</td>") == len(UNSURE)


def test_a_refusal_fails_whatever_its_rule(tmp_path: Path):
    refused = [metric._replace(value=None, high=None, refused=True, detail="too few") if metric.rule else metric for metric in GOOD]
    gates = expectations.judge(refused, tmp_path, CREATED).gates
    assert {(gate.status, gate.passed, gate.value) for gate in gates} == {("refused", False, None)}


def test_a_gate_switched_off_is_listed_and_not_judged(tmp_path: Path):
    result = expectations.judge(changed("fidelity", threshold=None, value=99.0), tmp_path, CREATED)
    gate = next(gate for gate in result.gates if gate.name == "fidelity")
    assert (gate.status, gate.passed, gate.value) == ("off", None, 99.0)
    assert all(other.passed for other in result.gates if other.name != "fidelity")
    assert len(json.loads(result.files["results.json"])["results"]) == len(BAD) - 1


def test_all_gates_off_leave_a_record(tmp_path: Path):
    result = expectations.judge([metric._replace(threshold=None) for metric in GOOD], tmp_path, CREATED)
    assert {gate.status for gate in result.gates} == {"off"}
    assert list(result.files) == ["results.json"]


def test_a_check_from_elsewhere_is_judged_by_its_rule(tmp_path: Path):
    more = [Metric("drift", 3.0, "at most", 2.0), Metric("reach", 3.0, "at least", 2.0), Metric("parts", 3.0, "equal to", 3.0)]
    gates = expectations.judge(more, tmp_path, CREATED).gates
    assert [gate.status for gate in gates] == ["failed", "passed", "passed"]


def test_the_same_metrics_give_the_same_bytes(judged, tmp_path: Path):
    assert expectations.judge(GOOD, tmp_path, CREATED).files == judged.files


def test_results_hold_what_lasts_and_nothing_of_the_machine(judged):
    body = json.loads(judged.files["results.json"])
    assert body["created"] == CREATED
    assert body["success"] is True
    assert {item["expectation_config"]["type"] for item in body["results"]} >= {"expect_closest_record_share_to_be_at_most"}
    observed = {item["expectation_config"]["kwargs"]["metric"]: item["result"]["observed_value"] for item in body["results"]}
    assert observed["fidelity"] == 0.3
    text = judged.files["results.json"].decode()
    assert "/tmp" not in text
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", text)


def test_pages_are_whole_and_need_nobody(judged):
    assert set(judged.files) == {"results.json", "docs/index.html", "docs/expectations.html"}
    index, suite = (judged.files[name].decode() for name in ("docs/index.html", "docs/expectations.html"))
    for page in (index, suite):
        for trace in ("://", "<script", "<img", "<link", "src=", "url(", "@import", "/tmp"):
            assert trace not in page
        assert "closeness_z at most 2.33" in page
        assert "January 2026, 03:04 UTC" in page
    assert index.count('class="state pass">passed') >= len(BAD)
    assert "ATE 1.1 against 1 &lt;in&gt; the source" in index
    assert 'href="expectations.html"' in index
    assert 'href="index.html"' in suite


def test_a_name_given_twice_or_no_gate_is_an_error(tmp_path: Path):
    with pytest.raises(EstimationError, match="distinct"):
        expectations.judge([GOOD[0], GOOD[0]], tmp_path, CREATED)
    with pytest.raises(EstimationError, match="at least one gate"):
        expectations.judge([Metric("share", 0.5)], tmp_path, CREATED)
