"""A flow of short tasks on real machinery: what a fault does to a run, without the minutes that a release takes."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import flow

from infra.cluster import coarse, outlasting
from infra.faults import count_failed_requests
from infra.stages import Stages
from tasks.contract.spec import EngineSpec


@coarse("labour", "labour {number}")
def labour(folder: str, number: int, seconds: float) -> int:
    """Leave a file at the start and one at the end, as tasks leave finished parts; a finished part is not made again."""
    done = Path(folder) / f"done-{number}"
    if not done.exists():
        (Path(folder) / f"begun-{number}-{uuid.uuid4().hex}").write_text(str(os.getpid()))
        time.sleep(seconds)
        done.touch()
    return number


@coarse("killer", "killer {number}")
def killer(folder: str, number: int) -> int:
    """End the worker that runs this."""
    (Path(folder) / f"begun-{number}-{uuid.uuid4().hex}").touch()
    os._exit(1)


@flow(name="toil", validate_parameters=False)
def toil(folder: str, count: int, seconds: float, deadly: bool = False) -> list[int]:
    """Run some tasks as two stages."""
    stages = Stages(timeout=120.0)
    task = killer if deadly else labour
    more = () if deadly else (seconds,)
    half = count // 2
    first: list[int] = stages.map("first", task, [(folder, number, *more) for number in range(half)])
    return first + stages.map("second", task, [(folder, number, *more) for number in range(half, count)])


class Toil:
    """One run of the flow in a folder.

    Attributes
    ----------
    warnings : list of str
        What a user would have been warned of.
    """

    def __init__(
        self,
        folder: Path,
        dask: str,
        count: int = 6,
        seconds: float = 0.4,
        deadly: bool = False,
        workers: int = 2,
        max_workers: int | None = None,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.engine = folder, EngineSpec(dask=dask, workers=workers, max_workers=max_workers)
        self.warnings: list[str] = []
        self._arguments: tuple[Any, ...] = (str(folder), count, seconds, deadly)

    def run(self) -> list[int]:
        """Run the flow as :func:`flows.stages.runs.carry_out` does."""
        with count_failed_requests() as failed:
            result: list[int] = outlasting(
                lambda runner: toil.with_options(task_runner=runner)(*self._arguments), self.engine, self.warnings.append
            )
        if failed.warning is not None:
            self.warnings.append(failed.warning)
        return result

    def begun(self, number: int | None = None) -> int:
        """Return how often a task has begun; how many tasks have begun at all where none is named."""
        if number is not None:
            return len(list(self.folder.glob(f"begun-{number}-*")))
        return len({path.name.split("-")[1] for path in self.folder.glob("begun-*")})

    def done(self) -> int:
        """Return how many tasks are finished."""
        return len(list(self.folder.glob("done-*")))


def when(reached: Callable[[], object], act: Callable[[], object]) -> threading.Thread:
    """Do something once a moment has come."""

    def watch() -> None:
        limit = time.monotonic() + 60
        while not reached():
            if time.monotonic() > limit:
                return
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread
