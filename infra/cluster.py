"""Where tasks run, and what every task of ours has in common."""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from uuid import UUID, uuid4

import threadpoolctl
from prefect import task
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import MissingContextError
from prefect.futures import PrefectFuture, as_completed
from prefect.logging import get_run_logger
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from infra.faults import RESUMES, ClusterLost, infrastructure
from infra.ownership import home_folder, private_folder
from infra.provenance import code_digest, package_versions
from infra.settings import Settings
from infra.worker import look
from infra.workspace import Run
from tasks.contract.errors import InfrastructureError, WaymintError
from tasks.contract.spec import EngineSpec

if TYPE_CHECKING:
    from distributed import Client  # a run on threads needs no Dask, which takes a second to import

P = ParamSpec("P")
R = TypeVar("R")

ATTEMPTS = 3
SCHEDULER_SECONDS = 15.0
WORKER_SECONDS = 60.0
BUILTIN = "builtin:"
_LOCAL = {
    # with the default of 15 s a cluster whose workers restart can lose all of them for ever
    "distributed.deploy.lost-worker-timeout": "600s",
    # Dask keeps the last messages to each worker for its own debugging: of the default's thousand each holds a task's arguments,
    # which name all partitions, so the flow's process grew with the square of their number
    "distributed.admin.low-level-log-length": 20,
    # pages of the scheduler and the workers show keys and logs to whoever asks on loopback
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.nanny.http.routes": [],
}
_CERTIFICATES = "Set DASK_DISTRIBUTED__COMM__TLS__CA_FILE, __CLIENT__CERT and __CLIENT__KEY, as on the page 'A site' of the docs."


def task_runner(engine: EngineSpec) -> TaskRunner[Any]:
    """Return the Prefect task runner that the SPEC's engine section asks for.

    Parameters
    ----------
    engine : EngineSpec
        ``dask = "threads"``, ``"local"`` (worker processes on loopback, one thread each) or a scheduler's address; what "auto" stands
        for is settled before (flows/stages/engines.py).
    """
    if engine.dask == "threads":
        threads: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=engine.most_workers)
        return threads
    import dask
    from distributed.security import Security
    from prefect_dask import DaskTaskRunner

    if engine.dask != "local":
        remote: TaskRunner[Any] = DaskTaskRunner(address=engine.dask)
        return remote
    dask.config.set(_LOCAL)
    local = {
        "n_workers": engine.workers,
        "threads_per_worker": 1,
        "processes": True,
        "host": "127.0.0.1",
        # whoever reaches a Dask port runs code as its owner: only who holds this run's certificate gets in
        "protocol": "tls://",
        "security": Security.temporary(),
        "dashboard_address": "127.0.0.1:0",
        "scheduler_kwargs": {"dashboard": False},
        "local_directory": str(private_folder(home_folder(Settings()) / "dask")),
        "memory_limit": engine.memory,
        "preload": ["infra.worker"],
        "silence_logs": "ERROR",
    }
    # a cluster that may grow: by the scheduler's own count of what waits, and no worker goes that still holds a result
    growing = {"minimum": engine.workers, "maximum": engine.max_workers} if engine.max_workers is not None else None
    runner: TaskRunner[Any] = DaskTaskRunner(cluster_kwargs=local, adapt_kwargs=growing)
    return runner


def probe(run: Run, warn: Callable[[str], None]) -> None:
    """Look at a cluster that others started, from each of its workers, before any work is done.

    Parameters
    ----------
    run : Run
        Says which cluster, and what its workers must reach.
    warn : callable
        Called with a line where the cluster is open to others.

    Raises
    ------
    InfrastructureError
        If the scheduler does not answer, no worker comes within ``WORKER_SECONDS``, or a worker lacks something.
    """
    address = run.spec.engine.dask
    if address in ("threads", "local"):
        return
    if address.startswith("tcp://"):
        warn(f"the Dask cluster {address} has no password: whoever reaches its ports runs code there (tls:// is closed)")
    with _reach(address) as client, infrastructure():
        try:
            client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError:
            raise InfrastructureError(
                f"workers of {address} must be at least 1; got none within {WORKER_SECONDS:.0f} s.", f"Start one. {RESUMES}"
            ) from None
        _compare(client, run, warn)


def _reach(address: str) -> Client:
    """Connect to a scheduler; over TLS with the certificate that Dask's configuration names."""
    from distributed import Client
    from distributed.comm import CommClosedError
    from distributed.security import Security

    try:
        security = Security()
        if address.startswith("tls://") and security.get_connection_args("client").get("ssl_context") is None:
            raise FileNotFoundError("no certificate is named")
    except OSError as error:
        raise InfrastructureError(
            f"certificate and key of {address} must be files that can be read; got '{error.strerror or error}'.",
            f"{_CERTIFICATES} {RESUMES}",
        ) from None
    try:
        return Client(address, timeout=SCHEDULER_SECONDS, set_as_default=False, security=security)
    except (OSError, CommClosedError) as error:
        raise InfrastructureError(
            f"scheduler of engine.dask must answer at {address}; it did not ({type(error).__name__}).", f"Start it there. {RESUMES}"
        ) from None


