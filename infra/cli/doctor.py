"""The command that looks at the machine."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.cli.options import JsonOption
from infra.cli.progress import suggest
from infra.cli.replies import print_reply
from infra.settings import Settings


def doctor(
    store: Annotated[str | None, typer.Option(metavar="URI", help="try this store too: a small object is written and removed")] = None,
    json_: JsonOption = False,
) -> None:
    """Say what this machine lacks for a run, and how to mend it; nothing is started."""
    from infra.doctor import diagnose

    checks = diagnose(Settings(), store)
    code = min((one.code for one in checks if one.status == "error"), default=0)
    width = max(len(one.name) for one in checks)
    lines = []
    for one in checks:
        lines.append(f"{one.status:<8} {one.name:<{width}}  {one.message}")
        if one.hint:
            lines.append(f"{'':<8} {'':<{width}}  hint: {one.hint}")
    errors = sum(one.status == "error" for one in checks)
    warnings = sum(one.status == "warning" for one in checks)
    counts = f"{errors} {'error' if errors == 1 else 'errors'}, {warnings} {'warning' if warnings == 1 else 'warnings'}"
    reply = {"status": "error" if errors else "ok", "code": code, "diagnoses": [one._asdict() for one in checks]}
    print_reply(reply, [*lines, f"doctor: {counts}"], json_)
    if code:
        raise typer.Exit(code)
    suggest("waymint init FILE", json_)
