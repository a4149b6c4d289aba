"""A real browser without a window and without a network."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

BROWSER = next((each for each in map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome")) if each), None)
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-extensions", "--host-resolver-rules=MAP * ~NOTFOUND", "--hide-scrollbars", "--virtual-time-budget=60000",
)  # fmt: skip
#: Chromium's setting of the preferred colour scheme.
SCHEMES = {"light": "1", "dark": "0"}


def scheme_option(scheme: str) -> str:
    """Return the option that prefers a colour scheme."""
    return f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}"


def browse(profile: Path, target: Path, *options: str) -> str:
    """Open a file; return what the browser wrote."""
    command = [str(BROWSER), *QUIET, f"--user-data-dir={profile}", *options, target.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True).stdout
