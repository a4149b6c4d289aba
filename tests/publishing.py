"""A writer of small releases, as the flows are writers of large ones; run as a module it is a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

from tasks.contract.errors import StoreConflict
from tasks.contract.results import Gate
from tasks.contract.store import Store
from tasks.publish.commit import claim, seal, upload
from tasks.publish.layout import MANIFEST, REPORT, check_path, part_path
from tasks.publish.manifest import Manifest

ROOT = Path(__file__).parents[1]
NAME = "nhefs"
IDENTITY = {"treatment": "a", "outcome": "y", "columns": [["w", "double"], ["a", "int8"], ["y", "double"]]}
OLD_MANIFEST = json.loads((ROOT / "tests" / "data" / "manifest-0.1.0.json").read_text("utf-8"))
ELSEWHERE = "another-machine/boot/pid:[1]"


def files_of(tag: str) -> dict[str, bytes]:
    """Return the files of a release: bytes are a function of the run, as in a real one."""
    parts = {part_path(0, part): f"PAR1 {tag} {part}".encode() * 50 for part in range(3)}
    return {**parts, REPORT: f"<html>{tag}</html>".encode(), check_path("result.json"): f'{{"run": "{tag}"}}'.encode()}


def manifest_of(version: int, run_id: str, files: tuple = (), **values) -> Manifest:
    """Return a manifest with every field filled."""
    defaults = {
        "name": NAME,
        "version": version,
        "created": "2026-01-02T03:04:05+00:00",
        "run": run_id,
        "spec": {"name": NAME, "release": {"rows": 30}},
        "source": {"uri": "builtin:nhefs", "fingerprint": "f" * 64, "rows": 100},
        "code": {"version": "0.1.0", "commit": None},
        "packages": {"numpy": "2.4.6"},
        "seed": 1,
        "files": files,
        "table": {"columns": [{"name": "w", "type": "double"}]},
        "effects": {"source": {"ate": {"estimate": 3.0, "se": 0.3}}, "truth": {"ate": 3.1, "mc_se": 0.01}},
        "gates": (Gate(name="fidelity", value=0.1, threshold=2.58, rule="at most", passed=True, status="passed"),),
    }
    return Manifest(**{**defaults, **values})


def old_manifest(**values) -> Manifest:
    """Return the manifest that version 0.1.0 wrote; ``labels`` and ``about`` go into its SPEC, all else replaces its keys."""
    spec = {**OLD_MANIFEST["spec"], **{key: values.pop(key) for key in ("labels", "about", "release") if key in values}}
    return Manifest.model_validate(
        {**OLD_MANIFEST, "spec": spec, **{"schema" if key == "table" else key: each for key, each in values.items()}}
    )


def prepare(store: Store, run_id: str, place: str | None = None, tag: str | None = None) -> Manifest:
    """Claim and upload, everything but the seal."""
    version = claim(store, NAME, run_id, uuid.uuid4().hex, IDENTITY, place=place)
    files = [
        upload(store, NAME, version, path, data, 10 if data[:4] == b"PAR1" else None) for path, data in files_of(tag or run_id).items()
    ]
    return manifest_of(version, run_id, tuple(files))


def publish(store: Store, run_id: str) -> int:
    """Publish, claiming again where the claim was given up meanwhile."""
    while True:
        manifest = prepare(store, run_id)
        try:
            return seal(store, manifest).version
        except StoreConflict:
            continue


class FatalStore:
    """A store whose process gets a signal on the way to a key."""

    def __init__(self, store: Store, last: str, number: int) -> None:
        self._store = store
        self._last = last
        self._number = number

    def __getattr__(self, name):
        return getattr(self._store, name)

    def put_new(self, key: str, data: bytes) -> None:
        """Die, or sleep, before writing the fatal key (once)."""
        if self._last and key.endswith(self._last):
            self._last = ""
            os.kill(os.getpid(), self._number)
        self._store.put_new(key, data)


def spawn(uri: str, run_id: str, last: str = "", number: int = signal.SIGKILL) -> subprocess.Popen:
    """Start a writer in a process of its own; it gets a signal before writing a key that ends in ``last``."""
    command = [sys.executable, "-m", "tests.publishing", uri, run_id, last, str(int(number))]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def main(uri: str, run_id: str, last: str, number: str) -> None:
    """Publish from this process."""
    from infra.store import open_store

    print(publish(FatalStore(open_store(uri), last, int(number)), run_id))


DECISION = "decision.json"
__all__ = [
    "DECISION",
    "ELSEWHERE",
    "IDENTITY",
    "MANIFEST",
    "NAME",
    "OLD_MANIFEST",
    "files_of",
    "manifest_of",
    "old_manifest",
    "prepare",
    "publish",
    "spawn",
]

if __name__ == "__main__":
    main(*sys.argv[1:])
