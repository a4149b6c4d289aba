"""Which code and packages a run was made with."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import platform
import subprocess
from pathlib import Path

# Packages whose version can change a byte of a release.
PACKAGES = (
    "dask", "distributed", "great-expectations", "numba", "numpy", "pandas", "prefect", "pyarrow", "scikit-learn", "scipy",
)  # fmt: skip
# The same, of the extra "networks": there or not.
OPTIONAL_PACKAGES = ("peft", "torch", "transformers")


def package_versions() -> dict[str, str]:
    """Return the versions of the packages a release depends on, and Python's; an optional package that is not installed has none."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    for name in OPTIONAL_PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return dict(sorted(versions.items())) | {"python": platform.python_version()}


def product_version() -> str:
    """Return the version of waymint."""
    return importlib.metadata.version("waymint")


def code_digest() -> str:
    """Return a digest of the product's own source files and the versions of its packages."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256(json.dumps(package_versions(), sort_keys=True).encode())
    for package in ("flows", "tasks", "infra"):
        for path in sorted((root / package).rglob("*")):
            if path.suffix in {".py", ".html", ".css", ".j2"}:
                digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def code_record() -> dict[str, str | None]:
    """Return version and commit of the product, as the manifest has them.

    The commit is that of the checkout the code runs from, None for an installed wheel.
    """
    root = Path(__file__).resolve().parent.parent
    commit = None
    if (root / ".git").exists():
        result = subprocess.run(["git", "-C", str(root), "rev-parse", "--verify", "HEAD"], capture_output=True, text=True, check=False)
        commit = result.stdout.strip() or None
    return {"version": product_version(), "commit": commit, "digest": code_digest()}
