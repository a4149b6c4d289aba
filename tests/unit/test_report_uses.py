"""What a release may be used for follows its figures; figures that invite misreading are commented."""

from __future__ import annotations

from typing import Any

from tasks.report.page import render
from tasks.report.uses import population_remark, remarks, uses
from tests.reporting import Page, gate, manifest, pictures, schema


def answers(values: dict[str, Any]) -> list[str]:
    """Return the answers in their order."""
    return [use.answer for use in uses(values)]


def test_uses_follow_the_figures() -> None:
    values = manifest(schema())
    assert answers(values) == ["yes", "limits", "not measured", "yes", "no", "no"]
    values["gates"] = [gate("fidelity", "off")]
    assert answers(values)[0] == "limits"
    values["fidelity"]["cate"] = {"mean": {"ratio": 1.1, "spread": 1.0, "reference": 0.5}}
    assert answers(values)[2] == "yes"
    values["fidelity"]["cate"]["mean"]["ratio"] = 1.8
    assert answers(values)[2] == "no"
    values["fidelity"]["cate"]["mean"] = {"ratio": 1.0, "spread": 0.1, "reference": 0.5}
    assert answers(values)[2] == "limits"
    values["fidelity"]["cate"] = {"refused": "too few rows"}
    assert answers(values)[2] == "not measured"
    values["fidelity"]["tstr"] = [{"metric": "auc", "tstr": {"value": 0.6}, "trtr": {"value": 0.8}}]
    assert answers(values)[3] == "limits"
    values["spec"]["mechanisms"]["treatment"] = "fitted"
    assert answers(values)[4] == "yes"
    values["spec"]["release"]["mode"] = "full"
    assert answers(values)[0] == "limits"


def test_rows_that_stand_in_for_the_source_are_not_called_real() -> None:
    values = manifest(schema())
    values["source"]["reference"] = {"name": "trial", "version": 4, "rows": 900}
    text = Page(render(values, pictures(schema()), "published")).text
    first = text[: text.index("What was released")]
    assert "Effect in version 4, in place of the real rows" in first
    assert "the effect that the rows of version 4 have" in first
    assert "which stands in the report of version 4" in first


def test_an_interval_without_the_built_in_effect_is_commented() -> None:
    values = manifest(schema())
    values["effects"]["truth"]["ate"] = 1.25
    assert remarks(values) == []
    values["effects"]["truth"]["ate"] = 1.15
    (text,) = remarks(values)
    assert "excludes the effect built into it (1.1500)" in text
    assert "one release of twenty" in text
    assert text in Page(render(values, pictures(schema()), "published")).text
    values["effects"]["truth"]["ate"] = 3.0
    assert len(remarks(values)) == 2


def test_equal_estimands_are_commented_in_a_randomized_release_alone() -> None:
    values = manifest(schema())
    assert "equal the ATE up to chance" in population_remark(values)
    assert "equal the ATE up to chance" in Page(render(values, pictures(schema()), "published")).text
    values["spec"]["mechanisms"]["treatment"] = "fitted"
    assert population_remark(values) == ""


def test_the_first_screen_says_verdict_effect_and_uses_and_gates_that_passed_are_folded() -> None:
    values = manifest(schema())
    values["gates"] = [gate("near_copies"), gate("fidelity", "inconclusive")]
    page = render(values, pictures(schema()), "published")
    text = Page(page).text
    first = text[: text.index("What was released")]
    for words in ("Published", "Effect in the real rows", "Effect estimated on the release", "What it may be used for"):
        assert words in first
    folded = page.decode().split("<summary>1 gate passed</summary>")[1].split("</details>")[0]
    assert "Near copies" in folded
    assert "Effect kept" not in folded
    for words in ("Balance of the arms", "Pairs of columns", "Outcome by arm", "Missing values", "training rows"):
        assert words in text
    assert "seed rows" not in text
