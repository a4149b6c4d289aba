"""Commands that prepare a site: its deployments, examples and secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.bundled import bundled_files, deployments_file
from infra.cli.options import JsonOption
from infra.cli.replies import print_help_of_bare, print_reply
from tasks.contract.errors import SpecError

app = typer.Typer(help="Prepare a folder or a site for Prefect deployments.", rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def _whole(context: typer.Context) -> None:
    print_help_of_bare(context)


@app.command("init")
def init(
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="where runs will start; made where it is missing")] = Path(),
    json_: JsonOption = False,
) -> None:
    """Write prefect.yaml and the example SPECs into a folder; files that are there stay."""
    texts = {name: path.read_text("utf-8") for name, path in bundled_files().items()} | {"prefect.yaml": deployments_file()}
    written, kept = [], []
    for name, text in sorted(texts.items()):
        path = to / name
        if path.exists():
            kept.append(str(path))
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        except OSError as error:
            raise SpecError(
                f"folder of deploy init must be writable; '{to}' is not ({error.strerror}).", "Name another with --to."
            ) from None
        written.append(str(path))
    lines = [f"written: {path}" for path in written] + [f"kept:    {path}" for path in kept]
    steps = ["prefect work-pool create waymint --type process --concurrency-limit 4", "prefect --no-prompt deploy --all"]
    print_reply({"written": written, "kept": kept}, [*lines, f"next, in '{to}':", *(f"    {step}" for step in steps)], json_)


@app.command("secrets")
def secrets(
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="a folder that only its owner enters")] = Path("secrets"),
    json_: JsonOption = False,
) -> None:
    """Make the secrets of a site that are not there yet: passwords, keys, and the certificate of its Dask cluster."""
    from infra.site_secrets import WORDS, write_secrets

    written = [path.name for path in write_secrets(to)]
    lines = [f"written: {to / name}  {WORDS.get(name, 'scheduler, workers and clients of Dask')}" for name in written]
    print_reply({"folder": str(to), "written": written}, lines or [f"nothing to do: '{to}' holds every secret"], json_)
