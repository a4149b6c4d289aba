"""Flows run from Python: one local Prefect server for the session, and a thread where an event loop is running."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import ctypes
import importlib
import io
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from waymint.composing import Data, SpecLike, composed

if TYPE_CHECKING:
    from tasks.contract.spec import Purpose, Spec

T = TypeVar("T")

#: Seconds that an interrupted call waits for its run to stop.
STOP_SECONDS = 20.0

_session = contextlib.ExitStack()
_starting = threading.Lock()
_served = threading.Event()


def run_flow(name: Purpose, spec: Spec, progress: bool) -> dict[str, Any]:
    """Run a flow as the command line does; return its reply.

    Parameters
    ----------
    name : str
        Of the flow, its file and the command.
    spec : Spec
    progress : bool
        Write stages to stderr.

    Raises
    ------
    WaymintError
        Whatever the flow raises.
    """

    def work() -> dict[str, Any]:
        _entry("stages.precheck").precheck(spec, name)
        hold_server()
        reply: dict[str, Any] = getattr(_entry(name), name)(spec)
        return reply

    return call(work, progress)


def run_audit(release: str, source: str, attacks: str, canaries: str | None, settings: list[str], progress: bool) -> dict[str, Any]:
    """Run an audit as the command line does; return its reply."""

    def work() -> dict[str, Any]:
        request = _entry("stages.audits").compose(release, source, settings, attacks, canaries)
        hold_server()
        reply: dict[str, Any] = _entry("audit").audit(request)
        return reply

    return call(work, progress)


def run_more(release: str, rows: int, source: str | None, settings: list[str], where: str, progress: bool) -> dict[str, Any]:
    """Draw further rows as the command line does; return its reply."""

    def work() -> dict[str, Any]:
        spec, original = _entry("stages.streams").compose(release, rows, source, settings, where)
        if original.manifest is None:
            _entry("stages.precheck").precheck(spec, "release")
        hold_server()
        reply: dict[str, Any] = _entry("more").more(spec, original)
        return reply

    return call(work, progress)


def run_estimate(data: str, roles: dict[str, Any], options: dict[str, Any], progress: bool) -> dict[str, Any]:
    """Estimate as the command line does; return its reply. No server is needed."""

    def work() -> dict[str, Any]:
        reply: dict[str, Any] = _entry("estimate").estimate(data, roles, options)[0]
        return reply

    return call(work, progress)


def _entry(name: str) -> Any:
    """Load a file of flows/ when it is needed: Prefect takes seconds to import."""
    from infra.settings import prepare_environment, quiet_terminal

    prepare_environment()
    quiet_terminal()
    return importlib.import_module(f"flows.{name}")


def hold_server() -> None:
    """Hold the local Prefect server until Python ends; a server named by ``PREFECT_API_URL`` is used as it is.

    Prefect reads the server's address once. So a session keeps one server, also between calls.
    """
    from infra.prefect_server import prefect_server
    from infra.settings import Settings

    with _starting:
        if not _served.is_set():
            _session.enter_context(prefect_server(Settings()))
            atexit.register(_session.close)
            _served.set()


def call(work: Callable[[], T], progress: bool = True) -> T:
    """Call a function; inside a running event loop, as in a notebook, in a thread of its own.

    Prefect's synchronous calls return coroutines where a loop is running, so a flow must not run there.

    Parameters
    ----------
    work : callable
    progress : bool
        Let it write to stderr.

    Raises
    ------
    KeyboardInterrupt
        If the caller is interrupted; the thread is asked to stop first.
    """
    with contextlib.nullcontext() if progress else contextlib.redirect_stderr(io.StringIO()):
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return work()
        return _in_thread(work)


def _in_thread(work: Callable[[], T]) -> T:
    context, idents = contextvars.copy_context(), []

    def target() -> T:
        idents.append(threading.get_ident())
        return context.run(work)

    executor = ThreadPoolExecutor(1, thread_name_prefix="waymint")
    future = executor.submit(target)
    try:
        return future.result()
    except KeyboardInterrupt:
        for ident in idents if not future.done() else ():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(KeyboardInterrupt))
        wait([future], STOP_SECONDS)
        raise
    finally:
        executor.shutdown(wait=False)


def run_composed(
    flow: Purpose,
    data: Data,
    *,
    treatment: str | None = None,
    outcome: str | None = None,
    name: str | None = None,
    store: str | Path | None = None,
    spec: SpecLike | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Compose the SPEC of a flow and run it; keywords are those of :class:`waymint.keywords.Keywords`."""
    given = {"roles.treatment": treatment, "roles.outcome": outcome, "name": name, "store.uri": None if store is None else str(store)}
    with composed(data, spec, given, settings) as whole:
        return run_flow(flow, whole, progress)
