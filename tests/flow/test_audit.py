"""An audit by the command: a real release, its source, and what is kept beside it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tasks.audit.canaries import plant
from tasks.contract.roles import ColumnRoles
from tests import leaky
from tests.releasing import Published, files, manifest, save, spec_of, table, write

LEAKY = Path(leaky.__file__).parent
FIELDS = {"attack", "statistic", "value", "ci_low", "ci_high", "baseline", "control", "verdict"}
VERDICTS = {"leak found", "none found at this size", "inconclusive"}
COPIES = ("near_copies", "exact_copies", "closeness_z", "closeness_excess", "closeness_groups", "dcr_margin", "isolated_rows")
OFF = dict.fromkeys((*COPIES, "holdout_query", "holdout_budget"), False)


def test_a_release_that_copies_is_found_out(waymint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One release end to end: a copying plug-in with its gates off, audit, report, and a source that has changed."""
    monkeypatch.syspath_prepend(str(LEAKY))
    store, work = tmp_path / "store", tmp_path / "work"
    planted = plant(
        table(600),
        ColumnRoles(treatment="drug", outcome="score", covariates=("age", "sex", "bmi")),
        40,
        np.random.default_rng(1),
    )
    source = write(planted.table, tmp_path / "source.csv")
    canaries = write(planted.canaries, tmp_path / "canaries.parquet")
    values = spec_of(source, store, covariates__synthesizer="leaky_copy", release__rows=600, engine__workspace=str(work), gates=OFF)
    spec = save(values, tmp_path / "spec.yaml")
    assert waymint("release", spec, "--set", "release.rows=500").code == 0
    before = {file: (store / file).read_bytes() for file in files(store)}
    # the file is not the SPEC of this release, which had another number of rows: the manifest records the one that is
    other = waymint("audit", f"{store}/trial@1", "--source", spec, "--canaries", canaries, "--json")
    assert (other.code, "got others for release" in other.json()["error"]) == (2, True)
    answer = waymint("audit", f"{store}/trial@1", "--canaries", canaries, "--json")
    assert answer.code == 0, answer.err
    reply = answer.json()
    assert set(reply) == {"uri", "attacks"}
    assert all(set(found) >= FIELDS and found["verdict"] in VERDICTS for found in reply["attacks"])
    assert all(found["value"] is None or found["ci_low"] <= found["value"] <= found["ci_high"] for found in reply["attacks"])
    found = {(each["attack"], each["statistic"]): each for each in reply["attacks"]}
    order = list(dict.fromkeys(each["attack"] for each in reply["attacks"]))
    assert order == ["membership", "mechanism", "reconstruction", "outcomes", "singling_out", "isolation", "linkability", "distribution"]
    # seed and holdout were rebuilt from content and seed alone: with any other split this would be chance
    rate = found["membership", "tpr_at_0.01_fpr_density_ratio"]
    assert rate["value"] >= 5 * rate["baseline"]
    assert rate["verdict"] == "leak found"
    assert found["linkability", "rate"]["verdict"] == "leak found"
    assert {statistic for attack, statistic in found if statistic.startswith("canary")} == {
        "canary_a_forest",
        "canary_a_nearest",
        "canary_y_forest",
        "canary_y_nearest",
    }

    # the report lies beside the release and holds no row; the release is as it was; no real row stays in the workspace
    folder = reply["uri"].removeprefix(f"file://{store}/")
    assert re.fullmatch(r"trial/audits/v000001/\d{8}T\d{6}Z-[0-9a-f]{8}", folder)
    assert set(files(store)) - set(before) == {f"{folder}/audit.html", f"{folder}/audit.json"}
    assert all((store / file).read_bytes() == data for file, data in before.items())
    assert list(work.iterdir()) == []
    record = json.loads((store / folder / "audit.json").read_text())
    assert record["attacks"] == reply["attacks"]
    assert record["rows"]["seed"] + record["rows"]["holdout"] == 600
    assert record["rows"]["canaries"] == 40
    page = (store / folder / "audit.html").read_text()
    assert "Leaks of rows found: membership" in page
    assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["../../../v000001/report.html"]
    assert (store / folder / "../../../v000001/report.html").exists()
    shown = waymint("releases", "show", f"{store}/trial@1").out
    assert "Leaks of rows found: membership, " in shown
    assert f"{folder}/audit.html" in shown
    for cell in planted.table["bmi"].sample(50, random_state=0):
        assert str(cell) not in page + json.dumps(record)
    assert waymint("releases", "verify", f"{store}/trial", "--json").json()["problems"] == []

    # the very rows are needed
    planted.table.assign(age=planted.table["age"] + 1).to_csv(source, index=False)
    changed = waymint("audit", f"{store}/trial", "--source", source, "--attacks", "linkability", "--json")
    assert changed.code == 4
    assert "minted from; got other content" in changed.json()["error"]
    assert list(work.iterdir()) == []


