"""The site of compose.yaml as processes: Postgres, Prefect, Dask over TLS, workers elsewhere, everything else on S3."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.site_secrets import CERTIFICATE, KEY, dask_environment, write_secrets
from tests.dask_site import end
from tests.faulty import mint_on
from tests.releasing import Ran, finished, kill, parts, save, spec_of, table, wait_for, write
from tests.stack import RELEASES, TABLES, WORK, Stack, postgres_folder, running_stack

pytestmark = [pytest.mark.slow, pytest.mark.s3]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    if postgres_folder() is None:
        pytest.skip("no Postgres (Debian: postgresql): the site as a whole was not tested")
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("no setpriv, and Postgres does not run as root: the site as a whole was not tested")
    # not in pytest's folder, which is closed to the database's user each time that another session starts
    with tempfile.TemporaryDirectory(prefix="waymint-stack-", ignore_cleanup_errors=True) as name, running_stack(Path(name)) as running:
        folder = Path(name)
        running.s3().put_object(Bucket=TABLES, Key="trial/source.parquet", Body=write(table(), folder / "source.parquet").read_bytes())
        yield running


@pytest.fixture(autouse=True)
def _clean_workspace(stack: Stack) -> None:
    """Leave nothing of an earlier test that failed: its finished parts would be resumed."""
    for key in stack.keys(WORK):
        stack.s3().delete_object(Bucket=WORK, Key=key)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Return the parts of the release as this process makes them, without Dask, Prefect or S3."""
    folder = tmp_path_factory.mktemp("expected")
    source = write(table(), folder / "source.parquet")
    mint_on(spec_of(source, folder / "store"), folder / "work")
    return list(parts(folder / "store").values())


def spec_on(stack: Stack, name: str, **settings: Any) -> dict[str, Any]:
    """Return a SPEC whose source, store and workspace are buckets, and whose work goes to the site's Dask cluster.

    Every test has a store of its own and the same release name, which stands in the files: their bytes are those of ``expected``.
    """
    return spec_of(f"s3://{TABLES}/trial/source.parquet", f"s3://{RELEASES}/{name}", engine__dask=stack.dask.address, **settings)


def start(stack: Stack, spec: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "infra.cli", "release", str(spec), "--json"]
    values = {name: value for name, value in (stack.environment | environment).items() if value}
    return subprocess.Popen(
        command, cwd=spec.parent, env=values, stdin=subprocess.DEVNULL, stdout=-1, stderr=-1, text=True, start_new_session=True
    )


def fitted(stack: Stack) -> Callable[[], object]:
    """Return what says whether the first model is fitted."""
    return lambda: [key for key in stack.keys(WORK, "runs/trial-") if "/mechanisms/copy-0/fold-" in key and key.endswith(".receipt")]


def published(stack: Stack, name: str, version: int = 1) -> list[bytes]:
    client = stack.s3()
    keys = [key for key in stack.keys(RELEASES, f"{name}/trial/v{version:06d}/data/") if key.endswith(".parquet")]
    return [client.get_object(Bucket=RELEASES, Key=key)["Body"].read() for key in sorted(keys)]


def last_state(stack: Stack, tags: list[str] | None = None) -> str:
    """Return the state of the newest run of a release, of those with the tags; empty where there is none."""
    wanted: dict[str, Any] = {"name": {"any_": ["release trial"]}} | ({"tags": {"all_": tags}} if tags else {})
    runs = stack.ask("flow_runs/filter", {"flow_runs": wanted, "sort": "START_TIME_DESC", "limit": 1})
    return str(runs[0]["state_type"]) if runs else ""


def succeeded(answer: Ran) -> Any:
    assert answer.code == 0, answer.err
    assert "Traceback" not in answer.err
    return answer.json()


def test_a_release_from_s3_to_s3_over_tls(stack: Stack, expected: list[bytes], tmp_path: Path) -> None:
    reply = succeeded(finished(start(stack, save(spec_on(stack, "plain"), tmp_path / "spec.yaml"))))
    assert reply["uri"] == f"s3://{RELEASES}/plain/trial/v000001"
    assert published(stack, "plain") == expected
    assert stack.keys(WORK, "runs/trial-") == [], "real rows are left in the workspace"
    assert last_state(stack) == "COMPLETED"


