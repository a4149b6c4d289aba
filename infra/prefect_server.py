"""The embedded Prefect server: one per machine and user, shared by all runs, gone soon after the last one.

A keeper process (this module run with ``-m``) holds the server as its child and ends it when no run has used it for a
while. Runs hold a shared file lock; the kernel drops it however a run dies, so no server outlives a killed run for long.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from infra.settings import Settings, prefect_api_url, server_environment, use_prefect, use_prefect_home
from tasks.contract.errors import WaymintError

START_SECONDS = 180.0
IDLE_SECONDS = 60.0


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
    WaymintError
        If no server comes up within ``START_SECONDS``.
    """
    named = prefect_api_url()
    if named is not None:
        yield named
        return
    home = settings.home.expanduser().resolve() / "prefect"
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    use_prefect_home(home)
    with (home / "users.lock").open("a+") as users:
        with _starting(home):
            url = _running(home) or _start(home, idle_seconds)
            fcntl.flock(users, fcntl.LOCK_SH)
        use_prefect(url)
        yield url


@contextlib.contextmanager
def _starting(home: Path) -> Iterator[None]:
    """Let one process at a time start or end the server."""
    with (home / "start.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _running(home: Path) -> str | None:
    """Return the URL of the server that the state file names, if it answers."""
    try:
        url = str(json.loads((home / "server.json").read_text())["url"])
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return url if _healthy(url) else None


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:  # noqa: S310 (loopback, our own URL)
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _start(home: Path, idle_seconds: float) -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with (home / "server.log").open("ab") as log:
        # its own session: a Ctrl-C meant for one run must not take the server from the others
        keeper = subprocess.Popen(
            [sys.executable, "-m", "infra.prefect_server", str(home), str(port), str(idle_seconds)],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=server_environment(home),
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}/api"
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and keeper.poll() is None:
        if _healthy(url):
            (home / "server.json").write_text(json.dumps({"url": url}))
            return url
        time.sleep(0.2)
    with contextlib.suppress(ProcessLookupError):
        keeper.terminate()
    raise WaymintError(
        f"The embedded Prefect server must answer within {START_SECONDS:.0f} s; it did not.",
        f"Its log is {home / 'server.log'}. To use a server of your own, set PREFECT_API_URL.",
    )


def keep(home: Path, port: int, idle_seconds: float) -> None:
    """Run the server until no run has used it for ``idle_seconds``."""
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    unused_since = time.monotonic() + START_SECONDS  # whoever started us has until then to take its lock
    with (home / "users.lock").open("a+") as users:
        while server.poll() is None:
            time.sleep(2)
            if _locked(users.fileno()):
                unused_since = time.monotonic()
            elif time.monotonic() - unused_since > idle_seconds:
                with _starting(home):
                    if _locked(users.fileno()):
                        continue
                    (home / "server.json").unlink(missing_ok=True)
                    server.terminate()
                    try:
                        server.wait(30)
                    except subprocess.TimeoutExpired:
                        server.kill()
                        server.wait()


def _locked(users: int) -> bool:
    """Tell whether a run holds its shared lock."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(users, fcntl.LOCK_UN)
    return False


if __name__ == "__main__":
    keep(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
