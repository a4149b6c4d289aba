"""The files that describe a release, as they lie beside its manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from tasks.publish.descriptions.codebook import as_csv, as_html, codebook
from tasks.publish.descriptions.croissant import croissant
from tasks.publish.descriptions.odcs import data_contract
from tasks.publish.descriptions.package import data_package
from tasks.publish.layout import CODEBOOK_PAGE, CODEBOOK_TABLE, CROISSANT, DATA_CONTRACT, DATA_PACKAGE
from tasks.publish.manifest import Manifest, plain


class _Block(yaml.SafeDumper):
    """Writes YAML without anchors: the same list twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 (the base class calls it so)
        """Return that nothing is written as a reference."""
        return True


def descriptions(manifest: Manifest) -> dict[str, bytes]:
    """Return codebook, Data Package, Croissant and data contract by their paths in a release.

    Parameters
    ----------
    manifest : Manifest
        Complete but for the files that are not data.

    Returns
    -------
    dict of str to bytes
        The same bytes for the same manifest.
    """
    entries = codebook(manifest)
    return {
        CODEBOOK_PAGE: as_html(entries, manifest),
        CODEBOOK_TABLE: as_csv(entries),
        DATA_PACKAGE: _json(data_package(manifest, entries)),
        CROISSANT: _json(croissant(manifest, entries)),
        DATA_CONTRACT: _yaml(data_contract(manifest, entries)),
    }


def _json(value: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)}\n".encode()


def _yaml(value: Mapping[str, Any]) -> bytes:
    text: str = yaml.dump(plain(value), Dumper=_Block, sort_keys=False, allow_unicode=True, width=120)
    return text.encode()
