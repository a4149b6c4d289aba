"""Errors of the machinery around a run: the Dask cluster and the Prefect server. One list, and what a user reads."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from tasks.contract.errors import InfrastructureError

RESUMES = "The same command resumes: finished parts are kept."
_UNREACHABLE = "Failed to reach API"
# What distributed raises as a bare OSError.
_NO_SCHEDULER = ("Timed out trying to connect to ", "Timed out during handshake ")
# Loggers of Prefect's client, and how their lines about a failed request begin.
_SERVER_LINES = {
    "prefect.client": ("Encountered retryable exception", "Received response with retryable status code"),
    "prefect._internal.concurrency": ("Service ",),
    "prefect.events.clients": ("Unable to connect to ",),
}


def lost_cluster() -> tuple[type[Exception], ...]:
    """Return the errors of a cluster that lost its workers or its scheduler; a new one may go on."""
    from concurrent.futures import CancelledError

    from distributed.client import ClosedClientError
    from distributed.comm import CommClosedError
    from distributed.scheduler import KilledWorker, NoValidWorkerError, NoWorkerError

    # CancelledError: what becomes of all futures of a scheduler that is gone. TimeoutError: also of workers that do not start
    return (KilledWorker, NoValidWorkerError, NoWorkerError, CommClosedError, CancelledError, ClosedClientError, TimeoutError)


def lost_server() -> tuple[type[Exception], ...]:
    """Return the errors of a Prefect server that does not answer, or not well."""
    import httpx
    from prefect.exceptions import PrefectHTTPStatusError

    return (httpx.TransportError, httpx.InvalidURL, PrefectHTTPStatusError)


@contextlib.contextmanager
def infrastructure() -> Iterator[None]:
    """Raise what the machinery raises as one error with one line, for the length of the block.

    Raises
    ------
    InfrastructureError
        In place of any error of :func:`lost_cluster` and :func:`lost_server`.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith(_UNREACHABLE):
            raise
        raise server_error(error) from None
    except lost_server() as error:
        raise server_error(error) from None
    except lost_cluster() as error:
        raise ClusterLost("TimeoutError" if isinstance(error, TimeoutError) else type(error).__name__) from None
    except OSError as error:
        if not str(error).startswith(_NO_SCHEDULER):
            raise
        raise ClusterLost("no scheduler answers") from None


def server_error(error: Exception) -> InfrastructureError:
    """Return what a user reads where the Prefect server failed."""
    return InfrastructureError(
        f"Prefect server of the run must answer; it did not ({type(error).__name__}).",
        f"{RESUMES} A server of your own is named by PREFECT_API_URL; the log of the embedded one is prefect/server.log in WAYMINT_HOME.",
    )


class ClusterLost(InfrastructureError):
    """The cluster lost its workers or its scheduler; a new one may go on.

    Parameters
    ----------
    cause : str
        Name of the error that said so.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"cluster of the run must keep a scheduler and a worker alive; it did not ({cause}).",
            f"{RESUMES} Where workers run out of memory, give them more (engine.memory) or smaller partitions (source.partition_rows).",
        )
        self.cause = cause

    def __reduce__(self) -> tuple[type[ClusterLost], tuple[str]]:
        return (ClusterLost, (self.cause,))


class FailedRequests(logging.Filter):
    """Counts requests to the Prefect server that failed, by the lines that its client logs.

    A filter sees a line before any handler does: what a logger would not have written at its own level is only counted.

    Attributes
    ----------
    count : int
        Failed requests since the block of :func:`count_failed_requests` began, in this process.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self._levels = {name: logging.getLogger(name).getEffectiveLevel() for name in _SERVER_LINES}
        self._own = {name: logging.getLogger(name).level for name in _SERVER_LINES}

    def filter(self, record: logging.LogRecord) -> bool:
        """Count a line about a failed request; return whether the line is to be written."""
        if str(record.msg).startswith(_SERVER_LINES[record.name]):
            self.count += 1
        return record.levelno >= self._levels[record.name]

    def attach(self) -> None:
        """Begin to count."""
        for name in _SERVER_LINES:
            logging.getLogger(name).addFilter(self)
            logging.getLogger(name).setLevel(logging.DEBUG if name == "prefect.client" else logging.WARNING)

    def detach(self) -> None:
        """Leave the loggers as they were."""
        for name, level in self._own.items():
            logging.getLogger(name).removeFilter(self)
            logging.getLogger(name).setLevel(level)

    @property
    def warning(self) -> str | None:
        """One line for the user; None where no request failed."""
        if not self.count:
            return None
        return (
            f"{self.count} requests of this process to the Prefect server failed; they were repeated or dropped. "
            "What the run wrote is whole; its page in Prefect may lack states, logs and events."
        )


@contextlib.contextmanager
def count_failed_requests() -> Iterator[FailedRequests]:
    """Count failed requests to the Prefect server for the length of the block; Prefect must be imported."""
    failed = FailedRequests()
    failed.attach()
    try:
        yield failed
    finally:
        failed.detach()
