"""The picture of the house is the one that the imports give."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def drawing() -> ModuleType:
    """The script that draws, loaded by its path: .ci is no package."""
    spec = importlib.util.spec_from_file_location("house", ROOT / ".ci" / "house.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_stored_picture_is_what_the_imports_give(drawing: ModuleType) -> None:
    assert (ROOT / "docs" / "house.svg").read_text() == drawing.draw_house(), "run: .venv/bin/python .ci/house.py"


def test_every_step_and_every_arrow_stand_in_the_picture(drawing: ModuleType) -> None:
    house, text = drawing.read_house(), drawing.draw_house()
    steps = {path.parent.name for path in (ROOT / "tasks").glob("*/__init__.py")}
    assert {node.removeprefix("tasks.") for rank in house.ranks for node in rank} == steps - {"contract"}
    arrows = drawing.arrows_of(house)
    assert text.count("<title>") == len(arrows) > 10
    assert ("tasks.simulation", "tasks.mechanisms") in arrows


def test_arrows_point_downwards(drawing: ModuleType) -> None:
    house = drawing.read_house()
    level = {node: number for number, rank in enumerate(house.ranks) for node in rank}
    assert [pair for pair in drawing.arrows_of(house) if level[pair[0]] >= level[pair[1]]] == []
