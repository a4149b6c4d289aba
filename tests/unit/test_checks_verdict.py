import pytest

from tasks.checks.evidence import Evidence, FidelityEvidence, SchemaEvidence
from tasks.checks.metric import Metric, measure_all, tabulate
from tasks.checks.page import distil, numbers
from tasks.checks.refusal import SPENT
from tasks.checks.verdict import cautions, decide, explain
from tasks.contract.results import Gate
from tasks.contract.spec import GatesSpec
from tasks.report.verdict import verdict


def gate(name, value, threshold, rule, status, detail=""):
    passed = None if status == "off" else status == "passed"
    return Gate(name=name, value=value, threshold=threshold, rule=rule, passed=passed, status=status, detail=detail)


GOOD = gate("fidelity", 1.0, 2.58, "at most", "passed")
BAD = gate("closeness_z", 9.25, 2.33, "at most", "failed", "0.91 of the rows are closest to a training row")
NONE = gate("near_copies", None, 0.01, "at least", "refused", "40 holdout rows")
OFF = gate("levels", 4.0, None, "equal to", "off")


def test_one_failure_or_refusal_is_enough():
    assert decide([GOOD, OFF]).passed
    assert decide([GOOD, OFF]).off == ("levels",)
    assert decide([GOOD, BAD, NONE]) == (False, ("closeness_z", "near_copies"), (), ())
    assert not decide([GOOD, NONE]).passed


def test_what_can_not_be_told_is_let_through_with_a_caution_or_rejected_where_that_is_asked():
    values = {"name": "closeness_excess", "value": 0.03, "threshold": 0.05, "rule": "at most", "low": -0.01, "high": 0.07}
    unsure = Gate(**values, status="inconclusive", passed=None)
    assert unsure.outcome == "inconclusive"
    assert decide([GOOD, unsure]) == (True, (), (), ("closeness_excess",))
    assert explain([GOOD, unsure]) == []
    (told,) = cautions([GOOD, unsure])
    assert "closeness_excess is inconclusive" in told
    assert "limits -0.01 to 0.07" in told
    strict = unsure.model_copy(update={"passed": False})
    assert decide([GOOD, strict]) == (False, ("closeness_excess",), (), ())
    assert cautions([strict]) == ()
    assert "gates.inconclusive = 'warn'" in "\n".join(explain([strict]))


def test_the_report_says_how_many_gates_could_not_tell():
    unsure = Gate(
        name="closeness_excess", value=0.03, threshold=0.05, rule="at most", status="inconclusive", passed=None, low=-0.01, high=0.07
    )
    rows = [gate.model_dump() for gate in (GOOD, unsure, OFF)]
    told = verdict(rows, "published")
    assert told.headline == "Published: 1 of 2 gates that were on passed, 1 is inconclusive: the data can't tell."
    assert told.failed == ()
    rejected = verdict([rows[0], rows[1] | {"passed": False}], "rejected")
    assert [row["name"] for row in rejected.failed] == ["closeness_excess"]


def test_a_spent_holdout_is_explained_once():
    spent = [gate(name, None, 0.01, "at least", "refused", SPENT) for name in ("near_copies", "exact_copies")]
    lines = explain([gate("holdout_budget", 0.0, 1.0, "at least", "failed"), *spent])
    assert sum("another seed" in line for line in lines) == 1
    assert sum("at holdout_budget" in line for line in lines) == 2


def test_gates_of_older_manifests_get_their_outcome_from_their_status():
    assert [gate.outcome for gate in (GOOD, BAD, NONE, OFF)] == ["pass", "fail", "fail", "off"]


def test_no_gates_are_no_verdict():
    assert not decide([]).passed


def test_explanation_names_value_bound_distance_and_way_out():
    lines = explain([GOOD, BAD, OFF])
    assert lines[0] == "closeness_z  must be at most 2.33; got 9.25, 6.92 above."
    assert "0.91 of the rows" in lines[1]
    assert "gates.closeness_z = false" in lines[2]
    assert len(lines) == 3


def test_a_refusal_asks_for_rows():
    text = "\n".join(explain([NONE]))
    assert "refusal" in text
    assert "more rows" in text


def test_nothing_to_explain_where_all_hold():
    assert explain([GOOD, OFF]) == []


def test_all_checks_of_the_folder_are_run():
    evidence = Evidence(fidelity=FidelityEvidence(1.0, 0.1, 1.0, 0.1), schema=SchemaEvidence(5))
    assert [metric.name for metric in measure_all(evidence, GatesSpec())] == ["fidelity", "effect_gap", "columns", "levels"]


def test_metrics_table_has_a_row_each():
    table = tabulate([Metric("one", 1.5, "at most", 2.0, low=1.0), Metric("two", None, "at least", 3.0, refused=True)])
    assert table["metric"].tolist() == ["one", "two"]
    assert table["value"].isna().tolist() == [False, True]
    assert table["refused"].tolist() == [False, True]


PAGE = """<html><head><script src="https://cdn.example/x.js"></script></head><body><nav>menu</nav>
<div id="run-1"><table><tr><td>2026-01-01</td></tr></table><br></div>
<p onclick="x()" style="background:url(https://a.example/b.png)" class="m">kept &lt;b&gt; <i class="fas text-danger"></i> Failed</p>
<a href="../x/suite.html">suite</a><a href="https://tracker.example/?d=1">away</a><img src="https://a.example/pixel.png"/>
<script>alert(1)</script></body></html>"""


def test_distilled_page_keeps_words_and_drops_everything_remote():
    page = distil(PAGE, "A < B", "now", {"suite.html": "expectations.html"}, drop="run", more="<p>more</p>").decode()
    assert "kept &lt;b&gt;" in page
    assert '<span class="state fail">failed</span>' in page
    assert '<a href="expectations.html">' in page
    assert "<h1>A &lt; B</h1>" in page
    assert "<p>more</p>" in page
    for trace in ("://", "<script", "<img", "onclick", "url(", "2026-01-01", "menu", "alert(1)"):
        assert trace not in page


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (
            Metric("n", 0.5, "at most", 1.0, 0.1, 0.9, detail="a<b"),
            "<td>n</td><td>0.5</td><td>0.1 to 0.9</td><td>at most 1</td><td>a&lt;b</td>",
        ),
        (Metric("n", None, "at most", 1.0, refused=True), "<td>n</td><td>refused</td>"),
        (Metric("n", 2.0, "at most", None), "<td>2</td><td></td><td>off</td>"),
    ],
)
def test_all_metrics_are_listed(metric, text):
    assert text in numbers([metric])
