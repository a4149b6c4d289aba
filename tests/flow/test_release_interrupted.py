"""Runs that are killed, interrupted or lose a worker: the same command ends with the same bytes."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pandas as pd
import psutil
import pytest

from tests.releasing import Command, Published, files, finished, fitted_folds, kill, manifest, parts, save, spec_of, wait_for


def _finished(work: Path) -> dict[str, tuple[int, int]]:
    """Return inode and time of every object of a finished part: one that is made again has others.

    Fits, anchored partitions and drawn parts have two objects; with one of them the part is not finished.
    """
    parts: dict[str, list[Path]] = {}
    for receipt in work.glob("*/**/*.receipt"):
        name = receipt.relative_to(work)
        parts.setdefault(f"{name.parent}/{name.name.partition('.')[0]}", []).append(receipt)
    found = {}
    for part, receipts in parts.items():
        if len(receipts) == 2 or not re.search(r"/(fold-\d+-\d+|anchored-\d+|copy-\d+/part-\d+)$", part):
            for file in [*receipts, *(receipt.with_suffix("") for receipt in receipts)]:
                status = file.stat()
                found[file.relative_to(work).as_posix()] = (status.st_ino, status.st_mtime_ns)
    return found


@pytest.mark.parametrize(("dask", "drawing"), [("threads", False), pytest.param("local", True, marks=pytest.mark.slow)])
def test_killed_again_and_again_and_resumed(
    command: Command, published: Published, source: Path, tmp_path: Path, dask: str, drawing: bool
) -> None:
    """Killed while models are fitted and while it publishes; among the slow tests while rows are drawn and when it has published."""
    store, work = tmp_path / "store", tmp_path / "work"
    spec = save(spec_of(source, store, engine__dask=dask, engine__workspace=str(work)), tmp_path / "spec.yaml")
    moments = {
        "the first fold is fitted": lambda: fitted_folds(work),
        "the first part is drawn": lambda: list(work.glob("*/drawn/copy-0/*.released.parquet.receipt")),
        "the number is claimed": lambda: list(store.glob("trial/claims/v000001/owner.json")),
    }
    if drawing:
        moments["it is published"] = lambda: list(store.glob("trial/v000001/manifest.json"))
    else:
        del moments["the first part is drawn"]
    kept: dict[str, tuple[int, int]] = {}
    for moment, reached in moments.items():
        process = command.start("release", spec)
        wait_for(reached, process)
        assert kill(process).code == -signal.SIGKILL, moment
        now = _finished(work)
        if moment != "it is published":  # the gates are asked again by a run that is resumed after them
            assert kept.items() <= now.items(), f"made again before {moment}: {sorted(kept.items() - now.items())}"
            assert len(now) > len(kept)
        kept = now
        assert len(list(store.glob("trial/v*/manifest.json"))) == (moment == "it is published")
    answer = command.run("release", spec, "--json")
    assert answer.code == 0, answer.err
    assert "resuming run" in answer.err
    assert answer.json()["version"] == 1
    assert sorted(path.name for path in (store / "trial").iterdir()) == ["claims", "v000001"]
    assert parts(store) == parts(published.store)
    listed = {file["path"] for file in manifest(store)["files"]}
    assert set(files(store / "trial" / "v000001")) == listed | {"manifest.json"}
    assert not list(work.iterdir())


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(command: Command, published: Published, source: Path, tmp_path: Path) -> None:
    store, work = tmp_path / "store", tmp_path / "work"
    spec = save(spec_of(source, store, engine__dask="local", engine__workspace=str(work)), tmp_path / "spec.yaml")
    process = command.start("release", spec)
    wait_for(lambda: fitted_folds(work), process)
    workers = [child for child in psutil.Process(process.pid).children(recursive=True) if "spawn_main" in " ".join(child.cmdline())]
    assert len(workers) == 2
    os.kill(workers[0].pid, signal.SIGKILL)
    answer = finished(process)
    assert answer.code == 0, answer.err
    assert "Traceback" not in answer.err
    assert parts(store) == parts(published.store)
    assert not list(work.iterdir())


def test_an_interrupt_is_told_and_resumed(command: Command, published: Published, source: Path, tmp_path: Path) -> None:
    store, work = tmp_path / "store", tmp_path / "work"
    spec = save(spec_of(source, store, engine__workspace=str(work)), tmp_path / "spec.yaml")
    # whatever the shell that runs the tests has made of the signal
    process = command.start("release", spec, preexec=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    wait_for(lambda: fitted_folds(work), process)
    answer = kill(process, signal.SIGINT)
    assert answer.code == 130, answer.err
    assert answer.err.splitlines()[-1] == "interrupted: the same command resumes where this one stopped."
    assert "Traceback" not in answer.err
    assert not list(store.glob("trial/v*"))
    answer = command.run("release", spec)
    assert answer.code == 0, answer.err
    assert "resuming run" in answer.err
    assert parts(store) == parts(published.store)


@pytest.mark.slow
def test_a_changed_source_is_not_resumed(command: Command, waymint, source: Path, tmp_path: Path) -> None:
    """What a killed run has read is forgotten where the source is another one now."""
    here, store, work = tmp_path / "here.parquet", tmp_path / "store", tmp_path / "work"
    here.write_bytes(source.read_bytes())
    spec = save(spec_of(here, store, engine__workspace=str(work)), tmp_path / "spec.yaml")
    process = command.start("release", spec)
    wait_for(lambda: fitted_folds(work), process)
    kill(process)
    before = pd.read_parquet(source)
    before["score"] = before["score"] + 100
    before.to_parquet(here, index=False)
    answer = waymint("release", spec)
    assert answer.code == 0, answer.err
    assert pd.read_parquet(store / "trial" / "v000001" / "data")["score"].min() > 90
