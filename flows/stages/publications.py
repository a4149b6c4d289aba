"""Publishing a release, or keeping the checks of a rejected one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tasks.publish.task as publishing
from infra.stages import Stages
from infra.workspace import Run
from tasks.contract.errors import StoreConflict
from tasks.contract.refs import PartitionRef
from tasks.contract.roles import TableSchema
from tasks.publish.descriptions.files import descriptions
from tasks.publish.layout import REPORT
from tasks.publish.record import Facts

#: Renders the report from a manifest's values.
Render = Callable[[dict[str, Any]], bytes]

# A claim is lost only to garbage collection that took this run for dead; losing several in a row is not chance.
MOST_CLAIMS = 3


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
                manifest = facts.manifest(draft.version, draft.parts)
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
