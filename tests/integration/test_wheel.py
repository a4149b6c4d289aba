"""The wheel works where there is no checkout, and the image's steps work as its user, without Docker."""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from tests.dockerfile import Stage, stages
from tests.releasing import ROOT, spec_of, table, write

IMAGE = stages(ROOT / "infra/docker/Dockerfile")["waymint"]


class Installed:
    """An environment that holds the wheel, beside the packages of this one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.python = folder, folder / "bin/python"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PREFECT", "WAYMINT"))}
        self.environment = environment | {"PATH": f"{folder}/bin:{environment['PATH']}"}

    def run(self, *command: str, cwd: Path, before: tuple[str, ...] = (), **environment: str) -> str:
        """Run a command; return what it prints."""
        done = subprocess.run(
            [*before, *command], cwd=cwd, env=self.environment | environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed() -> Iterator[Installed]:
    """Build the wheel as the image does, from a copy of what the image copies, and install it without what it depends on."""
    with tempfile.TemporaryDirectory(prefix="waymint-wheel-") as name:
        yield _installed(Path(name))


def _installed(folder: Path) -> Installed:
    for word, rest in stages(ROOT / "infra/docker/Dockerfile")["wheel"].steps:
        if word == "COPY":
            *names, to = rest.split()
            for name in names:
                here, there = ROOT / name, folder / "source" / (name if to == "./" else to)
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copytree(here, there, ignore=shutil.ignore_patterns("__pycache__")) if here.is_dir() else shutil.copy(here, there)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    built = folder / "wheels"
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(built), "."], cwd=folder / "source", check=True, timeout=300
    )
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    made = Installed(folder / "venv")
    packages = made.run(str(made.python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    [wheel] = built.glob("*.whl")
    subprocess.run([*pip, "--python", str(made.python), "install", "--no-deps", "--no-index", str(wheel)], check=True, timeout=300)
    # what the wheel depends on comes from this environment; an editable install of the checkout, whose hook is a .pth, does not
    (Path(packages) / "dependencies.pth").write_text("".join(f"{path}\n" for path in site.getsitepackages()))
    folder.chmod(0o755)
    return made


def test_the_code_that_runs_is_the_wheels(installed: Installed, tmp_path: Path) -> None:
    code = "import infra, flows, tasks, waymint; print(*(each.__file__ for each in (infra, flows, tasks, waymint)))"
    for path in installed.run(str(installed.python), "-c", code, cwd=tmp_path).split():
        assert Path(path).is_relative_to(installed.folder)


def test_the_wheel_holds_what_is_no_code(installed: Installed) -> None:
    """Pages, styles, examples and prefect.yaml: everything that the checkout's packages have."""
    packages = Path(
        installed.run(str(installed.python), "-c", "import infra; print(infra.__path__[0])", cwd=installed.folder).strip()
    ).parent
    for package in ("waymint", "flows", "tasks", "infra"):
        ours = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / package).rglob("*")
            if path.is_file() and path.suffix in {".py", ".j2", ".html", ".css", ".typed"} and "__pycache__" not in path.parts
        }
        assert {name for name in ours if not (packages / name).exists()} == set(), package


