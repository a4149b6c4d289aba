"""``import waymint`` is quick and offers what the documentation names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import waymint
from tasks.contract import errors

ROOT = Path(__file__).parents[2]
HEAVY = (
    "prefect",
    "great_expectations",
    "sklearn",
    "pandas",
    "numpy",
    "pyarrow",
    "scipy",
    "dask",
    "distributed",
    "torch",
    "boto3",
    "matplotlib",
    "pydantic",
)


def test_nothing_heavy_is_imported() -> None:
    program = f"import sys, waymint; dir(waymint); print([name for name in {HEAVY!r} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_import_leaves_the_environment_alone() -> None:
    program = "import os; before = dict(os.environ); import waymint; print(dict(os.environ) == before)"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "True"


def test_every_name_is_there_and_documented() -> None:
    assert dir(waymint) == sorted(waymint.__all__)
    for name in waymint.__all__:
        assert getattr(waymint, name).__doc__, name


def test_errors_are_those_of_the_contract() -> None:
    tree = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.WaymintError)}
    assert tree <= set(waymint.__all__)
    assert waymint.GateFailed is errors.GateFailed


def test_a_wrong_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'waymint' has no attribute 'mint'"):
        _ = waymint.mint
