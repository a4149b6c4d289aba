"""Compiled modules: pip leaves them beside the packages that it installs, some environments forbid them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODULES = "flows.release", "tasks.checks.expectations", "distributed", "prefect_dask", "sklearn.pipeline"


def keeping_bytecode(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which Python keeps the modules it compiles, and compile what a release and its peer import.

    Without, each process of a release compiles some 3,000 modules anew, which takes about as long as importing them.
    """
    kept = {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}
    kept |= {"PYTHONPYCACHEPREFIX": str(ROOT / "build" / "pycache"), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", f"import {', '.join(MODULES)}"], env=kept, check=True)
    return kept