def test_both_workers_work_where_they_are(stack: Stack) -> None:
    """One in another folder, one in an environment of its own; neither has anything of the other."""
    from distributed import Client
    from distributed.security import Security

    secrets = stack.folder / "secrets"
    pem, key = str(secrets / "dask-certificate.pem"), str(secrets / "dask-key.pem")
    security = Security(tls_ca_file=pem, tls_client_cert=pem, tls_client_key=key, require_encryption=True)
    with Client(stack.dask.address, security=security, timeout=30, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        prefixes = set(client.run(lambda: sys.prefix).values())
        folders = set(client.run(os.getcwd).values())
    assert len(prefixes) == 2
    assert len(folders) == 2


@pytest.mark.parametrize("certificate", ["none", "of another site"])
def test_who_has_no_certificate_is_not_let_in(stack: Stack, tmp_path: Path, certificate: str) -> None:
    values = dict.fromkeys([name for name in stack.environment if "__TLS__" in name], "")
    if certificate != "none":
        write_secrets(tmp_path / "secrets")
        values = dask_environment(str(tmp_path / "secrets" / CERTIFICATE), str(tmp_path / "secrets" / KEY))
    answer = finished(start(stack, save(spec_on(stack, "closed"), tmp_path / "spec.yaml"), **values))
    assert answer.code == 6, answer.err
    assert "Traceback" not in answer.err
    said = "got 'no certificate is named'" if certificate == "none" else "scheduler of engine.dask must answer"
    assert said in answer.err
    assert stack.keys(RELEASES, "closed/trial/v") == []


def test_a_worker_is_killed(stack: Stack, expected: list[bytes], tmp_path: Path) -> None:
    process = start(stack, save(spec_on(stack, "worker"), tmp_path / "spec.yaml"))
    wait_for(fitted(stack), process)
    nanny = psutil.Process(stack.dask.processes[1].pid)
    for child in nanny.children(recursive=True):
        child.kill()
    succeeded(finished(process))
    assert published(stack, "worker") == expected


def test_the_scheduler_is_killed_and_the_command_resumes(stack: Stack, expected: list[bytes], tmp_path: Path) -> None:
    spec = save(spec_on(stack, "scheduler"), tmp_path / "spec.yaml")
    process = start(stack, spec)
    wait_for(fitted(stack), process)
    end(stack.dask.scheduler)
    answer = finished(process)
    assert answer.code == 6, answer.err
    assert "Traceback" not in answer.err
    stack.dask.scheduler = stack.dask.start_scheduler()
    stack.start_workers()
    again = finished(start(stack, spec))
    succeeded(again)
    assert "resuming run" in again.err
    assert published(stack, "scheduler") == expected


def test_the_command_is_killed_and_resumes_on_another_home(stack: Stack, expected: list[bytes], tmp_path: Path) -> None:
    """Receipts carry the site's key (WAYMINT_KEY), and the workspace is a bucket: another home goes on."""
    spec = save(spec_on(stack, "killed"), tmp_path / "spec.yaml")
    process = start(stack, spec)
    wait_for(fitted(stack), process)
    assert kill(process).code == -signal.SIGKILL
    again = finished(start(stack, spec, WAYMINT_HOME=str(tmp_path / "home")))
    succeeded(again)
    assert "resuming run" in again.err
    assert published(stack, "killed") == expected


def test_prefect_is_restarted(stack: Stack, expected: list[bytes], tmp_path: Path) -> None:
    """Its clients repeat what failed: the run goes on, says so once, and its page is on the same database."""
    process = start(stack, save(spec_on(stack, "prefect"), tmp_path / "spec.yaml"))
    wait_for(fitted(stack), process)
    end(stack.prefect)
    stack.start_prefect()
    stack.wait_until_ready()
    answer = finished(process)
    succeeded(answer)
    assert published(stack, "prefect") == expected
    assert answer.err.count("requests of this process to the Prefect server failed") == 1
    assert last_state(stack) == "COMPLETED"


def test_a_deployment_of_the_packaged_file_publishes(stack: Stack, expected: list[bytes], tmp_path: Path) -> None:
    """What the services ``deploy`` and ``prefect-worker`` of compose.yaml do: pool, deployments, a worker with a health page."""

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=tmp_path, env=stack.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("infra.cli", "deploy", "init")
    run("prefect", "--no-prompt", "work-pool", "create", "waymint", "--type", "process")
    run("prefect", "--no-prompt", "deploy", "--all")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    values = stack.environment | {"PREFECT_WORKER_WEBSERVER_PORT": str(port), "PREFECT_WORKER_QUERY_SECONDS": "2"}
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "waymint", "--type", "process", "--with-healthcheck"]
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(command, cwd=tmp_path, env=values, stdout=log, stderr=log, start_new_session=True)
    try:
        parameter = f"spec={json.dumps(spec_on(stack, 'deployed'))}"
        run("prefect", "deployment", "run", "release/release-on-demand", "--param", parameter)
        limit, state = time.monotonic() + 300, ""
        while state not in ("COMPLETED", "FAILED", "CRASHED"):
            assert time.monotonic() < limit, (tmp_path / "log").read_text()[-3000:]
            time.sleep(2)
            state = last_state(stack, tags=["waymint"])
        assert state == "COMPLETED", (tmp_path / "log").read_text()[-3000:]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
            assert answer.status == 200
    finally:
        end(worker)
    assert published(stack, "deployed") == expected
