"""Write the bill of materials of requirements.lock, and check that what is installed is what it pins.

``sbom.py [FILE] [--lock LOCK] [--debian STATUS]`` writes CycloneDX 1.6 (JSON): each package with its version, package URL, licence and what
it depends on. It exits with 1, and writes nothing, where a pin is not installed in its version, an installed package needs one that is not
pinned, or a licence is one that waymint must not be shipped with. The same lock gives the same bytes: there is no time in it.

The image calls it when it is built, with the base image's packages from ``/var/lib/dpkg/status``.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import re
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
#: Licences that would bind who uses waymint or forbid some uses; and what takes that back: an exception, or another licence to choose.
REFUSED = re.compile(r"\b(AGPL|GPL|BUSL|BSL-1\.1|SSPL|Business Source|Server Side Public|GNU (Affero )?General Public)", re.IGNORECASE)
ALLOWED = re.compile(r"\b(LGPL|Lesser|GPL.{0,30}(exception|with)|GCC-exception|Artistic License)", re.IGNORECASE)


class Package(NamedTuple):
    """One pinned package as it is installed."""

    name: str
    version: str
    licence: str
    needs: tuple[str, ...]


def canonical(name: str) -> str:
    """Return the one spelling of a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: Path) -> dict[str, str]:
    """Return the versions that a lock file pins, by name."""
    lines = (line.partition("#")[0].strip() for line in lock.read_text().splitlines())
    return {canonical(name): version for name, _, version in (line.partition("==") for line in lines if "==" in line)}


def licence(found: importlib.metadata.PackageMetadata) -> str:
    """Return a package's licence: its SPDX expression, else its classifiers, else the first line of what it says."""
    if found.get("License-Expression"):
        return str(found["License-Expression"])
    classified = [text.rpartition("::")[2].strip() for text in found.get_all("Classifier") or [] if text.startswith("License ::")]
    return " AND ".join(classified) or (str(found.get("License") or "").strip().splitlines() or ["unknown"])[0][:80]


def installed(pinned: dict[str, str]) -> Iterator[Package | str]:
    """Yield each pinned package as it is installed, or what is wrong with it."""
    for name, version in sorted(pinned.items()):
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            yield f"{name}=={version} is not installed"
            continue
        if found.version.partition("+")[0] != version:
            yield f"{name}=={version} is pinned, {found.version} is installed"
        wanted = [Requirement(text) for text in found.requires or []]
        needs = sorted({canonical(each.name) for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})})
        for each in needs:
            if each not in pinned:
                yield f"{name} needs {each}, which is not pinned"
        terms = licence(found.metadata)
        if REFUSED.search(terms) and not ALLOWED.search(terms):
            yield f"{name} has the licence {terms}"
        yield Package(name, version, terms, tuple(each for each in needs if each in pinned))


def debian(status: Path) -> list[dict[str, Any]]:
    """Return the installed Debian packages of a machine as components, by name; dpkg keeps no licences."""
    components = []
    for entry in status.read_text("utf-8").split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Architecture|Status): (.+)$", entry, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            name, version = fields["Package"], fields["Version"]
            url = f"pkg:deb/debian/{name}@{quote(version, safe='.~-')}?arch={fields['Architecture']}"
            components.append({"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url})
    return sorted(components, key=lambda component: component["bom-ref"])


def document(packages: list[Package], lock: bytes, system: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return the bill of materials in CycloneDX 1.6; ``system`` are components of the base image."""
    components = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{each.name}@{each.version}",
            "name": each.name,
            "version": each.version,
            "purl": f"pkg:pypi/{each.name}@{each.version}",
            "licenses": [{"license": {"name": each.licence}}],
        }
        for each in packages
    ]
    reference = {each.name: f"pkg:pypi/{each.name}@{each.version}" for each in packages}
    digest = hashlib.sha256(lock).hexdigest()
    whole = hashlib.sha256(lock + json.dumps(system).encode()).hexdigest() if system else digest
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, whole)}",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "bom-ref": "waymint", "name": "waymint"},
            "properties": [{"name": "waymint:requirements.lock:sha256", "value": digest}],
        },
        "components": [*components, *(system or [])],
        "dependencies": [{"ref": reference[each.name], "dependsOn": [reference[need] for need in each.needs]} for each in packages],
    }


def main() -> int:
    """Check the lock and write the bill; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", nargs="?", type=Path, default=ROOT / "build" / "sbom.cdx.json")
    parser.add_argument("--lock", type=Path, default=LOCK)
    parser.add_argument("--debian", type=Path, metavar="STATUS", help="dpkg's list of the machine's packages")
    options = parser.parse_args()
    seen = list(installed(pins(options.lock)))
    faults = [each for each in seen if isinstance(each, str)]
    for fault in faults:
        sys.stderr.write(f"lock: {fault}\n")
    if faults:
        return 1
    packages = [each for each in seen if isinstance(each, Package)]
    system = debian(options.debian) if options.debian else []
    options.target.parent.mkdir(parents=True, exist_ok=True)
    options.target.write_text(json.dumps(document(packages, options.lock.read_bytes(), system), indent=2) + "\n")
    beside = f", {len(system)} of the base image" if system else ""
    sys.stdout.write(f"{len(packages)} packages as locked{beside}; bill of materials in {options.target}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
