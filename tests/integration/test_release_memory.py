"""A million rows in 4 GiB: the limit is the kernel's, on the command and all it starts, the embedded Prefect server among it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from benchmarks.make_source import make_source
from benchmarks.memory import Peak, tree
from benchmarks.release_scale import command, end_all, environment, spec_text

ROOT = Path(__file__).resolve().parents[2]
GIB = 2**30
LIMIT = 4 * GIB
ROWS = 1_000_000


class Group:
    """A control group of the kernel (version 1 or 2). Its count includes the page cache, which is given back under pressure."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        path.mkdir()
        old = (path / "memory.limit_in_bytes").exists()
        (path / ("memory.limit_in_bytes" if old else "memory.max")).write_text(str(limit))
        # where swap is counted, none is to be had
        swap = path / ("memory.memsw.limit_in_bytes" if old else "memory.swap.max")
        if swap.exists():
            swap.write_text(str(limit) if old else "0")
        self._kills = path / ("memory.oom_control" if old else "memory.events")

    def wrap(self, arguments: list[str]) -> list[str]:
        """Enter the group before the command begins."""
        return ["sh", "-c", f'echo $$ > {self._path}/cgroup.procs && exec "$@"', "sh", *arguments]

    def broken(self) -> str | None:
        """Say how many processes the kernel killed for want of memory."""
        counts = dict(line.split() for line in self._kills.read_text().splitlines())
        return None if counts["oom_kill"] == "0" else f"{counts['oom_kill']} processes were killed for want of memory"

    def members(self) -> list[psutil.Process]:
        """List the processes in the group."""
        found = []
        for line in (self._path / "cgroup.procs").read_text().split():
            with suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(int(line)))
        return found

    def close(self) -> None:
        """End what is left in the group and remove it."""
        end_all(self.members())
        for _ in range(50):
            with suppress(OSError):
                self._path.rmdir()
                return
            time.sleep(0.1)
        raise AssertionError(f"{self._path} is still in use by {self.members()}")


def memory_controllers() -> list[Path]:
    """Return where a control group may be made, the likeliest first."""
    found = [Path("/sys/fs/cgroup/memory")]
    with suppress(OSError):
        if "memory" in Path("/sys/fs/cgroup/cgroup.subtree_control").read_text().split():
            found.append(Path("/sys/fs/cgroup"))
    return [path for path in found if path.is_dir() and os.access(path, os.W_OK)]


def make_group(limit: int) -> Group:
    """Make a control group with a limit, or skip the test."""
    for parent in memory_controllers():
        with suppress(OSError):
            return Group(parent / f"waymint-test-{os.getpid()}-{limit}", limit)
    pytest.skip("no memory controller may be used here (needs root and a writable /sys/fs/cgroup)")


@pytest.fixture
def group() -> Iterator[Group]:
    found = make_group(LIMIT)
    yield found
    found.close()


@pytest.fixture
def small_group() -> Iterator[Group]:
    found = make_group(GIB // 4)
    yield found
    found.close()


def test_the_limit_bites(small_group: Group) -> None:
    """Half a GiB in a quarter: were this to live, the test below would prove nothing."""
    greedy = small_group.wrap(
        [sys.executable, "-c", "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', 'b\"x\" * 2**29']))"]
    )
    ended = subprocess.run(greedy, check=False, timeout=60)
    assert ended.returncode != 0
    assert small_group.broken() is not None


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_a_million_rows_in_four_gib(group: Group, tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", ROWS)
    spec = tmp_path / "spec.toml"
    spec.write_text(spec_text(source, tmp_path / "store", ROWS, workers=2))
    with (tmp_path / "stdout").open("wb") as out, (tmp_path / "stderr").open("wb") as log:
        process = subprocess.Popen(group.wrap(command(spec)), cwd=ROOT, env=environment(tmp_path / "home"), stdout=out, stderr=log)
        try:
            with Peak(process.pid, seconds=1.0) as peak:
                process.wait()
        finally:
            end_all(tree(psutil.Process(process.pid)) if process.poll() is None else [])
    text = (tmp_path / "stderr").read_text()
    assert process.returncode == 0, text[-3000:]
    assert group.broken() is None
    reply = json.loads((tmp_path / "stdout").read_text())
    assert reply["status"] == "published"
    files = [file for file in reply["manifest"]["files"] if file["path"].startswith("data/copy-0/")]
    assert sum(file["rows"] for file in files) == ROWS
    # the server was inside: it is counted
    assert any("prefect" in " ".join(member.cmdline()) for member in group.members())
    print(f"peak PSS of the process tree: {peak.pss:.0f} MiB")
    assert peak.samples > 10
    assert peak.pss * 2**20 < LIMIT
