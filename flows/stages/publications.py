"""Publishing a release, keeping the checks of a rejected one, or leaving the one that is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tasks.publish.task as publishing
from infra.provenance import code_digest
from infra.stages import Stages
from infra.store import open_store
from infra.workspace import Run
from tasks.contract.errors import StoreConflict, StoreMissing
from tasks.contract.refs import PartitionRef
from tasks.contract.roles import TableSchema
from tasks.contract.spec import Purpose
from tasks.publish.descriptions.files import descriptions
from tasks.publish.layout import REPORT, version_folder
from tasks.publish.manifest import Manifest
from tasks.publish.record import Facts
from tasks.publish.releases import show
from tasks.publish.repetition import Inputs, has_parts, repeats_question, repeats_work

#: Renders the report from a manifest's values.
Render = Callable[[dict[str, Any]], bytes]

# A claim is lost only to garbage collection that took this run for dead; losing several in a row is not chance.
MOST_CLAIMS = 3


class Latest(NamedTuple):
    """The latest version of a name, which the run would repeat.

    Attributes
    ----------
    uri : str
        Its folder.
    manifest : Manifest
        Its record.
    same_code : bool
        Whether code and packages are those of the run: then its bytes are the run's, without any fit.
    """

    uri: str
    manifest: Manifest
    same_code: bool

    def reply(self) -> dict[str, Any]:
        """Return the reply of a run that publishes nothing because this version is there."""
        return {"status": "unchanged", "uri": self.uri, "version": self.manifest.version, "manifest": self.manifest.as_dict()}

    def has(self, parts: Mapping[str, PartitionRef]) -> bool:
        """Return whether its rows are these parts, byte for byte."""
        return has_parts(self.manifest, parts)


def latest_repeated(run: Run, purpose: Purpose, fingerprint: str, other: str | None = None) -> Latest | None:
    """Find the version that a run would repeat, where its SPEC says to skip that.

    Parameters
    ----------
    run : Run
        The run.
    purpose : str
        Name of the flow.
    fingerprint : str
        Of the source's content.
    other : str, optional
        Fingerprint of the table that an augmentation takes its outcomes from.

    Returns
    -------
    Latest or None
        None where the latest version has another source or SPEC, where there is none, and where repetition is wanted.
    """
    if run.spec.release.unchanged != "skip":
        return None
    store, name = open_store(run.spec.store.uri, options=run.spec.store), run.spec.name
    try:
        manifest = show(store, name)
    except StoreMissing:
        return None
    inputs = Inputs(run.spec, fingerprint, other, code_digest())
    if not repeats_question(inputs, manifest, purpose):
        return None
    uri = f"{store.uri}/{version_folder(name, manifest.version)}".rstrip("/")
    return Latest(uri, manifest, repeats_work(inputs, manifest, purpose))


def publish_release(
    run: Run,
    stages: Stages,
    schema: TableSchema,
    parts: Mapping[str, PartitionRef],
    facts: Facts,
    checks: Mapping[str, bytes],
    render: Render,
) -> dict[str, Any]:
    """Publish a release under a number of its own; return the reply.

    Parameters
    ----------
    run, stages : Run, Stages
        The run and its progress.
    schema : TableSchema
        What table the name stands for.
    parts : mapping
        Path in the release to the drawn part in the workspace.
    facts : Facts
        The manifest but for version and files.
    checks : mapping
        Files of the checks by their path below ``checks/``.
    render : callable
        Renders the report, here and not in a task: it is no data.
    """
    with stages.stage("publish") as stage:
        for attempt in range(1, MOST_CLAIMS + 1):
            try:
                draft = stage.call(publishing.draft, run, schema, parts)
                # without what the run cost: a resumed run must write the same pages
                manifest = facts.model_copy(update={"metrics": {}}).manifest(draft.version, draft.parts)
                files = publishing.check_files(checks) | descriptions(manifest) | {REPORT: render(manifest.as_dict())}
                reply: dict[str, Any] = stage.call(publishing.publish, run, draft, facts, files, parts)
            except StoreConflict:
                # garbage collection took this run for dead, or a killed run left a file that differs: claim anew
                if attempt == MOST_CLAIMS:
                    raise
            else:
                return reply
    raise AssertionError("the last attempt returns or raises")


def keep_rejected(run: Run, stages: Stages, facts: Facts, checks: Mapping[str, bytes], render: Render) -> dict[str, Any]:
    """Keep checks and report of a rejected run, never rows; return the reply."""
    with stages.stage("keep checks of the rejected release") as stage:
        values = facts.unpublished()
        files = publishing.check_files(checks) | {REPORT: render(values)}
        reply: dict[str, Any] = stage.call(publishing.keep_rejected, run, values, files)
        return reply
