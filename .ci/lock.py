"""Write the lock files from the packages installed beside this interpreter.

``lock.py`` writes requirements.lock and requirements-dev.lock, ``lock.py peers`` then requirements-peers.lock: the packages that
results are compared with are resolved last, beside the pins of the other two, so that no limit of theirs decides what waymint
runs on. Run in an environment into which pyproject.toml's requirements were resolved (``make lock`` makes one). A distribution that
nothing here needs is left out, so leftovers of such an environment never reach a lock file.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = ROOT / "requirements.lock"
DEVELOPMENT = ROOT / "requirements-dev.lock"
PEERS = ROOT / "requirements-peers.lock"
#: Interpreters that one lock serves: some packages need others only on the first releases of 3.11, or from 3.13 on.
PYTHONS = ({"python_version": "3.11", "python_full_version": "3.11.0"}, {"python_version": "3.13", "python_full_version": "3.13.0"})


def canonical(name: str) -> str:
    """Return the one spelling of a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(requirements: Iterable[str]) -> dict[str, str]:
    """Return name and version of everything the requirements need, directly or not, as it is installed.

    Raises
    ------
    importlib.metadata.PackageNotFoundError
        If something needed is not installed.
    """
    found: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        key = (canonical(wanted.name), frozenset(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        distribution = importlib.metadata.distribution(wanted.name)
        # "+cpu" names one build of a version; the version is what we ask for
        found[key[0]] = distribution.version.split("+")[0]
        for text in distribution.requires or []:
            needed = Requirement(text)
            if needed.marker is None or any(
                needed.marker.evaluate(place | {"extra": e}) for place in PYTHONS for e in {"", *wanted.extras}
            ):
                waiting.append(needed)
    return found


def write(path: Path, title: str, pins: dict[str, str]) -> None:
    """Write one lock file, sorted."""
    lines = [f"{name}=={version}" for name, version in sorted(pins.items())]
    path.write_text(f"# {title}; written by 'make lock'\n" + "\n".join(lines) + "\n")


def read(path: Path) -> set[str]:
    """Return the names that a lock file pins."""
    return {line.partition("==")[0] for line in path.read_text().splitlines() if "==" in line}


def main() -> None:
    """Write the lock files asked for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    if sys.argv[1:] == ["peers"]:
        pinned = read(RUNTIME) | read(DEVELOPMENT)
        peers = closure(extras["peers"])
        write(PEERS, "What results are compared with, besides the other two locks", {k: v for k, v in peers.items() if k not in pinned})
        return
    runtime = closure(
        [
            *project["project"]["dependencies"],
            *extras["networks"],
            *extras["xgboost"],
            *extras["plot"],
            *project["build-system"]["requires"],
        ]
    )
    development = closure(extras["dev"])
    write(RUNTIME, "Everything waymint runs on", runtime)
    write(DEVELOPMENT, "What its tests need besides requirements.lock", {k: v for k, v in development.items() if k not in runtime})


if __name__ == "__main__":
    main()
