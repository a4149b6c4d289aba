"""Every task of every step, run in this process: it may run twice, and what it writes depends on its arguments alone."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from flows.stages.streams import Original
from flows.stages.streams import compose as more_of
from tasks.contract.spec import Spec
from tests.augmenting import table as sparse_table
from tests.direct import Call, DirectWork, directly, run_of
from tests.releasing import spec_of, table, write
from tests.villages import study_spec, villages
from tests.visits import visits, visits_spec

ROOT = Path(__file__).resolve().parents[2]
#: Tasks whose results hold measured seconds: two runs of them can't give the same bytes.
TIMED = {"tasks.comparison.task.weigh_drawing", "tasks.simulation.task.simulate"}
#: Ending of files that hold what a fit took.
SECONDS = ".cost"


class World(NamedTuple):
    """What a flow did: its reply, its workspace, its calls, and the files that each call wrote first."""

    reply: dict[str, Any]
    workspace: Path
    work: Watched


class Watched(DirectWork):
    """Also remembers which files each call has written first, and which it has written again."""

    def __init__(self, workspace: Path) -> None:
        super().__init__()
        self._workspace = workspace
        self.written: list[set[Path]] = []
        self.again: list[Path] = []

    def _files(self) -> dict[Path, int]:
        """Return the number of each file in its file system: what is written again gets another one."""
        return {path: path.stat().st_ino for path in self._workspace.rglob("*") if path.is_file()}

    def call(self, task: Any, arguments: tuple[Any, ...]) -> Any:
        before = self._files()
        result = super().call(task, arguments)
        after = self._files()
        self.written.append(after.keys() - before.keys())
        self.again += [path for path, number in before.items() if after.get(path, number) != number]
        return result


def _cases(rows: int, seed: int, randomised: bool = False) -> pd.DataFrame:
    """A table whose outcome is binary, so that labels can be flipped."""
    frame = sparse_table(rows, seed, randomised)
    return frame.assign(score=(frame["score"] > frame["score"].median()).astype(int))


def _world(flow: Any, values: dict[str, Any] | Spec, workspace: Path, *more: Any) -> World:
    work = Watched(workspace)
    run = run_of(values, workspace)
    reply, _ = directly(flow, run.model_copy(update={"id": f"{run.id}-{workspace.name}"}), *more, work=work)
    return World(reply, workspace, work)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, World]:
    """One small run of each flow."""
    from flows.audit import probe
    from flows.augment import enlarge
    from flows.compare import contest
    from flows.more import extend
    from flows.release import mint
    from flows.simulate import replicate, resolve_source
    from flows.stages.audits import compose

    folder = tmp_path_factory.mktemp("worlds")
    source, store = write(table(), folder / "source.csv"), folder / "store"
    small = spec_of(source, store, release__rows=400, mechanisms__repeats=1, release__part_rows=200, source__partition_rows=500)
    small["release"]["include_nuisances"] = True
    passes = {**small, "mechanisms": {**small["mechanisms"], "fit_rows": 200, "targets": ["ate", "att"], "treatment": "fitted"}}
    simulated = {"rows": [100], "designs": ["fitted"], "replicates": 20, "draws": 1, "pool": 2_000, "folds": 2}
    sparse, trial = write(_cases(450, 1), folder / "sparse.parquet"), write(_cases(700, 2, True), folder / "trial.csv")
    filled = spec_of(sparse, store, mechanisms__repeats=1, augment={"outcome": str(trial), "draws": 10, "flip": 0.02}, name="filled")
    compared = {**small, "compare": {"synthesizers": ["copula"], "seeds": 1}}
    keeping = {**passes, "release": {**passes["release"], "keep_models": True}}
    found = {"release": _world(mint, keeping, folder / "release")}
    found["more"] = _world(extend, *_further(str(store / "trial@1"), folder / "more"))
    asked = compose(str(store / "trial"), str(source), [], "membership,mechanism", None)
    found["audit"] = _world(probe, small, folder / "audit", asked)
    found["augment"] = _world(enlarge, filled, folder / "augment")
    found["compare"] = _world(contest, compared, folder / "compare")
    found["simulate"] = _world(replicate, {**small, "simulate": simulated}, folder / "simulate", None)
    found["study"] = _world(mint, study_spec(folder), folder / "study")
    found["outcomes"] = _world(mint, visits_spec(folder), folder / "outcomes")
    copied = {**small, "name": "copied", "covariates": {"synthesizer": "bootstrap"}}
    found["rejected"] = _world(mint, copied, folder / "rejected")
    from_release = {**small, "source": {"uri": str(store / "trial")}, "simulate": {**simulated, "designs": ["randomized"], "draws": 0}}
    own, manifest = resolve_source(Spec.model_validate(from_release))
    found["simulate a release"] = _world(replicate, own, folder / "again", manifest)
    return found


def _further(release: str, workspace: Path) -> tuple[Spec, Path, Original]:
    """Return what further rows of a part of the population are drawn by."""
    spec, original = more_of(release, 300, None, [], "age > 45")
    return spec, workspace, original


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
    assert worlds["more"].reply["status"] == "published"
    assert worlds["study"].reply["status"] in ("published", "rejected")
    assert worlds["release"].work.shares[-1] >= 1.0
    assert {each["attack"] for each in worlds["audit"].reply["attacks"]} == {"membership", "mechanism"}
    assert worlds["augment"].reply["status"] in ("published", "rejected")
    assert {row["mode"] for row in worlds["compare"].reply["rows"]} == {"full", "hybrid"}
    assert worlds["simulate"].reply["rows"]
    assert worlds["simulate a release"].reply["rows"]
    assert worlds["rejected"].reply["status"] == "rejected"


def test_every_object_of_a_release_is_written_once(worlds: dict[str, World]) -> None:
    """In a bucket that is one upload each."""
    assert worlds["release"].work.again == []


def test_a_release_keeps_the_study_as_it_is(worlds: dict[str, World]) -> None:
    """Fresh keys, whole villages with what is the same in them, a weight of 1, passengers; and the estimate repeats the manifest's."""
    from flows.estimate import estimate

    reply = worlds["study"].reply
    assert reply["status"] == "published", [gate for gate in worlds["study"].work.tables["gates"] if gate["outcome"] != "pass"]
    source, store = villages(), worlds["study"].workspace.parent / "store" / "villages"
    released = pd.concat([pd.read_parquet(path) for path in sorted(store.rglob("part-*.parquet"))], ignore_index=True)
    assert list(released.columns) == list(source.columns)
    assert released["person"].is_unique
    assert released["person"].str.fullmatch(r"P-\d{5}").all()
    assert not set(released["person"]) & set(source["person"])
    assert not set(released["village"]) & set(source["village"])
    assert released.groupby("village")[["region", "remote"]].nunique().to_numpy().max() == 1
    assert set(released["weight"]) == {1.0}
    assert released["lab"].corr(released["score"]) == pytest.approx(source["lab"].corr(source["score"]), abs=0.06)
    weighted = np.average(source["x"], weights=source["weight"])
    assert abs(released["x"].mean() - weighted) < 0.1 < abs(source["x"].mean() - weighted)
    study = reply["manifest"]["source"]["study"]
    assert study["passengers"] == ["lab", "event"]
    assert study["clusters"]["source"] == 90
    assert study["clusters"]["release"] == released["village"].nunique()
    assert study["clusters"]["constant"] == ["region", "remote"]
    assert abs(study["clusters"]["icc_release"] - study["clusters"]["icc_source"]) < 0.15
    assert 0.5 * len(source) < study["weight"]["effective_rows"] < len(source)
    assert sum("not targeted" in line or "weighted population" in line for line in reply["manifest"]["warnings"]) == 2
    settings = {"estimators": ("tmle",), "learner": "glm", "folds": 2, "repeats": 1, "seed": 7, "propensity": None}
    again = estimate(reply["uri"], {}, settings)[0]["estimates"][0]
    minted = next(each for each in reply["manifest"]["effects"]["release"]["all"] if each["estimator"] == "tmle")
    assert again["estimate"] == pytest.approx(minted["estimate"], rel=1e-9)
    assert again["se"] == pytest.approx(minted["se"], rel=1e-9)


