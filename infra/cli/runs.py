"""Commands that run a flow."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.cli.options import JsonOption, ReleaseArgument, SetOption, SpecArgument, StoreOption
from infra.cli.progress import announce, suggest
from infra.cli.replies import entry, print_reply
from infra.faults import infrastructure
from infra.settings import Settings

#: What every flow needs and what takes long to import; nothing of Prefect, which reads its server's address as it is imported.
HEAVY = ("numba", "pandas", "scipy.stats", "sklearn.ensemble")


def release(spec: SpecArgument, store: StoreOption = None, set_: SetOption = None, json_: JsonOption = False) -> None:
    """Mint a versioned, gated release from a real table."""
    _run_flow("release", spec, set_, store, json_)


def augment(spec: SpecArgument, store: StoreOption = None, set_: SetOption = None, json_: JsonOption = False) -> None:
    """Add synthetic rows where a treatment arm is missing, while they help more than they shift."""
    _run_flow("augment", spec, set_, store, json_)


def simulate(spec: SpecArgument, store: StoreOption = None, set_: SetOption = None, json_: JsonOption = False) -> None:
    """Try OR, IPW, AIPW and TMLE on data like yours, with known truth."""
    _run_flow("simulate", spec, set_, store, json_)


def compare(spec: SpecArgument, store: StoreOption = None, set_: SetOption = None, json_: JsonOption = False) -> None:
    """Compare synthesizers, hybrid and full: fidelity, prediction, closeness, and the change of the effect."""
    _run_flow("compare", spec, set_, store, json_)


def audit(
    release: ReleaseArgument,
    source: Annotated[
        str, typer.Option(metavar="SPEC|URI", help="the release's own SPEC, or where its source lies now; where left out, as recorded")
    ] = "",
    attacks: Annotated[str, typer.Option(help="comma-separated; all of them where left out")] = "all",
    canaries: Annotated[str | None, typer.Option(metavar="URI", help="table of the canaries planted in the source")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="how to run, e.g. engine.workers=4")] = None,
    json_: JsonOption = False,
) -> None:
    """Attack a published release, with its source at hand: membership, mechanisms, reconstruction and more."""
    request = entry("stages.audits").compose(release, source, set_ or [], attacks, canaries)
    from infra.prefect_server import prefect_server  # after the release is known to be there: errors come fast

    settings = Settings()
    announce(f"waymint audit '{request.name}' version {request.version}: starting", json_)
    with prefect_server(settings), infrastructure():
        module = entry("audit")
        reply = module.audit(request)
    print_reply(reply, module.describe(reply), json_)
    leaks = any(each["verdict"] == "leak found" for each in reply["attacks"])
    suggest("" if leaks else f"waymint releases export {release} --to FILE.zip", json_)


def more(
    release: ReleaseArgument,
    rows: Annotated[int, typer.Option(min=1, help="further rows of each copy")],
    where: Annotated[str, typer.Option(metavar="CONDITION", help="covariates of every row, e.g. \"age > 60 and sex == 'f'\"")] = "",
    source: Annotated[
        str | None,
        typer.Option(metavar="SPEC|URI", help="the release's own SPEC, or where its source lies now; needless where models were kept"),
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="how to run, e.g. engine.workers=4")] = None,
    json_: JsonOption = False,
) -> None:
    """Draw further rows of a published release from the same models, gated again: a version that extends it."""
    spec, original = entry("stages.streams").compose(release, rows, source, set_ or [], where)
    if original.manifest is None:
        entry("stages.precheck").precheck(spec, "release")
    from infra.prefect_server import prefect_server  # after the release is known to be there: errors come fast

    _import_ahead()
    announce(f"waymint more '{spec.name}': starting", json_)
    with prefect_server(Settings()), infrastructure():
        module = entry("more")
        reply = module.more(spec, original)
    print_reply(reply, module.describe(reply), json_)
    suggest(f"waymint releases export {reply['uri']} --to {spec.name}-more.zip", json_)


def _run_flow(name: str, path: Path, settings: list[str] | None, store: str | None, as_json: bool) -> None:
    """Run a flow against its Prefect server and print its reply."""
    from infra.specfile import load_spec

    spec = load_spec(path, settings or [], store)
    entry("stages.precheck").precheck(spec, name)
    from infra.prefect_server import prefect_server  # after the SPEC is known to be good: errors come fast

    _import_ahead()
    announce(f"waymint {name} '{spec.name}': starting", as_json)
    with prefect_server(Settings()), infrastructure():
        module = entry(name)
        reply = getattr(module, name)(spec)
    print_reply(reply, module.describe(reply), as_json)
    suggest(_next(name, path, reply), as_json)


def _next(name: str, spec: Path, reply: Mapping[str, Any]) -> str:
    """Return the command that follows a flow."""
    if name == "release":
        return f"waymint releases export {reply['uri']} --to {reply['manifest']['name']}.zip"
    if name == "augment":
        return f"waymint releases pull {reply['uri']} --to FOLDER, then append its rows to the source"
    taken = reply["recommendation"]["synthesizer"] if name == "compare" else None
    return f"waymint release {spec}" + (f" --set covariates.synthesizer={taken}" if taken else "")


def _import_ahead() -> None:
    """Import while the Prefect server starts, in another process."""

    def load() -> None:
        for name in HEAVY:
            importlib.import_module(name)

    threading.Thread(target=load, daemon=True).start()
