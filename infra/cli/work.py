"""Commands that look after workspaces: intermediate files of killed runs, which hold real rows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.options import JsonOption
from infra.cli.replies import print_help_of_bare, print_reply
from infra.settings import Settings

if TYPE_CHECKING:
    from infra.workspaces import Leftover

app = typer.Typer(help="Look at and clear what killed runs left: it holds real rows.", rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def _whole(context: typer.Context) -> None:
    print_help_of_bare(context)


@app.command("list")
def list_(json_: JsonOption = False) -> None:
    """List the workspaces that runs of yours on this machine left or are using."""
    from infra.workspaces import leftovers

    workspaces = leftovers(Settings())
    print_reply([each._asdict() for each in workspaces], _lines(workspaces) or ["no workspace holds anything"], json_)


@app.command()
def clear(
    older_than: Annotated[float, typer.Option(min=0, help="hours that a workspace must not have been written to")] = 0.0,
    json_: JsonOption = False,
) -> None:
    """Remove workspaces that no live run of this machine uses; killed runs then start over."""
    from infra.workspaces import clear_leftovers

    removed, kept = clear_leftovers(Settings(), older_than * 3600.0, time.time())
    reply = {"removed": [each._asdict() for each in removed], "kept": [each._asdict() for each in kept]}
    lines = [f"removed {line}" for line in _lines(removed)] + [f"kept    {line}" for line in _lines(kept)]
    print_reply(reply, lines or ["nothing to clear"], json_)


def _lines(workspaces: Sequence[Leftover]) -> list[str]:
    now = time.time()
    return [
        f"{each.uri}  {each.objects} files, {each.bytes:,} bytes, {max(0.0, now - each.modified) / 3600.0:.1f} h old, {each.state}"
        for each in workspaces
    ]
