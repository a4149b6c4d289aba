"""Further rows from models that a release kept: without its source, for a part of the population, and for nobody without the key."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from flows.more import describe, extend
from flows.release import mint
from flows.releases import verify as verify_copy
from flows.stages.streams import compose
from infra.store import open_store
from tasks.contract.errors import EstimationError, SourceError, SpecError, StoreError, StoreForbidden
from tasks.publish.descriptions.codebook import codebook
from tasks.publish.export import export
from tasks.publish.kept import sealed_files
from tasks.publish.layout import manifest_key, sealed_path
from tasks.publish.manifest import Manifest
from tasks.publish.releases import show, verify
from tests.direct import directly, run_of
from tests.releasing import spec_of, table, write
from tests.visits import visits_spec

ROWS = 1_200
WHERE = "age > 45 and sex == 'f'"
#: What tests.releasing.table gives women; 1 for men.
EFFECT_OF_WOMEN = 1.5


class Kept(NamedTuple):
    """A release that kept its models and whose source is gone, and where it is."""

    folder: Path
    reply: dict[str, Any]

    @property
    def where(self) -> str:
        return f"{self.folder}/store/trial"

    @property
    def sealed(self) -> Path:
        return self.folder / "store/trial/v000001" / sealed_path(0)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    folder = tmp_path_factory.mktemp("kept")
    source = write(table(1_500), folder / "source.parquet")
    values = spec_of(source, folder / "store", release__rows=ROWS, mechanisms__repeats=1, release__keep_models=True)
    reply, _ = directly(mint, run_of(values, folder / "work"))
    assert reply["status"] == "published", reply["manifest"]["gates"]
    source.unlink()
    return Kept(folder, reply)


def further(kept: Kept, rows: int, where: str, work: Path) -> dict[str, Any]:
    spec, original = compose(f"{kept.where}@1", rows, None, [], where)
    run = run_of(spec, work)
    reply: dict[str, Any] = directly(extend, run.model_copy(update={"id": f"{run.id}-{spec.release.stream}"}), original)[0]
    return reply


@pytest.fixture(scope="module")
def women(kept: Kept) -> dict[str, Any]:
    return further(kept, 500, WHERE, kept.folder / "women")


def rows_of(reply: dict[str, Any]) -> pd.DataFrame:
    return pd.read_parquet(Path(reply["uri"].removeprefix("file://")) / "data" / "copy-0")


def test_further_rows_need_no_source(kept: Kept) -> None:
    reply = further(kept, 400, "", kept.folder / "all")
    assert reply["status"] == "published", reply["manifest"]["gates"]
    first, more = rows_of(kept.reply), rows_of(reply)
    assert len(more) == 400
    assert list(more.dtypes) == list(first.dtypes)
    assert pd.concat([first, more]).duplicated().sum() == 0
    manifest, before = reply["manifest"], kept.reply["manifest"]
    assert manifest["source"]["reference"] == {"name": "trial", "version": 1, "rows": ROWS}
    assert manifest["source"]["fingerprint"] == before["source"]["fingerprint"]
    error = before["effects"]["source"]["ate"]["se"]
    assert manifest["effects"]["truth"]["ate"] == pytest.approx(before["effects"]["truth"]["ate"], abs=5 * error)
    off = {gate["name"] for gate in manifest["gates"] if gate["threshold"] is None}
    assert {"near_copies", "closeness_z", "holdout_budget"} <= off
    assert {"margins", "outcome_law", "support", "columns"} & off == set()
    assert any("The source was not read" in warning for warning in manifest["warnings"])
    assert describe(reply)[-1] == "further rows of trial v000001: read both versions as one table"
    assert not sealed_files(Manifest.model_validate(manifest))


def test_rows_under_a_condition_have_its_means_and_the_effect_of_the_mechanisms(kept: Kept, women: dict[str, Any]) -> None:
    """Means are those of the release's rows that meet the condition, and the effect is theirs."""
    assert women["status"] == "published", women["manifest"]["gates"]
    drawn, first = rows_of(women), rows_of(kept.reply)
    inside = first[(first["age"] > 45) & (first["sex"] == "f")]
    assert len(drawn) == 500
    assert drawn["age"].min() > 45
    assert set(drawn["sex"]) == {"f"}
    for name in ("age", "bmi"):
        assert abs(drawn[name].mean() - inside[name].mean()) < 0.15 * inside[name].std(), name
    truth = women["manifest"]["effects"]["truth"]["ate"]
    assert truth == pytest.approx(EFFECT_OF_WOMEN, abs=0.25)
    (calibration,) = women["manifest"]["fidelity"]["calibration"]
    assert calibration["relaxed"] < 0.05
    assert women["manifest"]["spec"]["release"]["where"] == WHERE
    assert describe(women)[-1] == f"rows that meet {WHERE}, from the models of trial v000001: a table of its own"


