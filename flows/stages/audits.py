"""The request for ``waymint audit``, from a release's manifest: no Prefect needed, so mistakes are reported at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.stages.inputs import find_table
from infra.specfile import literal, load_spec
from infra.store import open_store, split_release_uri
from tasks.audit.request import Audit, chosen_attacks
from tasks.contract.errors import SpecError, StoreError
from tasks.contract.spec import Spec, parse_spec
from tasks.publish.releases import show, verify

SPEC_ENDINGS = (".toml", ".yaml", ".yml")
#: Sections that decide which rows are training rows, which are holdout and what the release should be.
DECIDING = ("name", "seed", "roles", "covariates", "mechanisms", "release")


def compose(release: str, source: str, settings: Sequence[str], attacks: str, canaries: str | None) -> Audit:
    """Compose an audit.

    Parameters
    ----------
    release : str
        ``STORE/NAME[@VERSION]``, or the folder of a release.
    source : str
        The SPEC that the release was minted from (its ``source.uri`` and ``engine`` are used), or the URI of the source. Empty: the SPEC
        that the manifest records, with whatever ``--set`` changed when the release was minted.
    settings : sequence of str
        ``KEY=VALUE`` of ``--set``.
    attacks : str
        Comma-separated names, or ``"all"``.
    canaries : str or None
        URI of a table of canaries.

    Raises
    ------
    SpecError
        If an attack is not known, or the SPEC is of another release.
    StoreError
        If the release is not there or not sound.
    SourceError
        If the source is not there.
    """
    wanted = chosen_attacks(attacks)
    store, name, number = split_release_uri(release)
    opened = open_store(store)
    manifest = show(opened, name, number)
    faults = verify(opened, name, manifest.version)
    if faults:
        raise StoreError(
            f"files of {name} version {manifest.version} must be as its manifest says; {len(faults)} are not.",
            f"See 'waymint releases verify {store}/{name}@{manifest.version}'.",
        )
    minted = parse_spec(manifest.spec)
    base_spec = source_spec(minted, source, list(settings), "audit")
    find_table(base_spec.source.uri)
    if canaries is not None:
        find_table(canaries, "canaries of audit")
    kept = minted.model_dump() | {
        "source": minted.source.model_dump() | {"uri": base_spec.source.uri},
        "engine": base_spec.engine.model_dump(),
    }
    return Audit(
        **{**kept, "store": {"uri": store}},
        version=manifest.version,
        manifest=manifest.sha256(),
        attacks=wanted,
        canaries=canaries,
    )


def source_spec(minted: Spec, source: str, settings: list[str], command: str) -> Spec:
    """Read where the source of a release lies, and how to run.

    Parameters
    ----------
    minted : Spec
        Of the release's manifest.
    source : str
        A SPEC file, or the URI of the source.
    settings : list of str
        ``KEY=VALUE`` of ``--set``.
    command : str
        That is run, for errors.

    Raises
    ------
    SpecError
        If the release was not minted from this SPEC, or other keys than the engine's are set.
    """
    if source.lower().endswith(SPEC_ENDINGS):
        base_spec = load_spec(Path(source), settings)
    else:
        values: dict[str, Any] = minted.model_dump(mode="json")
        values["source"]["uri"] = source or minted.source.uri
        base_spec = parse_spec(_with(values, settings, command))
    ours, theirs = _deciding(base_spec), _deciding(minted)
    differing = [key for key in DECIDING if ours[key] != theirs[key]]
    if base_spec.source.holdout != minted.source.holdout:
        differing.append("source.holdout")
    if differing:
        raise SpecError(
            f"SPEC of {command} must be the one that the release was minted from; got others for {', '.join(differing)}.",
            "Name the release's own SPEC, or the source's URI alone: the manifest has the rest. Only source.uri and engine may be set.",
        )
    return base_spec


def _deciding(spec: Spec) -> dict[str, Any]:
    """Return what decides a release. Of one whose run drew its own seed, the SPEC's seed is that of the split."""
    release = spec.release.model_copy(update={"unchanged": "publish"})
    seed = spec.split_seed if release.seed_from == "run" else spec.seed
    return {**{key: getattr(spec, key) for key in DECIDING}, "seed": seed, "release": release}


def _with(values: dict[str, Any], settings: list[str], command: str) -> dict[str, Any]:
    """Set keys of the engine; all others are the release's own."""
    for setting in settings:
        key, equals, text = setting.partition("=")
        section, _, name = key.strip().partition(".")
        if not equals or section != "engine" or not name:
            raise SpecError(f"--set of {command} must be engine.KEY=VALUE; got '{setting}'.", "For example --set engine.dask=threads.")
        values[section][name] = literal(text)
    return values
