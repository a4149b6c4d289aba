"""Two writers, wrong clocks and dead owners at one store: one winner for each number, and nothing of a live run is collected."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.store import open_store
from tasks.contract.errors import WaymintError
from tasks.publish.collect import gc
from tasks.publish.releases import show, verify
from tests.faulty import mint_on, mint_with_fault
from tests.releasing import Command, files, finished, parts, save, spec_of

DAY = 86_400.0


def _stop() -> None:
    raise WaymintError("stopped here", "")


def _ages(store: Path, seconds: float) -> None:
    """Let everything in a store look so much older, as its clock would have it."""
    for path in store.rglob("*"):
        if path.is_file():
            then = path.stat().st_mtime - seconds
            os.utime(path, (then, then))
    for path in store.glob("*/claims/*/owner.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps(record | {"claimed": record["claimed"] - seconds, "place": "elsewhere"}))


@pytest.mark.parametrize("skew", [-3600.0, pytest.param(3600.0, marks=pytest.mark.slow)])
def test_a_clock_that_is_an_hour_off_collects_nothing_of_a_live_run(source: Path, tmp_path: Path, skew: float) -> None:
    """The run is on another machine, whose clock runs an hour late or early; the age of collection is a day."""
    store, work = tmp_path / "store", tmp_path / "work"
    values = spec_of(source, store)

    def collect() -> None:
        _ages(store, skew)
        actions = gc(open_store(str(store)), None, DAY, time.time())
        assert [each.action for each in actions] == ["kept"], actions

    reply = mint_with_fault(values, work, "publish.publish", collect)
    assert (reply["status"], reply["version"]) == ("published", 1)


def test_a_run_that_was_taken_for_dead_publishes_under_another_number(source: Path, tmp_path: Path) -> None:
    """A clock that is days off makes collection give up a live claim: the run learns it when it seals, and claims anew."""
    store, work = tmp_path / "store", tmp_path / "work"

    def collect() -> None:
        _ages(store, 3 * DAY)
        assert "abandoned" in [each.action for each in gc(open_store(str(store)), None, DAY, time.time())]

    reply = mint_with_fault(spec_of(source, store), work, "publish.publish", collect)
    assert (reply["status"], reply["version"]) == ("published", 2)
    opened = open_store(str(store))
    assert verify(opened, "trial", 2) == []
    assert not list(store.glob("trial/v000001/*"))


@pytest.mark.slow
def test_two_runs_of_one_name_get_numbers_of_their_own(source: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    first, second = spec_of(source, store), spec_of(source, store, seed=8)
    with pytest.raises(WaymintError, match="stopped here"):
        mint_with_fault(first, tmp_path / "work 1", "publish.publish", _stop)  # has claimed, and not published
    assert mint_on(second, tmp_path / "work 2", run="20260102T000000Z-other")["version"] == 2
    assert mint_on(first, tmp_path / "work 1")["version"] == 1
    assert [show(open_store(str(store)), "trial", number).seed for number in (1, 2)] == [7, 8]


@pytest.mark.slow
def test_two_commands_of_one_spec_at_the_same_time(command: Command, source: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    spec = save(spec_of(source, store, engine__workspace=str(tmp_path / "work")), tmp_path / "spec.yaml")
    racing = [command.start("release", spec, "--json") for _ in range(2)]
    answers = [finished(process) for process in racing]
    assert [each.code for each in answers] == [0, 0], answers
    assert sorted(each.json()["version"] for each in answers) == [1, 2]
    assert parts(store, version=1) == parts(store, version=2)
    assert not [path for path in files(tmp_path / "work") if path]


def _claim_without_end(store: Path) -> None:
    owner = store / "trial/claims/v000001/owner.json"
    owner.write_text(owner.read_text()[: len(owner.read_text()) // 2])


def _manifest_without_end(store: Path) -> None:
    path = store / "trial/v000001/manifest.json"
    path.write_bytes(path.read_bytes()[:-100])


def _part_without_end(store: Path) -> None:
    [path, *_] = sorted((store / "trial/v000001/data").rglob("*.parquet"))
    os.truncate(path, path.stat().st_size - 10)


def _decision_without_end(store: Path) -> None:
    path = store / "trial/claims/v000001/decision.json"
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    "damage", [_claim_without_end, _decision_without_end, _manifest_without_end, _part_without_end], ids=lambda each: each.__name__[1:]
)
def test_a_damaged_release_never_keeps_the_next_one_from_being_published(
    source: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    store = tmp_path / "store"
    mint_on(spec_of(source, store), tmp_path / "work 1")
    damage(store)
    reply = mint_on(spec_of(source, store, seed=8), tmp_path / "work 2", run="20260102T000000Z-other")
    assert reply["status"] == "published"
    assert reply["version"] >= 2
    opened = open_store(str(store))
    assert verify(opened, "trial", reply["version"]) == []
    before = files(store)
    gc(opened, None, 0.0, time.time() + DAY)
    assert files(store) == before, "collection took something of a damaged release"
