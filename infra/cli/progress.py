"""What a command writes to stderr before and after its work, unless the user wants quiet."""

from __future__ import annotations

import sys

from infra.cli.replies import visible
from infra.settings import Verbosity, verbosity


def announce(text: str, as_json: bool) -> None:
    """Say what begins."""
    if not as_json and verbosity() is not Verbosity.QUIET:
        sys.stderr.write(f"{text}\n")


def suggest(command: str, as_json: bool) -> None:
    """Say which command a user may want next; on stderr, so that results can be piped."""
    if command and not as_json and verbosity() is not Verbosity.QUIET:
        sys.stderr.write(f"next      {visible(command)}\n")
