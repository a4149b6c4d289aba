"""What a command prints: one JSON object or lines for people on stdout, errors on stderr."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

from tasks.contract.errors import GateFailed, SpecError, WaymintError


def entry(name: str) -> Any:
    """Load an entry point by its file in flows/, as Prefect does: infra knows no flow."""
    return importlib.import_module(f"flows.{name}")


def call_entry(module: str, name: str, as_json: bool, *arguments: object) -> Any:
    """Call a read-only entry point and print its reply; return it."""
    reply, lines = getattr(entry(module), name)(*arguments)
    print_reply(reply, lines, as_json)
    if isinstance(reply, dict) and reply.get("problems"):
        raise typer.Exit(5)
    return reply


def print_reply(reply: Any, lines: Sequence[str], as_json: bool) -> None:
    """Print a reply in the requested form."""
    if as_json:
        print_json(reply)
    else:
        write("\n".join(visible(line, keep="\t") for line in lines) + "\n")


def write(text: str) -> None:
    """Write to stdout. A reader that has read enough, or a stdout that is closed, is no error.

    Raises
    ------
    WaymintError
        If stdout takes no more for another reason, e.g. a full disk.
    """
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # what is still buffered would fail once more at the end of the process
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        if isinstance(error, BrokenPipeError):
            return
        raise WaymintError(
            f"answer of the command must fit where stdout goes; got '{error.strerror}'.",
            "What it published is in the store: see 'waymint releases list'.",
        ) from None


def print_help_of_bare(context: typer.Context) -> None:
    """Print the help of a group that was called without a command, and exit with 2."""
    if context.invoked_subcommand is None:
        sys.stderr.write(f"{context.get_help()}\n")
        raise typer.Exit(SpecError.exit_code)


def print_json(value: Any) -> None:
    """Print one JSON object."""
    write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def print_error(error: WaymintError, as_json: bool) -> int:
    """Print an error; return its exit code."""
    reply = getattr(error, "reply", None)
    if as_json:
        with contextlib.suppress(WaymintError):
            print_json(reply if reply is not None else error.as_dict())
    label = "rejected" if isinstance(error, GateFailed) else "error"
    sys.stderr.write(f"{label}: {visible(error.message)}\n")
    if error.hint:
        sys.stderr.write(f"hint: {visible(error.hint)}\n")
    return error.exit_code


def visible(text: str, keep: str = "\n\t") -> str:
    r"""Return text with its control characters escaped: what comes from a store must not command a terminal.

    ESC becomes ``\x1b``, a right-to-left override ``\u202e``.
    """
    return "".join(char if char.isprintable() or char in keep else char.encode("unicode_escape").decode("ascii") for char in text)
