"""A manifest that version 0.1.0 wrote: every reader of manifests takes it, and its SPEC is still one."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.estimate import estimate
from flows.releases import diff, listing, show, verify
from flows.stages.simulations import published, resolve_source
from infra.stores.file import FileStore
from tasks.contract.errors import SpecError
from tasks.contract.refs import FileRef
from tasks.contract.spec import Spec, parse_spec
from tasks.publish.commit import claim, seal, upload
from tasks.publish.layout import MECHANISMS, part_path
from tasks.publish.manifest import Manifest, read_manifest

OLD: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data/manifest-0.1.0.json").read_text())
ROWS = 300


def rows() -> pa.Table:
    """Draw rows of the columns that the old release has."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=ROWS).round(2)
    drug = (rng.random(ROWS) < 1 / (1 + np.exp(-0.5 * x))).astype(int)
    return pa.Table.from_pandas(
        pd.DataFrame(
            {
                "x": x,
                "site": rng.choice(["north", "south", "west"], ROWS),
                "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 700, ROWS), "D"),
                "lab": np.exp(rng.normal(size=ROWS)).round(3),
                "drug": drug,
                "score": (rng.random(ROWS) < 1 / (1 + np.exp(0.3 - 0.8 * drug - x))).astype(int),
            }
        ),
        preserve_index=False,
    )


def publish(store: FileStore, without: tuple[str, ...] = (), run: str = OLD["run"]) -> Manifest:
    """Publish two parts of rows under the old manifest."""
    version = claim(store, OLD["name"], run, "token", {"treatment": "drug", "outcome": "score", "columns": []})
    refs: list[FileRef] = []
    for number in range(2):
        buffer = io.BytesIO()
        pq.write_table(rows().slice(number * ROWS // 2, ROWS // 2), buffer)
        refs.append(upload(store, OLD["name"], version, part_path(0, number), buffer.getvalue(), ROWS // 2))
    if MECHANISMS not in without:
        refs.append(upload(store, OLD["name"], version, MECHANISMS, b"{}"))
    manifest = Manifest.model_validate({**OLD, "run": run, "version": version, "files": refs})
    seal(store, manifest)
    return manifest


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


def test_no_key_is_lost_or_changed_by_reading() -> None:
    written = read_manifest(json.dumps(OLD).encode()).as_dict()

    def compare(old: Any, new: Any) -> None:
        if isinstance(old, Mapping):
            for key, value in old.items():
                compare(value, new[key])
        elif isinstance(old, list) and old and isinstance(old[0], Mapping):
            assert len(old) == len(new)
            for left, right in zip(old, new):
                compare(left, right)
        else:
            assert old == new

    compare(OLD, written)


def test_it_is_listed_shown_verified_and_compared(store: FileStore) -> None:
    manifest, where = publish(store), f"{store.uri}/trial"
    assert [each["run"] for each in listing(store.uri)[0]] == [OLD["run"]]
    reply, lines = show(where)
    assert reply["effects"] == OLD["effects"]
    assert any(line.startswith("ATE source   0.1171") for line in lines)
    assert verify(where)[0]["problems"] == []
    publish(store, without=(MECHANISMS,), run="another-run")
    reply, _ = diff(f"{where}@{manifest.version}", f"{where}@{manifest.version + 1}")
    assert reply["spec"] == []
    assert all(change["difference"] == 0 for change in reply["effects"])


def test_estimate_takes_the_settings_and_the_variance_of_the_source_from_it(store: FileStore) -> None:
    publish(store)
    options = {"estimators": ("aipw",), "seed": 0, "learner": "glm", "folds": 2, "repeats": 1, "propensity": None}
    reply, lines = estimate(f"{store.uri}/trial", {}, options)
    combined = next(each for each in reply["combined"] if each["estimand"] == "ate")
    own = next(each for each in reply["estimates"] if each["estimand"] == "ate")
    source = next(each for each in OLD["effects"]["source"]["all"] if (each["estimand"], each["estimator"]) == ("ate", "aipw"))
    assert combined["se"] > max(own["se"], source["se"])
    assert any("valid for the source's population (1 copy" in line for line in lines)


def test_simulate_reads_its_law_and_its_roles(store: FileStore) -> None:
    manifest = publish(store)
    spec = parse_spec({"name": "study", "source": {"uri": f"{store.uri}/trial"}, "roles": {"treatment": "drug", "outcome": "score"}})
    resolved, release = resolve_source(spec)
    assert release == manifest
    assert resolved != spec
    law = published(manifest, store.uri, 0)
    assert [part.path for part in law.parts] == [part_path(0, 0), part_path(0, 1)]
    assert law.outcome_range is None


def test_simulate_refuses_one_without_its_law(store: FileStore) -> None:
    publish(store, without=(MECHANISMS,))
    spec = parse_spec({"name": "study", "source": {"uri": f"{store.uri}/trial"}, "roles": {"treatment": "drug", "outcome": "score"}})
    with pytest.raises(SpecError, match=r"must hold 'mechanisms\.json'"):
        resolve_source(spec)


def test_its_spec_is_still_valid_and_means_the_same() -> None:
    spec = parse_spec(OLD["spec"])
    assert isinstance(spec, Spec)
    written = spec.model_dump(mode="json")
    for section, values in OLD["spec"].items():
        if isinstance(values, dict):
            assert {key: written[section][key] for key in values} == values
        else:
            assert written[section] == values
