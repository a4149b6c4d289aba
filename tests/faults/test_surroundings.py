"""What a command finds around it is broken: where its answer goes, the user's home, the SPEC. One line, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.settings import Settings
from infra.specfile import MOST_VALUES, read_values
from tasks.contract.errors import SpecError, WaymintError
from tests.releasing import ROOT


def run(redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a shell that redirects what it answers."""
    command = f"'{sys.executable}' -m infra.cli {' '.join(arguments)} {redirection}"
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )


@pytest.mark.parametrize("redirection", ["| head -c 1 | cat >/dev/null", ">&-"], ids=["a reader that has enough", "closed"])
def test_an_answer_that_nobody_reads_is_no_error(redirection: str) -> None:
    done = run(redirection, "schema")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


def test_an_answer_that_does_not_fit_is_told_in_one_line() -> None:
    done = run(">/dev/full", "datasets", "--json")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "error: answer of the command must fit where stdout goes; got 'No space left on device'."
    assert "Traceback" not in done.stderr


def test_a_home_that_can_not_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from infra.ownership import home_folder

    with pytest.raises(WaymintError, match="must be there or be one that can be made") as told:
        home_folder(Settings(home=Path("/proc/none/home")))
    assert "WAYMINT_HOME" in told.value.hint
    # a container's user that no passwd knows
    for name in ("HOME", "WAYMINT_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    with pytest.raises(SpecError, match="WAYMINT_HOME must be set where the user has no home"):
        Settings()


def test_a_spec_that_unfolds_without_end_is_refused(tmp_path: Path) -> None:
    """Nine references to nine references, nine times: some hundred bytes that stand for a thousand million values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level + 1}: &a{level + 1} [{', '.join([f'*a{level}'] * 9)}]" for level in range(9)]
    path = tmp_path / "spec.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(SpecError, match=f"must hold at most {MOST_VALUES:,} values"):
        read_values(path)


@pytest.mark.parametrize("ending", ["yaml", "toml"])
def test_a_spec_that_is_nested_without_end_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"spec.{ending}"
    path.write_text(("" if ending == "yaml" else "a = ") + "[" * 5000)
    with pytest.raises(SpecError, match="nested deeper than can be read"):
        read_values(path)
