"""The pages of a catalogue: one of the whole store, one of each release name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.contract.errors import StoreError
from tasks.pages.numbers import decimals_of, fixed, interval
from tasks.pages.template import fill
from tasks.publish.catalogue.changes import steps
from tasks.publish.catalogue.history import Moment, moment_of, picture
from tasks.publish.catalogue.shelf import Shelf
from tasks.publish.layout import CODEBOOK_PAGE, REPORT, version_text
from tasks.publish.manifest import Manifest, odd_values

FORMAT = "waymint-catalogue/1"
#: Machine-readable summary; a folder that has it is a catalogue and may be replaced.
RECORD = "catalogue.json"
#: Pages of a release that the catalogue carries along.
CARRIED = (REPORT, CODEBOOK_PAGE)


def showable(shelf: Shelf) -> Shelf:
    """Return a shelf whose versions can all be shown: one with odd values counts as unreadable, and hides no other."""
    versions, unreadable = [], list(shelf.unreadable)
    for manifest in shelf.versions:
        try:
            with odd_values(f"{shelf.name} version {manifest.version}"):
                _version(manifest, moment_of(manifest))
                _title(shelf._replace(versions=(manifest,)))
                steps((manifest, manifest))
        except StoreError as error:
            unreadable.append((manifest.version, error.message))
        else:
            versions.append(manifest)
    return shelf._replace(versions=tuple(versions), unreadable=tuple(sorted(unreadable)))


def pages(uri: str, shelves: Sequence[Shelf]) -> dict[str, bytes]:
    """Render a catalogue.

    Parameters
    ----------
    uri : str
        Of the store.
    shelves : sequence of Shelf
        What it holds.

    Returns
    -------
    dict of str to bytes
        By path: ``index.html``, ``NAME/index.html`` for each name, ``catalogue.json``. The same bytes for the same store.
    """
    files = {"index.html": _fill("index.html.j2", uri=uri, shelves=[_line(shelf) for shelf in shelves])}
    for shelf in shelves:
        moments = [moment_of(manifest) for manifest in shelf.versions]
        files[f"{shelf.name}/index.html"] = _fill(
            "name.html.j2",
            uri=uri,
            shelf=shelf,
            title=_title(shelf),
            picture=picture(moments, shelf.name),
            versions=[_version(manifest, moment) for manifest, moment in reversed(list(zip(shelf.versions, moments)))],
            steps=steps(shelf.versions),
            rejected=list(reversed(shelf.rejected)),
        )
    record = {"format": FORMAT, "store": uri, "releases": [_record(shelf) for shelf in shelves]}
    files[RECORD] = f"{json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)}\n".encode()
    return files


def _fill(template: str, **values: Any) -> bytes:
    return fill(Path(__file__).parent, template, **values)


def _title(shelf: Shelf) -> str:
    about = (shelf.versions[-1].spec.get("about") or {}) if shelf.versions else {}
    return str(about.get("title") or shelf.name)


def _line(shelf: Shelf) -> dict[str, Any]:
    """Return one line of the list of all names."""
    latest = shelf.versions[-1] if shelf.versions else None
    return {
        "name": shelf.name,
        "title": _title(shelf),
        "versions": len(shelf.versions),
        "rejected": len(shelf.rejected),
        "unreadable": len(shelf.unreadable),
        "latest": None if latest is None else _version(latest, moment_of(latest)),
        "failed_since": latest is not None and bool(shelf.rejected) and shelf.rejected[-1].created > latest.created,
    }


def _version(manifest: Manifest, moment: Moment) -> dict[str, Any]:
    """Return one line of the table of versions."""
    error = None if moment.low is None or moment.high is None else (moment.high - moment.low) / 4
    decimals = decimals_of(error)
    paths = {file.path for file in manifest.files}
    return {
        "version": manifest.version,
        "created": manifest.created,
        "rows": manifest.rows,
        "synthesizer": (manifest.spec.get("covariates") or {}).get("synthesizer", "?"),
        "source": fixed(moment.source, decimals),
        "interval": interval(moment.low, moment.high, decimals),
        "built_in": fixed(moment.built_in, decimals),
        "release": fixed(moment.release, decimals),
        "passed": sum(gate.status == "passed" for gate in manifest.gates),
        "inconclusive": [gate.name for gate in manifest.gates if gate.status == "inconclusive"],
        "off": [gate.name for gate in manifest.gates if gate.status == "off"],
        "warnings": len(manifest.warnings),
        "links": {path.partition(".")[0]: f"{version_text(manifest.version)}/{path}" for path in CARRIED if path in paths},
    }


def _record(shelf: Shelf) -> dict[str, Any]:
    """Return what programs read of one name."""
    return {
        "name": shelf.name,
        "versions": [{**moment_of(manifest)._asdict(), "created": manifest.created, "rows": manifest.rows} for manifest in shelf.versions],
        "unreadable": [{"version": version, "reason": reason} for version, reason in shelf.unreadable],
        "rejected": [{"run": each.run, "created": each.created, "gates": list(each.gates)} for each in shelf.rejected],
    }
