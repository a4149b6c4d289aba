"""The site of infra/compose.yaml as processes on loopback: Postgres, Prefect on it, Dask over TLS, two workers elsewhere, S3.

``python -m tests.stack`` (``make stack``) starts it, prints how to use it, and holds it until Ctrl-C.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import secrets
import shutil
import signal
import site
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from infra.site_secrets import CERTIFICATE, KEY, dask_environment, write_secrets
from tests.dask_site import DaskSite, end
from tests.s3 import free_ports

ROOT = Path(__file__).resolve().parents[1]
RELEASES, WORK, TABLES = "waymint-releases", "waymint-work", "waymint-tables"


def postgres_folder() -> Path | None:
    """Return the folder of Postgres' programs, which Debian keeps off the path; None where it is not installed."""
    found = shutil.which("postgres")
    if found:
        return Path(found).resolve().parent
    there = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return there[-1].parent if there else None


@dataclass
class Stack:
    """A site.

    Attributes
    ----------
    folder : Path
        Everything of it lies below.
    environment : dict
        What the command needs to use it.
    api : str
        URL of Prefect's API.
    """

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    api: str = ""
    secrets: dict[str, str] = field(default_factory=dict)
    dask: DaskSite = field(init=False)
    prefect: subprocess.Popen[bytes] = field(init=False)
    _ports: tuple[int, ...] = ()
    _others: list[subprocess.Popen[bytes]] = field(default_factory=list)

    # -- starting ------------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start everything in the order of compose.yaml."""
        write_secrets(self.folder / "secrets")
        self.secrets = {path.name: path.read_text() for path in (self.folder / "secrets").iterdir()}
        self._ports = tuple(free_ports(6))
        base = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "WAYMINT", "DASK", "AWS"))}
        quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", "PREFECT_CLI_PROMPT": "false", "OMP_NUM_THREADS": "1"}
        tls = dask_environment(str(self.folder / "secrets" / CERTIFICATE), str(self.folder / "secrets" / KEY))
        self.api = f"http://127.0.0.1:{self._ports[1]}/api"
        self.environment = base | quiet | tls | self._aws() | {
            "PREFECT_API_URL": self.api,
            "PREFECT_API_AUTH_STRING": self.secrets["prefect-auth"],
            "PREFECT_HOME": str(self.folder / "prefect"),
            "WAYMINT_HOME": str(self.folder / "home"),
            "WAYMINT_WORKSPACE": f"s3://{WORK}/runs",
            "WAYMINT_KEY": self.secrets["waymint-key"],
            "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        self._start_postgres()
        self._start_s3()
        self.start_prefect()
        self._start_dask()
        self.wait_until_ready()

    def _aws(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": self.secrets["s3-key"],
            "AWS_SECRET_ACCESS_KEY": self.secrets["s3-secret"],
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._ports[2]}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def _start_postgres(self) -> None:
        programs = postgres_folder()
        assert programs is not None
        data, password = self.folder / "postgres", self.folder / "postgres-password"
        data.mkdir()
        password.write_text(self.secrets["database-password"])
        prefix: list[str] = []
        if os.geteuid() == 0:  # Postgres refuses to run as root
            user = pwd.getpwnam("postgres")
            for path in (data, password):
                os.chown(path, user.pw_uid, user.pw_gid)
            prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        making = [
            *prefix,
            str(programs / "initdb"),
            "-D",
            str(data),
            "-U",
            "prefect",
            "--pwfile",
            str(password),
            "-A",
            "scram-sha-256",
            "-N",
        ]
        subprocess.run(making, check=True, capture_output=True, timeout=120)
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off", "-p", str(self._ports[0])]
        self._others.append(self._process([*prefix, str(programs / "postgres"), "-D", str(data), *options], {"PATH": os.environ["PATH"]}))
        self._wait("Postgres", lambda: _listens(self._ports[0]))
        making_db = [str(programs / "createdb"), "-h", "127.0.0.1", "-p", str(self._ports[0]), "-U", "prefect", "prefect"]
        password_of = {"PGPASSWORD": self.secrets["database-password"], "PATH": os.environ["PATH"]}
        self._wait("its database", lambda: not subprocess.run(making_db, env=password_of, capture_output=True, check=False).returncode)

    def _start_s3(self) -> None:
        weed = shutil.which("weed") or str(Path(sys.executable).parent / "weed")
        s3, master, volume, filer = self._ports[2:6]
        (self.folder / "s3").mkdir()
        command = [weed, "server", f"-dir={self.folder / 's3'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.port={s3}"]
        command += [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", "-volume.max=0"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=256", "-master.volumePreallocate=false"]
        self._others.append(self._process([*command, "-master.telemetry=false"], os.environ | self._aws()))
        self._wait("the S3 server", self._makes_buckets)

    def _makes_buckets(self) -> bool:
        client = self.s3()
        for name in (RELEASES, WORK, TABLES):
            with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
                client.create_bucket(Bucket=name)
        client.put_object(Bucket=WORK, Key="ready", Body=b"1")  # answered only when volumes are there
        client.delete_object(Bucket=WORK, Key="ready")
        return True

    def s3(self) -> Any:
        """Return a client that looks at the S3 server past the product."""
        values = self._aws()
        return boto3.client(
            "s3",
            endpoint_url=values["AWS_ENDPOINT_URL"],
            aws_access_key_id=values["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=values["AWS_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
        )

    def start_prefect(self) -> None:
        """Start the Prefect server; again on the same database after its end."""
        database = {
            "PREFECT_SERVER_DATABASE_DRIVER": "postgresql+asyncpg",
            "PREFECT_SERVER_DATABASE_HOST": "127.0.0.1",
            "PREFECT_SERVER_DATABASE_PORT": str(self._ports[0]),
            "PREFECT_SERVER_DATABASE_NAME": "prefect",
            "PREFECT_SERVER_DATABASE_USER": "prefect",
            "PREFECT_SERVER_DATABASE_PASSWORD": self.secrets["database-password"],
            "PREFECT_SERVER_API_AUTH_STRING": self.secrets["prefect-auth"],
        }
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self._ports[1])]
        values = {name: value for name, value in self.environment.items() if name != "PREFECT_API_URL"}
        self.prefect = self._process(command, values | database)

    def _start_dask(self) -> None:
        """Start the scheduler over TLS, and two workers: one in another folder, one also in an environment of its own."""
        self.dask = DaskSite(self.folder / "dask", self.environment, tls=True)
        first, second = self._worker_folders()
        first.mkdir()
        venv.create(second / "venv", with_pip=False, symlinks=True)
        [packages] = second.glob("venv/lib/python*/site-packages")
        (packages / "dependencies.pth").write_text("".join(f"{path}\n" for path in site.getsitepackages()))
        self.start_workers()

    def _worker_folders(self) -> tuple[Path, Path]:
        return self.folder / "worker 1", self.folder / "worker-2"

    def start_workers(self) -> None:
        """Start both workers: again after the end of the scheduler, with which they end, as the restart policy of compose.yaml does."""
        first, second = self._worker_folders()
        self.dask.start_worker(nanny=True, cwd=first, WAYMINT_HOME=str(first / "home"))
        self.dask.start_worker(nanny=True, cwd=second, python=str(second / "venv/bin/python"), WAYMINT_HOME=str(second / "home"))

    def wait_until_ready(self) -> None:
        """Wait for the Prefect server's answer."""
        self._wait("the Prefect server", lambda: self.ask("admin/version") is not None)

    # -- using ---------------------------------------------------------------------------------------------------------
    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Call Prefect's API with the site's secret."""
        data = None if body is None else json.dumps(body).encode()
        basic = b64encode(self.secrets["prefect-auth"].encode()).decode()
        headers = {"Content-Type": "application/json", "Authorization": f"Basic {basic}"}
        with urllib.request.urlopen(urllib.request.Request(f"{self.api}/{path}", data=data, headers=headers), timeout=30) as answer:
            return json.load(answer)

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Return the keys of a bucket."""
        pages = self.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [each["Key"] for page in pages for each in page.get("Contents", ())]

    def close(self) -> None:
        """End everything."""
        if hasattr(self, "dask"):
            self.dask.close()
        if hasattr(self, "prefect"):
            end(self.prefect)
        for process in reversed(self._others):
            end(process)

    def _process(self, command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                command, cwd=self.folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _wait(self, what: str, ready: Any) -> None:
        limit = time.monotonic() + 180
        while True:
            try:
                if ready():
                    return
            except Exception as error:  # noqa: BLE001 - whatever a server that is not up yet leads to
                last: object = error
            else:
                last = "it does not answer"
            if time.monotonic() > limit:
                raise AssertionError(f"{what} did not start ({last}): {(self.folder / 'log').read_text(errors='replace')[-3000:]}")
            time.sleep(0.3)


def _listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 2):
        return True


@contextlib.contextmanager
def running_stack(folder: Path) -> Iterator[Stack]:
    """Hold a site in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # the database's user must enter
    stack = Stack(folder)
    try:
        stack.start()
        yield stack
    finally:
        stack.close()


def main() -> None:
    """Hold a site until Ctrl-C, and say how to use it."""
    folder = Path(tempfile.mkdtemp(prefix="waymint-stack-"))
    with contextlib.suppress(KeyboardInterrupt), running_stack(folder) as stack:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        names = ("PREFECT", "WAYMINT", "DASK", "AWS")
        lines = [f"export {name}='{value}'" for name, value in sorted(stack.environment.items()) if name.startswith(names)]
        environment = folder / f"environment-{secrets.token_hex(4)}.sh"
        environment.touch(mode=0o600)
        environment.write_text("\n".join(lines) + "\n")
        print(f"the site runs in {folder}; Ctrl-C ends it. In another terminal:\n", flush=True)
        print(f"    . {environment}")
        print(f"    waymint release examples/nhefs.toml --store s3://{RELEASES}/releases --set engine.dask={stack.dask.address}")
        print("    prefect flow-run ls", flush=True)
        signal.pause()
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
