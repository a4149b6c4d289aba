"""What the page of a run says of its release."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from flows.stages.page import release_page

ROOT = Path(__file__).resolve().parents[2]
METRICS = {"seconds": 12.0, "rows_per_second": 100.0, "peak_mib": 512.0, "stages": [{"stage": "draw release", "parts": 1, "seconds": 2.0}]}


@pytest.fixture
def manifest() -> dict[str, Any]:
    """A manifest of an older version: without metrics."""
    return dict(json.loads((ROOT / "tests/data/manifest-0.1.0.json").read_text()))


def page(manifest: dict[str, Any], status: str = "published") -> str:
    return release_page({"status": status, "uri": "file:///s/x/v1", "version": None if status == "rejected" else 1, "manifest": manifest})


def test_an_older_manifest_has_a_page_without_cost(manifest: dict[str, Any]) -> None:
    text = page(manifest)
    assert "## Gates" in text
    assert "## Cost" not in text


def test_failed_gates_come_first(manifest: dict[str, Any]) -> None:
    gates = copy.deepcopy(manifest["gates"])
    gates[-1]["status"], gates[-2]["status"] = "failed", "inconclusive"
    text = page({**manifest, "gates": gates}, "rejected")
    assert text.startswith(f"# {manifest['name']}\n\n**Rejected.** Nothing was published.")
    lines = text[text.index("## Gates") :].splitlines()[4:6]
    assert [line.split(" | ")[:2] for line in lines] == [
        ["| **failed**", gates[-1]["name"]],
        ["| **inconclusive**", gates[-2]["name"]],
    ]


def test_the_cost_is_that_of_the_run_and_not_of_a_version_that_was_there(manifest: dict[str, Any]) -> None:
    manifest["metrics"] = METRICS
    assert "12.0 s, 100 rows/s, peak memory 512 MiB" in page(manifest)
    assert "## Cost" not in page(manifest, "unchanged")


def test_a_warning_ends_no_cell_and_begins_no_markup(manifest: dict[str, Any]) -> None:
    manifest["warnings"] = ["a | b <script>x</script>\nc"]
    assert "- a \\| b &lt;script>x&lt;/script> c" in page(manifest)


def test_numbers_that_are_not_there_are_empty_cells(manifest: dict[str, Any]) -> None:
    manifest["effects"]["source"]["ate"]["se"] = None
    for gate in manifest["gates"]:
        gate["value"] = None
    assert "None" not in page(manifest)
