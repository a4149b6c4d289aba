"""What compare and simulate do with several outcomes, and with outcomes that some rows lack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.compare import contest
from tasks.comparison.reading import lines as comparison_lines
from tests.direct import directly, run_of
from tests.visits import visits_spec


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Compare one synthesizer in both modes on two visits, the second with missing cells; return the reply and its folder."""
    folder = tmp_path_factory.mktemp("compared")
    comparing = {"synthesizers": ["copula"], "seeds": 1, "rows": 1200}
    reply, _ = directly(contest, run_of(visits_spec(folder, compare=comparing), folder / "work"))
    return reply, next((folder / "store").rglob("compare.html")).parent


def test_synthesizers_are_compared_on_every_outcome(compared: tuple[dict[str, Any], Path]) -> None:
    """Rows have the effect, prediction and terms of each; the mode that targets nothing draws missing cells too."""
    reply, folder = compared
    assert [(row["mode"], row["refused"]) for row in reply["rows"]] == [("hybrid", None), ("full", None)]
    for row, summary in zip(reply["rows"], reply["summary"], strict=True):
        early, late = row["pairs"]
        assert (early["outcome"], late["outcome"]) == ("early", "late")
        # the effects that the rows were drawn with are 1 and 2; weighted by the chance to be known, not read off the complete rows
        assert early["source_effect"] == pytest.approx(1.0, abs=4 * early["source_se"])
        assert late["source_effect"] == pytest.approx(2.0, abs=4 * late["source_se"])
        assert (row["effect_error"], row["source_effect"]) == (early["effect_error"], early["source_effect"])
        assert [each["outcome"] for each in row["outcomes"]] == ["early", "late"]
        assert row["outcomes"][0]["tstr"] == row["tstr"]
        # the second visit varies more: its RMSE is another
        assert row["outcomes"][1]["tstr_source"] > 1.4 * row["tstr_source"]
        scaled = {each["outcome"]: abs(each["effect_error"]["tmle"]) / each["source_se"] for each in row["pairs"]}
        assert scaled[summary["outcome"]] == max(scaled.values())
        assert row["spearman_gap"] < 0.15
        assert row["missing_gap"] < 0.12
    hybrid = reply["rows"][0]
    assert max(abs(each["effect_error"]["tmle"]) / each["source_se"] for each in hybrid["pairs"]) < 1.0
    assert max(abs(each["contrast_term"]) for each in hybrid["outcomes"]) < 0.05
    record = json.loads((folder / "compare.json").read_text())
    assert [each["name"] for each in record["outcomes"]] == ["early", "late"]
    assert record["rows"] == reply["rows"]


def test_terminal_and_page_name_the_outcome(compared: tuple[dict[str, Any], Path]) -> None:
    reply, folder = compared
    text = "\n".join(comparison_lines(reply))
    assert "Effect errors are those of the outcome that is named: the worst one." in text
    assert "By outcome; TSTR above is that of early:" in text
    page = (folder / "compare.html").read_text()
    assert "The effect on every outcome" in page
    assert "Every outcome: prediction and the two terms" in page
    assert "Prediction against the effect: late" in page
    assert "outcomes together" in page
    assert "missing cells" in page
