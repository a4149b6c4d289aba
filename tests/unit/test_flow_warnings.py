"""A flow says of its table what ``waymint check`` says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.check import check
from flows.estimate import estimate
from flows.stages.source import read_source
from infra.logging import PlainDisplay
from infra.stages import Stages
from tasks.contract.errors import SourceError, SpecError
from tasks.contract.spec import Spec
from tests.direct import DirectWork, run_of
from tests.releasing import spec_of, table, write

OPTIONS = {"estimators": ("aipw",), "learner": "glm", "folds": 2, "repeats": 1, "seed": 0, "propensity": None, "weights": None}


@pytest.mark.parametrize(("column", "of"), [("rank", "outcome"), ("ward", "treatment")])
def test_near_functions_are_named_by_check_and_flow(tmp_path: Path, column: str, of: str) -> None:
    frame = table(400)
    frame["rank"] = (frame["score"] * 2 + 1).round(3) if of == "outcome" else 1.0
    frame["ward"] = frame["drug"].map({0: "north", 1: "south"}) if of == "treatment" else "north"
    values = spec_of(write(frame, tmp_path / "t.parquet"), tmp_path / "store")
    source = read_source(run_of(values, tmp_path / "work"), Stages(PlainDisplay(), work=DirectWork()))
    said = [line for line in source.described.warnings if f"'{column}' nearly determines" in line]
    assert len(said) == 1
    reply, _ = check(Spec.model_validate(values))
    assert any(f"'{column}' nearly determines" in finding["message"] for finding in reply["findings"])


def test_more_than_two_arms_are_not_taken_for_determined(tmp_path: Path) -> None:
    """The share of rows in the largest arm of a group is a share whatever the number of arms."""
    frame = table(400)
    frame["drug"] = [number % 4 for number in range(400)]
    frame["ward"] = frame["drug"].map({0: "n", 1: "s", 2: "w", 3: "e"})
    frame.loc[::10, "score"] = None
    roles = {"treatment": "drug", "control": 0, "outcome": "score", "covariates": "*", "missing_outcome": "ipcw"}
    reply, _ = estimate(str(write(frame, tmp_path / "t.parquet")), roles, OPTIONS)
    assert [line.split("'")[1] for line in reply["warnings"] if "nearly determines treatment" in line] == ["ward"]
    assert any("outcomes are missing in 10% of the rows" in line for line in reply["warnings"])
    assert {one["estimand"] for one in reply["estimates"]} == {"mean", "ate"}
    assert reply["n"] == 400


def test_a_relation_that_rows_break_is_said_before_anything_is_fitted(tmp_path: Path) -> None:
    frame = table(400)
    frame["first"], frame["last"] = range(400), range(5, 405)
    values = spec_of(write(frame, tmp_path / "t.parquet"), tmp_path / "store", roles__relations=["last <= first", "first <= last"])
    values["roles"]["kinds"] = {"first": "integer", "last": "integer"}
    reply, _ = check(Spec.model_validate(values))
    errors = [finding for finding in reply["findings"] if finding["severity"] == "error"]
    assert [(one["code"], one["name"]) for one in errors] == [(4, "relation 'last <= first' of roles")]
    assert "400 of 400" in errors[0]["message"]
    with pytest.raises(SourceError, match="last <= first"):
        read_source(run_of(values, tmp_path / "work"), Stages(PlainDisplay(), work=DirectWork()))


@pytest.mark.parametrize(("levels", "warned"), [(4, False), (40, True)])
def test_numbers_stored_as_text_are_named_where_they_are_too_many_for_codes(tmp_path: Path, levels: int, warned: bool) -> None:
    frame = table(400)
    frame["ward"] = [str(number % levels) for number in range(len(frame))]
    reply, _ = check(Spec.model_validate(spec_of(write(frame, tmp_path / "t.parquet"), tmp_path / "store")))
    assert any("'ward' is taken as text" in finding["message"] for finding in reply["findings"]) is warned


def test_several_outcomes_are_estimated_each_without_the_others(tmp_path: Path) -> None:
    frame = table(400)
    frame["later"] = (frame["score"] * 3 + frame["age"]).where(frame.index % 7 != 0)
    path = str(write(frame, tmp_path / "t.parquet"))
    roles = {"treatment": "drug", "outcomes": ("score", "later"), "covariates": "*", "missing_outcome": "ipcw"}
    reply, lines = estimate(path, dict(roles), OPTIONS)
    assert [(one["outcome"], one["estimator"]) for one in reply["estimates"]] == [("score", "aipw"), ("later", "aipw")]
    alone, _ = estimate(path, roles | {"outcomes": ("score",), "exclude": ("later",)}, OPTIONS)
    assert reply["estimates"][0] == alone["estimates"][0] | {"outcome": "score"}
    assert [line for line in lines if line.startswith("outcome ")] == ["outcome   score", "outcome   later"]
    with pytest.raises(SpecError, match="must name different columns"):
        estimate(path, roles | {"outcomes": ("score", "score")}, OPTIONS)
