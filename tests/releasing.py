"""Small real tables, SPECs and ways to run the command for the tests of whole releases."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from infra.settings import Settings

ROOT = Path(__file__).parents[1]
ROWS = 800
TRUE_EFFECT = 1.25


def table(rows: int = ROWS, seed: int = 20260103) -> pd.DataFrame:
    """Draw a table with an average effect of ``TRUE_EFFECT`` and moderate confounding."""
    rng = np.random.default_rng(seed)
    age, sex, bmi = rng.normal(50, 10, rows).round(4), rng.integers(0, 2, rows), rng.gamma(9, 3, rows).round(5)
    treated = rng.random(rows) < 1 / (1 + np.exp(-0.03 * (age - 50) - 0.3 * sex))
    score = 0.1 * age + treated * (1 + 0.5 * sex) + 0.05 * bmi + rng.normal(0, 1, rows)
    return pd.DataFrame({"age": age, "sex": np.where(sex, "f", "m"), "bmi": bmi, "drug": treated.astype(int), "score": score.round(5)})


def write(frame: pd.DataFrame | pa.Table, path: Path) -> Path:
    """Write a table as Parquet or CSV by the path's ending."""
    if isinstance(frame, pd.DataFrame) and path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        pq.write_table(frame if isinstance(frame, pa.Table) else pa.Table.from_pandas(frame, preserve_index=False), path)
    return path


def spec_of(source: Path | str, store: Path | str, **settings: Any) -> dict[str, Any]:
    """Return a SPEC of some seconds; settings are dotted keys with ``__`` for the dot."""
    values: dict[str, Any] = {
        "name": "trial",
        "seed": 7,
        "source": {"uri": str(source)},
        "roles": {"treatment": "drug", "outcome": "score"},
        "covariates": {"synthesizer": "copula"},
        "mechanisms": {"learner": "glm", "folds": 2},
        "release": {"rows": 500, "part_rows": 200},
        "store": {"uri": str(store)},
        "engine": {"dask": "threads", "workers": 2},
    }
    for key, value in settings.items():
        *above, last = key.split("__")
        place = values
        for part in above:
            place = place.setdefault(part, {})
        place[last] = value
    return values


def save(values: dict[str, Any], path: Path) -> Path:
    """Write a SPEC file."""
    path.write_text(yaml.safe_dump(values, allow_unicode=True))
    return path


class Ran(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return stdout as the one JSON value it must be."""
        return json.loads(self.out)


class Command:
    """The command line in processes of its own.

    Parameters
    ----------
    home : Path
        ``WAYMINT_HOME``.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "WAYMINT", "DASK"))}
        self.environment = inherited | {"WAYMINT_HOME": str(home), "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}

    def start(
        self, *arguments: object, preexec: Callable[[], None] | None = None, cwd: Path = ROOT, **environment: str
    ) -> subprocess.Popen[str]:
        """Start a command in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "infra.cli", *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **self.environment, **environment} if environment else self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=preexec,
        )

    def run(self, *arguments: object, preexec: Callable[[], None] | None = None, cwd: Path = ROOT, **environment: str) -> Ran:
        """Run a command to its end."""
        return finished(self.start(*arguments, preexec=preexec, cwd=cwd, **environment))


def finished(process: subprocess.Popen[str]) -> Ran:
    """Wait for a command to end."""
    try:
        out, err = process.communicate(timeout=400)
    except subprocess.TimeoutExpired:
        kill(process)
        raise
    return Ran(process.returncode, out, err)


def kill(process: subprocess.Popen[str], number: int = signal.SIGKILL) -> Ran:
    """End a command and every process it started by one signal."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    out, err = process.communicate(timeout=120)
    return Ran(process.returncode, out, err)


def fitted_folds(work: Path) -> list[Path]:
    """Return the receipts of the folds that a run under a workspace has fitted."""
    return list(work.glob("*/mechanisms/copy-0/fold-*.receipt"))


def wait_for(found: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until something is found, while a command runs."""
    end = time.monotonic() + 300
    while not found():
        if process.poll() is not None:
            raise AssertionError(f"the command ended too early: {process.communicate()}")
        if time.monotonic() > end:
            kill(process)
            raise AssertionError("the moment did not come")
        time.sleep(0.002)


def parts(store: Path, name: str = "trial", version: int = 1) -> dict[str, bytes]:
    """Return the Parquet parts of a release by their paths."""
    folder = store / name / f"v{version:06d}"
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


def manifest(store: Path, name: str = "trial", version: int = 1) -> dict[str, Any]:
    """Return the manifest of a release."""
    found: dict[str, Any] = json.loads((store / name / f"v{version:06d}" / "manifest.json").read_text())
    return found


def files(folder: Path) -> list[str]:
    """Return all files below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep locks, workspaces and one embedded Prefect server of the session in a folder of its own."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WAYMINT_HOME", str(folder))
        patch.delenv("WAYMINT_WORKSPACE", raising=False)
        yield folder


@pytest.fixture(scope="session")
def prefect(home: Path) -> Iterator[str]:
    """Hold the embedded Prefect server, and make this process use it whether or not Prefect is imported already."""
    import prefect.main  # noqa: F401 - it sets up logging and closes older handlers' streams: absl's is pytest's capture, if it came first
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_HOME,
        temporary_settings,
    )

    from infra.prefect_server import prefect_server

    for handler in logging.getLogger().handlers:
        if type(handler).__name__ == "PrefectConsoleHandler":  # as the command has it, where it is the first to load Prefect
            handler.setLevel(logging.CRITICAL)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_HOME"):
            patch.setenv(name, "")  # so that what the server's holder sets is taken back at the end
            patch.delenv(name)
        # without heartbeats every flow ends up to a second earlier
        with (
            prefect_server(Settings(home=home), idle_seconds=20) as url,
            temporary_settings(
                {
                    PREFECT_API_URL: url,
                    PREFECT_API_AUTH_STRING: os.environ["PREFECT_API_AUTH_STRING"],
                    PREFECT_HOME: home / "prefect",
                    PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
                }
            ),
        ):
            yield url


@pytest.fixture(scope="session")
def command(home: Path, prefect: str) -> Command:
    """Run commands that find the session's server as any second run on a machine does."""
    return Command(home)


@pytest.fixture
def waymint(prefect: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run the command line within this process: cheaper by the seconds that imports take."""
    from infra import cli

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["waymint", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return Ran(int(end.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the small table once."""
    return write(table(), tmp_path_factory.mktemp("source") / "source.parquet")


class Published(NamedTuple):
    """A release that the command minted on worker processes."""

    store: Path
    spec: Path
    ran: Ran


@pytest.fixture(scope="session")
def published(command: Command, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Mint one release the way a user does: the command, a SPEC file, two Dask worker processes."""
    folder = tmp_path_factory.mktemp("published")
    spec = save(spec_of(source, folder / "store", engine__dask="local"), folder / "spec.yaml")
    return Published(folder / "store", spec, command.run("release", spec, "--json"))
