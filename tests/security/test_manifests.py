"""Whoever can write to a store can't crash ``list`` for everyone, nor command the reader's terminal."""

from __future__ import annotations

import ast
import copy
import hashlib
import json
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import flows.releases
from infra import cli
from infra.stores.file import FileStore
from tasks.contract.errors import StoreError, WaymintError
from tasks.contract.refs import FileRef
from tasks.publish.catalogue.site import write_site
from tasks.publish.claims import MOST_BYTES as MOST_CLAIM_BYTES
from tasks.publish.descriptions.files import descriptions
from tasks.publish.export import export
from tasks.publish.layout import decision_key, manifest_key, owner_key, part_path, release_key
from tasks.publish.manifest import MOST_BYTES, MOST_DEPTH, odd_values, read_manifest
from tasks.publish.releases import scan_releases, show, sound_table, verify
from tests.publishing import NAME, OLD_MANIFEST, manifest_of, publish

GOOD = json.loads(manifest_of(1, "run-1").to_bytes())
HOSTILE = {
    "no JSON": b"\x00\xff",
    "deeper than the parser": b"[" * 200_000,
    "deeper than ours": json.dumps({**GOOD, "fidelity": json.loads("[" * MOST_DEPTH + "]" * MOST_DEPTH)}).encode(),
    "too large": b" " * (MOST_BYTES + 1),
    "another format": b'{"format": "other"}',
    "no object": b"[]",
    "source of another shape": json.dumps({**GOOD, "source": []}).encode(),
    "rows as text": json.dumps({**GOOD, "source": {"uri": "x", "rows": "many"}}).encode(),
    "effect of another shape": json.dumps({**GOOD, "effects": {"source": {"ate": "three"}}}).encode(),
    "effects as a list": json.dumps({**GOOD, "effects": [1]}).encode(),
    "truth of another shape": json.dumps({**GOOD, "effects": {"truth": {"ate": [1]}}}).encode(),
    "path out of the folder": json.dumps({**GOOD, "files": [{"path": "../../x", "bytes": 1, "sha256": "0" * 64, "rows": None}]}).encode(),
    "version of no number": json.dumps({**GOOD, "version": -1}).encode(),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_manifest_is_refused_and_hides_no_other(tmp_path: Path, data: bytes) -> None:
    store = FileStore(tmp_path / "store")
    version = publish(store, "run-1")
    store.put(manifest_key(NAME, version + 1), data)
    with pytest.raises(StoreError):
        show(store, NAME, version + 1)
    listing = scan_releases(store)
    assert [(each.name, each.version) for each in listing.releases] == [(NAME, version)]
    assert [(name, number) for name, number, _ in listing.unreadable] == [(NAME, version + 1)]


def test_a_manifest_of_unusual_but_sound_shape_is_shown(tmp_path: Path, run) -> None:
    store = FileStore(tmp_path / "store")
    publish(store, "run-1")
    code, out, err = run("releases", "show", f"{tmp_path}/store/{NAME}")
    assert (code, err) == (0, f"next      waymint estimate {tmp_path}/store/{NAME}\n")
    assert "ATE source   3  (SE 0.3, 95 % ? to ?, None)" in out


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["waymint", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return call


def test_control_characters_of_a_manifest_are_escaped(tmp_path: Path, run) -> None:
    store = FileStore(tmp_path / "store")
    version = publish(store, "run-1")
    values = {**GOOD, "version": version + 1, "created": "\x1b]0;owned\x07\nnhefs  v000009  forged", "warnings": ["\x1b[2Jgone\u202e"]}
    store.put(manifest_key(NAME, version + 1), json.dumps(values).encode())
    for arguments in (["list", f"{tmp_path}/store"], ["show", f"{tmp_path}/store/{NAME}"]):
        code, out, err = run("releases", *arguments)
        assert code == 0
        assert "\x1b" not in out + err
        assert "\u202e" not in out + err
        assert not any(line.startswith("nhefs  v000009") for line in out.splitlines())


def test_the_manifest_of_the_first_version_is_still_read() -> None:
    data = (Path(__file__).parents[1] / "data/manifest-0.1.0.json").read_bytes()
    assert read_manifest(data).version >= 1


# -- values of other kinds, anywhere in a manifest -----------------------------------------------------------------------
SCRIPT = "<script>alert(1)</script>"
ODD = (None, SCRIPT, -1, 1e308, True, [], {}, [1], {"a": 1}, "../../etc", ["a"])
Place = tuple[str | int, ...]


def places(value: Any, above: Place = ()) -> Iterator[Place]:
    """Yield the place of every value in a manifest; of lists of the first two."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*above, key)
        yield from places(each, (*above, key))


def changed(place: Place, value: Any) -> dict[str, Any]:
    values = copy.deepcopy(OLD_MANIFEST)
    owner = values
    for key in place[:-1]:
        owner = owner[key]
    owner[place[-1]] = value
    return values


def readers(store: FileStore, folder: Path) -> dict[str, Callable[[], object]]:
    where, good = f"{folder}/{OLD_MANIFEST['name']}@2", f"{folder}/{OLD_MANIFEST['name']}@1"
    return {
        "list": lambda: flows.releases.listing(str(folder)),
        "show": lambda: flows.releases.show(where),
        "verify": lambda: flows.releases.verify(where),
        "diff": lambda: flows.releases.diff(where, good),
        "export": lambda: export(store, OLD_MANIFEST["name"], 2, folder.parent / "out.zip"),
    }


def test_an_odd_value_anywhere_in_a_manifest_is_an_error_of_ours_and_hides_no_other(tmp_path: Path) -> None:
    """Each of some hundred values is replaced by one of another kind; what commands say is checked for markup too."""
    rng, folder = random.Random(20260103), tmp_path / "store"
    store, name = FileStore(folder), OLD_MANIFEST["name"]
    store.put(manifest_key(name, 1), json.dumps({**OLD_MANIFEST, "version": 1}).encode())
    for place in rng.sample(sorted(places(OLD_MANIFEST), key=str), 25):
        for value in rng.sample(ODD, 2):
            store.put(manifest_key(name, 2), json.dumps(changed(place, value)).encode())
            for what, read in readers(store, folder).items():
                try:
                    read()
                except WaymintError:
                    continue
                except Exception as error:
                    raise AssertionError(f"{what} with {value!r} at {place}") from error
            assert (name, 1) in [(each.name, each.version) for each in scan_releases(store).releases], place
            write_site(store, tmp_path / "site")
            pages = [path.read_text() for path in (tmp_path / "site").rglob("*.html")]
            with suppress(StoreError), odd_values(name):
                pages += [data.decode() for path, data in descriptions(show(store, name, 2)).items() if path.endswith(".html")]
            assert not any(SCRIPT in page for page in pages), place
            record = json.loads((tmp_path / "site/catalogue.json").read_text())
            assert record["releases"][0]["versions"][0]["version"] == 1, place


# -- more than any memory ------------------------------------------------------------------------------------------------
def sparse(path: Path, size: int) -> None:
    """Make a file of so many bytes that takes none of the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.truncate(size)


@pytest.mark.parametrize("key", [owner_key(NAME, 1), decision_key(NAME, 1), manifest_key(NAME, 1)], ids=["owner", "decision", "manifest"])
def test_a_record_larger_than_any_of_ours_is_refused_unread(tmp_path: Path, key: str) -> None:
    store = FileStore(tmp_path / "store")
    publish(store, "run-1")
    sparse(tmp_path / "store" / key, 2**40)
    if key == owner_key(NAME, 1):
        with pytest.raises(StoreError, match=f"must have at most {MOST_CLAIM_BYTES} bytes"):
            publish(store, "run-2")
    else:
        with pytest.raises(StoreError, match="must have at most"):
            verify(store, NAME, 1)


def test_a_part_larger_than_its_manifest_says_is_not_read(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    publish(store, "run-1")
    sparse(tmp_path / "store" / release_key(NAME, 1, part_path(0, 0)), 2**40)
    [problem] = verify(store, NAME, 1)
    assert (problem.path, problem.fault) == (part_path(0, 0), "size")


def test_a_part_of_more_rows_than_its_manifest_says_is_not_decoded(tmp_path: Path) -> None:
    """A million equal cells take some kilobytes: a file that is what the manifest says in bytes alone."""
    store = FileStore(tmp_path / "store")
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": pa.array([0], pa.int64()).take(pa.array([0] * 1_000_000))}), buffer, compression="zstd")
    data = buffer.getvalue().to_pybytes()
    assert len(data) < 20_000
    store.put(release_key(NAME, 1, part_path(0, 0)), data)
    file = FileRef(path=part_path(0, 0), rows=10, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(StoreError, match="must be a Parquet file of 10 rows; got 1000000 rows"):
        sound_table(store, NAME, 1, file)
    noise = b"no table"
    store.put(release_key(NAME, 1, part_path(0, 1)), noise)
    other = FileRef(path=part_path(0, 1), rows=10, bytes=len(noise), sha256=hashlib.sha256(noise).hexdigest())
    with pytest.raises(StoreError, match="got no Parquet file"):
        sound_table(store, NAME, 1, other)


def test_every_read_of_a_shared_store_has_a_limit() -> None:
    """Code that reads releases names the most bytes it takes: a module that forgets it is found here."""
    root = Path(__file__).parents[2]
    unbounded = []
    for path in [*(root / "tasks/publish").rglob("*.py"), *(root / "flows").rglob("*.py"), *(root / "tasks/simulation").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get"
            if called and ast.unparse(node.func.value) in ("store", "opened", "self._store") and len(node.args) + len(node.keywords) < 2:
                unbounded.append(f"{path.relative_to(root)}:{node.lineno}")
    assert unbounded == []
