"""Workspaces of killed runs are found and cleared wherever they are; those in use stay."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from infra import cli
from infra.settings import Settings
from infra.workspaces import run_workspace
from tasks.contract.spec import parse_spec


def spec(name: str, workspace: Path):
    roles = {"treatment": "a", "outcome": "y"}
    return parse_spec({"name": name, "source": {"uri": "x.parquet"}, "roles": roles, "engine": {"workspace": str(workspace)}})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("WAYMINT_HOME", str(tmp_path / "home"))

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["waymint", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return call


def test_what_killed_runs_left_is_listed_and_cleared(tmp_path: Path, run) -> None:
    settings = Settings(home=tmp_path / "home")
    for name, place in (("old", "here"), ("young", "there"), ("empty", "here")):
        with run_workspace(spec(name, tmp_path / place), settings) as space:
            if name != "empty":
                space.put_bytes("rows", b"12345")
            if name == "old":
                for path in (tmp_path / place).rglob("rows*"):
                    os.utime(path, (1, 1))
    with run_workspace(spec("live", tmp_path / "here"), settings) as live:
        live.put_bytes("rows", b"1")
        os.utime(tmp_path / "here" / live.uri.rpartition("/")[2] / "rows", (1, 1))
        listed = json.loads(run("work", "list", "--json")[1])
        names = {each["uri"].rpartition("/")[2].partition("-")[0]: each["state"] for each in listed}
        assert names == {"old": "left", "young": "left", "live": "in use"}
        code, out, _ = run("work", "clear", "--older-than", 1)
        assert code == 0
        assert [line.split()[0] for line in out.splitlines()] == ["removed", "kept", "kept"]
        assert "/old-" in out.splitlines()[0]
        assert not list((tmp_path / "here").glob("old-*"))
        code, out, _ = run("work", "clear")
        assert "removed" in out
        assert "in use" in out
        assert live.read("rows") == b"1"
    live.clear()
    assert run("work", "list") == (0, "no workspace holds anything\n", "")
    assert run("work", "clear") == (0, "nothing to clear\n", "")


def test_collecting_a_name_says_what_it_did_not_touch(tmp_path: Path, run) -> None:
    with run_workspace(spec("other", tmp_path / "there"), Settings(home=tmp_path / "home")) as space:
        space.put_bytes("rows", b"12345")
    code, out, _ = run("releases", "gc", tmp_path / "store" / "trial")
    assert code == 0
    assert out.splitlines()[-1] == "not touched: 1 workspace of killed runs; see 'waymint work list'"
