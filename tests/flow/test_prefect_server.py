"""The embedded Prefect server: one for all runs of a machine, gone soon after the last one."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from infra.prefect_server import prefect_server
from infra.settings import Settings, server_environment
from tests.releasing import ROOT

ASK = """
import sys
from infra.prefect_server import prefect_server
from infra.settings import Settings
with prefect_server(Settings(home=sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.readline()
"""


def _asking(home: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ASK, str(home)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def test_a_server_that_the_user_named_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with prefect_server(Settings(home=tmp_path)) as url:
        assert url == "http://127.0.0.1:9/api"
    assert list(tmp_path.iterdir()) == []


def test_processes_share_one_server_on_loopback(command, prefect: str, home: Path) -> None:
    both = [_asking(home, command.environment) for _ in range(2)]
    found = [process.stdout.readline().strip() for process in both]
    for process in both:
        process.communicate("\n", timeout=60)
    assert found == [prefect, prefect]
    assert prefect.startswith("http://127.0.0.1:")
    port = int(prefect.split(":")[2].split("/")[0])
    listening = {
        entry.laddr.ip for entry in psutil.net_connections("tcp") if entry.status == psutil.CONN_LISTEN and entry.laddr.port == port
    }
    assert listening == {"127.0.0.1"}


@pytest.mark.parametrize(
    "loss", [lambda keeper, _: keeper.kill(), lambda _, home: shutil.rmtree(home)], ids=["its keeper is killed", "its home is removed"]
)
def test_no_server_is_left_alone(tmp_path: Path, loss: Callable[[subprocess.Popen[bytes], Path], None]) -> None:
    """Neither is one that nobody can find: it would run until the machine does not."""
    home = tmp_path / "prefect"
    home.mkdir()
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-m", "infra.prefect_server", str(home), "0", "300"]
        keeper = subprocess.Popen(command, cwd=ROOT, env=server_environment(home, "a:b"), stdout=log, stderr=log, start_new_session=True)
    try:
        end = time.monotonic() + 60
        while not ((home / "users.lock").exists() and (servers := psutil.Process(keeper.pid).children(recursive=True))):
            assert time.monotonic() < end, (tmp_path / "log").read_text()
            time.sleep(0.1)
        loss(keeper, home)
        _, alive = psutil.wait_procs(servers, timeout=60)
        assert alive == []
        keeper.wait(60)
    finally:
        keeper.kill()


@pytest.mark.slow
def test_it_ends_when_no_run_uses_it_and_survives_a_killed_run(tmp_path: Path, command) -> None:
    environment = {**command.environment, "WAYMINT_HOME": str(tmp_path)}
    code = ASK.replace("home=sys.argv[1])", "home=sys.argv[1]), idle_seconds=3")
    first = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    url = first.stdout.readline().strip()
    second = _asking(tmp_path, environment)
    assert second.stdout.readline().strip() == url
    first.kill()
    first.communicate(timeout=60)
    time.sleep(8)
    assert _answers(url)  # the second run still holds it
    second.communicate("\n", timeout=60)
    end = time.monotonic() + 60
    while _answers(url):
        assert time.monotonic() < end, "the server outlived its last run"
        time.sleep(0.5)
    while (tmp_path / "prefect" / "server.json").exists():
        assert time.monotonic() < end
        time.sleep(0.5)
