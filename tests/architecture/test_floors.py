"""Every import rule of pyproject.toml holds, and every one of them can be broken."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = {c["id"]: c["name"] for c in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]}

# contract: (file that gets the import, the import)
BREAKS = {
    "floors": ("flows/offender.py", "import waymint"),
    "contract": ("tasks/contract/offender.py", "import scipy"),
    "steps": ("tasks/source/offender.py", "import tasks.covariates"),
    "infra": ("infra/offender.py", "import tasks.source"),
    "tasks": ("tasks/source/offender.py", "import infra.settings"),
    "prefect": ("tasks/source/offender.py", "import prefect"),
    "dask": ("tasks/source/offender.py", "import dask.dataframe"),
    "expectations": ("tasks/report/offender.py", "import great_expectations"),
    "stores": ("tasks/publish/offender.py", "import boto3"),
    "networks": ("tasks/covariates/methods/offender.py", "import torch"),
    "plots": ("tasks/report/offender.py", "import matplotlib"),
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(is_debug_mode=False, no_cache=True))"
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120, env={"PYTHONPATH": str(folder)})


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the four packages, to be broken."""
    for package in ("waymint", "flows", "tasks", "infra"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_contract_is_broken_once() -> None:
    assert set(BREAKS) == set(CONTRACTS)


def test_the_house_stands(house: Path) -> None:
    result = lint(house)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(CONTRACTS)} kept, 0 broken" in result.stdout


@pytest.mark.parametrize("contract", sorted(BREAKS))
def test_an_offending_import_is_found(house: Path, contract: str) -> None:
    file, line = BREAKS[contract]
    (house / file).write_text(f'"""Offends on purpose."""\n\n{line}\n')
    result = lint(house)
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{CONTRACTS[contract]} BROKEN" in result.stdout


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("tasks/mechanisms/offender.py", "import tasks.simulation.grid"),
        ("tasks/mechanisms/offender.py", "import tasks.estimation.combine"),
        ("tasks/targeting/offender.py", "import tasks.nuisance.folds"),
        ("tasks/report/offender.py", "import tasks.publish.layout"),
        ("tasks/newcomer/__init__.py", "import tasks.contract"),
    ],
    ids=["up", "sideways", "up to learners", "sideways on top", "no place"],
)
def test_the_ranks_of_steps_hold(house: Path, file: str, line: str) -> None:
    """A step imports nothing above it and nothing beside it, and every step has a rank."""
    (house / file).parent.mkdir(exist_ok=True)
    (house / file).write_text(f'"""Offends on purpose."""\n\n{line}\n')
    result = lint(house)
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{CONTRACTS['steps']} BROKEN" in result.stdout or "exhaustive" in result.stdout.lower()


def test_a_step_imports_what_stands_below(house: Path) -> None:
    (house / "tasks/simulation/visitor.py").write_text(
        '"""Imports down the ranks."""\n\nimport tasks.mechanisms.model\nimport tasks.nuisance.folds\nimport tasks.targeting.influence\n'
    )
    result = lint(house)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_doors_are_open(house: Path) -> None:
    """A step's task.py and infra/stores may do what their contracts are about."""
    (house / "tasks/report/task.py").write_text("import infra.settings\nimport prefect\n")
    (house / "infra/stores/other.py").write_text("import boto3\n")
    result = lint(house)
    assert result.returncode == 0, result.stdout + result.stderr
