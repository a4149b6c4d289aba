"""Releases that are killed at random moments, again and again: what a reader of the store sees after each kill, and the bytes at the end.

    python -m benchmarks.kills                      # 200 kills of the work of a release, in processes of its own
    python -m benchmarks.kills --command --kills 20 # of the whole command, with its Prefect server
    python -m benchmarks.kills --rows 1000000 --kills 6 --most 3    # of a million rows in and out

A chain is one release: it is killed (SIGKILL, up to ``--most`` times), resumed each time, and left to end. A third of the kills wait
until the run has claimed its number, and fall within the second after that: publishing is short, and where a half release could be
seen. The others fall anywhere. After every kill, each release that the store lists must be whole (``releases verify`` finds nothing)
and hold the bytes of an undisturbed run; after the last, there is exactly one, and the workspace is empty of unfinished work.

Chains are kept as they end, one JSON line each: a second run goes on where the first stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.checkpoints import finished
from infra.store import open_store
from tasks.publish.releases import scan_releases, verify
from tests.faulty import mint_on
from tests.releasing import ROWS, Command, parts, save, spec_of, table, write

ROOT = Path(__file__).resolve().parents[1]
PUBLISHING_SECONDS = 1.0
#: A run that nobody kills must end within this time.
LONGEST_SECONDS = 3_600.0


class Study(NamedTuple):
    """What is killed: the work in a fork of this process, or the whole command; how often at most; from which seed; of how many rows."""

    command: bool
    most: int
    seed: int
    rows: int = ROWS


class World(NamedTuple):
    """An undisturbed run: its parts, and the seconds that it took."""

    source: Path
    expected: dict[str, bytes]
    seconds: float


Start = Callable[[dict[str, Any], Path], int]


def spec_for(source: Path, store: Path, rows: int) -> dict[str, Any]:
    """Return the SPEC of what is killed: some seconds of work, or as many rows as the source has by the synthesizer of many rows."""
    if rows == ROWS:
        return spec_of(source, store)
    return spec_of(source, store, covariates__synthesizer="chain", release__rows=rows, release__part_rows=100_000)


def fork(values: dict[str, Any], folder: Path) -> int:
    """Start the work of a release in a fork; return its process id."""
    process = os.fork()
    if process:
        return process
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        mint_on(values, folder / "work")
    except BaseException:  # noqa: BLE001 - a fork must end here, whatever happened
        os._exit(1)
    os._exit(0)


def start_command(home: Path) -> Start:
    """Return what starts the whole command on a home of its own."""

    def start(values: dict[str, Any], folder: Path) -> int:
        spec = save(values | {"engine": values["engine"] | {"workspace": str(folder / "work")}}, folder / "spec.yaml")
        command = [sys.executable, "-m", "infra.cli", "release", str(spec)]
        with (folder / "log").open("ab") as log:
            return subprocess.Popen(
                command, cwd=ROOT, env=Command(home).environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            ).pid

    return start


def load() -> None:
    """Import what a release needs, and compile its loops: each fork then begins with the work."""
    import tasks.checks.task as checks

    checks.load_judge()
    with tempfile.TemporaryDirectory(prefix="waymint-kills-") as name:
        folder = Path(name)
        source = write(table(), folder / "source.parquet")
        mint_on(spec_of(source, folder / "store"), folder / "work")


def undisturbed(folder: Path, start: Start, rows: int) -> World:
    """Run once without a kill."""
    source = write(table(rows), folder / "source.parquet")
    place = folder / "expected"
    place.mkdir()
    began = time.monotonic()
    if wait(start(spec_for(source, place / "store", rows), place), None) != 0:
        raise RuntimeError(f"a run that nobody killed failed: see {place}")
    return World(source, parts(place / "store"), time.monotonic() - began)


def wait(process: int, limit: float | None) -> int | None:
    """Wait for a process; return its exit code, None where it still runs after so many seconds."""
    end = time.monotonic() + (LONGEST_SECONDS if limit is None else limit)
    while time.monotonic() < end:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    return None


def kill(process: int) -> None:
    """End a process with all that it started."""
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)


def strike(process: int, world: World, store: Path, rng: np.random.Generator) -> str | None:
    """Kill a process at a random moment; return which kind of moment, None where it ended before."""
    publishing = rng.random() < 1 / 3
    if not publishing:
        code = wait(process, float(rng.uniform(0.0, 0.6 * world.seconds)))
    else:
        code = None
        while code is None and not (store / "trial/claims/v000001/owner.json").exists():
            code = wait(process, 0.002)
        code = wait(process, float(rng.uniform(0.0, PUBLISHING_SECONDS))) if code is None else code
    if code is None:
        kill(process)
        return "publishing" if publishing else "anywhere"
    if code != 0:
        raise RuntimeError(f"a run that was resumed failed with exit code {code}: its store is {store}")
    return None


def seen(store: Path, expected: dict[str, bytes]) -> tuple[int, int, int]:
    """Return how many releases a reader sees, how many of them are not whole, and how many have other bytes."""
    opened = open_store(str(store))
    infos, unreadable = scan_releases(opened) if store.exists() else ([], [])
    half = len(unreadable) + sum(bool(verify(opened, info.name, info.version)) for info in infos)
    wrong = sum(parts(store, info.name, info.version) != expected for info in infos)
    return len(infos), half, wrong


def chain(study: Study, number: int, folder: Path, world: World, start: Start) -> dict[str, Any]:
    """Kill one release again and again, then let it end; return the line of the chain."""
    rng = np.random.default_rng([study.seed, number])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    store = folder / "store"
    values = spec_for(world.source, store, study.rows)
    kinds: list[str] = []
    half = wrong = early = 0
    for _ in range(study.most):
        kind = strike(start(values, folder), world, store, rng)
        if kind is None:
            break
        kinds.append(kind)
        releases, *faults = seen(store, world.expected)
        half, wrong, early = half + faults[0], wrong + faults[1], early + releases
    else:
        if wait(start(values, folder), None) != 0:
            raise RuntimeError(f"a run that was killed {len(kinds)} times did not end well: see {folder}")
    releases, *faults = seen(store, world.expected)
    shutil.rmtree(folder)
    line = {"kills": kinds, "seen": early, "half": half + faults[0], "wrong": wrong + faults[1], "releases": releases}
    return {"study": study._asdict(), "chain": number} | line


def study_lines(study: Study, kills: int, path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of chains until so many kills are reached: those of an earlier run first."""
    known = finished(path, study, lambda line: int(line["chain"]))
    total, number = 0, 0
    with tempfile.TemporaryDirectory(prefix="waymint-kills-") as name:
        folder, world = Path(name), None
        start = start_command(folder / "home") if study.command else fork
        if not study.command:
            load()
        while total < kills:
            line = known.get(number)
            if line is None:
                world = world or undisturbed(folder, start, study.rows)
                line = chain(study, number, folder / "chain", world, start)
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a") as file:
                    file.write(json.dumps(line) + "\n")
            total, number = total + len(line["kills"]), number + 1
            yield line


def main() -> None:
    """Run the study and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--most", type=int, default=6, help="kills of one release")
    parser.add_argument("--seed", type=int, default=20260103)
    parser.add_argument("--rows", type=int, default=ROWS, help="of source and release")
    parser.add_argument("--command", action="store_true", help="kill the whole command")
    parser.add_argument("--out", type=Path, default=ROOT / "build/kills.jsonl")
    options = parser.parse_args()
    lines = []
    for line in study_lines(Study(options.command, options.most, options.seed, options.rows), options.kills, options.out):
        lines.append(line)
        print(f"chain {line['chain']}: {len(line['kills'])} kills, {line['half']} half, {line['wrong']} wrong", flush=True)
    kinds = [kind for line in lines for kind in line["kills"]]
    print("| kills | while publishing | releases | half visible | wrong bytes | not exactly one at the end |")
    print("|---:|---:|---:|---:|---:|---:|")
    half, wrong = (sum(line[key] for line in lines) for key in ("half", "wrong"))
    odd = sum(line["releases"] != 1 for line in lines)
    print(f"| {len(kinds)} | {kinds.count('publishing')} | {len(lines)} | {half} | {wrong} | {odd} |")
    sys.exit(bool(half or wrong or odd))


if __name__ == "__main__":
    main()
