"""What docs/site.md and docs/deployments.md tell an operator to paste works as it stands, as far as this machine can tell."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from distributed.cli import dask_scheduler, dask_worker

from infra import cli
from infra.site_secrets import dask_environment
from tests.dockerfile import stages
from tests.unit.test_docs import ROOT, read, words

PAGES = ("docs/site.md", "docs/deployments.md", "docs/on-call.md", "docs/reliability.md")
DASK = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}


def lines(beginning: str) -> list[str]:
    """Return the commands of the pages that begin so."""
    return sorted({line for page in PAGES for line in read(page).commands if line.startswith(beginning)})


@pytest.fixture
def waymint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[[list[str]], int]:
    monkeypatch.setenv("WAYMINT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def run(arguments: list[str]) -> int:
        monkeypatch.setattr(sys, "argv", ["waymint", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0)

    return run


@pytest.mark.parametrize("line", lines("waymint deploy") + lines("waymint work"))
def test_commands_of_a_site_run_as_they_stand(waymint: Callable[[list[str]], int], line: str) -> None:
    assert waymint(words(line)[1:]) == 0


@pytest.mark.parametrize("line", lines("dask ") + lines("OMP_NUM_THREADS=1 dask "))
def test_options_of_dask_are_there(line: str) -> None:
    arguments = words(line.removeprefix("OMP_NUM_THREADS=1 "))
    known = {option for each in DASK[arguments[1]].params for option in (*each.opts, *each.secondary_opts)}
    assert [word for word in arguments[2:] if word.startswith("--") and word.split("=")[0] not in known] == []


def test_the_variables_of_tls_are_those_of_the_product() -> None:
    folder = "$PWD/infra/secrets"
    exported = dict(line.removeprefix("export ").split("=", 1) for line in lines("export DASK_"))
    assert exported == dask_environment(f"{folder}/dask-certificate.pem", f"{folder}/dask-key.pem")


def test_the_dask_commands_of_containers_have_options_that_are_there() -> None:
    text = (ROOT / "infra/compose.yaml").read_text() + (ROOT / "infra/k8s/dask-worker.yaml").read_text()
    worker = {option for each in dask_worker.main.params for option in (*each.opts, *each.secondary_opts)}
    scheduler = {option for each in dask_scheduler.main.params for option in (*each.opts, *each.secondary_opts)}
    named = set(re.findall(r"^ +- (--[a-z-]+)=", text, re.MULTILINE))
    assert len(named) >= 6
    assert named <= worker
    [line] = re.findall(r"command: \[(dask, scheduler, .*)\]", text)
    assert {word.strip() for word in line.split(",") if word.strip().startswith("--")} <= scheduler


def test_build_arguments_and_targets_are_there() -> None:
    dockerfile = ROOT / "infra/docker/Dockerfile"
    arguments = set(re.findall(r"^ARG (\w+)", dockerfile.read_text(), re.MULTILINE))
    for line in lines("docker build "):
        parts = shlex.split(line)
        assert {parts[n + 1].split("=")[0] for n, part in enumerate(parts) if part == "--build-arg"} <= arguments
        assert parts[parts.index("--target") + 1] in stages(dockerfile)
        assert (ROOT / parts[parts.index("-f") + 1]).is_file()


def test_kubectl_knows_the_commands() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl: its commands in docs/site.md were not tried")
    for line in lines("kubectl "):
        arguments = [word for word in words(line)[1:] if word != "-n" and word != "waymint" and not word.startswith("--from")]
        done = subprocess.run([kubectl, *arguments[:1], "--help"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, line