def _compare(client: Client, run: Run, warn: Callable[[str], None]) -> None:
    """Refuse workers that lack what the run needs, or have other code or packages."""
    space, token = run.space(), f"probe-{uuid4().hex}"
    uri, store = run.spec.source.uri, run.absolute(run.spec.store.uri)
    source = None if uri.startswith(BUILTIN) else run.absolute(uri)
    space.put_plain(token, token.encode())
    try:
        views = client.run(look, run.workspace, token, source, store, on_error="return")
    finally:
        space.drop(token)
    here, digest = package_versions(), code_digest()
    for worker, view in views.items():
        if isinstance(view, Exception):
            lacks = [f"waymint does not run there ({type(view).__name__}: {view})"]
        else:
            differing = {name for name in here | view.packages if here.get(name) != view.packages.get(name)}
            others = [f"{name} {here.get(name)} (it has {view.packages.get(name)})" for name in sorted(differing)]
            lacks = [*view.lacks, *others, *(["other code of waymint"] if view.digest != digest and not others else [])]
        if lacks:
            raise InfrastructureError(f"worker {worker} must have what the run needs; it lacks: {'; '.join(lacks)}.", RESUMES)
        if view.store is not None:  # no error: a release is published by the flow's own process
            warn(f"worker {worker} can't read the store (store.uri); what is published must be written from here: {view.store}")


def outlasting(work: Callable[[TaskRunner[Any]], R], engine: EngineSpec, warn: Callable[[str], None]) -> R:
    """Do work on a cluster; one that lost all its workers is replaced by a new one, and finished parts are not computed again.

    Parameters
    ----------
    work : callable
        Takes the task runner to run on.
    engine : EngineSpec
        What kind of cluster.
    warn : callable
        Called with a line of text at each loss.

    Raises
    ------
    InfrastructureError
        If three clusters were lost, or the Prefect server was; and whatever else the work raises.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with infrastructure():
                return work(task_runner(engine))
        except ClusterLost as error:
            if attempt == ATTEMPTS:
                raise
            warn(f"the Dask cluster was lost ({error.cause}); going on with a new one")
            if engine.dask not in ("threads", "local"):
                _reach(engine.dask).close()
    raise AssertionError("the last attempt returns or raises")


def coarse(name: str, label: str) -> Callable[[Callable[P, R]], Any]:
    """Make a function a Prefect task the way all our tasks are.

    A task is some seconds of work (each costs about 0.2 s on Dask whatever it does), runs on one thread, may run twice,
    keeps its outputs in the workspace and passes references on. Prefect's own caching is off: a finished output
    is recognised by its name and sha256. Only errors that say they are passing are tried again.

    Parameters
    ----------
    name : str
        Name of the task.
    label : str
        Name of a run, a template over the task's parameters: it tells the partition.
    """

    def decorate(function: Callable[P, R]) -> Any:
        @functools.wraps(function)
        def single_threaded(*args: P.args, **kwargs: P.kwargs) -> R:
            threadpoolctl.threadpool_limits(limits=1)
            return function(*args, **kwargs)

        return task(
            name=name,
            task_run_name=label,
            cache_policy=NO_CACHE,
            persist_result=False,
            retries=2,
            retry_delay_seconds=[1, 5],
            retry_condition_fn=_retryable,
        )(single_threaded)

    return decorate


def _retryable(_task: object, _run: TaskRun, state: State[Any]) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, WaymintError) and error.retryable


class FlowWork:
    """Tasks go to the task runner of the flow that is under way: the only place where a flow submits one.

    What it shows lands on the page of the flow run that made this object: the one that a deployment or a command started, and not the
    inner one that does the work.
    """

    def __init__(self) -> None:
        self._page = contextvars.copy_context()

    def _show(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function of Prefect as the run whose page this is."""
        return self._page.copy().run(functools.partial(function, *args, **kwargs))

    def submit(self, task: Any, arguments: tuple[Any, ...]) -> PrefectFuture[Any]:
        """Start one task."""
        future: PrefectFuture[Any] = task.submit(*arguments)
        return future

    def call(self, task: Any, arguments: tuple[Any, ...]) -> Any:
        """Run one task in the flow's own process."""
        return task(*arguments)

    def completed(self, futures: Sequence[PrefectFuture[Any]], timeout: float) -> Iterator[PrefectFuture[Any]]:
        """Yield submitted tasks as they end.

        Raises
        ------
        TimeoutError
            If they have not all ended after so many seconds.
        """
        yield from as_completed(list(futures), timeout=timeout)

    def meter(self, description: str) -> Callable[[float, str], None]:
        """Put a progress bar on the run's page; return what sets its share, in [0, 1], and its text."""
        artifact = self._show(create_progress_artifact, progress=0.0, key="progress", description=description)
        assert isinstance(artifact, UUID)  # in a synchronous flow it is no coroutine
        return lambda share, text: self._show(_set_progress, artifact, share, text)

    def table(self, key: str, rows: list[dict[str, Any]], description: str) -> None:
        """Put a table on the run's page."""
        self._show(create_table_artifact, key=key, table=rows, description=description)

    def log(self, level: int, text: str) -> None:
        """Write a line to the log on the run's page."""
        with contextlib.suppress(MissingContextError):  # outside a flow there is no page
            self._show(get_run_logger).log(level, text)


def _set_progress(artifact: UUID, share: float, text: str) -> None:
    update_progress_artifact(artifact, progress=round(100.0 * min(1.0, share), 1), description=text)
