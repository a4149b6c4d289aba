"""The Prefect server is gone, answers late, or answers 503 for a while: the run goes on quietly, with one warning that counts."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.faults import FailedRequests, count_failed_requests
from tests.labour import Toil, when
from tests.proxy import Proxy, proxy_of
from tests.releasing import Command, save, spec_of


@pytest.fixture
def proxied(prefect: str) -> Iterator[Proxy]:
    """Put a proxy between this process and the session's server."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with proxy_of(prefect) as proxy, temporary_settings({PREFECT_API_URL: f"{proxy.url}/api"}):
        yield proxy


@pytest.mark.parametrize("how", ["busy", pytest.param("closed", marks=pytest.mark.slow), pytest.param("cut", marks=pytest.mark.slow)])
def test_requests_that_fail_for_a_while(proxied: Proxy, tmp_path: Path, capfd: pytest.CaptureFixture[str], how: str) -> None:
    proxied.bytes = 300  # within the head of a request
    toil = Toil(tmp_path / "toil", "threads", count=8)
    when(lambda: toil.done() == 2, lambda: proxied.fail(how, times=4))
    capfd.readouterr()
    assert toil.run() == list(range(8))
    assert proxied.failed >= 1
    assert len(toil.warnings) == 1
    assert "requests of this process to the Prefect server failed" in toil.warnings[0]
    assert int(toil.warnings[0].split()[0]) >= 1
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
def test_a_server_that_answers_late(proxied: Proxy, tmp_path: Path) -> None:
    """An answer that comes late is no failure: the run waits for it."""
    proxied.failing = "slow"
    toil = Toil(tmp_path / "toil", "threads")
    assert toil.run() == list(range(6))
    assert proxied.failed >= 1
    assert [warning for warning in toil.warnings if "cluster" in warning] == []


def test_a_named_server_that_is_not_there(command: Command, source: Path, tmp_path: Path) -> None:
    spec = save(spec_of(source, tmp_path / "store"), tmp_path / "spec.yaml")
    answer = command.run("release", spec, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert answer.code == 6, answer.err
    assert "Traceback" not in answer.err
    [line, hint] = [line for line in answer.err.splitlines() if not line.startswith(("[", "waymint release"))]
    assert line.startswith("error: Prefect server of the run must answer")
    assert "PREFECT_API_URL" in hint


def test_lines_of_failed_requests_are_counted_and_loggers_left_as_they_were() -> None:
    logger = logging.getLogger("prefect.client")
    level = logger.level
    with count_failed_requests() as failed:
        assert failed.warning is None
        logger.debug("Encountered retryable exception during request. Another attempt will be made in 1s.")
        logger.debug("another line")
        logging.getLogger("prefect._internal.concurrency").error("Service %r failed to process item %r", "EventsWorker", {})
    assert failed.count == 2
    assert failed.warning is not None
    assert failed.warning.startswith("2 requests")
    assert logger.level == level
    assert not [each for each in logger.filters if isinstance(each, FailedRequests)]


@pytest.mark.slow
def test_an_embedded_server_that_can_not_start(command: Command, source: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "prefect").mkdir(parents=True, mode=0o700)
    (home / "prefect/prefect.db").write_bytes(b"no database" * 1000)
    spec = save(spec_of(source, tmp_path / "store"), tmp_path / "spec.yaml")
    answer = command.run("release", spec, WAYMINT_HOME=str(home), PREFECT_API_URL="")
    assert answer.code == 6, answer.err
    assert "error: The embedded Prefect server must answer within" in answer.err
    assert str(home / "prefect/server.log") in answer.err
    assert "Traceback" not in answer.err
