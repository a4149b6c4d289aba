"""Great Expectations is imported without the packages that it does not need here, and nobody else misses them."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tasks.checks.optional import UNUSED, absent


def test_a_package_is_absent_in_one_thread_and_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_optional_package.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    seen: list[int] = []
    with absent(["some_optional_package"]):
        with pytest.raises(ModuleNotFoundError, match="No module named 'some_optional_package'"):
            importlib.import_module("some_optional_package")
        other = threading.Thread(target=lambda: seen.append(importlib.import_module("some_optional_package").value))
        other.start()
        other.join()
        assert importlib.import_module("some_optional_package").value == 1  # imported by now: it stays
    assert seen == [1]


def test_the_judge_works_without_them_and_they_can_be_imported_later(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from tasks.checks.task import load_judge\n"
        "load_judge()\n"
        f"names = {UNUSED!r}\n"
        "assert not set(names) & set(sys.modules), sorted(set(names) & set(sys.modules))\n"
        "from tasks.checks.expectations import judge\n"
        "from tasks.checks.metric import gate\n"
        "from tasks.contract.spec import GatesSpec\n"
        "gates = GatesSpec()\n"
        "import pathlib\n"
        f"judged = judge([gate('min_arm', 60.0, gates), gate('fidelity', 9.0, gates)], pathlib.Path({str(tmp_path)!r}), '2026-01-01')\n"
        "print(sorted((each.name, each.passed) for each in judged.gates))\n"
        "import sqlalchemy, boto3\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.strip().endswith("[('fidelity', False), ('min_arm', True)]")