def test_visits_keep_their_models_and_their_mechanisms(tmp_path: Path) -> None:
    """Two outcomes, the second missing in some rows: the models draw rows of a part of the population without the source."""
    roles = {"treatment": "drug", "outcomes": ["early", "late"], "exclude": ["person", "lab"], "missing_outcome": "ipcw"}
    kept = {"release__keep_models": True, "release__include_nuisances": True}
    values = visits_spec(tmp_path, **kept) | {"roles": roles}
    reply, _ = directly(mint, run_of(values, tmp_path / "work"))
    assert reply["status"] == "published", reply["manifest"]["gates"]
    first, folder = rows_of(reply), Path(reply["uri"].removeprefix("file://"))
    of_late = {name for name in first if name.endswith("_late")}
    assert of_late == {"waymint_q0_late", "waymint_q1_late", "waymint_pi0_late", "waymint_pi1_late"}
    effect = (first["waymint_q1_late"] - first["waymint_q0_late"]).mean()
    assert {each["outcome"]: each["ate"] for each in reply["manifest"]["effects"]["truth"]["outcomes"]}["late"] == pytest.approx(effect)
    chance = np.where(first["drug"] == 1, first["waymint_pi1_late"], first["waymint_pi0_late"])
    assert first["late"].notna().mean() == pytest.approx(chance.mean(), abs=0.03)
    (laws,) = json.loads((folder / "mechanisms.json").read_text())["laws"]
    assert [each["outcome"] for each in laws["outcomes"]] == ["early", "late"]
    assert {label: np.shape(matrix) for label, matrix in laws["ranks"].items()} == {"0": (2, 2), "1": (2, 2)}
    described = {entry.column: entry.drawn for entry in codebook(Manifest.model_validate(reply["manifest"]))}
    assert described["waymint_pi1_late"] == "probability that 'late' is known with treatment"
    (tmp_path / "visits.csv").unlink()
    spec, original = compose(f"{tmp_path}/store/visits@1", 500, None, [], "age > 47")
    run = run_of(spec, tmp_path / "older")
    older, _ = directly(extend, run.model_copy(update={"id": f"{run.id}-older"}), original)
    assert older["status"] == "published", older["manifest"]["gates"]
    drawn = rows_of(older)
    assert drawn["age"].min() > 47
    inside = first[first["age"] > 47]
    assert drawn["late"].isna().mean() == pytest.approx(inside["late"].isna().mean(), abs=0.06)
    for truth in older["manifest"]["effects"]["truth"]["outcomes"]:
        name = truth["outcome"]
        assert truth["ate"] == pytest.approx((inside[f"waymint_q1_{name}"] - inside[f"waymint_q0_{name}"]).mean(), abs=0.1)


def test_a_version_under_a_condition_is_not_extended(women: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="must hold rows of the whole source"):
        compose(women["uri"].removeprefix("file://"), 10, None, [])


@pytest.mark.parametrize(
    ("where", "error", "words"),
    [
        ("age > 200", SourceError, "rows of the smaller arm must be at least 50"),
        ("drug == 1", SpecError, "must be covariates that vary"),
    ],
)
def test_conditions_that_give_too_little_are_refused(where: str, error: type[Exception], words: str, kept: Kept, tmp_path: Path) -> None:
    with pytest.raises(error, match=words):
        further(kept, 10, where, tmp_path / "work")


def test_a_condition_must_not_single_out_the_rows_that_it_leaves(kept: Kept, tmp_path: Path) -> None:
    third = float(np.sort(rows_of(kept.reply)["age"])[2])
    with pytest.raises(SourceError, match="must leave out at least 5 rows or none"):
        further(kept, 10, f"age > {third}", tmp_path / "work")


def test_sealed_models_are_dark_and_open_for_their_key_alone(kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = kept.sealed.read_bytes()
    for word in (b"copula", b"numpy", b"age", b"pickle", b"waymint-models"):
        assert word not in sealed
    with monkeypatch.context() as other:
        other.setenv("WAYMINT_KEY", "another key than that of the run")
        with pytest.raises(StoreForbidden, match="must be sealed with your key"):
            further(kept, 10, "", tmp_path / "other")
    shutil.copytree(kept.folder / "store", tmp_path / "store")
    copy = Kept(tmp_path, kept.reply)
    copy.sealed.write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(StoreError, match="must be as the manifest says"):
        further(copy, 10, "", tmp_path / "changed")


def test_code_in_the_place_of_models_is_not_run_even_with_a_forged_manifest(kept: Kept, tmp_path: Path) -> None:
    """Who writes to the store can forge a manifest, and can't seal."""
    shutil.copytree(kept.folder / "store", tmp_path / "store")
    code = b"cos\nmkdir\n(S'" + str(tmp_path / "ran").encode() + b"'\ntR."
    manifest = show(open_store(f"{tmp_path}/store"), "trial", 1)
    forged = {"bytes": len(code), "sha256": hashlib.sha256(code).hexdigest()}
    files = tuple(file.model_copy(update=forged) if file.path == sealed_path(0) else file for file in manifest.files)
    Kept(tmp_path, kept.reply).sealed.write_bytes(code)
    (tmp_path / "store" / manifest_key("trial", 1)).write_bytes(manifest.model_copy(update={"files": files}).to_bytes())
    with pytest.raises(StoreForbidden, match="must be sealed with your key"):
        further(Kept(tmp_path, kept.reply), 10, "", tmp_path / "work")
    assert not (tmp_path / "ran").exists()


def test_models_that_draw_otherwise_give_no_further_rows(kept: Kept, tmp_path: Path) -> None:
    spec, original = compose(f"{kept.where}@1", 50, None, [])
    with pytest.raises(EstimationError, match="its rows come out otherwise"):
        directly(extend, run_of(spec, tmp_path / "work"), original._replace(parts=("0" * 64,)))


def test_the_release_is_sound_and_its_export_leaves_the_models_out(kept: Kept, tmp_path: Path) -> None:
    store = open_store(f"{kept.folder}/store")
    assert verify(store, "trial", 1) == []
    export(store, "trial", 1, tmp_path / "trial.zip")
    archive = zipfile.ZipFile(tmp_path / "trial.zip")
    assert archive.namelist()
    assert not [name for name in archive.namelist() if "models/" in name]
    archive.extractall(tmp_path / "copy")
    assert verify_copy(str(tmp_path / "copy" / "trial-v000001"))[0]["problems"] == []
