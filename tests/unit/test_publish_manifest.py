"""Manifest and layout: what is written can be read, and nothing else is taken for it."""

import json
import math

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.contract.errors import SpecError, StoreError
from tasks.contract.refs import FileRef
from tasks.contract.results import Gate
from tasks.publish import layout
from tasks.publish.manifest import read_manifest
from tests.publishing import manifest_of


def test_round_trip_is_exact():
    manifest = manifest_of(3, "run-1", (FileRef(path="report.html", rows=None, bytes=1, sha256="0" * 64),))
    data = manifest.to_bytes()
    assert read_manifest(data) == manifest
    assert read_manifest(data).to_bytes() == data
    assert data.endswith(b"}\n")


def test_json_has_the_fields_of_the_public_face():
    values = json.loads(manifest_of(1, "r").to_bytes())
    assert values["format"] == "waymint-release/1"
    public = "format name version created spec source code packages seed files schema effects fidelity privacy overlap gates parents"
    assert set(public.split()) <= set(values)
    assert list(values) == sorted(values)


def test_numbers_json_can_not_hold():
    gate = Gate(name="g", value=math.nan, threshold=math.inf, rule="at most", passed=False, status="refused")
    manifest = manifest_of(
        1, "r", fidelity={"tstr": math.nan, "list": (np.float32(0.5), -math.inf), "n": np.int64(3), "ok": np.True_}, gates=(gate,)
    )
    assert manifest.fidelity == {"tstr": None, "list": [0.5, None], "n": 3, "ok": True}
    assert manifest.gates[0].value is None
    data = manifest.to_bytes()
    assert b"NaN" not in data
    assert b"Infinity" not in data
    assert read_manifest(data) == manifest


def test_bytes_do_not_depend_on_order():
    files = tuple(FileRef(path=f"data/copy-0/part-{number:05d}.parquet", rows=1, bytes=1, sha256="0" * 64) for number in range(3))
    one = manifest_of(1, "r", files, packages={"a": "1", "b": "2"})
    other = manifest_of(1, "r", files[::-1], packages={"b": "2", "a": "1"})
    assert one.to_bytes() == other.to_bytes()


def test_is_frozen_and_knows_its_fields():
    manifest = manifest_of(1, "r")
    with pytest.raises(ValidationError):
        manifest.version = 2
    for values in ({"fidelty": {}}, {"seed": "x"}):
        with pytest.raises(ValidationError):
            manifest_of(1, "r", **values)
    with pytest.raises(ValidationError):
        manifest_of(0, "r")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a//b", "a/../../b", "", "a\\b"])
def test_paths_can_not_leave_the_release(path):
    """A manifest from elsewhere decides what pull writes."""
    values = json.loads(manifest_of(1, "r").to_bytes())
    values["files"] = [{"path": path, "rows": None, "bytes": 1, "sha256": "0" * 64}]
    with pytest.raises(StoreError):
        read_manifest(json.dumps(values).encode())


def test_a_path_is_listed_once():
    file = FileRef(path="report.html", rows=None, bytes=1, sha256="0" * 64)
    with pytest.raises(ValidationError, match="twice"):
        manifest_of(1, "r", (file, file))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "must be JSON"),
        (b"\xff\xfe", "must be JSON"),
        (b"[]", "format of manifest"),
        (b"{}", "format of manifest"),
        (b'{"format": "waymint-release/2"}', "format of manifest"),
        (b'{"format": "waymint-release/1", "seed": "secret"}', "got faults in .*seed"),
    ],
)
def test_what_is_no_manifest(data, message):
    with pytest.raises(StoreError, match=message) as caught:
        read_manifest(data, "nhefs version 1")
    assert "nhefs version 1" in caught.value.message
    assert "secret" not in str(caught.value)


def test_fields_of_a_later_writer_are_left_out():
    values = json.loads(manifest_of(1, "r").to_bytes())
    assert read_manifest(json.dumps({**values, "novelty": 1}).encode()) == manifest_of(1, "r")


def test_layout_is_the_public_one():
    assert layout.release_key("nhefs", 1, layout.part_path(0, 0)) == "nhefs/v000001/data/copy-0/part-00000.parquet"
    assert layout.manifest_key("nhefs", 12) == "nhefs/v000012/manifest.json"
    assert layout.release_key("n", 1, layout.check_path("docs/index.html")) == "n/v000001/checks/docs/index.html"
    assert layout.rejected_folder("nhefs", "run-1") == "nhefs/rejected/run-1/"
    assert layout.version_folder("nhefs", 1_234_567) == "nhefs/v1234567/"


def test_keys_read_back():
    for version in (1, 999_999, 1_000_000):
        place = layout.place_of(layout.release_key("nhefs", version, "data/x"))
        assert place == ("nhefs", "release", version, "data/x")
        assert layout.place_of(layout.owner_key("nhefs", version)) == ("nhefs", "claim", version, "owner.json")
    assert layout.place_of(layout.identity_key("nhefs")).kind == "other"
    assert layout.place_of("nhefs/rejected/v000001/manifest.json").kind == "other"


@pytest.mark.parametrize(
    "key",
    ["nhefs/v1/manifest.json", "nhefs/v000000/manifest.json", "nhefs/v0000001/manifest.json", "nhefs/v000001", "NHEFS/v000001/x", "x"],
)
def test_keys_of_nobody(key):
    place = layout.place_of(key)
    assert place is None or place.kind == "other"


def test_layout_refuses_what_would_leave_it():
    for act in (
        lambda: layout.name_folder("../x"),
        lambda: layout.name_folder("rejected"),
        lambda: layout.version_folder("nhefs", 0),
    ):
        with pytest.raises(SpecError):
            act()
    for run in ("../x", "", "a/b", "."):
        with pytest.raises(StoreError):
            layout.rejected_folder("nhefs", run)
