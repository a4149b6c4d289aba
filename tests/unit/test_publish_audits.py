"""Audits of a version are found beside it, and a record that is none breaks nothing."""

from __future__ import annotations

import json
from pathlib import Path

from flows.releases import show
from infra.store import open_store
from tasks.publish.audits import MOST_BYTES, list_audits
from tasks.publish.layout import audit_key, manifest_key
from tests.publishing import manifest_of

FIRST, SECOND, THIRD = (f"2026010{day}T000000Z-0000000{day}" for day in (1, 2, 3))


def test_audits_are_listed_with_what_they_found(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}")
    manifest = manifest_of(1, "r")
    store.put(manifest_key(manifest.name, 1), json.dumps(manifest.as_dict()).encode())
    assert not any(line.startswith("audit") for line in show(f"{tmp_path}/{manifest.name}@1")[1])
    record = {"created": "2026-01-02T03:04:05+00:00", "attacks": [{"attack": "membership", "verdict": "leak found", "value": 0.9}]}
    store.put(audit_key(manifest.name, 1, FIRST, "audit.json"), json.dumps(record).encode())
    store.put(audit_key(manifest.name, 1, FIRST, "audit.html"), b"<p>")
    store.put(audit_key(manifest.name, 1, SECOND, "audit.json"), b'{"created": 5}')
    store.put(audit_key(manifest.name, 1, THIRD, "audit.json"), b" " * (MOST_BYTES + 1))
    store.put(audit_key(manifest.name, 2, FIRST, "audit.json"), json.dumps(record).encode())
    found = list_audits(store, manifest.name, 1)
    assert [audit.record is None for audit in found] == [False, True, True]
    lines = [line for line in show(f"{tmp_path}/{manifest.name}@1")[1] if line.startswith("audit")]
    assert len(lines) == 3
    assert "2026-01-02T03:04:05+00:00  Leaks of rows found: membership." in lines[0]
    assert lines[0].endswith(f"/audits/v000001/{FIRST}/audit.html")
    assert "can't be read" in lines[1]
