"""The SPEC of further rows of a release, from its manifest. No Prefect needed, so mistakes are reported at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from flows.stages.audits import source_spec
from flows.stages.inputs import PublishedRelease, find_table
from infra.store import open_store, split_release_uri
from infra.workspace import Run
from tasks.contract.conditions import check_condition
from tasks.contract.errors import SourceError, SpecError, StoreConflict
from tasks.contract.refs import Parent
from tasks.contract.roles import TableSchema
from tasks.contract.spec import Spec, parse_spec
from tasks.contract.store import Store
from tasks.publish.kept import sealed_files
from tasks.publish.layout import part_path
from tasks.publish.manifest import Manifest
from tasks.publish.releases import scan_releases, show

WAY_OUT = "'waymint release' with the release's SPEC makes a new release."


class Original(NamedTuple):
    """The release that gets further rows.

    Attributes
    ----------
    parent : Parent
        How the manifest of the further rows names it.
    spec : Spec
        Of its manifest.
    fingerprint : str
        Of its source's content.
    parts : tuple of str
        SHA-256 of the first part of each copy.
    manifest : Manifest or None
        Of the release, where further rows are drawn from the models that it kept; None where they are fitted to the source again.
    """

    parent: Parent
    spec: Spec
    fingerprint: str
    parts: tuple[str, ...]
    manifest: Manifest | None = None


def compose(release: str, rows: int, source: str | None, settings: Sequence[str], where: str = "") -> tuple[Spec, Original]:
    """Compose the SPEC of further rows.

    Parameters
    ----------
    release : str
        ``STORE/NAME[@VERSION]``, or the folder of a release.
    rows : int
        Further rows of each copy.
    source : str or None
        The release's own SPEC, or where its source lies now; None: the models that the release kept, else where the manifest says.
    settings : sequence of str
        ``KEY=VALUE`` of ``--set``: the engine's keys.
    where : str
        Condition on covariates that the rows meet.

    Returns
    -------
    tuple of Spec and Original
        The SPEC is the release's with other rows, of a stream that no version of its name has.

    Raises
    ------
    SpecError
        If the release can't have further rows, or the SPEC is of another release.
    StoreError
        If the release is not there.
    SourceError
        If the source is not there.
    """
    store, name, number = split_release_uri(release)
    opened = open_store(store)
    manifest = show(opened, name, number)
    minted = parse_spec(manifest.spec)
    _refuse(manifest, minted)
    kept = source is None and bool(sealed_files(manifest))
    base = source_spec(minted, source or minted.source.uri, list(settings), "more")
    if not kept:
        find_table(base.source.uri)
    further: dict[str, Any] = {"rows": rows, "stream": next_stream(opened, name), "where": where}
    further |= {"seed_from": "spec", "unchanged": "publish", "keep_models": False}
    values = minted.model_dump() | {
        "source": minted.source.model_dump() | {"uri": base.source.uri},
        "release": minted.release.model_dump() | further,
        "engine": base.engine.model_dump(),
        "store": {"uri": store},
    }
    digests = {file.path: file.sha256 for file in manifest.files}
    parts = tuple(digests[part_path(copy, 0)] for copy in range(minted.release.copies))
    parent = PublishedRelease(opened, manifest).parent()
    spec = parse_spec(values)
    if spec.release.condition is not None:
        check_condition(spec.release.condition, TableSchema.model_validate(manifest.table))
    return spec, Original(parent, minted, str(manifest.source.get("fingerprint")), parts, manifest if kept else None)


def next_stream(store: Store, name: str) -> int:
    """Return the first stream of random numbers that no version of a name was drawn with."""
    streams = [show(store, name, info.version).spec["release"].get("stream", 0) for info in scan_releases(store, name).releases]
    return 1 + max(map(int, streams), default=0)


def _refuse(manifest: Manifest, spec: Spec) -> None:
    """Refuse releases whose rows can't be added to."""
    owner = f"{manifest.name} version {manifest.version}"
    if manifest.profile != "release":
        raise SpecError(f"release of more must come from 'waymint release'; got {owner} of 'waymint {manifest.profile}'.")
    if spec.release.where:
        raise SpecError(
            f"release of more must hold rows of the whole source; got {owner}, whose rows meet '{spec.release.where}'.",
            "Name the version that it extends, with --where.",
        )
    units = [*spec.roles.id, *([spec.roles.cluster] if spec.roles.cluster else [])]
    if units:
        raise SpecError(
            f"release of more must have no ids and clusters; got {owner} with '{units[0]}'.",
            f"Its fresh keys could come twice. {WAY_OUT}",
        )


def check_stream(run: Run) -> None:
    """Refuse a stream that another run has published meanwhile: its rows would be the same."""
    if next_stream(open_store(run.spec.store.uri, options=run.spec.store), run.spec.name) != run.spec.release.stream:
        message = f"stream {run.spec.release.stream} of {run.spec.name} must be new; another run has published it."
        raise StoreConflict(message, "Run the same command again.")


def check_source(original: Original, fingerprint: str) -> None:
    """Refuse a source that has changed since, before anything is fitted."""
    if fingerprint != original.fingerprint:
        raise SourceError(
            f"source of more must be that of {original.parent.name} version {original.parent.version}; its content differs.", WAY_OUT
        )
