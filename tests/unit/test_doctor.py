"""The doctor: what is wrong with a machine is said with a way out, and nothing is changed by looking."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import cli, doctor
from infra.doctor import GIB, Diagnosis, diagnose
from infra.settings import Settings


@pytest.fixture(autouse=True)
def _no_named_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.delenv("WAYMINT_WORKSPACE", raising=False)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    return folder


def one(home: Path, name: str, store: str | None = None) -> Diagnosis:
    return next(each for each in diagnose(Settings(home=home), store) if each.name == name)


def test_a_home_is_looked_at_and_left_as_it_is(tmp_path: Path, place: Path) -> None:
    assert one(tmp_path / "none", "home").status == "ok"
    assert not (tmp_path / "none").exists()
    assert one(place, "home").status == "ok"
    place.chmod(0o755)
    open_home = one(place, "home")
    assert (open_home.status, f"chmod 700 {place}" in open_home.hint) == ("warning", True)
    assert place.stat().st_mode & 0o777 == 0o755
    place.chmod(0o700)
    (place / "key").write_bytes(b"x" * 32)
    (place / "key").chmod(0o644)
    assert (one(place, "home").status, one(place, "home").code) == ("error", 6)
    (tmp_path / "file").write_text("")
    assert one(tmp_path / "file", "home").status == "error"


def test_a_store_is_tried_only_where_it_is_named(tmp_path: Path, place: Path) -> None:
    assert all(each.name != "store" for each in diagnose(Settings(home=place)))
    (tmp_path / "store").mkdir()
    assert one(place, "store", str(tmp_path / "store")).status == "ok"
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    (tmp_path / "file").write_text("")
    broken = one(place, "store", str(tmp_path / "file"))
    assert (broken.status, broken.code) == ("error", 5)
    assert one(place, "store", "ftp://host/x").code == 2


@pytest.mark.parametrize(("free", "status"), [(GIB // 2, "error"), (2 * GIB, "warning"), (100 * GIB, "ok")])
def test_little_disk_and_little_memory_are_said(place: Path, monkeypatch: pytest.MonkeyPatch, free: int, status: str) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: type("Usage", (), {"free": free})())
    disk = one(place, "disk of home")
    assert (disk.status, bool(disk.hint)) == (status, status != "ok")
    monkeypatch.setattr(doctor, "memory_limit", lambda: free)
    memory = one(place, "memory")
    assert memory.status == status if free < 4 * GIB else memory.status in ("ok", "warning")


class _Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path.split("/")[1]))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the terminal quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answering) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


@pytest.mark.parametrize(("path", "status"), [("/200", "ok"), ("/401", "ok"), ("/500", "error")])
def test_a_named_prefect_server_must_answer(place: Path, server: str, monkeypatch: pytest.MonkeyPatch, path: str, status: str) -> None:
    monkeypatch.setenv("PREFECT_API_URL", server + path)
    assert one(place, "prefect").status == status


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/api", "file:///etc/passwd"])
def test_a_prefect_server_that_is_not_there(place: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PREFECT_API_URL", url)
    missing = one(place, "prefect")
    assert (missing.status, missing.code, "PREFECT_API_URL" in missing.hint) == ("error", 6, True)


def test_the_command(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WAYMINT_HOME", str(place))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    for options in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", ["waymint", "doctor", *options])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 6
        out = capsys.readouterr().out
    reply = json.loads(out)
    assert (reply["status"], reply["code"]) == ("error", 6)
    assert {"python", "packages", "memory", "home", "loopback", "prefect", "dask"} <= {each["name"] for each in reply["diagnoses"]}
    assert all(each["hint"] for each in reply["diagnoses"] if each["status"] != "ok")
