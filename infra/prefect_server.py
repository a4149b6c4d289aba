"""The embedded Prefect server: one per machine and user, shared by all runs, gone soon after the last one.

A keeper process (this module run with ``-m``) holds the server as its child and ends it when no run has used it for a
while. Runs hold a shared file lock; the kernel drops it however a run dies, so no server outlives a killed run for long.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from infra.ownership import home_folder, private_folder
from infra.settings import Settings, prefect_api_url, server_environment, use_prefect, use_prefect_home
from tasks.contract.errors import InfrastructureError

START_SECONDS = 180.0
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
#: Long enough to read a report between two runs: a start takes some ten seconds.
IDLE_SECONDS = 300.0


@contextlib.contextmanager
def prefect_server(settings: Settings, idle_seconds: float = IDLE_SECONDS) -> Iterator[str]:
    """Hold a Prefect server for the length of the block.

    A server the user named (``PREFECT_API_URL``) is used as it is. Otherwise one server on loopback is found or started.

    Parameters
    ----------
    settings : Settings
        Where this machine keeps state.
    idle_seconds : float
        A server that is started here ends when no run has used it for so long.

    Yields
    ------
    str
        The API URL, already in the environment of this process and its children.

    Raises
    ------
    InfrastructureError
        If no server comes up within ``START_SECONDS``.
    """
    named = prefect_api_url()
    if named is not None:
        yield named
        return
    home = private_folder(home_folder(settings) / "prefect")
    use_prefect_home(home)
    with (home / "users.lock").open("a+") as users:
        with _starting(home):
            server = _running(home) or _start(home, idle_seconds)
            fcntl.flock(users, fcntl.LOCK_SH)
        use_prefect(server.url, server.secret)
        yield server.url


@contextlib.contextmanager
def _starting(home: Path) -> Iterator[None]:
    """Let one process at a time start or end the server."""
    with (home / "start.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Server(NamedTuple):
    """A server that runs: its port on loopback, what it asks of every request, and the process that keeps it."""

    port: int
    secret: str
    keeper: int

    @property
    def url(self) -> str:
        """URL of its API."""
        return f"http://127.0.0.1:{self.port}/api"


def embedded_server(settings: Settings) -> Server | None:
    """Return the embedded server of this user, if one runs; nothing is started or made."""
    try:
        return _running(settings.home.expanduser().resolve() / "prefect")
    except OSError:  # a home that is a file, or that may not be read
        return None


def end_server(settings: Settings) -> None:
    """End the embedded server of this user, if one runs: benchmarks and pictures leave none behind."""
    server = embedded_server(settings)
    if server is not None:
        os.kill(server.keeper, signal.SIGTERM)


def _running(home: Path) -> Server | None:
    """Return the server that the state file names, if it answers and the file's secret is its own."""
    try:
        state = json.loads((home / "server.json").read_text())
        server = Server(int(state["port"]), str(state["secret"]), int(state["keeper"]))
    except (FileNotFoundError, json.JSONDecodeError, KeyError, ValueError):
        return None
    return server if _listens(server) and _healthy(server) else None


def _listens(server: Server) -> bool:
    """Return whether the keeper's own process listens on the port: another user's may have taken it and would be told the secret."""
    try:
        keeper = psutil.Process(server.keeper)
        family = [keeper, *keeper.children(recursive=True)] if keeper.uids().real == os.getuid() else []
        return any(
            each.status == psutil.CONN_LISTEN and each.laddr.port == server.port for one in family for each in one.net_connections("tcp")
        )
    except psutil.Error:
        return False


def _healthy(server: Server) -> bool:
    """Ask what needs the secret."""
    basic = base64.b64encode(server.secret.encode()).decode()
    request = urllib.request.Request(f"{server.url}/admin/version", headers={"Authorization": f"Basic {basic}"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 (loopback, our own URL) # nosec B310
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _start(home: Path, idle_seconds: float) -> Server:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    secret = f"waymint:{secrets.token_urlsafe(32)}"
    with (home / "server.log").open("ab") as log:
        # its own session: a Ctrl-C meant for one run must not take the server from the others
        keeper = subprocess.Popen(
            [sys.executable, "-m", "infra.prefect_server", str(home), str(port), str(idle_seconds)],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=server_environment(home, secret),
            start_new_session=True,
        )
    server = Server(port, secret, keeper.pid)
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and keeper.poll() is None:
        if _listens(server) and _healthy(server):
            _keep_state(home, server)
            return server
        time.sleep(0.2)
    with contextlib.suppress(ProcessLookupError):
        keeper.terminate()
    raise InfrastructureError(
        f"The embedded Prefect server must answer within {START_SECONDS:.0f} s; it did not.",
        f"Its log is {home / 'server.log'}. To use a server of your own, set PREFECT_API_URL.",
    )


def _keep_state(home: Path, server: Server) -> None:
    """Write URL and secret for the next run; the file is its owner's alone from the first byte."""
    draft = home / f"server-{secrets.token_hex(8)}.json"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(server._asdict(), file)
    draft.replace(home / "server.json")


def keep(home: Path, port: int, idle_seconds: float) -> None:
    """Run the server until no run has used it for ``idle_seconds``, or its home is gone: then nobody can find it."""
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_end_with_parent)
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    try:
        with contextlib.suppress(FileNotFoundError):
            _watch(home, server, idle_seconds)
    finally:
        _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(30)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _watch(home: Path, server: subprocess.Popen[bytes], idle_seconds: float) -> None:
    """Return once nobody uses the server any more, or it has ended."""
    unused_since = time.monotonic() + START_SECONDS  # whoever started us has until then to take its lock
    with (home / "users.lock").open("a+") as users:
        while server.poll() is None:
            time.sleep(2)
            (home / "users.lock").stat()
            if _locked(users.fileno()):
                unused_since = time.monotonic()
            elif time.monotonic() - unused_since > idle_seconds:
                with _starting(home):
                    if _locked(users.fileno()):
                        continue
                    (home / "server.json").unlink(missing_ok=True)
                    _end(server)


def _end_with_parent() -> None:
    """Ask the kernel to end this process when its parent dies, however that dies; elsewhere than on Linux nothing does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def _locked(users: int) -> bool:
    """Return whether a run holds its shared lock."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(users, fcntl.LOCK_UN)
    return False


if __name__ == "__main__":
    keep(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
