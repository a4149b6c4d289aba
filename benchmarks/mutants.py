"""Would the unit tests notice a mistake? Small mistakes are made on purpose, one at a time, and the tests of the module are run.

    python -m benchmarks.mutants [--seed 1] [--share 1.0] [--jobs 2] [--area targeting ...]

A mutant is one change of one expression or statement: a comparison's bound or its sense, an arithmetic sign, a number one more or one
less, a condition turned round, ``and`` for ``or``, nothing returned, a statement left out. A mutant is killed when a test fails, or when
the tests take ten times as long as without it. Each area of ``AREAS`` gives a sample; mutants are ranked by a hash of what they change,
so that changes elsewhere in the code leave the sample as it is.

Every process has a copy of the project, loads the libraries once and forks for each mutant. Compiled loops run as plain Python.
Results go to a file of JSON lines; a second run goes on where the first ended, and runs again what changed since.
"""

from __future__ import annotations

import argparse
import atexit
import functools
import hashlib
import importlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.checkpoints import work_off
from benchmarks.mutant_areas import AREAS, LEFT_OUT, Area
from benchmarks.mutations import Mutation, mutations

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "build" / "mutants.jsonl"
#: What a copy of the project holds: all that the tests below read.
COPIED = ("benchmarks", "docs", "examples", "flows", "infra", "tasks", "tests", "waymint", "pyproject.toml")
#: Loaded before the forks: what the tests spend their first seconds on.
LIBRARIES = ("pytest", "numba", "pandas", "pyarrow.parquet", "scipy.stats", "sklearn.ensemble", "sklearn.linear_model", "pydantic", "boto3")
UNIT = "tests/unit/test_"
#: A mutant may take this many times what the tests take without it, and some seconds for a busy machine.
PATIENCE, GRACE = 10, 30.0


class Mutant(NamedTuple):
    """A mutation of a file, the tests that should notice it, and a digest of all these files."""

    area: str
    path: str
    mutation: Mutation
    tests: tuple[str, ...]
    digest: str

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.path} {self.mutation.name}"


class Study(NamedTuple):
    """What results belong to: this script's way of running tests."""

    version: int = 1


def tests_of(area: Area, path: str) -> tuple[str, ...]:
    """Return the tests of a module: those of the longest entry that names it or a folder above it."""
    names = area.tests[max((name for name in area.tests if path.startswith(name)), key=len)]
    return tuple(UNIT + name.replace("::", ".py::") if "::" in name else f"{UNIT}{name}.py" for name in dict.fromkeys(names))


def sample(name: str, seed: int, share: float) -> list[Mutant]:
    """Return an area's mutants in the order of their hashes, as many as the area asks for."""
    area = AREAS[name]
    paths = {path for entry in area.tests for path in ([ROOT / entry] if entry.endswith(".py") else (ROOT / entry).rglob("*.py"))}
    ranked = []
    for path in sorted(path for path in paths if path.name not in LEFT_OUT):
        place, source = path.relative_to(ROOT).as_posix(), path.read_text()
        tests = tests_of(area, place)
        digest = hashlib.sha256(b"".join([source.encode(), *((ROOT / test.split("::")[0]).read_bytes() for test in tests)])).hexdigest()
        for mutation in mutations(source):
            rank = hashlib.sha256(f"{seed} {place} {mutation.name}".encode()).hexdigest()
            ranked.append((rank, Mutant(name, place, mutation, tests, digest)))
    return [mutant for _, mutant in sorted(ranked, key=lambda pair: pair[0])[: round(area.mutants * share)]]


