"""Example notebooks of docs/notebooks: executed by tests with small settings, and stored with the outputs of a full run.

``python -m tests.notebooks`` executes them as they are and stores their outputs.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
#: Tag of the cell whose values a test replaces.
PARAMETERS = "parameters"
SECONDS = 500
#: What stands for the folder of the stored run in its outputs.
SHOWN_FOLDER = "/home/you/study"


def execute(path: Path, folder: Path, environment: Mapping[str, str], parameters: Mapping[str, Any] | None = None) -> Any:
    """Execute a notebook in a folder; return it with its outputs.

    Parameters
    ----------
    path : Path
    folder : Path
        Working folder of the kernel.
    environment : mapping
        Of the kernel.
    parameters : mapping, optional
        Assigned right after the notebook's own parameters.
    """
    notebook = nbformat.read(path, as_version=4)
    if parameters:
        cell = next(cell for cell in notebook.cells if PARAMETERS in cell.metadata.get("tags", ()))
        cell.source += "".join(f"\n{name} = {value!r}" for name, value in parameters.items())
    client = NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(folder)}}, record_timing=False
    )
    client.execute(env={**environment, "PYTHONPATH": str(ROOT)})
    return notebook


def store(path: Path, environment: Mapping[str, str]) -> None:
    """Execute a notebook as it is and write it with its outputs; the folder it ran in is named by a stand-in."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        notebook = execute(path, folder, environment)
        text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True).replace(str(folder), SHOWN_FOLDER)
    path.write_text(text + "\n")


if __name__ == "__main__":
    import os

    for each in PATHS:
        store(each, os.environ)
