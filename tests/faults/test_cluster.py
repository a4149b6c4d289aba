"""Schedulers, workers and nannies die while a flow runs on them: finished parts stay, and the run goes on or ends with one error."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

import infra.cluster
import tests.labour
from infra.faults import ClusterLost
from tasks.contract.errors import InfrastructureError
from tasks.contract.spec import EngineSpec
from tests.dask_site import DaskSite, end
from tests.labour import Toil, when
from tests.releasing import ROOT


@pytest.fixture
def site(tmp_path: Path, prefect: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DaskSite]:
    monkeypatch.setattr(infra.cluster, "SCHEDULER_SECONDS", 2.0)
    made = DaskSite(tmp_path / "site", os.environ | {"WAYMINT_HOME": str(home), "PYTHONPATH": str(ROOT)})
    yield made
    made.close()


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("before the first task is finished", marks=pytest.mark.slow),
        "between two stages",
        pytest.param("in the last task", marks=pytest.mark.slow),
    ],
)
def test_the_scheduler_dies(site: DaskSite, tmp_path: Path, moment: str) -> None:
    site.start_worker()
    toil = Toil(tmp_path / "toil", site.address)
    reached = {"before the first task is finished": lambda: toil.begun() == 1, "between two stages": lambda: toil.done() == 3}
    when(reached.get(moment, lambda: toil.begun() == 6), lambda: end(site.scheduler))
    with pytest.raises(InfrastructureError) as lost:
        toil.run()
    assert lost.value.exit_code == 6
    assert "The same command resumes" in lost.value.hint
    finished = [number for number in range(6) if (toil.folder / f"done-{number}").exists()]
    again = Toil(tmp_path / "toil", "threads")
    assert again.run() == [0, 1, 2, 3, 4, 5]
    assert [again.begun(number) for number in finished] == [1] * len(finished), "a finished part was made again"


@pytest.mark.slow
def test_the_scheduler_is_started_again(site: DaskSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra.cluster, "SCHEDULER_SECONDS", 60.0)
    site.start_worker("--death-timeout", "60")
    toil = Toil(tmp_path / "toil", site.address)

    def restart() -> None:
        end(site.scheduler)
        site.start_scheduler()
        site.start_worker()

    when(lambda: toil.done() == 3, restart)
    assert toil.run() == [0, 1, 2, 3, 4, 5]
    assert len(toil.warnings) == 1
    assert "the Dask cluster was lost" in toil.warnings[0]
    assert [toil.begun(number) for number in range(3)] == [1, 1, 1], "a finished part was made again"


@pytest.mark.parametrize("kind", ["worker", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("nanny", "worker below a nanny"))])
def test_a_worker_dies_and_others_go_on(site: DaskSite, tmp_path: Path, kind: str) -> None:
    import psutil

    first = site.start_worker(nanny=kind != "worker")
    toil = Toil(tmp_path / "toil", site.address, seconds=1.0)

    def kill() -> None:
        if kind == "worker below a nanny":  # the nanny starts another
            [child] = [each for each in psutil.Process(first.pid).children() if "spawn_main" in " ".join(each.cmdline())]
            child.kill()
        else:
            end(first)
            site.start_worker()

    when(lambda: toil.begun() == 2, kill)
    assert toil.run() == [0, 1, 2, 3, 4, 5]
    assert toil.warnings == []
    assert toil.begun(0) in (1, 2)  # once more where its result was lost with the worker


@pytest.mark.slow
def test_a_task_that_kills_every_worker_is_given_up(site: DaskSite, tmp_path: Path) -> None:
    """Four deaths in one task and three clusters: the run ends, and never waits for ever."""
    site.start_worker(nanny=True)
    toil = Toil(tmp_path / "toil", site.address, deadly=True, count=2)
    with pytest.raises(ClusterLost) as lost:
        toil.run()
    assert lost.value.cause == "KilledWorker"
    assert toil.begun(0) == 12


@pytest.mark.slow
def test_a_worker_that_hangs_and_wakes(site: DaskSite, tmp_path: Path) -> None:
    worker = site.start_worker()
    toil = Toil(tmp_path / "toil", site.address)

    def hang() -> None:
        os.kill(worker.pid, signal.SIGSTOP)
        time.sleep(5)
        os.kill(worker.pid, signal.SIGCONT)

    when(lambda: toil.begun() == 2, hang)
    assert toil.run() == [0, 1, 2, 3, 4, 5]
    assert toil.warnings == []


@pytest.mark.slow
def test_a_local_cluster_grows_with_its_work(tmp_path: Path, prefect: str, home: Path) -> None:
    """From one worker process to at most three, while six tasks of some seconds wait."""
    toil = Toil(tmp_path / "toil", "local", count=12, seconds=4.0, workers=1, max_workers=3)
    assert toil.run() == list(range(12))
    processes = {path.read_text() for path in toil.folder.glob("begun-*")}
    assert 2 <= len(processes) <= 3
    assert toil.warnings == []
    assert [toil.begun(number) for number in range(12)] == [1] * 12


def test_how_many_workers_a_cluster_may_have() -> None:
    fixed, growing = (infra.cluster.task_runner(EngineSpec(dask="local", workers=2, max_workers=most)) for most in (None, 8))
    assert (fixed.cluster_kwargs["n_workers"], fixed.adapt_kwargs) == (2, {})
    assert (growing.cluster_kwargs["n_workers"], growing.adapt_kwargs) == (2, {"minimum": 2, "maximum": 8})
    assert EngineSpec(dask="threads", workers=2, max_workers=5).most_workers == 5
    with pytest.raises(ValidationError, match=r"max_workers must be at least workers \(4\); got 2"):
        EngineSpec(workers=4, max_workers=2)


@pytest.mark.slow
def test_a_stage_that_takes_too_long_is_started_anew(tmp_path: Path, prefect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two stages is given up once; what its task has finished meanwhile is kept."""
    stages = tests.labour.Stages
    monkeypatch.setattr(tests.labour, "Stages", lambda timeout: stages(timeout=1.0))
    toil = Toil(tmp_path / "toil", "threads", count=2, seconds=2.0)
    assert toil.run() == [0, 1]
    assert toil.warnings == ["the Dask cluster was lost (TimeoutError); going on with a new one"] * 2
