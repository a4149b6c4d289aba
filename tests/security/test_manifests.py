"""Whoever can write to a store can't crash ``list`` for everyone, nor command the reader's terminal."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from infra import cli
from infra.stores.file import FileStore
from tasks.contract.errors import StoreError
from tasks.publish.layout import manifest_key
from tasks.publish.manifest import MOST_BYTES, MOST_DEPTH, read_manifest
from tasks.publish.releases import scan_releases, show
from tests.publishing import NAME, manifest_of, publish

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
