"""What a release keeps beside its rows where its SPEC asks for it: laws of the outcome, and sealed models."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from tasks.contract.refs import FileRef, PartitionRef
from tasks.contract.spec import ReleaseSpec
from tasks.publish.layout import MECHANISMS, part_path, sealed_path
from tasks.publish.manifest import Manifest


def kept_files(
    release: ReleaseSpec, profile: str, parts: Mapping[str, PartitionRef], read: Callable[[str], bytes], law: bool = True
) -> dict[str, bytes]:
    """Return the kept files by their path in the release.

    Parameters
    ----------
    release : ReleaseSpec
        Says what is kept.
    profile : str
        What the run makes; only a release keeps anything.
    parts : mapping
        Path in the release to the drawn part in the workspace; the law of a copy lies beside its parts there.
    read : callable
        Returns an object of the workspace by its name.
    law : bool
        Whether the outcome has a law around its mean: a time to event has none.
    """
    if profile != "release":
        return {}
    files: dict[str, bytes] = {}
    if release.include_nuisances and law:
        first = [parts[part_path(copy, 0)].key.rpartition("/")[0] for copy in range(release.copies)]
        laws = [json.loads(read(f"{folder}/law.json")) for folder in first]
        files[MECHANISMS] = f"{json.dumps({'laws': laws}, sort_keys=True, allow_nan=False)}\n".encode()
    if release.keep_models:
        files |= {sealed_path(copy): read(sealed_path(copy)) for copy in range(release.copies)}
    return files


def sealed_files(manifest: Manifest) -> tuple[FileRef, ...]:
    """Return a release's sealed models, in the order of its copies; empty where it kept none."""
    by_path = {file.path: file for file in manifest.files}
    kept: list[FileRef] = []
    while (path := sealed_path(len(kept))) in by_path:
        kept.append(by_path[path])
    return tuple(kept)