@pytest.fixture
def minted(published: Published, tmp_path: Path) -> Path:
    """The session's release, in a store of the test's own."""
    shutil.copytree(published.store, tmp_path / "store")
    shutil.copy(published.spec, tmp_path / "spec.yaml")
    return tmp_path


@pytest.mark.slow
def test_the_same_audit_finds_the_same_on_processes_and_on_threads(waymint, minted: Path, source: Path) -> None:
    """From the SPEC or from the source's URI alone, another engine: the same figures."""
    first = waymint("audit", f"{minted}/store/trial", "--source", f"{minted}/spec.yaml", "--attacks", "linkability,singling_out", "--json")
    assert first.code == 0, first.err
    second = waymint(
        "audit", f"{minted}/store/trial/v000001", "--source", source, "--attacks", "linkability,singling_out",
        "--set", "engine.dask=threads", "--json",
    )  # fmt: skip
    assert second.code == 0, second.err
    assert first.json()["attacks"] == second.json()["attacks"]
    assert first.json()["uri"] != second.json()["uri"]
    assert [each["attack"] for each in first.json()["attacks"]] == ["linkability", "singling_out", "singling_out"]
    told = waymint("audit", f"{minted}/store/trial", "--source", f"{minted}/spec.yaml", "--attacks", "linkability")
    assert "report    file://" in told.out
    assert "linkability" in told.out


def test_what_can_not_be_audited_is_told(waymint, minted: Path, source: Path) -> None:
    release, spec = f"{minted}/store/trial", f"{minted}/spec.yaml"
    asked = {
        "unknown attack": ((release, "--source", spec, "--attacks", "magic"), 2, "attacks of audit must be among"),
        "no such release": ((f"{minted}/store/other", "--source", spec), 5, "there is none"),
        "no source": ((release, "--source", f"{minted}/gone.parquet"), 4, "must be there"),
        "another seed": ((release, "--source", spec, "--set", "seed=8"), 2, "got others for seed"),
        "another key": ((release, "--source", source, "--set", "release.rows=9"), 2, "must be engine.KEY=VALUE"),
    }
    for name, (arguments, code, message) in asked.items():
        answer = waymint("audit", *arguments, "--json")
        assert (answer.code, name) == (code, name)
        assert message in answer.json()["error"], name
    strangers = pd.DataFrame(pq.read_table(source).to_pandas().head(30)).assign(bmi=1.0)
    answer = waymint("audit", release, "--source", spec, "--canaries", write(strangers, minted / "x.parquet"), "--json")
    assert answer.code == 4
    assert "canaries of audit must be rows of the source; 30 of 30 are not" in answer.json()["error"]


def test_a_damaged_release_is_not_audited(waymint, minted: Path) -> None:
    part = next((minted / "store/trial/v000001").rglob("*.parquet"))
    whole = part.read_bytes()
    try:
        part.write_bytes(whole[:-1])
        answer = waymint("audit", f"{minted}/store/trial", "--source", f"{minted}/spec.yaml", "--json")
    finally:
        part.write_bytes(whole)
    assert answer.code == 5
    assert "must be as its manifest says" in answer.json()["error"]


def test_a_release_alone_is_no_secret(minted: Path) -> None:
    """What an audit rebuilds it has from the source: the manifest gives no row's side away."""
    assert not {"seed_keys", "holdout_keys"} & set(manifest(minted / "store"))
