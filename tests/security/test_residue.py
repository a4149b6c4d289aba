"""Whatever becomes of a run, no cell of the source is left anywhere: store, workspace, Prefect's database, logs, temporary folders."""

from __future__ import annotations

import io
import os
import signal
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.releasing import Command, Ran, finished, kill, save, spec_of, table, wait_for, write

#: A word that three rows have, and numbers that one row has each: what no release, log or database may hold.
WORD = "CANARYVILLAGE"
NUMBERS = (7654321.125, 60123.4375)


def planted(folder: Path) -> Path:
    """Write a source with canaries in a text, a covariate and the outcome."""
    frame = table(400).assign(place=np.random.default_rng(3).choice(["north", "south"], 400))
    frame.loc[:2, "place"] = WORD
    frame.loc[5, "bmi"], frame.loc[9, "score"] = NUMBERS
    return write(frame, folder / "source.parquet")


def needles() -> list[bytes]:
    """Return the canaries in every form in which bytes may hold them."""
    forms = [WORD.encode(), WORD.encode("utf-16-le")]
    for number in NUMBERS:
        forms += [repr(number).encode(), struct.pack("<d", number), struct.pack(">d", number)]
    return forms


def _contents(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes and, where it is a table or a database, its cells: compression hides bytes."""
    data = path.read_bytes()
    yield data
    if data[:4] == b"PAR1":
        frame = pq.read_table(io.BytesIO(data)).to_pandas()
        for name in frame.columns:
            values = frame[name]
            yield values.to_numpy(dtype="<f8").tobytes() if pd.api.types.is_float_dtype(values) else "\n".join(map(str, values)).encode()
    if data[:15] == b"SQLite format 3":
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            yield "\n".join(database.iterdump()).encode()


def residue(*folders: Path) -> list[str]:
    """Return every file of the folders that holds a canary."""
    found = []
    for folder in folders:
        for path in sorted(each for each in folder.rglob("*") if each.is_file() and not each.is_symlink()):
            held = {needle for content in _contents(path) for needle in needles() if needle in content}
            if held:
                found.append(f"{path}: {sorted(held)}")
    return found


def test_the_search_finds_what_is_planted(tmp_path: Path) -> None:
    planted(tmp_path)
    assert len(residue(tmp_path)) == 1
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("create table t (x)")
        database.execute("insert into t values (?)", (NUMBERS[0],))
    (tmp_path / "log").write_text(f"row {WORD}")
    (tmp_path / "model").write_bytes(b"x" + np.array([NUMBERS[1]]).tobytes())
    assert len(residue(tmp_path)) == 4


class World:
    """A source with canaries, and the folders in which runs may leave something; all logs at debug."""

    def __init__(self, command: Command, folder: Path, dask: str) -> None:
        self.command, self.folder = command, folder
        for name in ("in", "temporary", "work", "store"):
            (folder / name).mkdir()
        self.spec_values = spec_of(
            planted(folder / "in"),
            folder / "store",
            engine__dask=dask,
            engine__workspace=str(folder / "work"),
            # the canary of the outcome is far from all else, as a wrong number would be
            gates__fidelity=False,
            gates__outcome_law=False,
            gates__margins=False,
        )
        self.environment = {
            "TMPDIR": str(folder / "temporary"),
            "PREFECT_LOGGING_LEVEL": "DEBUG",
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "DEBUG",
            "PREFECT_INTERNAL_LOGGING_LEVEL": "DEBUG",
        }

    def spec(self, **settings: object) -> Path:
        values = {**self.spec_values, "gates": {**self.spec_values["gates"], **settings}}
        return save(values, self.folder / "spec.yaml")

    def run(self, *arguments: object) -> Ran:
        return self.command.run(*arguments, **self.environment)

    def residue(self) -> list[str]:
        """Look everywhere but at the source: store, work, temporary folders, and the home with Prefect's database and Dask's files."""
        return residue(self.folder / "store", self.folder / "temporary", self.folder / "work", self.command.home)

    def said(self, answer: Ran) -> bool:
        return any(needle in (answer.out + answer.err).encode() for needle in needles())


@pytest.mark.parametrize("dask", ["threads", pytest.param("local", marks=pytest.mark.slow)])
def test_no_cell_is_left_after_runs_that_publish_are_rejected_or_are_killed_and_cleared(
    command: Command, tmp_path: Path, dask: str
) -> None:
    world = World(command, tmp_path, dask)
    answer = world.run("release", world.spec())
    assert answer.code in (0, 3), answer.err
    assert not world.said(answer)
    assert world.residue() == []
    rejected = world.run("release", world.spec(near_copies=0.999999, exact_copies=0.999999, dcr_margin=0))
    assert rejected.code in (0, 3), rejected.err
    assert not world.said(rejected)
    assert world.residue() == []
    work = tmp_path / "work"
    # without logs at debug: nobody reads the pipe until it is killed
    process = command.start("release", world.spec(closeness_z=9.0), TMPDIR=world.environment["TMPDIR"])
    wait_for(lambda: list(work.glob("*/**/*.parquet.receipt")), process)
    assert kill(process).code == -signal.SIGKILL
    assert world.residue() != []  # a killed run keeps its parts, so that it can be resumed: in its workspace alone
    assert all(line.startswith(f"{work}/") for line in world.residue())
    cleared = world.run("work", "clear", "--older-than", "0")
    assert cleared.code == 0, cleared.err
    assert world.residue() == []


@pytest.mark.slow
def test_no_cell_is_left_on_a_cluster_of_ones_own(command: Command, tmp_path: Path) -> None:
    """A scheduler and a worker in folders of their own, over tcp."""
    import subprocess
    import sys

    world = World(command, tmp_path, "tcp://127.0.0.1:18786")
    environment = {**os.environ, **command.environment, **world.environment}
    (tmp_path / "dask").mkdir()
    start = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "18786", "--no-dashboard"]
    serve = [sys.executable, "-m", "distributed.cli.dask_worker", "tcp://127.0.0.1:18786", "--nthreads", "1"]
    serve += ["--local-directory", str(tmp_path / "dask")]
    with (tmp_path / "dask/log").open("wb") as log:
        processes = [
            subprocess.Popen(each, cwd=Path(__file__).parents[2], env=environment, stdout=log, stderr=log, start_new_session=True)
            for each in (start, serve)
        ]
        try:
            answer = finished(command.start("release", world.spec(), **world.environment))
            assert answer.code in (0, 3), answer.err
            assert not world.said(answer)
            assert [*world.residue(), *residue(tmp_path / "dask")] == []
        finally:
            for process in processes:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(30)
