"""``import waymint``: the flows of the command line, from frames, inside a running event loop."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import waymint as face
from tests import augmenting
from tests.releasing import Published, manifest, parts, spec_of, table, write

THREADS = {"engine.dask": "threads"}


def spec() -> dict[str, Any]:
    """Return the SPEC of the release that the command minted, without source and store."""
    values = spec_of("", "")
    return {key: values[key] for key in values if key not in ("source", "store")}


@pytest.fixture(scope="module")
def release(prefect: str, tmp_path_factory: pytest.TempPathFactory) -> face.Release:
    """Mint a release from a frame as a notebook does: within a running event loop."""
    store = tmp_path_factory.mktemp("face")

    async def cell() -> face.Release:
        return face.release(table(), spec=spec(), store=store, settings=THREADS, progress=False)

    return asyncio.run(cell())


def test_a_frame_gives_the_bytes_of_the_command(release: face.Release, published: Published, home: Path) -> None:
    assert published.ran.code == 0, published.ran.err
    store = Path(release.uri.removeprefix("file://")).parents[1]
    assert parts(store) == parts(published.store)
    minted = manifest(published.store)
    assert release.manifest["effects"] == minted["effects"]
    assert release.manifest["source"]["rows"] == minted["source"]["rows"]
    # nothing of the real rows stays behind
    assert [path.name for path in (home / "frames").iterdir()] == ["users.lock"]
    assert list((home / "work").glob("*/*/*.parquet")) == []


def test_rows_come_back_as_frames(release: face.Release) -> None:
    frame = release.frame()
    assert list(frame.columns) == list(table().columns)
    assert len(frame) == 500
    assert release.to_arrow().num_rows == 500
    assert pa.table(release).equals(release.to_arrow())
    read = [pd.read_parquet(io.BytesIO(content)) for content in parts(Path(release.uri.removeprefix("file://")).parents[1]).values()]
    pd.testing.assert_frame_equal(frame, pd.concat(read, ignore_index=True))
    assert release.verify() == []


def test_a_release_is_loaded_by_its_uri(release: face.Release, tmp_path: Path) -> None:
    folder = release.uri.rstrip("/")
    for uri in (folder, folder.rpartition("/")[0], folder.rpartition("/")[0] + "@1"):
        again = face.load(uri)
        assert again.manifest == release.manifest
        assert again.frame().equals(release.frame())
    copy = release.pull(tmp_path / "copy")
    assert json.loads((copy / "manifest.json").read_text()) == release.manifest
    with pytest.raises(face.StoreMissing):
        face.load(f"{folder.rpartition('/')[0]}@9")


def test_a_release_is_exported_by_command_and_by_call(waymint, release: face.Release, tmp_path: Path) -> None:
    assert waymint("releases", "export", release.uri, "--to", tmp_path / "one.zip", "--csv", "--json").code == 0
    assert release.export(tmp_path / "two.zip", csv=True).read_bytes() == (tmp_path / "one.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "two.zip") as archive:
        plain = pd.read_csv(io.BytesIO(archive.read("trial-v000001/data/copy-0.csv")))
        described = pd.read_csv(io.BytesIO(archive.read("trial-v000001/codebook.csv")))
    pd.testing.assert_frame_equal(plain, release.frame(), check_dtype=False)
    assert described["column"].tolist() == list(plain.columns)


def test_a_damaged_file_is_not_read(release: face.Release, tmp_path: Path) -> None:
    copy = release.pull(tmp_path / "store" / "trial" / "v000001")
    damaged = face.load(str(copy))
    part = next(copy.rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    with pytest.raises(face.StoreError, match="must be as its manifest says"):
        damaged.frame()


def test_effects_of_a_release_are_those_of_its_manifest(release: face.Release) -> None:
    one = face.estimate(release, learner="glm", folds=2, repeats=3, seed=7)  # as the release was minted
    minted = {(each["estimand"], each["estimator"]): each["estimate"] for each in release.manifest["effects"]["release"]["all"]}
    for each in one.reply["estimates"]:
        assert each["estimate"] == pytest.approx(minted[each["estimand"], each["estimator"]], rel=1e-9)
    # a frame has other folds, so other nuisances: the same effect within its standard error
    other = face.estimate(release.frame(), treatment="drug", outcome="score", learner="glm", folds=2)
    assert (one.frame()["estimate"] - other.frame()["estimate"]).abs().max() < one.frame()["se"].min()
    assert not one.combined().empty
    assert one.plot().axes
    assert {label.get_text() for label in one.plot("love").axes[0].get_yticklabels()} == {"age", "bmi", "sex = m", "sex = f"}


def test_plots_of_a_real_release(release: face.Release) -> None:
    for kind in release.PLOTS:
        assert release.plot(kind).axes
    assert len(release.plot("margins", source=table()).axes) == 6


def test_an_audit_takes_the_frame_it_was_minted_from(release: face.Release) -> None:
    audit = face.audit(release, table(), attacks=["membership"], settings=THREADS, progress=False)
    assert set(audit.frame()["attack"]) == {"membership"}
    assert audit.plot().axes
    with pytest.raises(face.SourceError, match="must be the one that trial version 1 was minted from"):
        face.audit(release, table(seed=1), attacks=["membership"], settings=THREADS, progress=False)


def test_a_failed_gate_is_an_error_with_its_gates(prefect: str, tmp_path: Path) -> None:
    copies = THREADS | {"covariates.synthesizer": "bootstrap", "name": "failing"}
    with pytest.raises(face.GateFailed) as caught:
        face.release(table(), spec=spec(), store=tmp_path, settings=copies, progress=False)
    reply: Any = caught.value.reply
    assert reply["status"] == "rejected"
    assert "near_copies" in [gate["name"] for gate in reply["manifest"]["gates"] if gate["passed"] is False]


def test_a_mistake_is_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(face.SpecError, match="Did you mean 'copula'"):
        face.release(table(), treatment="drug", outcome="score", store=tmp_path, settings={"covariates.synthesizer": "copla"})
    assert list(tmp_path.iterdir()) == []


def test_a_simulation_of_ones_own_frame(prefect: str, tmp_path: Path) -> None:
    tiny = {"rows": [100], "designs": ["fitted"], "effect_scales": [1.0], "replicates": 20, "draws": 0, "pool": 2_000, "folds": 2}
    simulation = face.simulate(table(), spec=spec() | {"simulate": tiny}, store=tmp_path, settings=THREADS, progress=False)
    assert 0.5 < simulation.truth < 2.5
    assert set(simulation.frame()["estimator"]) >= {"or", "ipw", "aipw", "tmle"}
    for kind in simulation.PLOTS:
        assert simulation.plot(kind).axes


def test_added_rows_come_with_the_estimates_before_and_after(prefect: str, tmp_path: Path) -> None:
    write(augmenting.table(700, 2, randomised=True), tmp_path / "trial.csv")
    settings = {"augment.outcome": str(tmp_path / "trial.csv"), "augment.draws": 10, "mechanisms.repeats": 1, "name": "filled"}
    added = face.augment(augmenting.table(450, 1), spec=spec(), store=tmp_path / "store", settings=THREADS | settings, progress=False)
    assert added.frame()["waymint_added"].all()
    assert set(added.effects()["table"]) == {"before", "after"}
    assert len(added.table()) == 10
    assert added.plot().axes
