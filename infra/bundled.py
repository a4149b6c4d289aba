"""Files that come with the product but are no code: prefect.yaml and the examples, in a checkout or beside an installed wheel."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

from tasks.contract.errors import WaymintError

#: Where a wheel puts them below the prefix of its environment (pyproject.toml, data-files).
SHARE = "share/waymint/"
_FILE_ENTRYPOINT = re.compile(r"^(\s*entrypoint:\s*)flows/(\w+)\.py:(\w+)\s*$", re.MULTILINE)


def bundled_files() -> dict[str, Path]:
    """Return the files by their path below the project: ``prefect.yaml``, ``examples/nhefs.toml`` and so on.

    Raises
    ------
    WaymintError
        If the installation has lost them.
    """
    root = Path(__file__).resolve().parent.parent
    if (root / "pyproject.toml").is_file():
        return {path.relative_to(root).as_posix(): path for path in [root / "prefect.yaml", *sorted((root / "examples").glob("*.toml"))]}
    files = importlib.metadata.files("waymint") or []
    by_name = {file.as_posix().partition(SHARE)[2]: Path(str(file.locate())) for file in files if SHARE in file.as_posix()}
    if "prefect.yaml" not in by_name:
        raise WaymintError(
            "installation of waymint must hold prefect.yaml; it does not.", "Install the wheel again: pip install --force-reinstall."
        )
    return by_name


def deployments_file() -> str:
    """Return prefect.yaml with flows named by module: they are found wherever waymint is installed, in any folder."""
    return _FILE_ENTRYPOINT.sub(r"\1flows.\2.\3", bundled_files()["prefect.yaml"].read_text("utf-8"))
