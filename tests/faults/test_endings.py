"""SIGINT and SIGTERM end a command in time, in every state, with one line and the right exit code."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from infra.cli import signals
from tests.releasing import ROOT, Command, Ran, finished, fitted_folds, save, spec_of, wait_for

STUCK = """
import signal, sys, time, threading
from infra import cli
from infra.cli import signals
signals.GRACE = float(sys.argv.pop(1))
how = sys.argv.pop(1)
# whatever the shell that runs the tests has made of the signal
signal.signal(signal.SIGINT, signal.default_int_handler)
def stuck(*_, **__):
    ready = False
    if how == "thread":  # what Python joins at its end
        threading.Thread(target=time.sleep, args=(60,)).start()
        print("ready", flush=True)
        time.sleep(60)
    while True:
        try:
            if not ready:  # inside the block: a signal that comes at once is caught like any other
                ready = True
                print("ready", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            if how == "error":
                raise RuntimeError("a library's answer to the interrupt")
            if how == "obeys":
                raise
cli.app = stuck
cli.main()
"""
STOPPED = "{}: the same command resumes where this one stopped.\n"


def stuck(grace: float, how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", STUCK, str(grace), how]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("number", "code", "word"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")])
@pytest.mark.parametrize("how", ["obeys", "error", "ignores", "thread"])
def test_one_signal_ends_a_command_in_time(number: int, code: int, word: str, how: str) -> None:
    process = stuck(1.0, how)
    began = time.monotonic()
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (code, "")
    assert set(err.splitlines(keepends=True)) == {STOPPED.format(word)}
    assert time.monotonic() - began < 10


def test_a_second_signal_ends_it_at_once() -> None:
    process = stuck(600.0, "ignores")
    os.kill(process.pid, signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (143, STOPPED.format("terminated"))


def test_the_grace_is_less_than_what_is_promised() -> None:
    assert signals.GRACE < 20.0


def ended(process: subprocess.Popen[str], number: int) -> tuple[Ran, float]:
    """Send one signal to the command alone, as a supervisor does; return its answer and the seconds it took."""
    began = time.monotonic()
    os.kill(process.pid, number)
    answer = finished(process)
    return answer, time.monotonic() - began


def orphans(session: int) -> list[int]:
    """Return the processes of a session that still live; a zombie only waits to be collected."""
    found = []
    for each in psutil.process_iter(["status"]):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(each.pid) == session and each.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(each.pid)
    return found


@pytest.mark.parametrize("dask", ["threads", pytest.param("local", marks=pytest.mark.slow)])
def test_sigterm_ends_a_release_and_the_same_command_resumes(command: Command, source: Path, tmp_path: Path, dask: str) -> None:
    work = tmp_path / "work"
    spec = save(spec_of(source, tmp_path / "store", engine__dask=dask, engine__workspace=str(work)), tmp_path / "spec.yaml")
    process = command.start("release", spec)
    wait_for(lambda: fitted_folds(work), process)
    answer, seconds = ended(process, signal.SIGTERM)
    assert answer.code == 143, answer.err
    assert seconds < 20
    assert answer.err.endswith(STOPPED.format("terminated"))
    assert "Traceback" not in answer.err
    assert orphans(process.pid) == []
    again = command.run("release", spec, "--json")
    assert again.code == 0, again.err
    assert "resuming run" in again.err


@pytest.mark.slow
def test_sigterm_ends_a_release_whose_prefect_server_is_dead(command: Command, source: Path, tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    spec = save(spec_of(source, tmp_path / "store", engine__workspace=str(work)), tmp_path / "spec.yaml")
    process = command.start("release", spec, WAYMINT_HOME=str(home), PREFECT_API_URL="")
    wait_for(lambda: fitted_folds(work), process)
    keeper = psutil.Process(json.loads((home / "prefect/server.json").read_text())["keeper"])
    for each in [*keeper.children(recursive=True), keeper]:
        each.kill()
    time.sleep(1)
    answer, seconds = ended(process, signal.SIGTERM)
    assert answer.code == 143, answer.err
    assert seconds < 20
    assert answer.err.splitlines()[-1] == STOPPED.format("terminated").strip()
    assert "Traceback" not in answer.err


@pytest.mark.slow
def test_a_release_whose_prefect_server_dies_ends_with_one_line(command: Command, source: Path, tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    spec = save(spec_of(source, tmp_path / "store", engine__workspace=str(work)), tmp_path / "spec.yaml")
    process = command.start("release", spec, WAYMINT_HOME=str(home), PREFECT_API_URL="")
    wait_for(lambda: fitted_folds(work), process)
    keeper = psutil.Process(json.loads((home / "prefect/server.json").read_text())["keeper"])
    for each in [*keeper.children(recursive=True), keeper]:
        each.kill()
    answer = finished(process)
    assert answer.code == 6, answer.err
    noise = [line for line in answer.err.splitlines() if not line.startswith(("[", "waymint release", "hint: "))]
    assert len(noise) == 1, answer.err
    assert noise[0].startswith("error: Prefect server of the run must answer")
    again = command.run("release", spec)
    assert again.code == 0, again.err


def _claims(store: Path, work: Path) -> object:
    return list(store.glob("trial/claims/v000001/owner.json"))


def _reads(store: Path, work: Path) -> object:
    return list(work.glob("*/run.json"))


@pytest.mark.slow
@pytest.mark.parametrize("state", ["its server starts", "the source is read", "it publishes"])
def test_sigterm_in_other_states(command: Command, source: Path, tmp_path: Path, state: str) -> None:
    store, work = tmp_path / "store", tmp_path / "work"
    spec = save(spec_of(source, store, engine__workspace=str(work)), tmp_path / "spec.yaml")
    if state == "its server starts":
        process = command.start("release", spec, WAYMINT_HOME=str(tmp_path / "home"), PREFECT_API_URL="")
        wait_for(lambda: (tmp_path / "home/prefect/server.log").exists(), process)
    else:
        process = command.start("release", spec)
        reached = {"the source is read": _reads, "it publishes": _claims}[state]
        wait_for(lambda: reached(store, work), process)
    answer, seconds = ended(process, signal.SIGTERM)
    assert answer.code == 143, answer.err
    assert seconds < 20
    assert answer.err.endswith(STOPPED.format("terminated"))
    assert "Traceback" not in answer.err
    assert orphans(process.pid) == []
    again = command.run("release", spec, "--json")
    assert again.code == 0, again.err
    assert again.json()["version"] == 1
