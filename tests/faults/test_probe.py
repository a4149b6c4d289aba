"""Before any work, each worker of a cluster is asked what it sees: workspace, source, store, packages and code."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.cluster import probe
from infra.workspace import Run
from tasks.contract.errors import InfrastructureError
from tests.dask_site import DaskSite, end
from tests.direct import run_of
from tests.releasing import ROOT, files, spec_of
from tests.s3 import Server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskSite]:
    """One scheduler; each test has a worker of its own."""
    made = DaskSite(tmp_path_factory.mktemp("site"), os.environ | {"PYTHONPATH": str(ROOT)})
    yield made
    made.close()


@pytest.fixture
def look(site: DaskSite, tmp_path: Path, source: Path) -> Iterator[Callable[..., list[str]]]:
    """Return what starts a worker, probes it, and returns the warnings."""
    workers = []

    def call(run: Run, before: tuple[str, ...] = (), **environment: str) -> list[str]:
        folder = tmp_path / "worker"
        folder.mkdir()
        workers.append(site.start_worker("--death-timeout", "60", before=before, cwd=folder, **environment))
        warnings: list[str] = []
        probe(run, warnings.append)
        return [warning for warning in warnings if "has no password" not in warning]

    yield call
    for worker in workers:
        end(worker)


def run_on(site: DaskSite, folder: Path, source: Path | str, store: str | None = None, workspace: str | None = None) -> Run:
    values = spec_of(source, store or f"file://{folder}/store", engine__dask=site.address)
    made = run_of(values, folder / "work")
    return made.model_copy(update={"workspace": workspace}) if workspace else made


def hidden(folder: Path) -> tuple[str, ...]:
    """Return what runs a command where a folder looks empty, as one that is not mounted there does."""
    command = ("unshare", "--mount", "sh", "-euc", 'mount -t tmpfs none "$1"; shift; exec "$@"', "sh", str(folder))
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("may not unshare mounts: workers that do not see a folder were not tested")
    return command


def test_a_worker_that_sees_everything(site: DaskSite, look: Callable[..., list[str]], source: Path, tmp_path: Path) -> None:
    assert look(run_on(site, tmp_path, source)) == []
    assert files(tmp_path / "work") == [], "the probe left something"
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("work", r"worker tcp://\S+ must have what the run needs; it lacks: the workspace \S+ can't be used there \(engine.workspace"),
        ("in", r"worker tcp://\S+ must have what the run needs; it lacks: the source \S+ is not there \(source.uri\)"),
    ],
    ids=["workspace", "source"],
)
def test_a_worker_that_does_not_see_a_folder(
    site: DaskSite, look: Callable[..., list[str]], source: Path, tmp_path: Path, what: str, message: str
) -> None:
    for name in ("work", "in"):
        (tmp_path / name).mkdir()
    here = Path(shutil.copy(source, tmp_path / "in"))
    with pytest.raises(InfrastructureError, match=message) as lost:
        look(run_on(site, tmp_path, here), before=hidden(tmp_path / what))
    assert lost.value.exit_code == 6
    assert files(tmp_path / "work") == []


def test_a_worker_of_other_code(site: DaskSite, look: Callable[..., list[str]], source: Path, tmp_path: Path) -> None:
    for package in ("infra", "tasks", "flows"):
        shutil.copytree(ROOT / package, tmp_path / "older" / package, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "older/tasks/__init__.py").open("a") as file:
        file.write("# older\n")
    with pytest.raises(InfrastructureError, match="it lacks: other code of waymint"):
        look(run_on(site, tmp_path, source), PYTHONPATH=str(tmp_path / "older"))


@pytest.mark.s3
@pytest.mark.parametrize("what", ["workspace", "store"])
def test_a_worker_that_is_refused_by_s3(
    site: DaskSite, look: Callable[..., list[str]], source: Path, tmp_path: Path, s3_env: Server, bucket: str, what: str
) -> None:
    """Without the workspace nothing goes; a release is published by the flow's own process, so the store is a warning."""
    place = f"s3://{bucket}/{uuid.uuid4().hex}"
    run = run_on(site, tmp_path, source, **{what: place})
    environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")} | {"AWS_SECRET_ACCESS_KEY": "wrong"}
    if what == "workspace":
        with pytest.raises(InfrastructureError, match=r"it lacks: the workspace .* can't be used there .* access to store"):
            look(run, **environment)
    else:
        [warning] = look(run, **environment)
        assert "can't read the store (store.uri); what is published must be written from here" in warning
        assert "access to store" in warning
        assert "wrong" not in warning
