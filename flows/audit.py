"""The audit flow: attacks against one published release, by somebody who has its source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect import flow

import tasks.audit.task as auditing
from flows.stages.audits import compose
from flows.stages.runs import carry_out
from flows.stages.source import another_table, read_plan, read_rows
from infra.stages import Stages
from infra.store import open_store
from infra.workspace import Run
from tasks.audit.page import headline
from tasks.audit.request import Audit
from tasks.contract.errors import SourceError
from tasks.contract.refs import PartitionRef
from tasks.contract.roles import TableSchema
from tasks.publish.layout import audit_key, version_folder
from tasks.publish.manifest import Manifest
from tasks.publish.releases import show


@flow(name="audit", flow_run_name="audit {request.name} version {request.version}", log_prints=False)
def audit(request: Audit) -> dict[str, Any]:
    """Attack one release; keep the answers beside it.

    Parameters
    ----------
    request : Audit
        Made by :func:`flows.stages.audits.compose`.

    Returns
    -------
    dict
        ``{"uri", "attacks": [...]}``; each attack with statistic, value, interval, baseline, control and verdict.

    Raises
    ------
    WaymintError
        SpecError, SourceError, EstimationError, StoreError: see docs/errors.md.
    """
    return carry_out(request, "audit", probe, request)


@flow(name="audit-release", flow_run_name="audit {release}", log_prints=False)
def audit_release(release: str, source: str, attacks: str = "all", canaries: str | None = None) -> dict[str, Any]:
    """Attack one release named by its URI: what a deployment's form asks for.

    Parameters
    ----------
    release : str
        ``STORE/NAME[@VERSION]``, or the folder of a release.
    source : str
        URI of the table it was minted from, or the path of its SPEC.
    attacks : str
        Comma-separated names, or ``"all"``.
    canaries : str, optional
        URI of a table of the planted canaries.

    Returns
    -------
    dict
        As :func:`audit`.
    """
    return audit(compose(release, source, [], attacks, canaries))


@flow(name="probe", flow_run_name="probe {request.name} version {request.version}", validate_parameters=False)
def probe(run: Run, request: Audit) -> dict[str, Any]:
    """Do the work of one audit on the run's task runner; returns the reply."""
    stages = Stages.current()
    store = open_store(request.store.uri, options=request.store)
    manifest = show(store, request.name, request.version)
    schema = TableSchema.model_validate(manifest.table)
    real = _read(run, stages, schema, "source", request.source.uri, manifest)
    released = _read(run, stages, schema, "release", f"{store.uri}/{version_folder(request.name, request.version)}data")
    canaries = _read(run, stages, schema, "canaries", request.canaries) if request.canaries is not None else []
    case = stages.run("gather audited rows", auditing.gather, run, schema, real, released, canaries)
    findings = stages.map("attack", auditing.attack, [(run, case, name) for name in request.attacks])
    answers = auditing.answers(run, request, case, findings)
    folder = audit_key(request.name, request.version, run.id, "audit.json").rpartition("/")[0]
    return {"uri": auditing.keep(request.store.uri, folder, answers), "attacks": answers["attacks"]}


def _read(run: Run, stages: Stages, schema: TableSchema, name: str, uri: str, manifest: Manifest | None = None) -> Sequence[PartitionRef]:
    """Bring a table into canonical form and hash order, the way a release reads its source.

    With a manifest the table is the source: its content must be what the release was minted from.
    """
    table_run, rows = another_table(run, name, uri), run.spec.source.partition_rows
    plan = read_plan(table_run, stages, name)
    if manifest is not None and plan.fingerprint != manifest.source["fingerprint"]:
        raise SourceError(
            f"source of audit must be the one that {manifest.name} version {manifest.version} was minted from; got other content.",
            "An audit needs the very rows: bring back the source as it was, or mint a release of the new one and audit that.",
        )
    lacking = sorted({column.name for column in schema.columns} - set(plan.names))
    if lacking:
        raise SourceError(f"columns of {name} must be those of the release; got a table that lacks {', '.join(lacking)}.")
    buckets = max(1, -(-schema.rows // rows)) if manifest is not None else 1
    return read_rows(table_run, stages, plan, schema, buckets, name)


def describe(reply: dict[str, Any]) -> list[str]:
    """Return the lines a user reads at the end of an audit."""
    lines = [f"{'attack':<16}{'statistic':<34}{'value':>8}{'interval':>18}{'guess':>8}{'control':>9}  verdict"]
    for finding in reply["attacks"]:
        value, low, high, guess, control = (
            "–" if finding[name] is None else f"{finding[name]:.3f}" for name in ("value", "ci_low", "ci_high", "baseline", "control")
        )
        lines.append(
            f"{finding['attack']:<16}{finding['statistic']:<34}{value:>8}{f'{low} to {high}':>18}{guess:>8}{control:>9}  "
            f"{finding['verdict']}"
        )
    return [*lines, "", headline(reply["attacks"])["text"], f"report    {reply['uri']}/audit.html"]
