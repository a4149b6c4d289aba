"""A release minted by the command on worker processes: what is in the store, what it says, what it hides."""

from __future__ import annotations

import csv
import html
import json
import re
import shutil
from pathlib import Path

import frictionless
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.dask_site import DaskSite
from tests.releasing import ROOT, ROWS, TRUE_EFFECT, Published, files, manifest, parts, save, spec_of, table

CONTINUOUS = ("age", "bmi", "score")


def test_the_command_prints_one_object_and_says_published(published: Published) -> None:
    assert published.ran.code == 0, published.ran.err
    reply = published.ran.json()
    assert set(reply) == {"status", "uri", "version", "manifest"}
    assert (reply["status"], reply["version"]) == ("published", 1)
    assert reply["uri"] == f"file://{published.store}/trial/v000001"
    assert reply["manifest"] == manifest(published.store)


def test_stderr_holds_stages_and_nothing_of_the_machinery(published: Published) -> None:
    lines = published.ran.err.splitlines()
    assert any("fit treatment and outcome: done" in line for line in lines)
    strange = [line for line in lines if not re.match(r"\[ *\d+\.\d s\] ", line)]
    assert strange == []


def test_the_folder_holds_what_the_manifest_lists_and_nothing_else(published: Published) -> None:
    found = set(files(published.store / "trial" / "v000001"))
    listed = {file["path"] for file in manifest(published.store)["files"]}
    assert found == listed | {"manifest.json"}
    assert {"report.html", "checks/results.json"} <= found
    assert [path for path in sorted(found) if path.endswith(".parquet")] == [f"data/copy-0/part-0000{n}.parquet" for n in range(3)]


def test_the_manifest_has_every_field(published: Published) -> None:
    found = manifest(published.store)
    fields = {"format", "name", "version", "created", "spec", "source", "code", "packages", "seed", "files", "schema", "effects"}
    assert fields | {"fidelity", "privacy", "overlap", "gates", "parents"} <= set(found)
    assert {"uri", "fingerprint", "rows"} <= set(found["source"])
    assert found["source"]["rows"] == ROWS
    assert {"version", "commit"} <= set(found["code"])
    assert sum(file["rows"] or 0 for file in found["files"]) == 500
    assert all(re.fullmatch(r"[0-9a-f]{64}", file["sha256"]) for file in found["files"])
    for where in ("source", "release"):
        assert {"estimate", "se", "ci_low", "ci_high", "estimator"} <= set(found["effects"][where]["ate"])
    assert set(found["effects"]["truth"]) == {"ate", "mc_se", "others"}
    assert {"ledger", "tstr", "targeting", "calibration", "cate", "propensity_js", "precision_recall", "outcome_distance"} <= set(
        found["fidelity"]
    )
    assert all(gate["passed"] and {"name", "value", "threshold"} <= set(gate) for gate in found["gates"])


def test_the_release_carries_the_effect(published: Published) -> None:
    effects = manifest(published.store)["effects"]
    own = effects["source"]["ate"]
    assert abs(own["estimate"] - TRUE_EFFECT) < 4 * own["se"]
    # by construction, up to the drawing of finitely many covariates
    assert abs(effects["truth"]["ate"] - own["estimate"]) < 4 * effects["truth"]["mc_se"] + 0.1 * own["se"]


def test_columns_order_and_types_are_the_sources(published: Published, source: Path) -> None:
    expected = pq.read_schema(source).remove_metadata()
    for path in sorted((published.store / "trial" / "v000001" / "data" / "copy-0").iterdir()):
        assert pq.read_schema(path).remove_metadata().equals(expected)


def test_no_row_of_the_source_is_in_the_release(published: Published) -> None:
    real, drawn = table(), pd.read_parquet(published.store / "trial" / "v000001" / "data" / "copy-0")
    assert len(drawn) == 500
    for columns in (list(real.columns), ["age", "sex", "bmi"]):
        assert real.merge(drawn, on=columns).empty


