"""Python blocks of the pages that start no flow run as they stand (tests/flow/test_face_docs.py runs the others)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN_BY_FLOWS = {"README.md", "docs/python.md"}
PAGES = sorted(
    name
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    if "```python" in path.read_text() and (name := path.relative_to(ROOT).as_posix()) not in RUN_BY_FLOWS
)


def blocks(name: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / name).read_text(), flags=re.MULTILINE | re.DOTALL)


def run(name: str, number: int) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "example"}
    exec(compile(blocks(name)[number], f"{name}, block {number + 1}", "exec"), namespace)
    return namespace


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with the table that the blocks read."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"drug": rng.integers(0, 2, 1_000), "score": rng.normal(size=1_000), "age": rng.integers(20, 80, 1_000)})
    frame.assign(sex=rng.choice(["f", "m"], 1_000), bmi=rng.normal(25, 3, 1_000)).to_parquet(tmp_path / "source.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("name", "number"), [(name, number) for name in PAGES for number in range(len(blocks(name)))])
def test_a_block_runs(name: str, number: int, study: Path) -> None:
    assert run(name, number)


def test_the_plug_in_of_the_page_is_a_synthesizer() -> None:
    given = run("docs/how-to/plug-in.md", 0)
    table = pd.DataFrame({"w0": np.arange(50.0), "w1": pd.Categorical(["a", None] * 25)})
    model = given["build"](given["Params"]()).fit(table, (), np.random.default_rng(1))
    drawn, again = (model.sample(70, np.random.default_rng(3)) for _ in range(2))
    pd.testing.assert_frame_equal(drawn, again)
    assert drawn.dtypes.equals(table.dtypes)
    assert len(drawn) == 70
    with pytest.raises(ValueError, match="noise"):
        given["Params"](noise="much")
