"""A bundle: every object that a copy's rows are drawn from, in one sequence of bytes."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tasks.contract.errors import EstimationError
from tasks.contract.refs import Ref

FORMAT = "waymint-models/1"
#: Largest bundle, compressed.
MOST_BYTES = 1 << 30


class Bundle(NamedTuple):
    """What a bundle holds.

    Attributes
    ----------
    heart : str
        Name of the object that names the others.
    objects : dict of str to bytes
        By their name in the workspace.
    """

    heart: str
    objects: dict[str, bytes]


def references(value: object) -> Iterator[Ref]:
    """Yield every reference in nested tuples, lists and dictionaries, in their order."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from references(each)


def pack(bundle: Bundle) -> bytes:
    """Write a bundle: one line of JSON with names and lengths, then the objects, compressed together.

    Raises
    ------
    EstimationError
        If it is larger than a release may keep.
    """
    head: dict[str, Any] = {
        "format": FORMAT,
        "heart": bundle.heart,
        "objects": [[name, len(data)] for name, data in bundle.objects.items()],
    }
    packed = zlib.compress(b"\n".join([json.dumps(head).encode(), b"".join(bundle.objects.values())]), 6)
    if len(packed) > MOST_BYTES:
        raise EstimationError(
            f"models of a release must have at most {MOST_BYTES:,} bytes to be kept; got {len(packed):,}.",
            "Leave release.keep_models out: 'waymint more' fits them again.",
        )
    return packed


def unpack(data: bytes, owner: str) -> Bundle:
    """Read what :func:`pack` wrote; the bytes are authentic.

    Parameters
    ----------
    data : bytes
    owner : str
        What the bundle belongs to, for the error's text.

    Raises
    ------
    EstimationError
        If another version of the format wrote it.
    """
    line, _, body = zlib.decompress(data).partition(b"\n")
    head = json.loads(line)
    if head.get("format") != FORMAT:
        raise EstimationError(
            f"models of {owner} must be of format '{FORMAT}'; got {head.get('format')!r:.40}.",
            "Another version of waymint kept them: use that one, or draw from the source: --source URI.",
        )
    objects, at = {}, 0
    for name, size in head["objects"]:
        objects[name] = body[at : at + size]
        at += size
    return Bundle(head["heart"], objects)