@pytest.mark.parametrize("column", CONTINUOUS)
def test_no_exact_extreme_is_in_any_file(published: Published, column: str) -> None:
    real = table()[column]
    low, high = float(real.min()), float(real.max())
    folder = published.store / "trial" / "v000001"
    drawn = pd.read_parquet(folder / "data" / "copy-0")[column]
    assert not drawn.isin([low, high]).any()
    if column != "score":  # an outcome is a mean and a residual: without a declared range it may lie beyond the source's
        assert low < drawn.min()
        assert drawn.max() < high
    for path in files(folder):
        if path.endswith(".parquet"):
            statistics = [
                pq.ParquetFile(folder / path).metadata.row_group(0).column(number).statistics
                for number in range(len(pq.read_schema(folder / path)))
            ]
            numbers = {bound for each in statistics for bound in (each.min, each.max) if isinstance(bound, float)}
        else:
            text = html.unescape((folder / path).read_text("utf-8"))
            numbers = {float(number) for number in re.findall(r"-?\d+\.\d+(?:[eE][-+]?\d+)?", text)}
        assert not numbers & {low, high}, path


def test_nothing_is_left_in_the_workspace(published: Published, home: Path) -> None:
    assert published.ran.code == 0
    assert not [path for path in (home / "work").glob("trial-*") if files(path)]


def test_the_commands_that_look_after_a_store(published: Published, waymint, tmp_path: Path) -> None:
    where = f"{published.store}/trial"
    listed = waymint("releases", "list", published.store, "--json").json()
    assert [(entry["name"], entry["version"], entry["rows"]) for entry in listed] == [("trial", 1, 500)]
    assert waymint("releases", "list", where, "--json").json() == listed
    assert waymint("releases", "show", f"{where}@1", "--json").json() == manifest(published.store)
    assert "gates" in waymint("releases", "show", where).out
    assert waymint("releases", "verify", where, "--json").json()["problems"] == []
    assert waymint("releases", "pull", where, "--to", tmp_path / "copy").code == 0
    assert files(tmp_path / "copy") == files(published.store / "trial" / "v000001")
    same = waymint("releases", "diff", where, f"{where}/v000001", "--json")
    assert (same.code, same.json()["spec"], same.json()["identical"]) == (0, [], True)
    (line,) = waymint("releases", "diff", where, f"{where}@1").out.splitlines()
    assert line.startswith("trial@1 and trial@1 are identical")
    site = waymint("releases", "site", published.store, "--to", tmp_path / "site", "--json").json()
    assert (site["names"], site["versions"], site["rejected"], site["damaged"]) == (1, 1, 0, [])
    assert (tmp_path / "site/trial/v000001/report.html").read_bytes() == (published.store / "trial/v000001/report.html").read_bytes()


