"""Further rows of a release: other draws of the very same models, gated, refused where anything else changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from flows.more import describe
from flows.release import mint
from flows.stages.streams import check_stream, compose, next_stream
from infra.store import open_store
from tasks.contract.errors import EstimationError, SourceError, SpecError, StoreConflict, StoreMissing
from tasks.publish.commit import claim, seal
from tasks.publish.manifest import Manifest
from tests.direct import directly, run_of
from tests.releasing import Command, Ran, spec_of, table, write

ROWS = 400


class Minted(NamedTuple):
    """A release, its SPEC and where it is."""

    values: dict[str, Any]
    reply: dict[str, Any]
    where: str


@pytest.fixture(scope="module")
def minted(tmp_path_factory: pytest.TempPathFactory) -> Minted:
    folder = tmp_path_factory.mktemp("minted")
    source = write(table(500), folder / "source.parquet")
    values = spec_of(source, folder / "store", release__rows=ROWS, mechanisms__repeats=1, covariates__synthesizer="forest")
    reply, _ = directly(mint, run_of(values, folder / "work"))
    assert reply["status"] == "published"
    return Minted(values, reply, f"{folder}/store/trial")


@pytest.fixture(scope="module")
def further(minted: Minted, command: Command) -> Ran:
    """What the command for further rows of the release answers."""
    return command.run("more", f"{minted.where}@1", "--rows", 300, "--set", "engine.workers=1", "--json")


def rows_of(reply: dict[str, Any]) -> pd.DataFrame:
    return pd.read_parquet(Path(reply["uri"].removeprefix("file://")) / "data" / "copy-0")


def test_further_rows_are_other_draws_with_the_same_effect(minted: Minted, further: Ran) -> None:
    assert further.code == 0, further.err
    reply = further.json()
    assert (reply["status"], reply["version"]) == ("published", 2)
    first, more = rows_of(minted.reply), rows_of(reply)
    assert (len(first), len(more)) == (ROWS, 300)
    assert list(first.dtypes) == list(more.dtypes)
    assert pd.concat([first, more]).duplicated().sum() == 0
    before, after = minted.reply["manifest"]["effects"], reply["manifest"]["effects"]
    assert after["source"] == before["source"]
    # the same Q* and weights: what is left is the chance of the drawn covariates
    assert after["truth"]["ate"] == pytest.approx(before["truth"]["ate"], abs=5 * before["source"]["ate"]["se"])
    assert all(gate["passed"] is not False for gate in reply["manifest"]["gates"])


def test_the_manifest_names_the_release_that_is_extended(minted: Minted, further: Ran) -> None:
    reply = further.json()
    (parent,) = reply["manifest"]["parents"]
    assert (parent["name"], parent["version"]) == ("trial", 1)
    assert parent["manifest"] == Manifest.model_validate(minted.reply["manifest"]).sha256()
    assert reply["manifest"]["spec"]["release"]["stream"] == 1
    assert describe(reply)[-1] == "further rows of trial v000001: read both versions as one table"
    assert next_stream(open_store(minted.where.rpartition("/")[0]), "trial") == 2


def test_a_stream_is_published_once(further: Ran, tmp_path: Path) -> None:
    late = run_of(further.json()["manifest"]["spec"], tmp_path / "work")
    with pytest.raises(StoreConflict, match="stream 1 of trial must be new"):
        check_stream(late)


def test_a_changed_source_gives_no_further_rows(minted: Minted, tmp_path: Path) -> None:
    other = write(table(500, seed=5), tmp_path / "other.parquet")
    spec, original = compose(f"{minted.where}@1", 300, str(other), [])
    with pytest.raises(SourceError, match="its content differs"):
        directly(mint, run_of(spec, tmp_path / "work"), original)


def test_models_that_come_out_otherwise_give_no_further_rows(minted: Minted, tmp_path: Path) -> None:
    """Another number of rounds in the forest stands for another version of the code."""
    spec, original = compose(f"{minted.where}@1", 300, None, [])
    other = spec.model_copy(update={"covariates": spec.covariates.model_copy(update={"params": {"min_leaf": 40}})})
    with pytest.raises(EstimationError, match="its rows come out otherwise"):
        directly(mint, run_of(other, tmp_path / "work"), original)


def test_what_can_not_have_further_rows_is_said_at_once(minted: Minted) -> None:
    with pytest.raises(StoreMissing):
        compose(f"{minted.where}@9", 10, None, [])
    with pytest.raises(SpecError, match=r"--set of more must be engine\.KEY=VALUE"):
        compose(minted.where, 10, None, ["release.copies=2"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"profile": "augment"}, "must come from 'waymint release'"),
        ({"spec": {"roles": {"id": ["patient"]}}}, "got ids version 1 with 'patient'"),
        ({"spec": {"roles": {"cluster": "village"}}}, "got ids version 1 with 'village'"),
    ],
)
def test_releases_whose_rows_can_not_be_added_to_are_refused(changes: dict[str, Any], words: str, minted: Minted, tmp_path: Path) -> None:
    manifest = minted.reply["manifest"]
    spec = {**manifest["spec"], "roles": {**manifest["spec"]["roles"], **changes.get("spec", {}).get("roles", {})}}
    values = {**manifest, "name": "ids", "run": "run", "files": [], "profile": changes.get("profile", "release"), "spec": spec}
    store = open_store(f"{tmp_path}/store")
    claim(store, "ids", "run", "token", {"treatment": "drug", "outcome": "score", "columns": []})
    seal(store, Manifest.model_validate(values))
    with pytest.raises(SpecError, match=words):
        compose(f"{tmp_path}/store/ids", 10, None, [])


def test_rows_under_a_condition_are_judged_by_their_part_of_the_source(minted: Minted, tmp_path: Path) -> None:
    spec, original = compose(f"{minted.where}@1", 300, None, [], "age > 35")
    run = run_of(spec, tmp_path / "work").model_copy(update={"id": "20260101T000000Z-condition"})
    reply, _ = directly(mint, run, original)
    assert reply["status"] == "published", [gate for gate in reply["manifest"]["gates"] if gate["passed"] is False]
    source = table(500)
    effects = reply["manifest"]["effects"]
    assert effects["source"]["ate"]["n"] == (source["age"] > 35).sum() < 500
    assert rows_of(reply)["age"].min() > 35
    assert effects["truth"]["ate"] == pytest.approx(effects["source"]["ate"]["estimate"], abs=2 * effects["source"]["ate"]["se"])
    assert "Rows meet the condition age > 35" in reply["manifest"]["warnings"][0]
