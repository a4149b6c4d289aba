"""What a run does where the latest version is what it would make, and how its seed is drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from infra.workspace import Workspace
from tasks.contract.errors import SpecError
from tasks.contract.spec import Spec, parse_spec
from tasks.publish.manifest import Manifest
from tasks.publish.repetition import Inputs, repeats_question, repeats_work
from tests.direct import directly, run_of
from tests.releasing import spec_of, table, write

DRAWING = "tasks.mechanisms.task.draw"


def _mint(values: dict[str, Any], workspace: Path) -> tuple[dict[str, Any], set[str]]:
    from flows.release import mint

    run = run_of(values, workspace)
    reply, work = directly(mint, run.model_copy(update={"id": f"{run.id}-{workspace.name}"}))
    return reply, {call.name for call in work.calls}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """A SPEC that says "skip", and the reply of its first release."""
    folder = tmp_path_factory.mktemp("repeated")
    source = write(table(500), folder / "source.parquet")
    values = spec_of(source, folder / "store", release__unchanged="skip", release__rows=400, mechanisms__repeats=1)
    reply, calls = _mint(values, folder / "first")
    assert reply["status"] == "published"
    assert DRAWING in calls
    return values, reply


def test_the_same_release_is_skipped_before_anything_is_fitted(first, tmp_path: Path) -> None:
    values, published = first
    reply, calls = _mint(values, tmp_path / "work")
    assert (reply["status"], reply["uri"], reply["version"]) == ("unchanged", published["uri"], 1)
    assert reply["manifest"] == published["manifest"]
    assert calls == {"tasks.source.task.plan"}


def test_the_place_of_the_source_does_not_count_but_its_content_does(first, tmp_path: Path) -> None:
    values, _ = first
    Path(tmp_path / "source.parquet").write_bytes(Path(values["source"]["uri"]).read_bytes())
    moved = {**values, "source": {"uri": str(tmp_path / "source.parquet")}}
    assert _mint(moved, tmp_path / "moved")[0]["status"] == "unchanged"
    write(table(501), tmp_path / "source.parquet")
    reply, _ = _mint(moved, tmp_path / "other")
    assert (reply["status"], reply["version"]) == ("published", 2)
    # only the latest version is compared: the first one's content is a new version now
    assert _mint(values, tmp_path / "third")[0]["version"] == 3


def _manifest(first: tuple[dict[str, Any], dict[str, Any]]) -> tuple[Spec, Manifest, Inputs]:
    values, reply = first
    manifest = Manifest.model_validate(reply["manifest"])
    spec = parse_spec(values)
    return spec, manifest, Inputs(spec, manifest.source["fingerprint"], None, manifest.code["digest"])


def test_every_input_counts(first) -> None:
    spec, manifest, inputs = _manifest(first)
    assert repeats_work(inputs, manifest, "release")
    others = {
        "fingerprint": inputs._replace(fingerprint="f" * 64),
        "other table": inputs._replace(other="f" * 64),
        "seed": inputs._replace(spec=spec.model_copy(update={"seed": 8})),
        "gates": inputs._replace(spec=parse_spec({**first[0], "gates": {"dcr_margin": False}})),
    }
    assert [name for name, each in others.items() if repeats_question(each, manifest, "release")] == []
    assert not repeats_question(inputs, manifest, "augment")
    elsewhere = parse_spec({**first[0], "store": {"uri": "s3://b/c"}, "engine": {"workers": 7}, "simulate": {"replicates": 50}})
    assert repeats_work(inputs._replace(spec=elsewhere), manifest, "release")


def test_other_code_draws_the_rows_and_compares_them(first, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, manifest, inputs = _manifest(first)
    assert not repeats_work(inputs._replace(code="0"), manifest, "release")
    monkeypatch.setattr("flows.stages.publications.code_digest", lambda: "0")
    reply, calls = _mint(first[0], tmp_path / "work")
    assert (reply["status"], DRAWING in calls) == ("unchanged", True)
    # the holdout is not asked once more
    assert not {name for name in calls if name.startswith(("tasks.checks", "tasks.publish"))}


def test_a_manifest_of_a_later_spec_is_no_repetition(first) -> None:
    _, manifest, inputs = _manifest(first)
    later = manifest.model_copy(update={"spec": {**manifest.spec, "invented": {"key": 1}}})
    assert not repeats_question(inputs, later, "release")


def test_skipping_needs_bytes_that_can_repeat() -> None:
    plain = {"name": "a", "source": {"uri": "x.csv"}, "roles": {"treatment": "a", "outcome": "y"}}
    with pytest.raises(SpecError, match='unchanged "skip" needs seed_from "spec"'):
        parse_spec({**plain, "release": {"unchanged": "skip", "seed_from": "run"}})


class TestSeedOfARun:
    def test_runs_draw_other_rows_from_one_holdout(self, first, tmp_path: Path) -> None:
        values = {**first[0], "release": {"rows": 400, "seed_from": "run"}, "name": "anew"}
        spec = parse_spec(values)
        runs = [spec.drawn_anew(name) for name in ("monday", "tuesday")]
        assert len({spec.seed, *(each.seed for each in runs)}) == 3
        assert {each.split_seed for each in runs} == {spec.seed}
        replies = [_mint(each.model_dump(mode="json"), tmp_path / str(number))[0] for number, each in enumerate(runs)]
        assert [reply["status"] for reply in replies] == ["published", "published"]
        assert [reply["manifest"]["seed"] for reply in replies] == [each.seed for each in runs]
        frames = [pd.read_parquet(f"{reply['uri'].removeprefix('file://')}/data/copy-0") for reply in replies]
        assert not frames[0]["score"].equals(frames[1]["score"])
        # one holdout answers both: no split was chosen
        sections = [reply["manifest"]["privacy"]["holdout"] for reply in replies]
        assert sections[0]["name"] == sections[1]["name"]
        assert sections[1]["splits"] == 1

    def test_the_same_run_has_the_same_seed(self) -> None:
        spec = parse_spec({"name": "a", "seed": 3, "source": {"uri": "x.csv"}, "roles": {"treatment": "a", "outcome": "y"}})
        assert spec.drawn_anew("x") == spec.drawn_anew("x")
        assert 0 <= spec.drawn_anew("x").seed < 2**63
        assert spec.drawn_anew("x").drawn_anew("y").split_seed == 3

    def test_a_workspace_keeps_the_run_of_a_name_and_not_that_of_another(self, tmp_path: Path) -> None:
        space = Workspace(f"file://{tmp_path}")
        record, new = space.load_or_create_run("monday")
        assert new
        space.put_record("run.json", record)
        space.put_bytes("part", b"rows")
        assert space.load_or_create_run("monday") == (record, False)
        assert space.load_or_create_run() == (record, False)
        other, new = space.load_or_create_run("tuesday")
        assert new
        assert other["id"] != record["id"]
        assert space.record("part") is None
        assert json.loads(json.dumps(other))["draw"] == "tuesday"