def test_the_commands_of_the_page_on_handing_over_run(
    published: Published, waymint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(published.store, tmp_path / "releases")
    monkeypatch.chdir(tmp_path)
    block = re.search(r"(?:^ {4}waymint .*\n)+", (ROOT / "docs/handover.md").read_text(), re.MULTILINE)
    assert block is not None
    lines = [line.partition("#")[0].split() for line in block[0].splitlines()]
    assert {" ".join(words[1:3]) for words in lines} >= {"releases export", "releases site", "releases diff"}
    for words in lines:
        if words[1] != "more":  # tests/flow/test_more.py runs it
            answer = waymint(*(word.replace("@2", "@1") for word in words[1:]))
            assert answer.code == 0, answer.err
    assert {path.name for path in tmp_path.iterdir()} == {"releases", "trial.zip", "catalogue"}


def test_the_descriptions_name_the_columns_that_are_there(published: Published) -> None:
    import mlcroissant

    folder = published.store / "trial" / "v000001"
    part = pq.read_schema(folder / "data/copy-0/part-00001.parquet")
    assert json.loads(part.metadata[b"waymint"])["release"] == "trial"
    with (folder / "codebook.csv").open(newline="") as opened:
        assert [(row["column"], row["type"]) for row in csv.DictReader(opened)] == [(field.name, str(field.type)) for field in part]
    rows = list(mlcroissant.Dataset(folder / "croissant.json").records("copy-0"))
    assert len(rows) == 500
    assert [name.removeprefix("copy-0/") for name in rows[0]] == part.names
    checked = frictionless.validate(str(folder / "datapackage.json"))
    assert checked.valid, checked.flatten(["type", "message"])


def test_verify_finds_a_flipped_byte(published: Published, waymint, tmp_path: Path) -> None:
    for path in files(published.store):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes((published.store / path).read_bytes())
    part = tmp_path / "trial" / "v000001" / "data" / "copy-0" / "part-00001.parquet"
    data = bytearray(part.read_bytes())
    data[100] ^= 1
    part.write_bytes(data)
    answer = waymint("releases", "verify", f"{tmp_path}/trial", "--json")
    assert answer.code == 5
    problems = answer.json()["problems"]
    assert [(problem["path"], problem["fault"]) for problem in problems] == [("data/copy-0/part-00001.parquet", "sha256")]


def test_one_thread_gives_the_bytes_of_two_processes(published: Published, source: Path, waymint, tmp_path: Path) -> None:
    spec = save(spec_of(source, tmp_path / "store", engine__workers=1), tmp_path / "spec.yaml")
    answer = waymint("release", spec)
    assert answer.code == 0, answer.err
    assert "warning" not in answer.err
    assert parts(tmp_path / "store") == parts(published.store)
    # and the next release of the same name counts on
    assert waymint("release", spec, "--set", "release.rows=450", "--json").json()["version"] == 2
    found = waymint("releases", "diff", f"{tmp_path}/store/trial@1", f"{tmp_path}/store/trial@2", "--json").json()
    assert [change["key"] for change in found["spec"]] == ["release.rows"]


def test_another_seed_gives_other_bytes_and_other_partitions_the_same_effects(
    published: Published, source: Path, waymint, tmp_path: Path
) -> None:
    spec = save(spec_of(source, tmp_path / "store"), tmp_path / "spec.yaml")
    assert waymint("release", spec, "--set", "source.partition_rows=150").code == 0
    here, there = (manifest(store)["effects"] for store in (tmp_path / "store", published.store))
    for where in ("source", "release"):
        for left, right in zip(here[where]["all"], there[where]["all"], strict=True):
            assert (left["estimand"], left["estimator"]) == (right["estimand"], right["estimator"])
            for value in ("estimate", "se"):
                assert left[value] == pytest.approx(right[value], rel=1e-6), (where, left)
    assert here["truth"]["ate"] == pytest.approx(there["truth"]["ate"], rel=1e-6)
    assert waymint("release", spec, "--set", "seed=8").code == 0
    drawn, other = (pd.read_parquet(store) for store in (published.store / "trial/v000001/data", tmp_path / "store/trial/v000002/data"))
    assert not np.array_equal(drawn["score"].to_numpy(), other["score"].to_numpy())


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_processes_gives_the_same_bytes(published: Published, source: Path, command, tmp_path: Path, workers: int) -> None:
    spec = save(spec_of(source, tmp_path / "store", engine__dask="local", engine__workers=workers), tmp_path / "spec.yaml")
    assert command.run("release", spec).code == 0
    assert parts(tmp_path / "store") == parts(published.store)


@pytest.mark.slow
def test_workers_of_a_site_over_tcp_give_the_same_bytes(published: Published, source: Path, command, tmp_path: Path) -> None:
    """Three workers, each in a folder of its own, that a scheduler of the site holds."""
    site = DaskSite(tmp_path / "site", command.environment)
    try:
        for number in range(3):
            folder = tmp_path / f"worker-{number}"
            folder.mkdir()
            site.start_worker(cwd=folder)
        spec = save(spec_of(source, tmp_path / "store", engine__dask=site.address), tmp_path / "spec.yaml")
        answer = command.run("release", spec)
        assert answer.code == 0, answer.err
        assert parts(tmp_path / "store") == parts(published.store)
    finally:
        site.close()
