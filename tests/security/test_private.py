"""Another user of the machine can't read, redirect or feed what a run keeps: folders, key, receipts, models, Prefect, Dask."""

from __future__ import annotations

import os
import pickle
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from infra import prefect_server
from infra.ownership import is_signed, private_folder, sign
from infra.settings import Settings
from infra.stores.file import FileStore
from infra.workspace import Workspace
from infra.workspaces import run_workspace, sweep
from tasks.contract.errors import StoreError, WaymintError
from tasks.contract.refs import ModelRef, Ref
from tasks.contract.spec import parse_spec

ROOT = Path(__file__).parents[2]
SPEC = parse_spec({"name": "trial", "source": {"uri": "x.parquet"}, "roles": {"treatment": "a", "outcome": "y"}})
STRANGER = 65_534
CODE_RAN = "code-ran"


class Harm:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.path / CODE_RAN,)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def wide_umask():
    old = os.umask(0)
    yield
    os.umask(old)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", workspace=f"file://{tmp_path}/work")


@pytest.mark.usefixtures("wide_umask")
def test_home_locks_and_workspace_are_the_owners_alone(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "home").mkdir(mode=0o755)  # as an earlier version left it
    with run_workspace(SPEC, settings) as space:
        space.put_bytes("deep/thing", b"rows")
        space.put_record("record.json", {})
        folder = space.folder
        assert folder is not None
        made = [tmp_path / "home", tmp_path / "home/locks", folder, *folder.rglob("*")]
        assert {path.name: mode(path) for path in made if mode(path) & 0o077} == {}


@pytest.mark.usefixtures("wide_umask")
def test_published_files_have_the_mode_that_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYMINT_STORE_MODE", "0640")
    FileStore(tmp_path / "store").put("a/b", b"1")
    assert (mode(tmp_path / "store/a/b"), mode(tmp_path / "store/a")) == (0o640, 0o750)
    monkeypatch.setenv("WAYMINT_STORE_MODE", "rw")
    with pytest.raises(WaymintError, match="octal file mode"):
        FileStore(tmp_path / "store").put("a/c", b"1")


def test_the_command_hides_its_files_and_publishes_as_before(tmp_path: Path) -> None:
    code = (
        "import os\nos.umask(0o027)\nfrom pathlib import Path\nfrom infra.settings import restrict_umask\n"
        "from infra.stores.file import FileStore\nrestrict_umask()\n"
        "FileStore(Path('store')).put('a', b'')\nPath('log').touch()\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "WAYMINT_STORE_MODE"} | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert (mode(tmp_path / "log"), mode(tmp_path / "store/a")) == (0o600, 0o640)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's folder")
def test_a_workspace_of_someone_else_is_refused(tmp_path: Path, settings: Settings) -> None:
    with run_workspace(SPEC, settings) as space:
        folder = space.folder
    assert folder is not None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "thing").write_text("theirs")
    os.chown(folder, STRANGER, STRANGER)
    with pytest.raises(WaymintError, match=f"got one of user {STRANGER}"), run_workspace(SPEC, settings):
        pass
    assert sweep(settings.workspace_uri, settings, "trial", 0.0, 1e12) == []
    assert (folder / "thing").exists()


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WaymintError, match="got a link or a file"):
        private_folder(tmp_path / "link")


def test_a_model_that_somebody_replaced_is_not_executed(tmp_path: Path) -> None:
    space = Workspace(f"file://{tmp_path}/space")
    ref = space.put_model("a.model", {"fitted": 1})
    (tmp_path / "space/a.model").write_bytes(pickle.dumps(Harm(tmp_path)))
    for read in (space.model, space.unpickle):
        with pytest.raises(StoreError, match="must be as the run wrote it"):
            read(ref)
    assert not (tmp_path / CODE_RAN).exists()


