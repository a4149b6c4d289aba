"""The command that checks a SPEC and its table without a server."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.cli.options import JsonOption, SetOption, SpecArgument, StoreOption
from infra.cli.progress import suggest
from infra.cli.replies import entry, print_reply
from tasks.contract.errors import WaymintError


def check(
    spec: SpecArgument,
    store: StoreOption = None,
    set_: SetOption = None,
    command: Annotated[str, typer.Option("--for", help="the command to check for: release, compare, simulate or augment")] = "release",
    json_: JsonOption = False,
) -> None:
    """Say everything that is wrong or odd about a SPEC and its table, in seconds; nothing is run."""
    from infra.specfile import load_spec

    checks = entry("check")
    try:
        reply, lines = checks.check(load_spec(spec, set_ or [], store), command)
    except WaymintError as error:
        reply, lines = checks.reply_of([error], ())
    print_reply(reply, lines, json_)
    if reply["code"]:
        raise typer.Exit(reply["code"])
    suggest(f"waymint {command} {spec}", json_)
