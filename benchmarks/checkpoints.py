"""Long studies that can be stopped: jobs worked off by processes, one JSON line each; a second run goes on where the first ended."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeVar

J = TypeVar("J")


def finished(path: Path, study: Any, job_of: Callable[[dict[str, Any]], J]) -> dict[J, dict[str, Any]]:
    """Return the lines of a file that belong to a study (a NamedTuple), by job; a line cut short by an interruption is none."""
    wanted, found = json.loads(json.dumps(study._asdict())), {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            raw = json.loads(line)
        except json.JSONDecodeError:
            continue
        if raw["study"] == wanted:
            found[job_of(raw)] = raw
    return found


def work_off(
    study: Any,
    jobs: Sequence[J],
    do: Callable[[Any, J], dict[str, Any]],
    path: Path,
    workers: int,
    *,
    job_of: Callable[[dict[str, Any]], J],
    told: str,
    refusals: tuple[type[Exception], ...] = (),
) -> tuple[dict[J, dict[str, Any]], int]:
    """Work off the jobs that are missing in a file; return the lines of all that were done, by job, and how many were refused.

    Parameters
    ----------
    study : NamedTuple
        What is studied; lines of another study in the file are left alone.
    jobs : sequence
        Hashable.
    do : callable
        A function of a module: ``do(study, job)`` returns a line, which holds ``study`` and what ``job_of`` reads.
    path : Path
        The file of JSON lines.
    workers : int
        Processes.
    job_of : callable
        Returns the job of a line.
    told : str
        Progress: a template for the number of jobs done and of those that were missing.
    refusals : tuple of exception types
        What is told and counted; all else ends the study.
    """
    known = finished(path, study, job_of)
    missing, refused = [job for job in jobs if job not in known], 0
    path.parent.mkdir(parents=True, exist_ok=True)
    # a line cut short must not be continued by the next one
    start = "\n" if path.exists() and not path.read_bytes().endswith(b"\n") else ""
    context = multiprocessing.get_context("spawn")
    with path.open("a") as log, ProcessPoolExecutor(max_workers=workers, mp_context=context) as pool:
        log.write(start)
        working = {pool.submit(do, study, job): job for job in missing}
        for done, future in enumerate(as_completed(working), 1):
            try:
                line = json.dumps(future.result())
            except refusals as error:
                refused += 1
                print(f"{working[future]}: {error}", flush=True)
                continue
            log.write(line + "\n")
            log.flush()
            known[working[future]] = json.loads(line)
            print(told.format(done, len(missing)), flush=True)
    return known, refused
