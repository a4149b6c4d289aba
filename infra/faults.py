"""Errors of the machinery around a run: the Dask cluster and the Prefect server. One list, and what a user reads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tasks.contract.errors import InfrastructureError

RESUMES = "The same command resumes: finished parts are kept."
_UNREACHABLE = "Failed to reach API"


def lost_cluster() -> tuple[type[Exception], ...]:
    """Return the errors of a cluster that lost its workers or its scheduler; a new one may go on."""
    from distributed.client import ClosedClientError, FutureCancelledError, WorkerStartTimeoutError
    from distributed.comm import CommClosedError
    from distributed.scheduler import KilledWorker, NoValidWorkerError

    return (
        KilledWorker,
        NoValidWorkerError,
        CommClosedError,
        FutureCancelledError,
        ClosedClientError,
        WorkerStartTimeoutError,
        TimeoutError,
    )


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
        raise ClusterLost(type(error).__name__) from None


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
