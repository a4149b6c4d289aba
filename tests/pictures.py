"""The pictures of the documentation, from real runs: ``python -m tests.pictures [report] [compare]`` makes them again.

``report.png`` is the first screen of the demo's report. ``compare.png`` is the top of a comparison on the world "poor", in which a
synthesizer predicts well and carries another effect.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.worlds import draw
from infra.prefect_server import end_server
from infra.settings import Settings
from tests.browsing import browse, scheme_option

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ROWS = 6_000
#: Width and height in pixels.
SIZES = {"report": (1_180, 1_290), "compare": (1_180, 1_180)}


def run(arguments: Sequence[str], folder: Path) -> dict[str, Any]:
    """Run a command in a folder; return its reply."""
    environment = os.environ | {"WAYMINT_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "infra.cli", *arguments, "--json"]
    reply: dict[str, Any] = json.loads(subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, check=True).stdout)
    return reply


def report(folder: Path) -> Path:
    """Release the demo; return its report."""
    reply = run(["release", str(ROOT / "examples" / "nhefs.toml")], folder)
    return Path(reply["uri"].removeprefix("file://")) / "report.html"


def compare(folder: Path) -> Path:
    """Compare copula and forest where overlap is poor; return the page."""
    draw("poor", ROWS, np.random.default_rng(7)).frame().to_parquet(folder / "poor.parquet")
    values: Mapping[str, Any] = {
        "name": "poor",
        "source": {"uri": "poor.parquet"},
        "roles": {"treatment": "a", "outcome": "y"},
        "mechanisms": {"learner": "glm"},
        "release": {"rows": ROWS},
        "compare": {"synthesizers": ["copula", "forest"], "seeds": 2},
    }
    (folder / "poor.yaml").write_text(json.dumps(values))  # JSON is YAML
    return Path(run(["compare", "poor.yaml"], folder)["uri"].removeprefix("file://")) / "compare.html"


PAGES = {"report": report, "compare": compare}


def main() -> None:
    """Make the pictures that are named, or all of them."""
    for name in sys.argv[1:] or PAGES:
        with tempfile.TemporaryDirectory(prefix="waymint-pictures-", ignore_cleanup_errors=True) as scratch:
            folder = Path(scratch)
            try:
                page = PAGES[name](folder)
            finally:
                end_server(Settings(home=folder / "home"))
            width, height = SIZES[name]
            picture = DOCS / f"{name}.png"
            browse(folder / "profile", page, f"--screenshot={picture}", f"--window-size={width},{height}", scheme_option("light"))


if __name__ == "__main__":
    main()
