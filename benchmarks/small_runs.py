"""What a small release costs beside its imports: a run of the demo on threads and on worker processes, and the commands that need no run.

The first run starts a Prefect server and compiles what numba keeps; the second finds both. Ratio: CPU seconds of the second run over
those of importing what it needs.

    python -m benchmarks.small_runs
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.bytecode import keeping_bytecode
from infra.prefect_server import end_server
from infra.settings import Settings

ROOT = Path(__file__).parents[1]
IMPORTS = "import flows.release, tasks.checks.expectations"


class Cost(NamedTuple):
    """Seconds of a command: on the clock, and of the CPU in it and the processes that it waited for."""

    wall: float
    cpu: float


def measure(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Cost:
    """Run a command that must succeed."""
    before, began = os.times(), time.perf_counter()
    subprocess.run(command, cwd=folder, env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(round(time.perf_counter() - began, 2), round(spent, 2))


def costs(spec: Path, folder: Path) -> dict[str, Cost]:
    """Measure the commands, in an order in which each finds what the ones before left."""
    environment = keeping_bytecode(os.environ) | {"WAYMINT_HOME": str(folder / "home")}
    python, waymint = [sys.executable], [sys.executable, "-m", "infra.cli"]
    release = [*waymint, "release", str(spec)]
    commands = {
        "python": [*python, "-c", "pass"],
        "--help": [*waymint, "--help"],
        "check": [*waymint, "check", str(spec)],
        "imports": [*python, "-c", IMPORTS],
        "first run": release,
        "second run": release,
        "second run, worker processes": [*release, "--set", "engine.dask=local"],
    }
    return {name: measure(command, folder, environment) for name, command in commands.items()}


def main() -> None:
    """Print the costs as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=Path, default=ROOT / "examples" / "nhefs.toml")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="waymint-small-") as folder:
        try:
            measured = costs(arguments.spec.resolve(), Path(folder))
        finally:
            end_server(Settings(home=Path(folder) / "home"))
    ratio = measured["second run"].cpu / measured["imports"].cpu
    answer = {"load": os.getloadavg()[0], "seconds": {name: each._asdict() for name, each in measured.items()}, "ratio": round(ratio, 2)}
    print(json.dumps(answer, indent=2))


if __name__ == "__main__":
    main()
