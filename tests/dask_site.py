"""A Dask scheduler and its workers as processes, the way a site runs them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class DaskSite:
    """A scheduler, and workers as they are started.

    Parameters
    ----------
    folder : Path
        Where they run and log.
    environment : mapping
        Of all processes.
    tls : bool
        Speak ``tls://`` with the certificates that the environment names.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], tls: bool = False) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self.folder, self.environment, self.tls = folder, dict(environment), tls
        self.port = 0
        folder.mkdir(exist_ok=True)
        self.scheduler = self.start_scheduler()

    @property
    def address(self) -> str:
        """Address that ``engine.dask`` takes."""
        return f"{'tls' if self.tls else 'tcp'}://127.0.0.1:{self.port}"

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        """Start the scheduler; a second one gets the port of the first."""
        file = self.folder / f"scheduler-{len(self.processes)}.json"
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard", "--scheduler-file", str(file)]
        process = self._start("dask_scheduler", [*options, "--protocol", "tls" if self.tls else "tcp"])
        end = time.monotonic() + 60
        while not file.exists():
            assert time.monotonic() < end, (self.folder / "log").read_text()
            time.sleep(0.1)
        self.port = int(str(json.loads(file.read_text())["address"]).rpartition(":")[2])
        return process

    def start_worker(
        self,
        *options: str,
        nanny: bool = False,
        before: Sequence[str] = (),
        cwd: Path | None = None,
        python: str = sys.executable,
        **environment: str,
    ) -> subprocess.Popen[bytes]:
        """Start a worker of one thread: behind another command, in another folder, with another Python or environment."""
        place = cwd or self.folder
        command = [self.address, "--nthreads", "1", "--no-dashboard", "--local-directory", str(place), "--preload", "infra.worker"]
        return self._start("dask_worker", [*command, "--nanny" if nanny else "--no-nanny", *options], [*before, python], cwd, environment)

    def _start(
        self,
        program: str,
        arguments: Sequence[str],
        before: Sequence[str] = (sys.executable,),
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        command = [*before, "-m", f"distributed.cli.{program}", *arguments]
        values = {name: value for name, value in (self.environment | dict(environment or {})).items() if value}
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(command, cwd=cwd or self.folder, env=values, stdout=log, stderr=log, start_new_session=True)
        self.processes.append(process)
        return process

    def close(self) -> None:
        """End every process."""
        for process in self.processes:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
