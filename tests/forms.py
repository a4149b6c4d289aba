"""The form that Prefect's UI draws for a deployment, seen by a browser; as a command it writes the picture in the docs.

python -m tests.forms http://127.0.0.1:4200 docs/run-form.png
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((path for path in map(shutil.which, NAMES) if path), None)
DEPLOYMENT = "release/release-on-demand"
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--hide-scrollbars",
    "--window-size=900,1000",
    # the page asks the server first
    "--virtual-time-budget=20000",
)


def form(server: str, *options: str) -> str:
    """Open the form of a run in a new headless browser; return what the browser prints."""
    with urllib.request.urlopen(f"{server}/api/deployments/name/{DEPLOYMENT}", timeout=30) as answer:
        identity = json.load(answer)["id"]
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        command = [str(BROWSER), *OPTIONS, f"--user-data-dir={profile}", *options, f"{server}/deployments/deployment/{identity}/run"]
        return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True).stdout


def picture(server: str, path: Path) -> None:
    """Write a small picture of the form: sixteen colours suffice."""
    from PIL import Image

    form(server, f"--screenshot={path}")
    with Image.open(path) as image:
        image.quantize(16).save(path, optimize=True)


if __name__ == "__main__":
    picture(sys.argv[1], Path(sys.argv[2]))
