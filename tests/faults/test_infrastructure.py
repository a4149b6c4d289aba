"""The Dask cluster or the Prefect server fails: exit code 6, one line, and the same command resumes."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dask.config
import httpx
import pytest
from distributed.client import FutureCancelledError
from distributed.comm import CommClosedError
from distributed.scheduler import KilledWorker

import infra.cluster
from infra.faults import ClusterLost, infrastructure
from infra.workspace import Run
from tasks.contract.errors import InfrastructureError, SourceError
from tasks.contract.spec import EngineSpec, parse_spec
from tests.releasing import Command, files, finished, fitted_folds, save, spec_of, wait_for

CLUSTER = [FutureCancelledError("key", "lost"), CommClosedError("closed"), TimeoutError("late"), KilledWorker("task", None, 3)]
SERVER = [httpx.ConnectError("refused"), httpx.ReadTimeout("late"), RuntimeError("Failed to reach API at http://127.0.0.1:1/api/")]


@pytest.mark.parametrize("error", CLUSTER, ids=lambda error: type(error).__name__)
def test_a_lost_cluster_is_one_error(error: Exception) -> None:
    with pytest.raises(ClusterLost, match=type(error).__name__) as found, infrastructure():
        raise error
    assert found.value.exit_code == 6
    assert "The same command resumes" in found.value.hint
    assert pickle.loads(pickle.dumps(found.value)).cause == type(error).__name__


@pytest.mark.parametrize("error", SERVER, ids=lambda error: type(error).__name__)
def test_a_lost_prefect_server_is_one_error(error: Exception) -> None:
    with pytest.raises(InfrastructureError, match="Prefect server of the run must answer") as found, infrastructure():
        raise error
    assert found.value.exit_code == 6


@pytest.mark.parametrize("error", [SourceError("rows"), RuntimeError("other"), ValueError("other")])
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as found, infrastructure():
        raise error
    assert found.value is error


def test_a_lost_cluster_is_replaced_twice_and_then_given_up() -> None:
    clusters, warned = [], []

    def work(runner: object) -> str:
        clusters.append(runner)
        raise KilledWorker("task", None, 3)

    with pytest.raises(InfrastructureError, match="KilledWorker"):
        infra.cluster.outlasting(work, EngineSpec(dask="threads"), warned.append)
    assert len({id(each) for each in clusters}) == 3
    assert warned == ["the Dask cluster was lost (KilledWorker); going on with a new one"] * 2


TLS = "distributed.comm.tls."


@pytest.mark.parametrize(
    ("named", "fault"),
    [({}, "no certificate is named"), ({"ca-file": "absent.pem", "client.cert": "absent.pem", "client.key": "absent.pem"}, "No such file")],
    ids=["none", "absent"],
)
def test_a_certificate_that_is_not_there(tmp_path: Path, named: dict[str, str], fault: str) -> None:
    run = Run(spec=parse_spec(spec_of("a.csv", "store", engine__dask="tls://127.0.0.1:1")), workspace="", id="run", created="", base="")
    with dask.config.set({TLS + key: str(tmp_path / name) for key, name in named.items()}), pytest.raises(InfrastructureError) as found:
        infra.cluster.probe(run, pytest.fail)
    assert (found.value.exit_code, fault in found.value.message) == (6, True), found.value.message
    assert "DASK_DISTRIBUTED__COMM__TLS__CA_FILE" in found.value.hint


class Site:
    """A scheduler and, if asked for, a worker, as processes in a folder of their own."""

    def __init__(self, folder: Path, workers: int, environment: dict[str, str]) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self._folder, self._environment = folder, environment
        address = folder / "scheduler.json"
        self.start("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(address))
        end = time.monotonic() + 60
        while not address.exists():
            assert time.monotonic() < end
            time.sleep(0.1)
        self.address = str(json.loads(address.read_text())["address"])
        for _ in range(workers):
            self.start("dask_worker", self.address, "--nthreads", "1", "--no-dashboard", "--no-nanny", "--local-directory", str(folder))

    def start(self, program: str, *arguments: str) -> None:
        command = [sys.executable, "-m", f"distributed.cli.{program}", *arguments]
        with (self._folder / "log").open("ab") as log:
            self.processes.append(subprocess.Popen(command, cwd=self._folder, env=self._environment, stdout=log, stderr=log))


@pytest.fixture
def site(tmp_path: Path, home: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    root = Path(__file__).parents[2]
    made = Site(folder, request.param, os.environ | {"WAYMINT_HOME": str(home), "PYTHONPATH": str(root)})
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


def one_line(err: str) -> str:
    """Return the line of the error; there must be no traceback and no other noise."""
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if not line.startswith(("[", "waymint release", "hint: "))]
    assert len(lines) == 1, err
    return lines[0]


def test_a_scheduler_that_is_not_there(waymint, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra.cluster, "SCHEDULER_SECONDS", 2.0)
    answer = waymint("release", save(spec_of(source, tmp_path / "store", engine__dask="tcp://127.0.0.1:9"), tmp_path / "spec.yaml"))
    assert answer.code == 6, answer.err
    assert one_line(answer.err).startswith("error: scheduler of engine.dask must answer at tcp://127.0.0.1:9")


@pytest.mark.parametrize("site", [0], indirect=True)
def test_a_cluster_without_a_worker(waymint, site: Site, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra.cluster, "WORKER_SECONDS", 2.0)
    answer = waymint("release", save(spec_of(source, tmp_path / "store", engine__dask=site.address), tmp_path / "spec.yaml"))
    assert answer.code == 6, answer.err
    assert one_line(answer.err) == f"error: workers of {site.address} must be at least 1; got none within 2 s."
    assert "has no password" in answer.err


@pytest.mark.parametrize("site", [1], indirect=True)
def test_a_worker_of_other_packages_is_told_by_name(
    waymint, site: Site, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = infra.cluster.package_versions()
    monkeypatch.setattr(infra.cluster, "package_versions", lambda: real | {"numpy": "0.1"})
    answer = waymint("release", save(spec_of(source, tmp_path / "store", engine__dask=site.address), tmp_path / "spec.yaml"))
    assert answer.code == 6, answer.err
    assert f"it lacks: numpy 0.1 (it has {real['numpy']})" in one_line(answer.err)


@pytest.mark.slow
@pytest.mark.parametrize("site", [1], indirect=True)
def test_relative_paths_reach_a_worker_in_another_folder_and_a_dead_scheduler_is_one_line(
    command: Command, site: Site, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "table.parquet").write_bytes(source.read_bytes())
    values = spec_of("table.parquet", "file://./store", engine__dask=site.address, engine__workspace="work")
    spec = save(values, tmp_path / "spec.yaml")
    process = command.start("release", spec, cwd=tmp_path)
    wait_for(lambda: fitted_folds(tmp_path / "work"), process)
    site.processes[0].send_signal(signal.SIGKILL)
    answer = finished(process)
    assert answer.code == 6, answer.err
    assert "error: " in answer.err
    assert "Traceback" not in answer.err
    again = command.run("release", spec, "--set", "engine.dask=threads", cwd=tmp_path)
    assert again.code == 0, again.err
    assert "resuming run" in again.err
    assert "trial/v000001/manifest.json" in files(tmp_path / "store")
