"""A site as docs/deployments.md sets it up: a Prefect server, the deployments of prefect.yaml, a work pool and its worker."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
OVER = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@dataclass(frozen=True)
class Site:
    """A Prefect server with a worker of the pool "waymint", the deployments deployed."""

    url: str
    environment: dict[str, str]
    folder: Path
    late: dict[str, Any] = field(default_factory=dict)
    """A flow run as it was before there was a worker."""

    def prefect(self, *arguments: str) -> str:
        """Run the prefect command in the project's folder and return what it prints."""
        command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        result = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=300, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call the server's API."""
        answer = httpx.get(f"{self.url}/{path}", timeout=30) if body is None else self.post(path, body)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """Call the server's API; the answer may be a refusal."""
        return httpx.post(f"{self.url}/{path}", json=body, timeout=30)

    def start(self, deployment: str, spec: dict[str, Any], key: str | None = None) -> httpx.Response:
        """Ask for a run of a deployment as a program elsewhere does."""
        identity = self.ask(f"deployments/name/{deployment}")["id"]
        body = {"parameters": {"spec": spec}, "enforce_parameter_schema": True}
        return self.post(f"deployments/{identity}/create_flow_run", body | ({} if key is None else {"idempotency_key": key}))

    def run(self, deployment: str, spec: dict[str, Any]) -> dict[str, Any]:
        """Start a run of a deployment; a server that is busy for a moment is asked again, with a key that makes it one run."""
        key = uuid.uuid4().hex
        answers: list[httpx.Response] = []

        def accepted() -> bool:
            answers.append(self.start(deployment, spec, key))
            return not answers[-1].is_server_error

        self.seen(accepted, 60)
        assert answers[-1].is_success, answers[-1].text
        return dict(answers[-1].json())

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        """Return the flow runs of a deployment, oldest first."""
        body = {"deployments": {"name": {"any_": [deployment]}}, "sort": "EXPECTED_START_TIME_ASC"}
        return list(self.ask("flow_runs/filter", body))

    def inner(self, run: dict[str, Any]) -> dict[str, Any]:
        """Return the flow run that does the work of another."""
        [inner] = self.ask("flow_runs/filter", {"flow_runs": {"parent_flow_run_id": {"any_": [run["id"]]}}})
        return dict(inner)

    def logs(self, run: dict[str, Any]) -> str:
        """Return what a flow run logged."""
        lines = self.ask("logs/filter", {"logs": {"flow_run_id": {"any_": [run["id"]]}}, "sort": "TIMESTAMP_ASC"})
        return "\n".join(line["message"] for line in lines)

    def artifacts(self, run: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Return the artifacts on a flow run's page by their keys."""
        found = self.ask("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
        return {each["key"]: each for each in found}

    def events(self, name: str, resource: str) -> list[dict[str, Any]]:
        """Return the events of a name and a resource, oldest first, once there is one: servers keep events with some delay."""
        body = {"filter": {"event": {"name": [name]}, "any_resource": {"id": [resource]}, "order": "ASC"}}
        return list(self.seen(lambda: self.ask("events/filter", body)["events"], 60))

    def ended(self, run: dict[str, Any], seconds: float = 240) -> dict[str, Any]:
        """Wait for a flow run to end."""
        return self.seen(lambda: over if (over := self.ask(f"flow_runs/{run['id']}"))["state_type"] in OVER else None, seconds)

    def first_ended(self, deployment: str, seconds: float = 240) -> dict[str, Any]:
        """Wait for the first flow run of a deployment to end."""
        return self.seen(lambda: next((run for run in self.runs(deployment) if run["state_type"] in OVER), None), seconds)

    def seen(self, look: Callable[[], Any], seconds: float = 240) -> Any:
        """Wait until something is there."""
        end = time.monotonic() + seconds
        while not (found := look()):
            if time.monotonic() > end:
                states = [(run["name"], run["state_name"]) for run in self.ask("flow_runs/filter", {})]
                log = self.folder / "worker.log"
                raise AssertionError(f"not seen in {seconds:.0f} s; runs: {states}\n{log.read_text()[-3000:] if log.exists() else ''}")
            time.sleep(0.5)
        return found

    def published(self, name: str) -> list[dict[str, Any]]:
        """Return the manifests of a release's versions."""
        return [json.loads(path.read_text()) for path in sorted((self.folder / "store" / name).glob("v*/manifest.json"))]

    def spec(self, name: str, **sections: Any) -> dict[str, Any]:
        """Return a SPEC of some seconds on a table made here."""
        source = self.folder / "source.csv"
        if not source.exists():
            write_source(source)
        values = {
            "name": name,
            "seed": 7,
            "source": {"uri": str(source), "partition_rows": 100_000},
            "roles": {"treatment": "drug", "outcome": "score", "covariates": ["age", "sex"]},
            "covariates": {"synthesizer": "copula"},
            "mechanisms": {"learner": "glm", "folds": 2, "repeats": 1},
            "release": {"rows": 300},
            "store": {"uri": f"file://{self.folder}/store"},
            "engine": {"dask": "threads", "workers": 1},
        }
        return values | sections


def write_source(path: Path, rows: int = 600) -> Path:
    """Write a table with an effect of 1."""
    rng = np.random.default_rng(20260103)
    age, sex, drug = rng.normal(50, 10, rows).round(1), rng.integers(0, 2, rows), rng.integers(0, 2, rows)
    score = (0.1 * age + drug + rng.normal(0, 1, rows)).round(3)
    pd.DataFrame({"age": age, "sex": np.where(sex, "f", "m"), "drug": drug, "score": score}).to_csv(path, index=False)
    return path


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Hold a process (with all it starts) for the length of the block."""
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for a server to answer."""
    end = time.monotonic() + 180
    while time.monotonic() < end and process.poll() is None:
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.3)
    raise AssertionError(f"no Prefect server: {log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Set a site up; one run is asked for before there is a worker."""
    folder = tmp_path_factory.mktemp("site")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "WAYMINT"))}
    environment = inherited | {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
        "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "1",
        "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "1",
        "WAYMINT_HOME": str(folder / "home"),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    prefect = [sys.executable, "-m", "prefect"]
    log = folder / "server.log"
    with running([*prefect, "server", "start", "--host", "127.0.0.1", "--port", str(port)], environment, log) as server:
        wait_healthy(url, server, log)
        here = Site(url, environment, folder)
        here.prefect("work-pool", "create", "waymint", "--type", "process")
        here.prefect("work-pool", "set-concurrency-limit", "waymint", "2")
        here.prefect("deploy", "--all")
        early = here.run("release/release-on-demand", here.spec("demanded"))
        here.seen(lambda: here.ask(f"flow_runs/{early['id']}")["state_name"] == "Late", 60)
        here.late.update(here.ask(f"flow_runs/{early['id']}"))
        with running([*prefect, "worker", "start", "--pool", "waymint", "--type", "process"], environment, folder / "worker.log"):
            yield here