def test_commands_work_outside_a_checkout(installed: Installed, tmp_path: Path) -> None:
    home = {"WAYMINT_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    assert installed.run("waymint", "--version", cwd=tmp_path, **home).startswith("waymint ")
    assert "nhefs" in installed.run("waymint", "datasets", cwd=tmp_path, **home)
    reply = json.loads(installed.run("waymint", "deploy", "init", "--to", "site", "--json", cwd=tmp_path, **home))
    assert sorted(Path(path).name for path in reply["written"]) == [
        "actg175-arms.toml",
        "actg175-visits.toml",
        "actg175.toml",
        "nhefs.toml",
        "prefect.yaml",
    ]
    assert json.loads(installed.run("waymint", "deploy", "init", "--to", "site", "--json", cwd=tmp_path, **home))["written"] == []
    spec = write(table(), tmp_path / "source.parquet").with_name("spec.yaml")
    spec.write_text(yaml.safe_dump(spec_of(tmp_path / "source.parquet", tmp_path / "store")))
    assert "check: 0 errors" in installed.run("waymint", "check", str(spec), cwd=tmp_path, **home)


@pytest.mark.slow
def test_the_deployments_name_flows_that_are_there(installed: Installed, tmp_path: Path) -> None:
    home = {"WAYMINT_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    installed.run("waymint", "deploy", "init", cwd=tmp_path, **home)
    config = yaml.safe_load((tmp_path / "prefect.yaml").read_text())
    entrypoints = sorted({each["entrypoint"] for each in config["deployments"]})
    assert len(entrypoints) >= 5
    code = (
        "import sys; from prefect.flows import load_flow_from_entrypoint as load\n"
        "for name in sys.argv[1:]: print(load(name, use_placeholder_flow=False).name)"
    )
    names = installed.run(str(installed.python), "-c", code, *entrypoints, cwd=tmp_path, **home).split()
    assert len(names) == len(entrypoints)


# -- the image ---------------------------------------------------------------------------------------------------------
def as_user(stage: Stage) -> tuple[str, ...]:
    """Return what runs a command as the stage's user, with no right of root."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become the image's user: its steps were not run as that user")
    user, _, group = stage.user.partition(":")
    return ("setpriv", f"--reuid={user}", f"--regid={group or user}", "--clear-groups", "--bounding-set=-all", "--no-new-privs")


@pytest.fixture
def container() -> Iterator[tuple[Path, dict[str, str]]]:
    """Make the folders that the image's RUN lines make, below a folder; yield it and the image's environment in it.

    It does not lie in pytest's folder, which is closed to other users each time that another session starts.
    """
    with tempfile.TemporaryDirectory(prefix="waymint-container-") as name:
        yield _container(Path(name))


def _container(root: Path) -> tuple[Path, dict[str, str]]:
    root.chmod(0o755)
    [making] = [run for run in IMAGE.runs() if run.startswith("mkdir -p /srv/waymint")]
    here = making.replace("/srv/", f"{root}/srv/").replace("waymint:waymint", IMAGE.user)
    subprocess.run(["sh", "-euc", here], check=True)
    (root / "tmp").mkdir(mode=0o1777)
    (root / "tmp").chmod(0o1777)
    values = {name: value.replace("/srv/", f"{root}/srv/").replace("/tmp/", f"{root}/tmp/") for name, value in IMAGE.environment.items()}
    return root, values | {"TMPDIR": f"{root}/tmp"}


def reachable(installed: Installed, prefix: tuple[str, ...], environment: Mapping[str, str]) -> None:
    """Skip where the user may not even enter this machine's Python."""
    done = subprocess.run([*prefix, str(installed.python), "-c", "import numpy"], env=dict(environment), capture_output=True, check=False)
    if done.returncode:
        pytest.skip("the image's user may not read this machine's Python: its steps were not run as that user")


@pytest.mark.slow  # needs root, and a Python that any user may read
def test_the_user_of_the_image_writes_where_the_default_deployment_writes(
    installed: Installed, container: tuple[Path, dict[str, str]]
) -> None:
    root, values = container
    prefix = as_user(IMAGE)
    reachable(installed, prefix, installed.environment | values)
    place = Path(f"{root}{IMAGE.workdir}")
    installed.run("waymint", "deploy", "init", cwd=place, before=prefix, **values)
    [store] = {
        each["parameters"]["spec"]["store"]["uri"]
        for each in yaml.safe_load((place / "prefect.yaml").read_text())["deployments"]
        if "spec" in each["parameters"]
    }
    answer = json.loads(installed.run("waymint", "doctor", "--store", store, "--json", cwd=place, before=prefix, **values))
    found = {each["name"]: each["status"] for each in answer["diagnoses"]}
    assert found["store"] == "ok", answer
    assert found["home"] == "ok", answer
    assert (place / "releases").stat().st_uid == int(IMAGE.user.partition(":")[0])


@pytest.mark.slow  # needs root, and a Python that any user may read
def test_nothing_outside_its_volume_can_be_written(installed: Installed, container: tuple[Path, dict[str, str]]) -> None:
    root, values = container
    prefix = as_user(IMAGE)
    reachable(installed, prefix, installed.environment | values)
    done = subprocess.run([*prefix, "touch", f"{root}/srv/other"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Permission denied" in done.stderr


def test_the_entrypoint_takes_secrets_from_files(tmp_path: Path) -> None:
    script = ROOT / "infra/docker/entrypoint.sh"
    assert IMAGE.entrypoint == [script.name]
    (tmp_path / "key").write_text("s3cr3t\n")
    show = ["sh", "-c", 'echo "$WAYMINT_KEY|${WAYMINT_KEY_FILE:-gone}"']
    done = subprocess.run(
        [script, *show], env={"PATH": os.environ["PATH"], "WAYMINT_KEY_FILE": f"{tmp_path}/key"}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "s3cr3t|gone\n")
    lost = subprocess.run(
        [script, *show], env={"PATH": os.environ["PATH"], "WAYMINT_KEY_FILE": f"{tmp_path}/none"}, capture_output=True, text=True
    )
    assert lost.returncode == 78
    assert "WAYMINT_KEY_FILE must be a file" in lost.stderr


@pytest.mark.slow
def test_the_default_deployments_spec_is_released_by_the_images_user(installed: Installed, container: tuple[Path, dict[str, str]]) -> None:
    """The whole of the default deployment's SPEC, on its own server, by a user without rights, in the image's folders."""
    root, values = container
    prefix = as_user(IMAGE)
    reachable(installed, prefix, installed.environment | values)
    place = Path(f"{root}{IMAGE.workdir}")
    installed.run("waymint", "deploy", "init", cwd=place, before=prefix, **values)
    reply = json.loads(installed.run("waymint", "release", "examples/nhefs.toml", "--json", cwd=place, before=prefix, **values))
    assert reply["status"] == "published"
    assert Path(reply["uri"].removeprefix("file://")).is_relative_to(place / "releases")
