"""Write docs/command-line.md from the commands themselves.

    .venv/bin/python .ci/command_reference.py

tests/unit/test_docs.py compares the stored page with the commands.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from infra.cli import GLOBALS, app

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "command-line.md"
#: Longest line of a page.
WIDTH = 120
HEAD = """# Commands

Every command with its arguments and options. `.ci/command_reference.py` writes this page from the commands.

* Results go to stdout, progress, warnings, errors and the next step to stderr. `--json` prints one JSON object.
* `--quiet` (`-q`) shows no progress; `--verbose` (`-v`) shows every part of long work, and Prefect's log. Both may
  stand anywhere in a command line. `WAYMINT_VERBOSITY=quiet` says the same to deployments and Python.
* `waymint --install-completion` completes commands and options in bash, zsh, fish and PowerShell.
* `waymint --version` prints the version. [Exit codes](errors.md) are the same for all commands.
"""


def page() -> str:
    """Return the page."""
    whole: Any = typer.main.get_command(app)
    return "\n".join([HEAD, *_commands("waymint", whole)])


def _commands(name: str, group: Any) -> Iterator[str]:
    """Yield the sections of a group's commands."""
    for key, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(f"{name} {key}", command)
        else:
            yield from _section(f"{name} {key}", command)


def _section(name: str, command: Any) -> Iterator[str]:
    yield f"## `{name}`\n\n{textwrap.fill(' '.join((command.help or '').split()), WIDTH)}\n"
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and not GLOBALS & set(each.opts)]
    yield f"    {' '.join([name, *(_placeholder(each) for each in arguments)])}\n"
    rows = [(_placeholder(each), _cell(each)) for each in arguments] + [(_spelled(each), _cell(each)) for each in options]
    if rows:
        yield "\n".join(["| | |", "|---|---|", *(f"| `{left}` | {right} |" for left, right in rows)]) + "\n"


def _placeholder(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper()).strip("{}")


def _spelled(option: Any) -> str:
    """Return an option's names and what it takes."""
    names = ", ".join(option.opts)
    return names if option.is_flag else f"{names} {option.metavar or option.name.strip('_').upper()}"


def _cell(parameter: Any) -> str:
    """Return a parameter's words and its default."""
    text = " ".join((parameter.help or "").split()).replace("|", "\\|")
    shown = parameter.default not in (None, "", False, [], ()) and not callable(parameter.default)
    if getattr(parameter, "required", False):
        return text or "required"
    default = f"default `{parameter.default}`" if shown else ""
    return "; ".join(part for part in (text, default) if part) or "optional"


if __name__ == "__main__":
    PAGE.write_text(page())