def test_a_release_keeps_all_outcomes_and_which_are_missing(worlds: dict[str, World]) -> None:
    """Effects on both outcomes, what they have in common, and the share of missing cells by arm; and the estimate takes it all."""
    from flows.estimate import estimate

    reply = worlds["outcomes"].reply
    assert reply["status"] == "published", [gate for gate in worlds["outcomes"].work.tables["gates"] if gate["outcome"] != "pass"]
    source, store = visits(), worlds["outcomes"].workspace.parent / "store" / "visits"
    released = pd.concat([pd.read_parquet(path) for path in sorted(store.rglob("part-*.parquet"))], ignore_index=True)
    assert list(released.columns) == list(source.columns)
    assert not set(released["person"]) & set(source["person"])
    late = released["late"].dropna()
    assert (late == late.round()).all()
    assert late.min() >= 0
    manifest = reply["manifest"]
    effects = {
        where: {each["outcome"]: each for each in manifest["effects"][where]["all"] if each["estimator"] == "tmle"}
        for where in ("source", "release")
    }
    assert set(effects["source"]) == {"early", "late"}
    for outcome, truth in (("early", 1.0), ("late", 2.0)):
        one, other = effects["source"][outcome], effects["release"][outcome]
        assert abs(one["estimate"] - truth) < 3.5 * one["se"]
        assert abs(other["estimate"] - one["estimate"]) < 0.5 * one["se"]
    assert manifest["effects"]["source"]["ate"]["estimate"] == pytest.approx(effects["source"]["early"]["estimate"], rel=0.1)
    built_in = {each["outcome"]: each["ate"] for each in manifest["effects"]["truth"]["outcomes"]}
    assert built_in["late"] == pytest.approx(effects["source"]["late"]["estimate"], abs=0.2 * effects["source"]["late"]["se"])
    together = manifest["fidelity"]["together"]
    for row in together["spearman"]:
        assert row["source"] > 0.4
        assert abs(row["release"] - row["source"]) < 0.1
    for row in together["missing"]:
        assert row["outcome"] == "late"
        assert abs(row["release"] - row["source"]) < 0.03
    assert {each["outcome"] for each in manifest["fidelity"]["outcomes"]} == {"early", "late"}
    assert any("assumed to be missing at random" in line for line in manifest["warnings"])
    page = (store / "v000001" / "report.html").read_text()
    assert "How the outcomes hang together" in page
    settings = {"estimators": ("tmle",), "learner": "glm", "folds": 2, "repeats": 1, "seed": 7, "propensity": None}
    again, lines = estimate(reply["uri"], {}, settings)
    for each in again["estimates"]:
        minted = effects["release"][each["outcome"]]
        assert abs(each["estimate"] - minted["estimate"]) < 0.2 * minted["se"]
    assert {each["outcome"] for each in again["combined"]} == {"early", "late"}
    assert sum(line.startswith("outcome ") for line in lines) == 2


