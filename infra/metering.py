"""What a stretch of work costs: CPU seconds of its thread and the memory it adds to its process."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

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
