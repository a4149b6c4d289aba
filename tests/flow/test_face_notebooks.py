"""The example notebooks run from top to bottom, and are stored with outputs that are small and name no machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.notebooks import PATHS, execute
from tests.releasing import Command

#: Settings with which a notebook takes some seconds.
TINY: dict[str, dict[str, Any]] = {
    "release": {"ROWS": 500, "SYNTHESIZER": "copula", "LEARNER": "glm"},
    "simulate": {"ROWS": 400, "REPLICATES": 20, "SIZES": [100]},
}
LARGEST = 200_000


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook["cells"] for output in cell.get("outputs", ())]


@pytest.mark.parametrize(
    "name", ["simulate", pytest.param("release", marks=pytest.mark.slow)], ids=["simulate", "release"]
)  # one of them in make test
def test_a_notebook_runs(name: str, command: Command, tmp_path: Path) -> None:
    path = next(path for path in PATHS if path.stem == name)
    notebook = execute(path, tmp_path, command.environment, TINY[name])
    made = outputs(notebook)
    assert any("image/png" in output.get("data", {}) for output in made)
    assert any("text/html" in output.get("data", {}) for output in made)
    assert [output for output in made if output["output_type"] in ("stream", "error")] == []


def test_every_notebook_is_tested_and_stored_with_its_outputs() -> None:
    assert {path.stem for path in PATHS} == set(TINY)
    for path in PATHS:
        notebook = json.loads(path.read_text())
        code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1)), path.name
        kinds = {kind for output in outputs(notebook) for kind in output.get("data", {})}
        assert {"image/png", "text/html"} <= kinds
        assert path.stat().st_size < LARGEST
        assert not any(word in path.read_text() for word in ("/tmp/", "/root/", "Traceback"))
