"""A real Prefect server, a real process worker, the deployments of prefect.yaml."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tasks.contract.spec import parse_spec

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "prefect.yaml"
OVER = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@dataclass(frozen=True)
class Site:
    """A Prefect server with a worker of the pool "waymint", the deployments deployed."""

    url: str
    environment: dict[str, str]
    folder: Path

    def prefect(self, *arguments: str) -> str:
        """Run the prefect command in the project's folder and return what it prints."""
        command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        result = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=120, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call the server's API."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/{path}", data=data, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        """Return the flow runs of a deployment, oldest first."""
        body = {"deployments": {"name": {"any_": [deployment]}}, "sort": "EXPECTED_START_TIME_ASC"}
        return list(self.ask("flow_runs/filter", body))

    def logs(self, run: dict[str, Any]) -> str:
        """Return what a flow run logged."""
        lines = self.ask("logs/filter", {"logs": {"flow_run_id": {"any_": [run["id"]]}}, "sort": "TIMESTAMP_ASC"})
        return "\n".join(line["message"] for line in lines)

    def ended(self, deployment: str, seconds: float) -> dict[str, Any]:
        """Wait for the first flow run of a deployment to end."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            over = [run for run in self.runs(deployment) if run["state_type"] in OVER]
            if over:
                return over[0]
            time.sleep(1)
        states = [(run["name"], run["state_name"]) for run in self.runs(deployment)]
        raise AssertionError(
            f"no run of {deployment} ended in {seconds:.0f} s: {states}\n{(self.folder / 'worker.log').read_text()[-3000:]}"
        )


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
    end = time.monotonic() + 180
    while time.monotonic() < end and process.poll() is None:
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.3)
    raise AssertionError(f"no Prefect server: {log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
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
        "WAYMINT_HOME": str(folder / "home"),
        "OMP_NUM_THREADS": "1",
    }
    prefect = [sys.executable, "-m", "prefect"]
    log = folder / "server.log"
    with running([*prefect, "server", "start", "--host", "127.0.0.1", "--port", str(port)], environment, log) as server:
        wait_healthy(url, server, log)
        here = Site(url, environment, folder)
        here.prefect("work-pool", "create", "waymint", "--type", "process")
        here.prefect("deploy", "--all")
        with running([*prefect, "worker", "start", "--pool", "waymint", "--type", "process"], environment, folder / "worker.log"):
            yield here


def tiny_spec(folder: Path, name: str) -> dict[str, Any]:
    """Return a SPEC of some seconds on a table made here."""
    source = folder / "source.csv"
    if not source.exists():
        rng = np.random.default_rng(20260103)
        age = rng.normal(50, 10, 600).round(1)
        sex = rng.integers(0, 2, 600)
        drug = rng.integers(0, 2, 600)
        score = (0.1 * age + drug + rng.normal(0, 1, 600)).round(3)
        pd.DataFrame({"age": age, "sex": np.where(sex, "f", "m"), "drug": drug, "score": score}).to_csv(source, index=False)
    return {
        "name": name,
        "seed": 7,
        "source": {"uri": str(source)},
        "roles": {"treatment": "drug", "outcome": "score", "covariates": ["age", "sex"]},
        "covariates": {"synthesizer": "copula"},
        "mechanisms": {"learner": "glm", "folds": 2},
        "release": {"rows": 300},
        "store": {"uri": f"file://{folder}/store"},
        "engine": {"dask": "threads", "workers": 1},
    }


def published(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return the manifests of a release's versions."""
    return [json.loads(path.read_text()) for path in sorted((folder / "store" / name).glob("v*/manifest.json"))]


def test_the_file_names_no_machine() -> None:
    config = yaml.safe_load(FILE.read_text())
    assert "pull" not in config
    assert not any("pull" in deployment for deployment in config["deployments"])
    entrypoints = {deployment["entrypoint"] for deployment in config["deployments"]}
    assert entrypoints == {"flows/release.py:release", "flows/audit.py:audit_release"} | {
        f"flows/{name}.py:{name}" for name in ("compare", "simulate", "augment")
    }


