"""Whole releases in this process, with a fault at an exact moment: before the first call of a task."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.direct import DirectWork, directly, run_of


class FaultyWork(DirectWork):
    """Does something once, before the first call of a task.

    Parameters
    ----------
    before : str
        ``step.task``, e.g. ``"source.scatter"``.
    act : callable
        The fault.
    """

    def __init__(self, before: str, act: Callable[[], object]) -> None:
        super().__init__()
        self._before, self._act, self.happened = before, act, False

    def call(self, task: Any, arguments: tuple[Any, ...]) -> Any:
        step, name = task.fn.__module__.split(".")[1], task.fn.__qualname__
        if f"{step}.{name}" == self._before and not self.happened:
            self.happened = True
            self._act()
        return super().call(task, arguments)


def mint_with_fault(
    values: dict[str, Any], workspace: Path, before: str, act: Callable[[], object], run: str = "20260101T000000Z-direct"
) -> dict[str, Any]:
    """Mint a release with a fault on the way; return the reply."""
    from flows.release import mint

    work = FaultyWork(before, act)
    try:
        reply, _ = directly(mint, run_of(values, workspace).model_copy(update={"id": run}), work=work)
    finally:
        assert work.happened, f"no task {before} was called"
    return dict(reply)


def mint_on(values: dict[str, Any], workspace: Path, run: str = "20260101T000000Z-direct") -> dict[str, Any]:
    """Mint a release, or go on with the run that a fault has ended; return the reply."""
    from flows.release import mint

    reply, _ = directly(mint, run_of(values, workspace).model_copy(update={"id": run}))
    return dict(reply)


class Disk:
    """A real file system of its own size in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def remount(self, options: str) -> None:
        """Change it while it is used, e.g. ``"ro"`` or ``"size=64k"``."""
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.folder)], check=True)

    def fill(self, free: int = 0) -> Path:
        """Fill it up but for so many bytes; return the file that fills it."""
        file = self.folder / "filler"
        left = shutil.disk_usage(self.folder).free - free
        with file.open("wb") as sink:
            sink.write(os.urandom(max(0, left)))
        return file

    def vanish(self) -> None:
        """Take it away."""
        subprocess.run(["umount", "-l", str(self.folder)], check=True)


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Disk]:
    """Mount a file system in memory; the test is skipped where that is not allowed."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a tmpfs: disks that fill up, turn read-only or vanish were not tested")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)
