"""The command line: reads a SPEC, runs a flow, says what came of it."""

from __future__ import annotations

import errno
import importlib
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.settings import Settings, prepare_environment, quiet_terminal
from infra.specfile import literal, load_spec
from tasks.contract.errors import GateFailed, SpecError, WaymintError
from tasks.contract.spec import Spec

INTERRUPTED = 130
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

app = typer.Typer(
    name="waymint",
    help="Causally faithful synthetic releases of (W, A, Y) tables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
releases_app = typer.Typer(help="Look at, check and fetch what a store holds.", no_args_is_help=True)
app.add_typer(releases_app, name="releases")

SpecArgument = Annotated[Path, typer.Argument(metavar="SPEC", help="a .toml or .yaml file; see examples/")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="override a key, e.g. release.rows=5000")]
StoreOption = Annotated[str | None, typer.Option(metavar="URI", help="where the release lands: a folder or s3://bucket/prefix")]
JsonOption = Annotated[bool, typer.Option("--json", help="print exactly one JSON object")]
ReleaseArgument = Annotated[str, typer.Argument(metavar="STORE/NAME[@VERSION]")]


def entry(name: str) -> Any:
    """Load an entry point by the name of its file in flows/, as Prefect does: infra knows no flow."""
    return importlib.import_module(f"flows.{name}")


@app.command()
def release(spec: SpecArgument, store: StoreOption = None, set_: SetOption = None, json_: JsonOption = False) -> None:
    """Mint a versioned, gated release from a real table."""
    _run_flow("release", load_spec(spec, set_ or [], store), json_)


@app.command()
def augment(spec: SpecArgument, store: StoreOption = None, set_: SetOption = None, json_: JsonOption = False) -> None:
    """Add synthetic rows where a treatment arm is missing, while they help more than they shift."""
    _run_flow("augment", load_spec(spec, set_ or [], store), json_)


@app.command()
def simulate(spec: SpecArgument, store: StoreOption = None, set_: SetOption = None, json_: JsonOption = False) -> None:
    """Try OR, IPW, AIPW and TMLE on data like yours, with known truth."""
    _run_flow("simulate", load_spec(spec, set_ or [], store), json_)


@app.command()
def compare(spec: SpecArgument, store: StoreOption = None, set_: SetOption = None, json_: JsonOption = False) -> None:
    """Compare synthesizers, hybrid and full: looks, prediction, closeness, and what becomes of the effect."""
    _run_flow("compare", load_spec(spec, set_ or [], store), json_)


@app.command()
def estimate(
    data: Annotated[str, typer.Argument(metavar="DATA", help="a table (file, folder, glob, s3://, builtin:NAME) or a release")],
    treatment: Annotated[str, typer.Option(help="treatment column (a release knows its own)")] = "",
    outcome: Annotated[str, typer.Option(help="outcome column (a release knows its own)")] = "",
    covariates: Annotated[str, typer.Option(help='comma-separated columns, or "*" for all others')] = "*",
    treated: Annotated[str, typer.Option(help="the label that means 'treated', as a TOML value")] = "1",
    outcome_kind: Annotated[str, typer.Option(help="auto, binary, continuous or count")] = "auto",
    missing_outcome: Annotated[str, typer.Option(help="error or drop")] = "error",
    estimators: Annotated[str, typer.Option(help="comma-separated: or, ipw, aipw, tmle, att, atc, ato")] = "or,ipw,aipw,tmle",
    learner: Annotated[str, typer.Option(help="stack, glm, boosted or a plug-in")] = "stack",
    folds: Annotated[int, typer.Option(min=2, max=20)] = 5,
    repeats: Annotated[int, typer.Option(min=1, max=100, help="cross-fittings whose predictions are averaged")] = 1,
    propensity: Annotated[str | None, typer.Option(metavar="NUMBER|COLUMN", help="known P(treated), as in a trial")] = None,
    weights: Annotated[str | None, typer.Option(metavar="COLUMN", help="row weights")] = None,
    memory_rows: Annotated[int, typer.Option(min=0, help="rows beyond which the table is not held in memory")] = 1_000_000,
    fit_rows: Annotated[
        int, typer.Option(min=200, help="beyond memory-rows: rows a learner gets at once; glm goes on from there to all rows")
    ] = 100_000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    json_: JsonOption = False,
) -> None:
    """Estimate effects with OR, IPW, AIPW, TMLE, with overlap and balance, on any table or release."""
    roles = {
        "treatment": treatment,
        "outcome": outcome,
        "covariates": covariates if covariates == "*" else tuple(name.strip() for name in covariates.split(",")),
        "treated": literal(treated),
        "outcome_kind": outcome_kind,
        "missing_outcome": missing_outcome,
    }
    names = tuple(name.strip() for name in estimators.split(","))
    options = {
        "estimators": names,
        "learner": learner,
        "folds": folds,
        "repeats": repeats,
        "propensity": _number_or_name(propensity),
        "weights": weights,
        "memory_rows": memory_rows,
        "fit_rows": fit_rows,
        "seed": seed,
    }
    _tell("estimate", "estimate", json_, data, roles, options)


