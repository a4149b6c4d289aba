"""What a local Dask worker does first: leave a Ctrl-C to the run, which ends its workers itself."""

from __future__ import annotations

import signal


def dask_setup(_worker: object) -> None:
    """Ignore SIGINT: a terminal sends it to the whole process group, and a dying worker would print tracebacks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
