"""The watch flow: has the source of a release changed? Cheap enough for a schedule of minutes; a trigger starts the release."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Completed
from prefect.variables import Variable

from flows.stages.announcements import source_resource
from infra.store import filesystem, open_store
from tasks.contract.errors import StoreMissing
from tasks.contract.spec import Spec
from tasks.publish.releases import show
from tasks.source.builtin import BUILTIN
from tasks.source.plan import plan_source

CHANGED = "waymint.source.changed"


@flow(name="watch", flow_run_name="watch {spec.name}", log_prints=False)
def watch(spec: Spec) -> dict[str, Any] | State[Any]:
    """Emit ``waymint.source.changed`` where a source has content that no release and no earlier event of this name has had.

    Parameters
    ----------
    spec : Spec
        The SPEC of the release. Its table is read once, for the fingerprint; no row is kept.

    Returns
    -------
    dict
        ``{"status": "changed", "fingerprint"}``, or status "unchanged" in a state of that name.

    Raises
    ------
    WaymintError
        SourceError, StoreError: see docs/errors.md.
    """
    fingerprint = _fingerprint(spec)
    variable = f"waymint_source_{spec.name.replace('-', '_')}"
    if fingerprint is None or fingerprint in (Variable.get(variable), _released(spec)):
        return Completed(
            name="Unchanged", message=f"{spec.source.uri} has not changed.", data={"status": "unchanged", "fingerprint": fingerprint}
        )
    resource = {"prefect.resource.id": source_resource(spec.name), "prefect.resource.name": spec.source.uri}
    emit_event(CHANGED, resource, payload={"name": spec.name, "uri": spec.source.uri, "fingerprint": fingerprint})
    Variable.set(variable, fingerprint, overwrite=True)
    return {"status": "changed", "fingerprint": fingerprint}


def _fingerprint(spec: Spec) -> str | None:
    """Return the fingerprint of the source's content as a release takes it; None of a built-in table, which never changes."""
    uri = spec.source.uri
    if uri.startswith(BUILTIN):
        return None
    fs, path = filesystem(uri)
    return plan_source(fs, path, uri, spec.source.partition_rows, wishes=spec.source).fingerprint


def _released(spec: Spec) -> str | None:
    """Return the fingerprint of the latest release's source; None where there is no release."""
    try:
        fingerprint: str = show(open_store(spec.store.uri, options=spec.store), spec.name).source["fingerprint"]
    except StoreMissing:
        return None
    return fingerprint