def _rerun(call: Call) -> bool:
    """Run a task again; tell whether it says the same. A publication that is sealed says so instead."""
    again = call.task.fn(*call.arguments)
    if call.name == "tasks.publish.task.draft":
        return again.sealed is not None and again.version == call.result.version
    return call.name in TIMED or repr(again) == repr(call.result)


@pytest.mark.parametrize("flow", ["release", "more", "study", "outcomes", "audit", "augment", "compare", "simulate"])
def test_a_task_that_runs_again_changes_nothing(worlds: dict[str, World], flow: str) -> None:
    world = worlds[flow]
    before = {path: path.read_bytes() for path in world.workspace.rglob("*") if path.is_file()}
    assert [call.name for call in world.work.calls if not _rerun(call)] == []
    after = {path: path.read_bytes() for path in world.workspace.rglob("*") if path.is_file()}
    assert {path.name for path in before if after.get(path) != before[path]} == set()


@pytest.mark.parametrize("flow", ["release", "more", "study", "outcomes", "audit", "augment", "compare"])
def test_a_task_whose_output_is_lost_writes_the_same_bytes(worlds: dict[str, World], flow: str) -> None:
    """The first call of each task that wrote files, with those files removed."""
    world, tried = worlds[flow], set()
    for call, files in zip(world.work.calls, world.work.written):
        written = {path: path.read_bytes() for path in files if path.suffix != SECONDS}
        if call.name in tried | TIMED or not written:
            continue
        tried.add(call.name)
        for path in written:
            path.unlink()
        assert _rerun(call), call.name
        assert {path.name for path, content in written.items() if not path.exists() or path.read_bytes() != content} == set(), call.name
    assert tried
