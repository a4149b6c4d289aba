"""What a tree of processes weighs, sampled from outside."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple

import psutil


class Weight(NamedTuple):
    """Memory of some processes in MiB: PSS counts a shared page once, in parts; RSS counts it in each."""

    rss: float
    pss: float
    processes: int
    largest: float
    """RSS of the largest of them."""


def weigh(processes: Iterable[psutil.Process]) -> Weight:
    """Add up the memory of processes; those that have ended weigh nothing."""
    rss, pss, count, largest = 0, 0, 0, 0
    for process in processes:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            found = process.memory_full_info()
            rss, pss, count, largest = rss + found.rss, pss + found.pss, count + 1, max(largest, found.rss)
    return Weight(rss / 2**20, pss / 2**20, count, largest / 2**20)


def tree(root: psutil.Process) -> list[psutil.Process]:
    """List a process and all below it."""
    with suppress(psutil.NoSuchProcess):
        return [root, *root.children(recursive=True)]
    return []


class Peak:
    """Samples a process tree while the block runs and keeps the largest sums, and the largest process.

    Parameters
    ----------
    pid : int
        Root of the tree. What leaves the tree (a daemon) is not seen.
    seconds : float
        Time between two samples.
    """

    def __init__(self, pid: int, seconds: float = 1.0) -> None:
        self.rss = 0.0
        self.pss = 0.0
        self.largest = 0.0
        self.samples = 0
        self._root = psutil.Process(pid)
        self._seconds = seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._over.wait(self._seconds):
            found = weigh(tree(self._root))
            self.rss, self.pss, self.largest = max(self.rss, found.rss), max(self.pss, found.pss), max(self.largest, found.largest)
            self.samples += 1

    def __enter__(self) -> Peak:
        """Start sampling."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop sampling."""
        self._over.set()
        self._thread.join()
