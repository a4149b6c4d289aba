"""Calls run where no event loop is, report errors as they are, and stop when interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import signal
import sys
import threading
import time

import pytest

from waymint import running
from waymint.running import call


def _loop_here() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def test_without_a_loop_the_call_stays_in_its_thread() -> None:
    assert call(threading.current_thread) is threading.current_thread()


def test_inside_a_loop_the_call_runs_in_a_thread_without_one() -> None:
    variable = contextvars.ContextVar("variable", default=0)

    async def main() -> tuple[bool, bool, int]:
        variable.set(3)
        return _loop_here(), call(_loop_here), call(variable.get)

    assert asyncio.run(main()) == (True, False, 3)


def test_errors_are_those_of_the_work() -> None:
    def fail() -> None:
        raise ValueError("as it was")

    async def main() -> None:
        call(fail)

    with pytest.raises(ValueError, match="as it was"):
        asyncio.run(main())


def test_progress_can_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        sys.stderr.write("stage\n")

    call(work, progress=False)
    assert capsys.readouterr().err == ""
    call(work)
    assert capsys.readouterr().err == "stage\n"


def test_an_interrupt_stops_the_thread() -> None:
    stopped = threading.Event()

    def work() -> None:
        try:
            time.sleep(0.3)  # the caller waits by then
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            for _ in range(3_000):
                time.sleep(0.01)
        except KeyboardInterrupt:
            stopped.set()
            raise

    async def main() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # as IPython has it, while asyncio would cancel the task
        call(work)

    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(main())
    finally:
        signal.signal(signal.SIGINT, before)
    assert stopped.is_set()


def test_one_server_for_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    @contextlib.contextmanager
    def server(_: object):
        started.append("up")
        yield "http://127.0.0.1:1/api"
        started.append("down")

    monkeypatch.setattr("infra.prefect_server.prefect_server", server)
    monkeypatch.setattr(running, "_session", contextlib.ExitStack())
    monkeypatch.setattr(running, "_served", threading.Event())
    monkeypatch.setattr(running.atexit, "register", lambda function: None)
    running.hold_server()
    running.hold_server()
    assert started == ["up"]
    running._session.close()
    assert started == ["up", "down"]
