"""Commands that look after what a store holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.cli.options import JsonOption, ReleaseArgument
from infra.cli.progress import suggest
from infra.cli.replies import call_entry, print_help_of_bare

KeyOption = Annotated[Path | None, typer.Option("--key", metavar="FILE.pub", help="public key that must have signed the release")]

app = typer.Typer(help="Look at, check and fetch what a store holds.", rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def _whole(context: typer.Context) -> None:
    print_help_of_bare(context)


@app.command("list")
def list_(where: Annotated[str, typer.Argument(metavar="STORE[/NAME]")], json_: JsonOption = False) -> None:
    """List published releases."""
    call_entry("releases", "listing", json_, where)
    suggest("waymint releases show STORE/NAME", json_)


@app.command()
def show(where: ReleaseArgument, json_: JsonOption = False) -> None:
    """Show what a release says of itself."""
    call_entry("releases", "show", json_, where)
    suggest(f"waymint estimate {where}", json_)


@app.command()
def verify(where: ReleaseArgument, key: KeyOption = None, json_: JsonOption = False) -> None:
    """Re-hash every file of a release, or of a copy in a folder, against its manifest; with --key, require that key's signature."""
    call_entry("releases", "verify", json_, where, key)
    suggest(f"waymint releases export {where} --to FILE.zip", json_)


@app.command()
def pull(
    where: ReleaseArgument, to: Annotated[Path, typer.Option(help="a new folder")], key: KeyOption = None, json_: JsonOption = False
) -> None:
    """Copy a release into a folder, checking what verify checks."""
    call_entry("releases", "pull", json_, where, to, key)


@app.command()
def keygen(to: Annotated[Path, typer.Argument(metavar="FILE", help="a new file, beside FILE.pub")], json_: JsonOption = False) -> None:
    """Make a key pair: FILE signs releases (WAYMINT_SIGN_KEY=FILE), FILE.pub checks them."""
    call_entry("releases", "keygen", json_, to)


@app.command()
def sign(
    where: ReleaseArgument,
    key: Annotated[Path, typer.Option(metavar="FILE", help="file of the private key")],
    json_: JsonOption = False,
) -> None:
    """Sign a published release, after checking it."""
    call_entry("releases", "sign", json_, where, key)


@app.command()
def export(
    where: ReleaseArgument,
    to: Annotated[Path, typer.Option(metavar="FILE.zip", help="a new file")],
    csv: Annotated[bool, typer.Option("--csv", help="add the data as CSV")] = False,
    licence: Annotated[Path | None, typer.Option(metavar="FILE", help="text of the licence to enclose")] = None,
    json_: JsonOption = False,
) -> None:
    """Write a release into one file for a colleague: data, codebook, report, manifest, licence and citation."""
    call_entry("releases", "export", json_, where, to, csv, licence)


@app.command()
def diff(left: ReleaseArgument, right: ReleaseArgument, json_: JsonOption = False) -> None:
    """Tell two releases apart: SPEC, schema, rows, effects, packages."""
    call_entry("releases", "diff", json_, left, right)


@app.command()
def site(
    where: Annotated[str, typer.Argument(metavar="STORE", help="a folder or s3://bucket/prefix")],
    to: Annotated[Path, typer.Option(help="a new folder, or an earlier catalogue")] = Path("catalogue"),
    json_: JsonOption = False,
) -> None:
    """Write a static catalogue of a store: versions, verdicts, effects over versions, differences."""
    call_entry("releases", "site", json_, where, to)


@app.command()
def gc(
    where: Annotated[str, typer.Argument(metavar="STORE/NAME")],
    older_than: Annotated[float, typer.Option(min=0, help="hours after which a silent writer counts as dead")] = 24.0,
    json_: JsonOption = False,
) -> None:
    """Clear what dead writers left behind; published releases stay as they are."""
    call_entry("releases", "gc", json_, where, older_than)
