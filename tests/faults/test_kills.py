"""A release is killed at 200 random moments: nothing half visible, no wrong byte (benchmarks/kills.py)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.releasing import ROOT


def study(out: Path, *options: str) -> list[str]:
    """Run the study in a process of its own, which forks; return the cells of its last line."""
    command = [sys.executable, "-m", "benchmarks.kills", "--out", str(out), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [cell.strip() for cell in done.stdout.splitlines()[-1].strip("|").split("|")]


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("options", [("--kills", "200"), ("--command", "--kills", "20")], ids=["work", "command"])
def test_random_kills_leave_nothing_half_visible_and_no_wrong_byte(tmp_path: Path, options: tuple[str, ...]) -> None:
    kills, publishing, _, *faults = study(tmp_path / "kills.jsonl", *options)
    assert int(kills) >= int(options[-1])
    assert int(publishing) >= 1
    assert faults == ["0", "0", "0"]