def test_the_specs_of_the_file_are_the_example() -> None:
    example = parse_spec(tomllib.loads((ROOT / "examples/nhefs.toml").read_text()))
    for deployment in yaml.safe_load(FILE.read_text())["deployments"]:
        if deployment["entrypoint"] == "flows/audit.py:audit_release":
            assert deployment["parameters"] == {"release": f"{example.store.uri}/{example.name}", "source": example.source.uri}
        else:
            assert list(deployment["parameters"]) == ["spec"]
            assert parse_spec(deployment["parameters"]["spec"]) == example


@pytest.mark.timeout(400)
def test_the_deployments_are_on_the_server(site: Site) -> None:
    found = {deployment["name"]: deployment for deployment in site.ask("deployments/filter", {})}
    assert set(found) >= {"release-nightly", *(f"{name}-on-demand" for name in ("release", "audit", "compare", "simulate", "augment"))}
    nightly, on_demand = found["release-nightly"], found["release-on-demand"]
    assert [entry["schedule"]["cron"] for entry in nightly["schedules"]] == ["0 2 * * *"]
    assert [entry["active"] for entry in nightly["schedules"]] == [True]
    assert on_demand["schedules"] == []
    # the UI draws its form from this: one parameter, with the SPEC's own schema
    schema = on_demand["parameter_openapi_schema"]
    assert list(schema["properties"]) == ["spec"]
    assert {"SourceSpec", "RolesSpec", "ReleaseSpec"} <= set(schema["definitions"])


@pytest.mark.timeout(400)
def test_a_run_on_demand_publishes(site: Site) -> None:
    spec = tiny_spec(site.folder, "demanded")
    site.prefect("deployment", "run", "release/release-on-demand", "--param", f"spec={json.dumps(spec)}")
    run = site.ended("release-on-demand", 240)
    assert run["state_type"] == "COMPLETED", site.logs(run)
    versions = published(site.folder, "demanded")
    assert [manifest["version"] for manifest in versions] == [1]
    assert sum(file["rows"] or 0 for file in versions[0]["files"] if file["path"].startswith("data/copy-0/")) == 300


@pytest.mark.timeout(400)
def test_a_published_release_is_audited_on_demand(site: Site) -> None:
    """Goes on from the release that the test before published."""
    store = site.folder / "store" / "demanded"
    asked = {"release": f"file://{store}", "source": str(site.folder / "source.csv"), "attacks": "linkability"}
    parameters = [part for name, value in asked.items() for part in ("--param", f"{name}={json.dumps(value)}")]
    site.prefect("deployment", "run", "audit-release/audit-on-demand", *parameters)
    run = site.ended("audit-on-demand", 240)
    assert run["state_type"] == "COMPLETED", site.logs(run)
    [record] = [json.loads(path.read_text()) for path in store.glob("audits/v*/*/audit.json")]
    assert [found["attack"] for found in record["attacks"]] == ["linkability"]


@pytest.mark.timeout(400)
def test_a_bad_spec_is_refused_before_it_runs(site: Site) -> None:
    spec = tiny_spec(site.folder, "refused") | {"release": {"rows": 0}}
    identity = next(d["id"] for d in site.ask("deployments/filter", {}) if d["name"] == "release-on-demand")
    with pytest.raises(urllib.error.HTTPError) as refusal:
        site.ask(f"deployments/{identity}/create_flow_run", {"parameters": {"spec": spec}, "enforce_parameter_schema": True})
    assert refusal.value.code == 409
    assert published(site.folder, "refused") == []


@pytest.mark.timeout(400)
def test_a_schedule_fires_by_itself(site: Site) -> None:
    config = yaml.safe_load(FILE.read_text())
    nightly = next(deployment for deployment in config["deployments"] if deployment["name"] == "release-nightly")
    # due soon after it is deployed; an interval too long for a second run to start beside the first
    due = datetime.now(UTC) + timedelta(seconds=20)
    often = nightly | {
        "name": "release-often",
        "parameters": {"spec": tiny_spec(site.folder, "scheduled")},
        "schedules": [{"interval": 90, "anchor_date": due.isoformat(), "active": True}],
    }
    file = site.folder / "prefect.yaml"
    file.write_text(yaml.safe_dump({"name": "waymint", "deployments": [often]}))
    site.prefect("deploy", "--prefect-file", str(file), "--name", "release-often")
    run = site.ended("release-often", 240)
    assert run["auto_scheduled"] is True
    assert run["state_type"] == "COMPLETED", site.logs(run)
    assert [manifest["version"] for manifest in published(site.folder, "scheduled")][:1] == [1]
