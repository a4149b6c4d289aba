"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SpecArgument = Annotated[Path, typer.Argument(metavar="SPEC", help="a .toml or .yaml file; see examples/")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="override a key, e.g. release.rows=5000")]
StoreOption = Annotated[str | None, typer.Option(metavar="URI", help="where the release lands: a folder or s3://bucket/prefix")]
JsonOption = Annotated[bool, typer.Option("--json", help="print exactly one JSON object")]
ReleaseArgument = Annotated[str, typer.Argument(metavar="STORE/NAME[@VERSION]")]
