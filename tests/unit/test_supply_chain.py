"""The lock, its licences and its bill of materials: what is shipped is what is written down."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

from tests.dockerfile import stages

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def sbom() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sbom", ROOT / ".ci/sbom.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sbom"] = module
    spec.loader.exec_module(module)
    return module


def test_the_bill_lists_every_pin_once_with_a_licence_and_closed_dependencies(sbom: ModuleType, tmp_path: Path) -> None:
    packages = [each for each in sbom.installed(sbom.pins(sbom.LOCK)) if not isinstance(each, str)]
    bill = sbom.document(packages, sbom.LOCK.read_bytes())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert {each["name"]: each["version"] for each in bill["components"]} == sbom.pins(sbom.LOCK)
    references = {each["bom-ref"] for each in bill["components"]}
    assert len(references) == len(bill["components"]) > 100
    assert {each["ref"] for each in bill["dependencies"]} == references
    assert {need for each in bill["dependencies"] for need in each["dependsOn"]} <= references
    unknown = [each["name"] for each in bill["components"] if each["licenses"][0]["license"]["name"] in ("unknown", "UNKNOWN", "")]
    assert len(unknown) < 5, unknown
    assert json.dumps(bill) == json.dumps(sbom.document(packages, sbom.LOCK.read_bytes()))


@pytest.mark.parametrize("python", ["3.11.0", "3.12.0", "3.13.0"])
def test_one_lock_serves_every_python(sbom: ModuleType, python: str) -> None:
    """Debian's 3.11.2 needs a package that later releases of 3.11 have built in."""
    pinned = sbom.pins(sbom.LOCK)
    place = {"python_version": python[:4], "python_full_version": python, "extra": ""}
    for name in pinned:
        wanted = [Requirement(text) for text in importlib.metadata.requires(name) or []]
        needs = {sbom.canonical(each.name) for each in wanted if each.marker is None or each.marker.evaluate(place)}
        assert needs <= set(pinned), name


def test_the_image_writes_its_own_bill_with_the_packages_of_its_base(tmp_path: Path) -> None:
    """The command of the Dockerfile, on a list of packages as dpkg keeps it."""
    [command] = [run for run in stages(ROOT / "infra/docker/Dockerfile")["waymint"].runs() if "sbom.py" in run]
    entry = "Package: {}\nStatus: {}\nArchitecture: amd64\nVersion: {}\nDescription: a\n b\n"
    packages = [("libc6", "install ok installed", "2.36-9+deb12u10"), ("gone", "deinstall ok config-files", "1")]
    (tmp_path / "status").write_text("\n".join(entry.format(*each) for each in packages))
    words = [sys.executable, str(ROOT / ".ci/sbom.py"), *shlex.split(command)[2:]]
    for place, here in {"/var/lib/dpkg/status": tmp_path / "status", "/opt/waymint/requirements.lock": ROOT / "requirements.lock"}.items():
        words[words.index(place)] = str(here)
    words[words.index("/opt/waymint/sbom.cdx.json")] = str(tmp_path / "bill")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    bill = json.loads((tmp_path / "bill").read_text())
    assert [each["purl"] for each in bill["components"] if "deb/" in each["purl"]] == ["pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64"]
    assert {"numpy", "prefect", "torch"} <= {each["name"] for each in bill["components"]}


@pytest.mark.parametrize(
    ("lock", "fault"),
    [
        ("numpy==0.0.1\n", "numpy==0.0.1 is pinned"),
        ("no-such-package==1.0\n", "is not installed"),
        ("pandas==0\n", "pandas needs numpy, which is not pinned"),
    ],
)
def test_a_lock_that_is_not_what_is_installed_is_told(sbom: ModuleType, tmp_path: Path, lock: str, fault: str) -> None:
    (tmp_path / "lock").write_text(lock)
    assert fault in "; ".join(each for each in sbom.installed(sbom.pins(tmp_path / "lock")) if isinstance(each, str))


@pytest.mark.parametrize(
    ("licence", "refused"),
    [
        ("GPL-3.0-only", True),
        ("AGPL-3.0-or-later", True),
        ("BUSL-1.1", True),
        ("GNU General Public License v3 (GPLv3)", True),
        ("LGPL-2.1-or-later", False),
        ("Artistic License AND GNU General Public License (GPL)", False),
        ("BSD-3-Clause", False),
        ("Apache-2.0 AND GPL-3.0-or-later WITH GCC-exception-3.1", False),
    ],
)
def test_licences_that_bind_users_are_refused(sbom: ModuleType, licence: str, refused: bool) -> None:
    assert (bool(sbom.REFUSED.search(licence)) and not sbom.ALLOWED.search(licence)) == refused


def test_bandit_runs_on_all_packages_and_would_fail(tmp_path: Path) -> None:
    """The command of ``make lint``, on a file with a fault."""
    command = next(line.strip() for line in (ROOT / "Makefile").read_text().splitlines() if "/bandit " in line).split()[1:]
    assert command[-4:] == ["waymint", "flows", "tasks", "infra"]
    (tmp_path / "bad.py").write_text("import pickle\n\n\ndef read(data: bytes) -> object:\n    return pickle.loads(data)\n")
    ended = subprocess.run([sys.executable, "-m", "bandit", *command[:-4], str(tmp_path)], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "B301" in ended.stdout
