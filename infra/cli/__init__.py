"""The command line: reads a SPEC, runs a flow, prints what came of it. One file a group of commands."""

from __future__ import annotations

import errno
import importlib.metadata
import sys
import tempfile
from collections.abc import Sequence
from typing import Annotated

import typer

from infra.cli import check, deploy, doctor, estimation, information, init, releases, runs, work
from infra.cli.replies import print_error, print_help_of_bare
from infra.cli.signals import listening
from infra.settings import Verbosity, prepare_environment, quiet_terminal, restrict_umask, set_verbosity
from tasks.contract.errors import SpecError, WaymintError

INTERRUPTED = 130
#: Options of the whole command line, accepted anywhere in it.
GLOBALS = frozenset({"--quiet", "-q", "--verbose", "-v"})
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

# plain help: the rich one takes longer to import than all the rest
app = typer.Typer(
    name="waymint",
    help="Causally faithful synthetic releases of (W, A, Y) tables.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"max_content_width": 120},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"waymint {importlib.metadata.version('waymint')}\n")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _whole(
    context: typer.Context,
    _version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version and exit")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="show no progress, only results, warnings and errors")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="show every part of long work, and Prefect's log")] = False,
) -> None:
    if quiet and verbose:
        raise SpecError("one of --quiet and --verbose must be given; got both.", "Leave one out.")
    if quiet or verbose:
        set_verbosity(Verbosity.QUIET if quiet else Verbosity.VERBOSE)
    print_help_of_bare(context)


for command in (runs.release, runs.augment, runs.simulate, runs.compare, estimation.estimate, runs.audit, runs.more):
    app.command()(command)
app.command()(init.init)
app.command()(check.check)
app.command()(doctor.doctor)
app.command()(information.schema)
app.command()(information.datasets)
app.add_typer(releases.app, name="releases")
app.add_typer(work.app, name="work")
app.add_typer(deploy.app, name="deploy")


def globals_first(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with the options of the whole command line in front: people write them at the end."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    ours, others = [each for each in arguments[:end] if each in GLOBALS], [each for each in arguments[:end] if each not in GLOBALS]
    return [*ours, *others, *arguments[end:]]


def main() -> None:
    """Run the command line; the exit codes are those of docs/errors.md."""
    prepare_environment()
    restrict_umask()
    quiet_terminal()
    with listening() as ending:
        try:
            code = _run("--json" in sys.argv)
        finally:
            if ending.signal is not None:  # whatever error the signal led to
                ending.leave()
    if code == INTERRUPTED:
        ending.leave()
    sys.exit(code)


def _run(as_json: bool) -> int:
    """Run the command; return its exit code."""
    try:
        # click's own handling would turn an interrupt into exit code 1
        code = app(globals_first(sys.argv[1:]), standalone_mode=False, prog_name="waymint")
    except WaymintError as error:
        code = print_error(error, as_json)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)  # of the command whose options are wrong
        command = "waymint" if context is None else context.command_path
        code = print_error(SpecError(error.format_message(), f"See '{command} --help'."), as_json)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except OSError as error:
        if error.errno not in FULL:
            raise
        text = f"space of this machine must suffice for '{error.filename or tempfile.gettempdir()}'; got '{error.strerror}'."
        code = print_error(WaymintError(text, "Free some space, or set TMPDIR to a larger folder. The same command resumes."), as_json)
    return code if isinstance(code, int) else 0