@functools.cache
def copy_of_project() -> Path:
    """Return this process's copy; the libraries are loaded with it."""
    os.environ |= {"NUMBA_DISABLE_JIT": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    folder = Path(tempfile.mkdtemp(prefix="mutants-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.nbi", "*.nbc", "notebooks"))
        else:
            shutil.copy2(ROOT / name, folder / name)
    for library in LIBRARIES:
        importlib.import_module(library)
    return folder


def run_tests(folder: str, tests: tuple[str, ...]) -> None:
    """Run tests in a forked process; exit 1 where one fails."""
    for name in [name for name in sys.modules if name.split(".")[0] in {"waymint", "flows", "tasks", "infra", "tests", "benchmarks"}]:
        del sys.modules[name]
    sys.path[:] = [folder, *(path for path in sys.path if path and Path(path).resolve() != ROOT)]
    os.environ["PYTHONPATH"] = folder
    os.chdir(folder)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    import pytest

    sys.exit(int(pytest.main(["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]) != 0))


def fails(tests: tuple[str, ...], limit: float) -> bool | None:
    """Return whether a test fails; None where the limit in seconds is over first."""
    process = multiprocessing.get_context("fork").Process(target=run_tests, args=(str(copy_of_project()), tests))
    process.start()
    process.join(limit)
    if process.is_alive():
        process.kill()
        process.join()
        return None
    return process.exitcode != 0


@functools.cache
def seconds_without(tests: tuple[str, ...]) -> float:
    """Return how long tests take in this process's copy, which must pass them as it is."""
    began = time.monotonic()
    if fails(tests, 600.0) is not False:
        raise RuntimeError(f"tests without a mutant must pass; got a failure of {' '.join(tests)}. Run them with NUMBA_DISABLE_JIT=1.")
    return time.monotonic() - began


def try_mutant(study: Study, mutant: Mutant) -> dict[str, Any]:
    """Return a line with a mutant's outcome: killed, timeout or survived."""
    path, limit = copy_of_project() / mutant.path, GRACE + PATIENCE * seconds_without(mutant.tests)
    source, began = path.read_bytes(), time.monotonic()
    try:
        path.write_bytes(mutant.mutation.of(source))
        failed = fails(mutant.tests, limit)
    finally:
        path.write_bytes(source)
    outcome = "timeout" if failed is None else "killed" if failed else "survived"
    return {"study": study._asdict(), "mutant": mutant, "outcome": outcome, "seconds": round(time.monotonic() - began, 1)}


def mutant_of(line: dict[str, Any]) -> Mutant:
    """Return the mutant of a line."""
    area, path, mutation, tests, digest = line["mutant"]
    return Mutant(area, path, Mutation(*mutation), tuple(tests), digest)


def outcomes(seed: int = 1, share: float = 1.0, areas: tuple[str, ...] = (), jobs: int = 1, path: Path = STORED) -> dict[Mutant, str]:
    """Try the sampled mutants; return each one's outcome."""
    sampled = [mutant for name in areas or AREAS for mutant in sample(name, seed, share)]
    told = "{} of {} mutants"
    lines, _ = work_off(Study(), sampled, try_mutant, path, jobs, job_of=mutant_of, told=told)
    return {mutant: lines[mutant]["outcome"] for mutant in sampled}


def rows(results: dict[Mutant, str]) -> Iterator[str]:
    """Return a table of killed, timeouts and survivors for each area, then the survivors."""
    yield "| area | mutants | killed | of these by timeout | survived |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for area in [*dict.fromkeys(mutant.area for mutant in results), "all"]:
        seen = [outcome for mutant, outcome in results.items() if area in (mutant.area, "all")]
        survived = seen.count("survived")
        yield f"| {area} | {len(seen)} | {len(seen) - survived} | {seen.count('timeout')} | {survived} |"
    yield from sorted(f"survived: {mutant.name}" for mutant, outcome in results.items() if outcome == "survived")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=1.0, help="of each area's number of mutants")
    parser.add_argument("--area", nargs="*", choices=AREAS, default=())
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args()
    print("\n".join(rows(outcomes(asked.seed, asked.share, tuple(asked.area), asked.jobs))))


if __name__ == "__main__":
    main()
