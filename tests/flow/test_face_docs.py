"""The Python examples of README.md and docs/python.md run, one after the other, as a reader would type them."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import waymint as face
from tests.releasing import ROOT, save, spec_of, table

#: Settings with which an example takes some seconds.
FAST = {
    "covariates.synthesizer": "copula",
    "mechanisms.learner": "glm",
    "mechanisms.folds": 2,
    "engine.dask": "threads",
    "simulate": {"rows": [100], "designs": ["fitted"], "effect_scales": [1.0], "replicates": 20, "draws": 0, "pool": 2_000},
    "compare": {"synthesizers": [{"name": "copula"}], "modes": ["hybrid"], "seeds": 1},
}


def blocks(path: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def quick(function: Callable[..., Any], allowed: dict[str, Any]) -> Callable[..., Any]:
    """Return the function with small settings below those that the example gives."""

    @functools.wraps(function)
    def call(*arguments: Any, settings: dict[str, Any] | None = None, **options: Any) -> Any:
        return function(*arguments, settings={**allowed, **(settings or {}), "release.rows": 500}, **options, progress=False)

    return call


@pytest.fixture
def study(prefect: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with what the examples read, and the package with small settings."""
    monkeypatch.chdir(tmp_path)
    table().to_csv(tmp_path / "trial.csv", index=False)
    save(
        {key: value for key, value in spec_of("trial.csv", "releases").items() if key != "name"} | {"name": "study"},
        tmp_path / "study.yaml",
    )
    for name in ("release", "simulate", "compare"):
        monkeypatch.setattr(face, name, quick(getattr(face, name), FAST))
    monkeypatch.setattr(face, "estimate", functools.partial(face.estimate, learner="glm", folds=2))
    audit = face.audit
    monkeypatch.setattr(face, "audit", functools.partial(audit, settings={"engine.dask": "threads"}, progress=False))
    return tmp_path


@pytest.mark.parametrize("name", ["README.md", "docs/python.md"])
def test_the_examples_run(name: str, study: Path) -> None:
    examples = blocks(ROOT / name)
    assert examples
    namespace: dict[str, Any] = {}
    for number, example in enumerate(examples, start=1):
        exec(compile(example, f"{name}, example {number}", "exec"), namespace)
    assert (study / "overlap.pdf").read_bytes().startswith(b"%PDF")


def test_the_example_of_the_readme_is_short() -> None:
    (example,) = blocks(ROOT / "README.md")
    assert len(example.splitlines()) <= 10
