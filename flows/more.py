"""Entry point of ``waymint more``: further rows of a release, from the same models, gated and published as a version of their own."""

from __future__ import annotations

import threading
from typing import Any

from prefect import flow

import tasks.checks.task as checks
from flows.release import conclude, early_checks, mint, paths_of
from flows.release import describe as describe_release
from flows.stages.condition import check_where, narrow, refer
from flows.stages.copies import draw_copy
from flows.stages.endings import Ending, ending
from flows.stages.kept_models import open_models
from flows.stages.redraws import check_models
from flows.stages.runs import carry_out
from flows.stages.source import another_table, read_plan, read_rows
from flows.stages.streams import Original, check_stream
from infra.stages import Stages
from infra.workspace import Run
from tasks.checks.rejection import rejection
from tasks.contract.gates import gate_rows
from tasks.contract.roles import TableSchema
from tasks.contract.spec import Spec
from tasks.publish.layout import copy_folder, version_folder
from tasks.publish.manifest import Manifest
from tasks.source.inspection import Inspected
from tasks.source.profile import Profile
from tasks.source.task import Source

_FURTHER = "further rows of {}: read both versions as one table"
#: Gates that need the source, beside those that ask its holdout and the attacks.
_OF_THE_SOURCE = ("holdout_budget", "holdout_query", "source_overlap")


@flow(name="more", flow_run_name="more {spec.name}", validate_parameters=False)
def more(spec: Spec, original: Original) -> Ending:
    """Draw further rows of a release; the arguments are those of :func:`flows.stages.streams.compose`.

    Where the release kept its models they are opened, and the source is not read. Else they are fitted again: the same SPEC, source
    and code give the same models. Either way that is checked by drawing the release's first parts again.

    Returns
    -------
    dict
        The reply of a release.

    Raises
    ------
    GateFailed
        If a gate failed; nothing was published.
    WaymintError
        See :func:`flows.release.release`; EstimationError if the models are not those of the release.
    """
    work = mint if original.manifest is None else extend
    return ending(carry_out(spec, "release", work, original, check=_early_checks), rejection)


def _early_checks(run: Run) -> None:
    early_checks(run)
    check_stream(run)


@flow(name="extend", flow_run_name="extend {run.spec.name}", validate_parameters=False)
def extend(run: Run, original: Original) -> Ending:
    """Draw further rows from the models that a release kept, on the run's task runner; returns the reply."""
    assert original.manifest is not None  # more() sees to that
    return ending(_reply(run, Stages.current(), original, original.manifest), rejection)


def _reply(run: Run, stages: Stages, original: Original, manifest: Manifest) -> dict[str, Any]:
    """Open the models, read the release that stands in for the source, draw, judge and publish."""
    run = _without_source(run)
    threading.Thread(target=checks.load_judge, daemon=True).start()
    kept = open_models(run, stages, manifest)
    source = _stand_in(run, stages, manifest)
    check_where(run, source.described.table)
    check_models(run, stages, source.described.table, [each.models for each in kept], original)
    source = narrow(run, stages, source)
    fits = [refer(run, stages, source, each.models, each.targeting, copy) for copy, each in enumerate(kept)]
    copies = [draw_copy(run, stages, source.described.table, fit, copy) for copy, fit in enumerate(fits)]
    origin = {"reference": {"name": manifest.name, "version": manifest.version, "rows": sum(part.rows for part in source.parts)}}
    return conclude(run, stages, source, copies, paths_of(copies), original, origin)


def _without_source(run: Run) -> Run:
    """Return the run with the gates off that need rows of the source, no holdout, and the release's design not the source's."""
    spec = run.spec
    needless = [row.name for row in gate_rows() if row.section == "gates" and (row.asks_holdout or row.family == "attack")]
    gates = spec.gates.model_copy(update=dict.fromkeys((*needless, *_OF_THE_SOURCE), False))
    source = spec.source.model_copy(update={"holdout": 0.0})
    mechanisms = spec.mechanisms.model_copy(update={"propensity": None})
    return run.model_copy(update={"spec": spec.model_copy(update={"gates": gates, "source": source, "mechanisms": mechanisms})})


def _stand_in(run: Run, stages: Stages, manifest: Manifest) -> Source:
    """Read the release's first copy as the table that further rows are judged by; what is said of the source is the manifest's."""
    schema = TableSchema.model_validate(manifest.table)
    folder = f"{run.spec.store.uri}/{version_folder(manifest.name, manifest.version)}{copy_folder(0)}".rstrip("/")
    table_run = another_table(run, "release", folder)
    plan = read_plan(table_run, stages, "release")
    rows = sum(file.rows or 0 for file in manifest.files if file.path.startswith(copy_folder(0)))
    parts = read_rows(table_run, stages, plan, schema, -(-rows // run.spec.source.partition_rows), "release")
    said = (
        f"The source was not read: effects, gates and figures under 'source' are those of version {manifest.version}, whose models drew "
        "these rows. Gates that need rows of the source are off; that version passed them."
    )
    named = plan.model_copy(update={"fingerprint": str(manifest.source["fingerprint"])})
    return Source(named, Inspected(schema, Profile.model_validate(manifest.source["profile"]), (said,)), parts)


def describe(reply: dict[str, Any]) -> list[str]:
    """Return the lines a user reads at the end."""
    lines = describe_release(reply)
    parents = reply["manifest"]["parents"]
    where = reply["manifest"]["spec"]["release"].get("where")
    line = f"rows that meet {where}, from the models of {{}}: a table of its own" if where else _FURTHER
    return [*lines, *(line.format(f"{parent['name']} v{parent['version']:06d}") for parent in parents)]
