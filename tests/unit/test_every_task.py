"""Every task of every step, run in this process: it may run twice, and what it writes depends on its arguments alone."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.augmenting import table as sparse_table
from tests.direct import Call, DirectWork, directly, run_of
from tests.releasing import spec_of, table, write

ROOT = Path(__file__).resolve().parents[2]
#: Objects that hold measured seconds: two runs of their task can't write the same bytes.
TIMED = ("progress", "seconds", "cost", "replicates", "batch", "measured", "spent")


class World(NamedTuple):
    """What a flow did: its reply, its workspace, its calls, and the files that each call wrote first."""

    reply: dict[str, Any]
    workspace: Path
    work: Watched


class Watched(DirectWork):
    """Also remembers which files each call has written first."""

    def __init__(self, workspace: Path) -> None:
        super().__init__()
        self._workspace = workspace
        self._seen: set[Path] = set()
        self.written: list[set[Path]] = []

    def submit(self, task: Any, arguments: tuple[Any, ...]) -> Any:
        future = super().submit(task, arguments)
        here = {path for path in self._workspace.rglob("*") if path.is_file()}
        self.written.append(here - self._seen)
        self._seen |= here
        return future


def _world(flow: Any, values: dict[str, Any], workspace: Path, *more: Any) -> World:
    work = Watched(workspace)
    reply, _ = directly(flow, run_of(values, workspace), *more, work=work)
    return World(reply, workspace, work)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, World]]:
    """One small run of each flow."""
    from flows.audit import probe
    from flows.augment import enlarge
    from flows.compare import contest
    from flows.release import mint
    from flows.simulate import replicate
    from flows.stages.audits import compose

    folder = tmp_path_factory.mktemp("worlds")
    source, store = write(table(), folder / "source.csv"), folder / "store"
    small = spec_of(source, store, release__rows=400, mechanisms__repeats=1, release__part_rows=200, source__partition_rows=500)
    passes = {**small, "mechanisms": {**small["mechanisms"], "fit_rows": 200, "targets": ["ate", "att"]}}
    simulated = {"rows": [100], "designs": ["fitted"], "replicates": 20, "draws": 1, "pool": 2_000, "folds": 2}
    sparse, trial = write(sparse_table(450, 1), folder / "sparse.parquet"), write(sparse_table(700, 2, randomised=True), folder / "trial.csv")
    filled = spec_of(sparse, store, mechanisms__repeats=1, augment={"outcome": str(trial), "draws": 10, "flip": 0.02}, name="filled")
    compared = {**small, "compare": {"synthesizers": ["copula"], "seeds": 1}}
    found = {"release": _world(mint, passes, folder / "release")}
    asked = compose(str(store / "trial"), str(source), [], "membership,mechanism", None)
    found["audit"] = _world(probe, small, folder / "audit", asked)
    found["augment"] = _world(enlarge, filled, folder / "augment")
    found["compare"] = _world(contest, compared, folder / "compare")
    found["simulate"] = _world(replicate, {**small, "simulate": simulated}, folder / "simulate", None)
    yield found


def tasks_of_steps() -> set[str]:
    """Return all tasks that the steps' ``task.py`` define, by module and function."""
    from prefect import Task

    names = set()
    for path in sorted((ROOT / "tasks").glob("*/task*.py")):
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        names |= {f"{each.fn.__module__}.{each.fn.__qualname__}" for each in vars(module).values() if isinstance(each, Task)}
    return names


def test_no_task_is_left_out(worlds: dict[str, World]) -> None:
    called = {call.name for world in worlds.values() for call in world.work.calls}
    assert tasks_of_steps() - called == set()


def test_the_flows_worked(worlds: dict[str, World]) -> None:
    assert worlds["release"].reply["status"] == "published"
    assert worlds["release"].work.tables["gates"]
    assert worlds["release"].work.shares[-1] == 1.0
    assert {each["attack"] for each in worlds["audit"].reply["attacks"]} == {"membership", "mechanism"}
    assert worlds["augment"].reply["status"] in ("published", "rejected")
    assert {row["mode"] for row in worlds["compare"].reply["rows"]} == {"full", "hybrid"}
    assert worlds["simulate"].reply["rows"]


def _equal(left: Any, right: Any) -> bool:
    return repr(left) == repr(right)


@pytest.mark.parametrize("flow", ["release", "audit", "augment", "compare", "simulate"])
def test_a_task_that_runs_again_changes_nothing(worlds: dict[str, World], flow: str) -> None:
    world = worlds[flow]
    before = {path: path.read_bytes() for path in world.workspace.rglob("*") if path.is_file()}
    for call in world.work.calls:
        assert _equal(call.task.fn(*call.arguments), call.result), call.name
    after = {path: path.read_bytes() for path in world.workspace.rglob("*") if path.is_file()}
    assert {path.name for path in after if after[path] != before.get(path)} == set()


@pytest.mark.parametrize("flow", ["release", "audit", "augment", "compare"])
def test_a_task_whose_output_is_lost_writes_the_same_bytes(worlds: dict[str, World], flow: str) -> None:
    """Every first call of each task, with the files it wrote removed."""
    world, seen = worlds[flow], set()
    for call, written in zip(world.work.calls, world.work.written):
        if call.name in seen or not written:
            continue
        seen.add(call.name)
        before = {path: path.read_bytes() for path in written}
        for path in written:
            path.unlink()
        again: Call = call._replace(result=call.task.fn(*call.arguments))
        timed = any(word in call.name for word in TIMED)
        assert timed or _equal(again.result, call.result), call.name
        changed = {path.name for path in written if not path.exists() or (path.read_bytes() != before[path] and not timed)}
        assert changed == set(), call.name
        for path, content in before.items():
            path.write_bytes(content)
    assert seen
