"""The panel of effects person by person: every record read, every sentence earned by its number."""

from __future__ import annotations

from pathlib import Path

import pytest

import tasks.report.cate as panel
from tasks.pages.template import fill
from tasks.report.cate import person_panel
from tests.reporting import Page

ARM = {"arm": 1, "distance": 0.03, "scale": 0.05, "source_size": 200.0, "release_size": 900.0, "sd_ratio": 1.02, "sd_ratio_se": 0.01}


def gap(learner="mean", **changes):
    values = {
        "gap": 0.52,
        "se": 0.011,
        "reference": 0.5,
        "reference_se": 0.01,
        "ratio": 1.04,
        "ratio_se": 0.02,
        "beyond": 0.1,
        "spread": 0.9,
    }
    return {"learner": learner, **values, **changes}


def records(**changes):
    found = {
        "cate": {"learners": [gap("t"), gap("s"), gap("dr"), gap("ra")], "mean": gap(), "n": 3000, "rows": 1000},
        "propensity_js": {
            "assignment": {"distance": 0.2, "se": 0.002, "reference": 0.06, "reference_se": 0.001, "n": 3000, "similarity": 0.8},
            "law": {"distance": 0.7, "scale": 0.02, "source_rows": 3000, "release_rows": 4000},
            "design": "randomized",
        },
        "precision_recall": {
            "precision": {"value": 0.95, "se": 0.01},
            "precision_reference": {"value": 0.96, "se": 0.01},
            "recall": {"value": 0.4, "se": 0.01},
            "recall_reference": {"value": 0.6, "se": 0.01},
            "rows": 900,
        },
        "outcome_distance": {"arms": [{**ARM, "arm": 0, "distance": 0.09, "sd_ratio": None}, ARM]},
    }
    return {**found, **changes}


def text(fidelity):
    page = fill(Path(panel.__file__).parent, "cate.html.j2", people=person_panel(fidelity))
    return Page(page).text if page.strip() else ""


def reading(fidelity, title):
    return next(row["reading"] for row in person_panel(fidelity)["laws"] if row["title"] == title)


def test_all_is_there():
    shown = text(records())
    for words in (
        "Does it carry effects person by person?",
        "T-learner",
        "DR-learner",
        "Mean of the four",
        "0.520",
        "± 0.011",
        "1.04",
        "Treatment assignment",
        "Precision of covariates",
        "Outcome, treated",
        "3,000",
        "Its spread is 1.02 times the source's.",
    ):
        assert words in shown, words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ratio": 1.04}, "as close to the source's as"),
        ({"ratio": 1.35}, "somewhat further"),
        ({"ratio": 2.5, "beyond": 0.6}, "do not ask it who benefits"),
        ({"ratio": 2.5, "beyond": 0.2}, "somewhat further"),
        ({"ratio": None}, "nothing to compare"),
        ({"spread": 0.1}, "this test is weak"),
    ],
)
def test_effects_are_read_by_their_ratio(changes, words):
    cate = {**records()["cate"], "mean": gap(**changes)}
    found = person_panel(records(cate=cate))["reading"]
    assert words in found
    assert ("weak" in found) == ("spread" in changes)


def test_a_chosen_design_is_no_fault_and_a_fitted_one_is_judged():
    js = records()["propensity_js"]
    assert "randomized on purpose" in reading(records(), "Treatment assignment")
    fitted = {**js, "design": "fitted"}
    assert "otherwise than the source" in reading(records(propensity_js=fitted), "Treatment assignment")
    assert "Overlap differs" in reading(records(propensity_js=fitted), "Law of the propensity")
    near = {"assignment": {**js["assignment"], "distance": 0.065}, "law": {**js["law"], "distance": 0.03}, "design": "fitted"}
    assert "as the source does" in reading(records(propensity_js=near), "Treatment assignment")
    assert "Overlap looks as in the source" in reading(records(propensity_js=near), "Law of the propensity")


def test_scores_are_read_against_their_reference():
    assert reading(records(), "Precision of covariates") == "Released rows are as typical as real ones."
    assert reading(records(), "Recall of covariates") == "Real rows are covered less well than they are by other real rows."
    assert "by more than sampling explains" in reading(records(), "Outcome, control")
    assert reading(records(), "Outcome, treated").startswith("Distributed as in the source, up to sampling.")


def test_what_is_not_there_is_left_out():
    assert person_panel({}) is None
    assert text({"cate": None}) == ""
    only = person_panel({"outcome_distance": {"arms": [ARM]}})
    assert only["learners"] == []
    assert [row["title"] for row in only["laws"]] == ["Outcome, treated"]
    assert "learnt by" not in text({"outcome_distance": {"arms": [ARM]}})


def test_a_refusal_is_said_and_is_words():
    shown = text(records(cate={"refused": "rows of an arm must be <b>40</b>."}))
    assert "Not measured: rows of an arm must be <b>40</b>." in shown
    assert "T-learner" not in shown
