"""``waymint check``: every finding at once, with exit codes, and nothing of it needs a server."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from infra import cli
from tests.releasing import save
from tests.tables import traits
from tests.tables.base import base, text_csv


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["waymint", "check", *map(str, arguments)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0), capsys.readouterr().out


def spec(tmp_path: Path, uri: Path, **more: Any) -> Path:
    values = {"name": "t", "source": {"uri": str(uri)}, "roles": {"treatment": "a", "outcome": "y"}, "store": {"uri": str(tmp_path / "s")}}
    return save(values | more, tmp_path / "spec.yaml")


def test_a_sound_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    frame, _ = base(1)
    path = spec(tmp_path, text_csv(frame, tmp_path / "t.csv"))
    code, out = run(capsys, monkeypatch, path, "--json")
    reply = json.loads(out)
    assert (code, reply["status"], reply["findings"]) == (0, "ok", [])
    assert reply["table"]["rows"] == 600
    code, out = run(capsys, monkeypatch, path)
    assert out.splitlines()[-1] == "check: 0 errors, 0 warnings"
    assert "prefect" not in {name.partition(".")[0] for name in sys.modules if name == "flows.check"}
    assert not list((tmp_path / "s").rglob("*.json"))


def test_all_findings_at_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    frame, rng = base(2)
    frame["age"] = ["-" if row % 20 == 0 else str(40 + row % 30) for row in range(len(frame))]
    frame["note"] = [f"day {row // 2}" for row in range(len(frame))]
    frame["visit"] = [f"{1 + row % 12:02d}/{1 + row % 11:02d}/2021" for row in range(len(frame))]
    frame["bmi"] = np_where_missing(rng, len(frame))
    frame["arm"] = frame.a.map({0: "drug A", 1: "drug B"})
    path = spec(
        tmp_path,
        text_csv(frame, tmp_path / "t.csv"),
        roles={"treatment": "arm", "outcome": "y", "exclude": ["a"]},
        mechanisms={"learner": "glmm"},
        gates={"min_reference_rows": 200},
    )
    code, out = run(capsys, monkeypatch, path, "--json")
    reply = json.loads(out)
    errors = " ".join(one["message"] for one in reply["findings"] if one["severity"] == "error")
    assert code == reply["code"] == 2
    for part in ("'glmm'", "dates of column 'visit'", "treated of roles", "covariate 'age'", "covariate 'note'"):
        assert part in errors
    assert [one for one in reply["findings"] if one["severity"] == "warning" and "'bmi'" in one["message"]]
    age = next(one for one in reply["findings"] if one["name"] == "cells of covariate 'age'")
    assert age["rule"] == "all read as numbers"
    assert age["value"].startswith("570 of 600 that do (95.0%)")
    assert 'missing_values = { "age" = ["-"] }' in age["hint"]


def np_where_missing(rng: Any, rows: int) -> list[float]:
    return [-99.0 if rng.uniform() < 0.05 else round(float(rng.normal(27, 4)), 1) for _ in range(rows)]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"roles": {"treatment": "a"}}, 2),
        ({"store": {"uri": "ftp://nowhere"}}, 2),
        ({"source": {"uri": "nowhere.csv"}}, 4),
        ({"roles": {"treatment": "nowhere", "outcome": "y"}}, 4),
        ({"store": {"uri": "file:///proc/nowhere"}}, 5),
    ],
)
def test_exit_codes(
    change: dict[str, Any], code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    frame, _ = base(3)
    found, out = run(capsys, monkeypatch, spec(tmp_path, text_csv(frame, tmp_path / "t.csv"), **change), "--json")
    assert (found, json.loads(out)["code"]) == (code, code)
    assert json.loads(out)["findings"][0]["severity"] == "error"


def test_small_tables_name_the_smallest_setting(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = traits.few(tmp_path, 260)
    code, out = run(capsys, monkeypatch, spec(tmp_path, made.uri), "--json")
    assert code == 4
    assert json.loads(out)["hint"] == "Set source.holdout = 0.45."
    code, _ = run(capsys, monkeypatch, spec(tmp_path, made.uri, source={"uri": str(made.uri), "holdout": 0.45}))
    assert code == 0
    frame, _ = base(4)
    frame = frame[(frame.a == 0) | (frame.index < 60)]
    code, out = run(capsys, monkeypatch, spec(tmp_path, text_csv(frame, tmp_path / "t.csv")), "--json")
    assert code == 4
    assert "(gates.min_arm)" in json.loads(out)["error"]
