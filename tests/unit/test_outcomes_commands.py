"""What compare and simulate do with several outcomes, and with outcomes that some rows lack."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.compare import contest
from flows.simulate import replicate
from flows.stages.simulations import _refuse_other_law
from tasks.comparison.reading import lines as comparison_lines
from tasks.contract.errors import SpecError
from tasks.contract.roles import Column
from tasks.simulation.contrasts import COMPLETE
from tasks.simulation.reading import lines as simulation_lines
from tests.direct import directly, run_of
from tests.publishing import manifest_of
from tests.reporting import schema
from tests.visits import visits, visits_spec


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


SIMULATE = {
    "rows": [300], "designs": ["fitted"], "effect_scales": [1.0, 0.0], "replicates": 20, "draws": 1, "pool": 2_000, "folds": 2,
    "estimators": ["aipw", "tmle"],
}  # fmt: skip


def test_estimators_are_tried_on_every_outcome(tmp_path: Path) -> None:
    """The law is fitted to both visits; figures, advice and the refit go by outcome; complete rows stand beside and are not advised."""
    spec = visits_spec(tmp_path, simulate=SIMULATE, release__draws="iid")
    reply, _ = directly(replicate, run_of(spec, tmp_path / "work"), None)
    tried = {(row["outcome"], row["estimator"]) for row in reply["rows"]}
    assert tried == {("early", "aipw"), ("early", "tmle"), ("late", "aipw"), ("late", "tmle"), ("late", COMPLETE)}
    early, late = reply["outcomes"]
    assert (early["outcome"], early["truth"], early["missing"]) == ("early", reply["truth"], 0.0)
    # the effects that the source was drawn with
    assert early["truth"] == pytest.approx(1.0, abs=0.3)
    assert late["truth"] == pytest.approx(2.0, abs=0.6)
    assert late["missing"] == pytest.approx(float(visits()["late"].isna().mean()), abs=0.04)
    for row in reply["rows"]:
        of_law = late if row["outcome"] == "late" else early
        assert row["truth"] == pytest.approx(row["effect_scale"] * of_law["truth"])
        assert row["failures"] == 0.0
    assert {(each["outcome"], each["estimator"] == COMPLETE) for each in reply["recommendation"]} == {("early", False), ("late", False)}
    assert {each["outcome"] for each in reply["stability"]} == {"early", "late"}
    folder = next((tmp_path / "store").rglob("simulate.json")).parent
    assert pq.read_table(folder / "replicates.parquet").column("outcome").unique().to_pylist() == ["early", "late"]
    text = "\n".join(simulation_lines(reply))
    assert "true effect (ATE of early) of the fitted law:" in text
    assert "true effect (ATE of late):" in text
    assert re.search(r"late is missing in 2\d\.\d% of the rows, at random given covariates and treatment", text)
    assert "aipw_complete: AIPW on the rows that have the outcome" in text
    page = (folder / "simulate.html").read_text()
    assert "AIPW, complete rows" in page
    assert "drawn together" in page
    assert "On <b>late</b> it is" in page


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"role": "outcome", "id": "y1"}, "release of simulate must have one outcome, known in every row; got nhefs version 1, which has"),
        ({"role": "cluster", "id": "cluster"}, "cluster of a release to simulate from must be left out; got nhefs version 1"),
    ],
)
def test_a_release_of_several_outcomes_or_of_clusters_is_no_law(more: dict[str, Any], message: str) -> None:
    """What a release keeps of its mechanisms is the law of one outcome, row by row."""
    plain = schema()
    given = plain.outcome.model_dump() | {"name": "further"} | more
    table = plain.model_dump(mode="json")
    table["columns"].append(Column.model_validate(given).model_dump(mode="json"))
    with pytest.raises(SpecError, match=message):
        _refuse_other_law(manifest_of(1, "run", table=table, spec={"release": {"mode": "hybrid", "include_nuisances": True}}))
