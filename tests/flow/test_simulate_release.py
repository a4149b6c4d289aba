"""A simulation from a published release: its rows and its law are read, nothing is fitted, and its source is not needed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flows.stages.simulations import cautions, resolve_source
from infra.store import open_store
from tasks.contract.errors import SpecError
from tasks.contract.spec import Spec, parse_spec
from tasks.publish.manifest import Manifest, read_manifest
from tasks.publish.releases import verify
from tests.releasing import Ran, files, manifest, save, spec_of, table, write

KEPT = {"mechanisms__treatment": "fitted", "mechanisms__repeats": 1, "release__include_nuisances": True, "release__copies": 2}
ASKED = {"rows": [100], "designs": ["fitted", "randomized"], "effect_scales": [1.0], "replicates": 20, "draws": 1, "folds": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep the module's one release."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def store(waymint: Callable[..., Ran], folder: Path) -> Path:
    """Publish, once, a release of two copies with its mechanisms, and lose its source."""
    found = folder / "store"
    if not found.exists():
        source = write(table(), folder / "source.parquet")
        minted = waymint("release", save(spec_of(source, found, **KEPT), folder / "release.yaml"))
        assert minted.code == 0, minted.err
        source.unlink()
    return found


def spec(store: Path, version: str = "", **settings: Any) -> dict[str, Any]:
    given = {"source__uri": f"{store}/trial{version}", "name": "tried", "simulate": ASKED, **settings}
    return spec_of("", store.parent / "figures", **given)


def published(store: Path) -> dict[str, bytes]:
    """Return every file of the release."""
    folder = store / "trial" / "v000001"
    return {path: (folder / path).read_bytes() for path in files(folder)}


def damaged(store: Path, name: str, **values: Any) -> None:
    """Put a manifest with other values beside the release, under a name of its own."""
    found = manifest(store) | {"name": name}
    for key, value in values.items():
        *above, last = key.split("__")
        place = found
        for part in above:
            place = place[part]
        place[last] = value
    folder = store / name / "v000001"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(found))


def test_a_release_that_kept_its_mechanisms_is_simulated_from(waymint: Callable[..., Ran], store: Path, tmp_path: Path) -> None:
    told, before = manifest(store), published(store)
    assert verify(open_store(str(store)), "trial", 1) == []
    listed = {file["path"]: file for file in told["files"]}
    kept = json.loads((store / "trial" / "v000001" / "mechanisms.json").read_text())
    assert [law["kind"] for law in kept["laws"]] == ["continuous", "continuous"]
    assert kept["laws"][0] != kept["laws"][1]  # a copy's law is its own
    assert listed["mechanisms.json"]["rows"] is None

    ran = waymint("simulate", save(spec(store), tmp_path / "spec.yaml"), "--json")
    assert ran.code == 0, ran.err
    reply = ran.json()
    assert "fit" not in ran.err
    assert reply["truth"] == pytest.approx(told["effects"]["truth"]["ate"], rel=1e-12)
    assert 0.0 < reply["truth_se"] < 0.1
    sha = read_manifest((store / "trial" / "v000001" / "manifest.json").read_bytes()).sha256()
    assert reply["parents"] == [{"uri": f"file://{store}/trial", "name": "trial", "version": 1, "manifest": sha}]
    assert reply["source"] == {"uri": f"file://{store}/trial@1", "fingerprint": sha, "rows": 500, "copies": 2}
    assert reply["cautions"] == []
    assert {row["design"] for row in reply["rows"]} == {"fitted", "randomized"}
    figures = store.parent / "figures"
    record, page = (next(figures.rglob(f"simulate.{kind}")).read_text() for kind in ("json", "html"))
    # the second copy is the draw of the law, with the effect of its own rows
    second = pd.read_parquet(store / "trial" / "v000001" / "data" / "copy-1")
    effects = [each["value"] for each in json.loads(record)["truths"]]
    assert effects == pytest.approx([told["effects"]["truth"]["ate"], (second["waymint_q1"] - second["waymint_q0"]).mean()], rel=1e-12)
    assert json.loads(record)["parents"] == reply["parents"]
    assert "version 1 of the release trial" in page
    assert "copy 0 of 2, itself a Bayesian-bootstrap draw" in page
    assert sha[:16] in page
    assert published(store) == before


def test_what_can_not_be_simulated_from_is_told(waymint: Callable[..., Ran], store: Path, tmp_path: Path) -> None:
    shutil.copytree(store / "trial" / "claims", store / "lost" / "rejected" / "20260101T000000Z-00000000")
    damaged(store, "closed", spec__release__include_nuisances=False)
    damaged(store, "joint", spec__release__mode="full")
    damaged(store, "added", profile="augment")
    damaged(store, "older", files=[file for file in manifest(store)["files"] if file["path"] != "mechanisms.json"])
    damaged(store, "trials", spec__mechanisms__treatment="randomized")
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "closed": ({}, "include_nuisances of a release to simulate from must be true; got closed version 1"),
        "joint": ({}, "mode of a release to simulate from must be 'hybrid'; got joint version 1"),
        "added": ({}, "source of simulate must be a whole table; got added version 1"),
        "older": ({}, "must hold 'mechanisms.json'; got older version 1"),
        "trials": ({}, "designs of simulate must be 'randomized' alone for trials version 1"),
        "trial@7": ({}, "source.uri of simulate must name a published release"),
        "lost": ({}, "source.uri of simulate must name a published release"),
        "lost/rejected/20260101T000000Z-00000000": ({}, "source.uri of simulate must name a published release"),
        "trial": ({"roles__outcome": "bmi"}, "roles.outcome of SPEC must be that of trial version 1, 'score'; got 'bmi'"),
        "trial@1": ({"roles__treated": 0}, "roles.treated of SPEC must be that of trial version 1, '1'; got '0'"),
        "trial@v1": ({"roles__covariates": ["age"]}, "roles.covariates of SPEC must be that of trial version 1, age, sex, bmi; got age"),
        "trial/v000001": ({"roles__outcome_kind": "count"}, "roles.outcome_kind of SPEC must be that of trial version 1"),
    }
    for where, (settings, said) in cases.items():
        with pytest.raises(SpecError) as error:
            resolve_source(parse_spec(spec(store, source__uri=f"{store}/{where}", **settings)))
        assert said in error.value.message, where
        assert error.value.hint, where
    # a table is a table, and mistakes are told before anything is started
    plain = parse_spec(spec_of(tmp_path / "none.csv", store))
    assert resolve_source(plain) == (plain, None)
    ran = waymint("simulate", save(spec(store, version="@7"), tmp_path / "absent.yaml"), "--json")
    assert ran.code == 2
    assert "must name a published release" in ran.json()["error"]


def test_what_a_release_can_not_tell_is_said(store: Path) -> None:
    found, parent = resolve_source(parse_spec(spec(store)))
    assert parent is not None
    assert unsure(found, parent, 4) == []
    assert "in 3 of the 5 draws asked for" in unsure(found, parent, 4, draws=5)[0]
    assert "release.copies = 6" in unsure(found, parent, 4, draws=5)[0]
    assert "can't be known from this release: it holds one copy" in unsure(found, parent, 1)[0]
    assert "release.copies = 4" in unsure(found, parent, 1)[0]
    assert "repeat the release's 99 covariate rows" in cautions(found, parent, 99)[0]


def unsure(spec: Spec, found: Manifest, copies: int, draws: int = 1) -> list[str]:
    """Return what is said of a release of so many copies."""
    release = found.spec["release"] | {"copies": copies}
    changed = spec.model_copy(update={"simulate": spec.simulate.model_copy(update={"draws": draws})})
    return cautions(changed, found.model_copy(update={"spec": found.spec | {"release": release}}), 500)
