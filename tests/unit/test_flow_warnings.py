"""A flow says of its table what ``waymint check`` says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.check import check
from flows.stages.source import read_source
from infra.logging import PlainDisplay
from infra.stages import Stages
from tasks.contract.spec import Spec
from tests.direct import DirectWork, run_of
from tests.releasing import spec_of, table, write


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
