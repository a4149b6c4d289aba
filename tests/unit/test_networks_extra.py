"""torch, transformers and peft come with an extra: what needs them says so at once, and nothing else loads them."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tasks.contract.registry import EXTRAS, NETWORKS

ROOT = Path(__file__).resolve().parents[2]
SPEC = """
name = "extra"
[source]
uri = "builtin:nhefs"
[roles]
treatment = "qsmk"
outcome = "wt82_71"
covariates = ["age", "sex"]
[covariates]
synthesizer = "{name}"
"""
# a process in which the packages of the extra are not installed
WITHOUT = """
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""


def run(program: str, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"WAYMINT_HOME": str(home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WITHOUT.format(packages=NETWORKS) + program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment, cwd=home)


def test_a_plain_installation_brings_no_networks() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    plain = {text.partition("=")[0].partition(">")[0] for text in project["dependencies"]}
    extra = {text.partition("=")[0].partition(">")[0] for text in project["optional-dependencies"]["networks"]}
    assert extra == set(NETWORKS)
    assert not plain & extra
    locked = {line.partition("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines()}
    assert extra <= locked  # make setup installs them


@pytest.mark.parametrize("name", sorted(name for kind, name in EXTRAS if kind == "synthesizer"))
def test_a_network_without_the_extra_is_refused_before_any_work(name: str, tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(SPEC.format(name=name))
    result = run("from infra.cli import main; main()", "release", "spec.toml", home=tmp_path)
    said = " ".join((result.stdout + result.stderr).split())
    assert result.returncode == 2, said
    assert f"packages of synthesizer '{name}' must be installed; got no torch, transformers, peft." in said
    assert "pip install 'waymint[networks]'" in said
    assert [path.name for path in tmp_path.iterdir()] == ["spec.toml"]  # no server, no workspace, no release


FITTED = """
import numpy as np, pandas as pd, pyarrow as pa
import flows.release
from tasks.contract.registry import names, resolve
from tasks.contract.roles import Column, pack_field
rng = np.random.default_rng(0)
frame = pd.DataFrame({"w0": rng.standard_normal(200), "w1": rng.integers(0, 3, 200).astype(float)})
columns = tuple(
    Column(id=n, name=n, role="covariate", kind=k, field=pack_field(pa.field(n, pa.float64())), low=float(frame[n].min()), high=float(frame[n].max()))
    for n, k in (("w0", "continuous"), ("w1", "integer"))
)
for name in ("forest", "chain", "copula", "bootstrap"):
    assert len(resolve("synthesizer", name).fit(frame, columns, rng).sample(50, rng)) == 50
loaded = {module.partition(".")[0] for module in sys.modules}
assert not loaded & {"torch", "transformers", "peft", "tokenizers"}, loaded
print("drawn")
"""  # noqa: E501


def test_a_release_without_networks_loads_none_of_them(tmp_path: Path) -> None:
    """With the packages installed: they are not loaded; and where they are absent, nothing misses them."""
    for program in (FITTED, "sys.meta_path.pop(0)\n" + FITTED):
        result = run(program, home=tmp_path)
        assert result.stdout.strip() == "drawn", result.stderr


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    program = """
import infra.cli
heavy = {"torch", "transformers", "pandas", "scipy", "sklearn", "numba", "dask", "prefect", "great_expectations"}
loaded = {module.partition(".")[0] for module in sys.modules}
assert not loaded & heavy, loaded & heavy
print("light")
"""
    result = run(program, home=tmp_path)
    assert result.stdout.strip() == "light", result.stderr
