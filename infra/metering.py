"""What work costs: CPU seconds and memory of a stretch of it, and the most memory that a whole run held."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

#: Seconds from one look at a run's memory to the next.
LOOK_SECONDS = 0.5

_SELF = Path("/proc/self")


class Meter:
    """Costs of one stretch; known once it is over.

    Attributes
    ----------
    cpu_seconds : float
        CPU time of the thread that did the work: workers run one thread, and numeric libraries are held to one.
    wall_seconds : float
        Time on the clock, waiting for others included.
    peak_mib : float or None
        Most resident memory of the process during the stretch beyond what it held before; None where the system does not tell (not Linux).
        Where several tasks share a process (``engine.dask = "threads"``) theirs is counted too.
    """

    def __init__(self) -> None:
        self.cpu_seconds = 0.0
        self.wall_seconds = 0.0
        self.peak_mib: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        """Return the three numbers by name."""
        return {"cpu_seconds": self.cpu_seconds, "wall_seconds": self.wall_seconds, "peak_mib": self.peak_mib}


@contextlib.contextmanager
def metered() -> Iterator[Meter]:
    """Measure what the block costs."""
    meter = Meter()
    held = _start_peak()
    wall, cpu = time.monotonic(), time.thread_time()
    yield meter
    meter.cpu_seconds = time.thread_time() - cpu
    meter.wall_seconds = time.monotonic() - wall
    peak = _kib("VmHWM")
    if held is not None and peak is not None:
        meter.peak_mib = max(0.0, (peak - held) / 1024)


class Costs:
    """What a run costs: the seconds of its stages, and the most memory that this process and the workers it started held together.

    Memory is looked at every half second. Processes of other sessions, such as the Prefect server, and workers on other machines are
    not counted.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._stages: list[dict[str, Any]] = []
        self._bytes = 0

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    @property
    def peak_mib(self) -> float:
        """Resident MiB so far, at the highest."""
        self._look()
        return round(self._bytes / 2**20, 1)

    def add(self, stage: str, parts: int, began: float) -> float:
        """Add a stage that is done and began after so many seconds; return the seconds that it took."""
        seconds = self.seconds - began
        self._stages.append({"stage": stage, "parts": parts, "seconds": round(seconds, 2)})
        return seconds

    def stages(self) -> list[dict[str, Any]]:
        """Return ``stage``, ``parts`` and ``seconds`` of each stage that is done."""
        return list(self._stages)

    def metrics(self, rows: int) -> dict[str, Any]:
        """Return what manifests say of a run.

        Parameters
        ----------
        rows : int
            Rows that it made.

        Returns
        -------
        dict
            ``seconds`` on the clock, ``rows_per_second``, ``peak_mib``, ``stages``. Of a resumed run, its last process.
        """
        seconds = self.seconds
        return {
            "seconds": round(seconds, 2),
            "rows_per_second": round(rows / seconds, 1),
            "peak_mib": self.peak_mib,
            "stages": self.stages(),
        }

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Look at the memory for the length of the block."""
        ended = threading.Event()
        threading.Thread(target=self._watch, args=(ended,), name="peak memory", daemon=True).start()
        try:
            yield
        finally:
            ended.set()

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        process, session, held = psutil.Process(), os.getsid(0), 0
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error, OSError):  # it has just ended
                if os.getsid(each.pid) == session:
                    held += each.memory_info().rss
        self._bytes = max(self._bytes, held)


def _start_peak() -> int | None:
    """Set the kernel's high-water mark of this process back to what is resident now; return that, in KiB."""
    try:
        (_SELF / "clear_refs").write_text("5")
    except OSError:
        return None
    return _kib("VmRSS")


def _kib(name: str) -> int | None:
    """Read one figure of the process's status."""
    try:
        lines = (_SELF / "status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)