def _number_or_name(text: str | None) -> float | str | None:
    """Read a number where there is one; all else names a column."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


@app.command()
def audit(
    release: ReleaseArgument,
    source: Annotated[str, typer.Option(metavar="SPEC|URI", help="the release's own SPEC, or where its source lies now")],
    attacks: Annotated[str, typer.Option(help="comma-separated; all of them where left out")] = "all",
    canaries: Annotated[str | None, typer.Option(metavar="URI", help="table of the canaries planted in the source")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="how to run, e.g. engine.workers=4")] = None,
    json_: JsonOption = False,
) -> None:
    """Attack a published release, with its source at hand: membership, mechanisms, reconstruction and more."""
    asked = entry("stages.audits").compose(release, source, set_ or [], attacks, canaries)
    from infra.prefect_server import prefect_server  # after the release is known to be there: errors come fast

    settings = Settings()
    if not json_:
        sys.stderr.write(f"waymint audit '{asked.name}' version {asked.version}: starting (Prefect server, Dask: {asked.engine.dask})\n")
    with prefect_server(settings):
        module = entry("audit")
        reply = module.audit(asked)
    _print(reply, module.describe(reply), json_)


@app.command()
def schema() -> None:
    """Print the JSON Schema of SPEC."""
    _print_json(Spec.model_json_schema())


@app.command()
def datasets(json_: JsonOption = False) -> None:
    """List the built-in sources."""
    _tell("releases", "datasets", json_)


@releases_app.command("list")
def list_(where: Annotated[str, typer.Argument(metavar="STORE[/NAME]")], json_: JsonOption = False) -> None:
    """List published releases."""
    _tell("releases", "listing", json_, where)


@releases_app.command()
def show(where: ReleaseArgument, json_: JsonOption = False) -> None:
    """Show what a release says of itself."""
    _tell("releases", "show", json_, where)


@releases_app.command()
def verify(where: ReleaseArgument, json_: JsonOption = False) -> None:
    """Re-hash every file of a release against its manifest."""
    _tell("releases", "verify", json_, where)


@releases_app.command()
def pull(where: ReleaseArgument, to: Annotated[Path, typer.Option(help="a new folder")], json_: JsonOption = False) -> None:
    """Copy a release into a folder, checking every byte."""
    _tell("releases", "pull", json_, where, to)


@releases_app.command()
def diff(left: ReleaseArgument, right: ReleaseArgument, json_: JsonOption = False) -> None:
    """Tell two releases apart: SPEC, schema, rows, effects, packages."""
    _tell("releases", "diff", json_, left, right)


@releases_app.command()
def gc(
    where: Annotated[str, typer.Argument(metavar="STORE/NAME")],
    older_than: Annotated[float, typer.Option(min=0, help="hours after which a silent writer counts as dead")] = 24.0,
    json_: JsonOption = False,
) -> None:
    """Clear what dead writers left behind; published releases stay as they are."""
    _tell("releases", "gc", json_, where, older_than)


def _run_flow(name: str, spec: Spec, as_json: bool) -> None:
    """Run a flow against its Prefect server and print its reply."""
    entry("stages.precheck").precheck(spec, name)
    from infra.prefect_server import prefect_server  # after the SPEC is known to be good: errors come fast

    settings = Settings()
    if not as_json:
        sys.stderr.write(f"waymint {name} '{spec.name}': starting (Prefect server, Dask: {spec.engine.dask})\n")
    with prefect_server(settings):
        module = entry(name)
        reply = getattr(module, name)(spec)
    _print(reply, module.describe(reply), as_json)


def _tell(module: str, name: str, as_json: bool, *arguments: object) -> None:
    """Call a read-only entry point and print its reply."""
    reply, lines = getattr(entry(module), name)(*arguments)
    _print(reply, lines, as_json)
    if isinstance(reply, dict) and reply.get("problems"):
        raise typer.Exit(5)


def _print(reply: Any, lines: Sequence[str], as_json: bool) -> None:
    if as_json:
        _print_json(reply)
    else:
        sys.stdout.write("\n".join(lines) + "\n")


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def _fail(error: WaymintError, as_json: bool) -> int:
    reply = getattr(error, "reply", None)
    if as_json:
        _print_json(reply if reply is not None else error.as_dict())
    label = "rejected" if isinstance(error, GateFailed) else "error"
    sys.stderr.write(f"{label}: {error.message}\n")
    if error.hint:
        sys.stderr.write(f"hint: {error.hint}\n")
    return error.exit_code


def main() -> None:
    """Run the command line; the exit codes are those of docs/errors.md."""
    prepare_environment()
    quiet_terminal()
    as_json = "--json" in sys.argv
    try:
        # click's own handling would turn an interrupt into exit code 1
        code = app(standalone_mode=False)
    except WaymintError as error:
        code = _fail(error, as_json)
    except typer.TyperException as error:
        text = error.format_message()  # empty where a bare command has printed its help
        code = _fail(SpecError(text, "See 'waymint --help'."), as_json) if text else SpecError.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except OSError as error:
        if error.errno not in FULL:
            raise
        text = f"space of this machine must suffice for '{error.filename or tempfile.gettempdir()}'; got '{error.strerror}'."
        code = _fail(WaymintError(text, "Free some space, or set TMPDIR to a larger folder. The same command resumes."), as_json)
    if code == INTERRUPTED:
        sys.stderr.write("interrupted: the same command resumes where this one stopped.\n")
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