def test_a_receipt_that_somebody_forged_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space, other = Workspace(f"file://{tmp_path}/space"), Workspace(f"file://{tmp_path}/other")
    other.put_model("a.model", Harm(tmp_path))
    for name in ("a.model", "a.model.receipt"):  # a receipt of the same user, of another workspace
        (tmp_path / "space").mkdir(exist_ok=True)
        (tmp_path / "space" / name).write_bytes((tmp_path / "other" / name).read_bytes())
    assert space.finished("a.model", ModelRef) is None
    ref = ModelRef(key="a.model", sha256="0" * 64, bytes=1)
    (tmp_path / "space/a.model.receipt").write_text(ref.model_dump_json())  # as an earlier version wrote them
    assert space.finished("a.model", ModelRef) is None
    monkeypatch.setenv("WAYMINT_KEY", "of somebody else")
    forged = Workspace(f"file://{tmp_path}/space").put_bytes("b", b"1")
    monkeypatch.delenv("WAYMINT_KEY")
    assert space.finished("b", Ref) is None
    monkeypatch.setenv("WAYMINT_KEY", "of somebody else")
    assert space.finished("b", Ref) == forged


def test_a_receipt_of_another_object_does_not_count(tmp_path: Path) -> None:
    space = Workspace(f"file://{tmp_path}/space")
    space.put_bytes("a", b"1")
    (tmp_path / "space/b.receipt").write_bytes((tmp_path / "space/a.receipt").read_bytes())
    (tmp_path / "space/b").write_bytes(b"1")
    assert space.finished("b", Ref) is None


def test_a_state_that_somebody_wrote_is_not_gone_on_from(tmp_path: Path) -> None:
    space = Workspace(f"file://{tmp_path}/space")
    space.keep_state("journal", b"mine")
    assert space.state("journal") == b"mine"
    kept = (tmp_path / "space/journal").read_bytes()
    for forged in (b"theirs", kept[:-1] + b"x", b""):
        (tmp_path / "space/journal").write_bytes(forged)
        assert space.state("journal") is None


def test_the_key_is_one_per_user_and_readable_by_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAYMINT_KEY", raising=False)
    monkeypatch.setenv("WAYMINT_HOME", str(tmp_path / "home"))
    signature = sign(b"message")
    assert is_signed(b"message", signature)
    assert not is_signed(b"other", signature)
    assert mode(tmp_path / "home/key") == 0o600
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["key"]
    monkeypatch.setenv("WAYMINT_HOME", str(tmp_path / "loose"))
    (tmp_path / "loose").mkdir(mode=0o700)
    (tmp_path / "loose/key").write_bytes(b"k" * 32)
    (tmp_path / "loose/key").chmod(0o644)
    with pytest.raises(WaymintError, match="readable by its owner alone"):
        sign(b"message")


def test_the_embedded_prefect_server_answers_nobody_without_its_secret(prefect: str, home: Path) -> None:
    asked = urllib.request.Request(f"{prefect}/flow_runs/filter", data=b"{}", headers={"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked, timeout=10)
    assert refused.value.code == 401
    assert mode(home / "prefect/server.json") == 0o600
    assert mode(home / "prefect") == 0o700


def test_the_secret_is_sent_only_to_the_users_own_server() -> None:
    """A neighbour may have taken the port of a server that died: what listens there must be the keeper's own."""
    with socket.socket() as neighbour, subprocess.Popen(["sleep", "60"]) as keeper:
        neighbour.bind(("127.0.0.1", 0))
        neighbour.listen()
        port = neighbour.getsockname()[1]
        assert not prefect_server._listens(prefect_server.Server(port, "user:secret", keeper.pid))
        assert prefect_server._listens(prefect_server.Server(port, "user:secret", os.getpid()))
        keeper.kill()


def test_a_local_cluster_lets_nobody_in_without_its_certificate(home: Path) -> None:
    """In a process of its own: a cluster's processes are started by importing the program."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.security.neighbour"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "its own client: 3; strangers let in: 0; pages shown: 0; open addresses: 0"
