"""What a run tells Prefect when it ends: artifacts on its page, and an event that automations react to."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.events import emit_event

from flows.stages.page import release_page
from infra.faults import lost_server
from tasks.contract.headline import main_effect
from tasks.publish.layout import REPORT

#: What an event says of one gate, and of one estimate.
GATE_FIELDS = ("name", "status", "value", "rule", "threshold")
EFFECT_FIELDS = ("estimate", "se", "ci_low", "ci_high", "estimator")


def announce(reply: dict[str, Any]) -> dict[str, Any]:
    """Show a release on the page of its run, emit its event, and return the reply as it is.

    Events are named ``waymint.release.published``, ``.rejected`` and ``.unchanged``; docs/operations.md says what they hold. A server
    that is lost now takes back nothing: what was published stays.

    Parameters
    ----------
    reply : dict
        Of a release or an augmentation.
    """
    name, uri = reply["manifest"]["name"], reply["uri"]
    with contextlib.suppress(RuntimeError, *lost_server()):
        create_markdown_artifact(release_page(reply), key=f"release-{name}", description=f"Release {name}: {reply['status']}")
        create_link_artifact(f"{uri}/{REPORT}", f"Report of {name}", key=f"report-{name}", description=f"Report of {name}")
    emit_event(f"waymint.release.{reply['status']}", _resource(reply), related=_related(reply["manifest"]), payload=_payload(reply))
    return reply


def _resource(reply: Mapping[str, Any]) -> dict[str, str]:
    """Return the event's resource: the release name, with the place of this version as labels."""
    name = reply["manifest"]["name"]
    labels = {"prefect.resource.id": f"waymint.release.{name}", "prefect.resource.name": name, "waymint.uri": reply["uri"]}
    return labels if reply["version"] is None else labels | {"waymint.version": str(reply["version"])}


def _related(manifest: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the source and the store of a release; Prefect adds flow run, deployment and work pool."""
    name, source, store = manifest["name"], manifest["source"]["uri"], manifest["spec"]["store"]["uri"]
    return [
        {"prefect.resource.id": source_resource(name), "prefect.resource.role": "source", "prefect.resource.name": source},
        {"prefect.resource.id": f"waymint.store.{store}", "prefect.resource.role": "store", "prefect.resource.name": store},
    ]


def source_resource(name: str) -> str:
    """Return the id of the source of a release name, as events have it."""
    return f"waymint.source.{name}"


def _payload(reply: Mapping[str, Any]) -> dict[str, Any]:
    manifest = reply["manifest"]
    gates = [{field: gate[field] for field in GATE_FIELDS} for gate in manifest["gates"]]
    return {
        "name": manifest["name"],
        "uri": reply["uri"],
        "version": reply["version"],
        "run": manifest["run"],
        "source": {name: manifest["source"][name] for name in ("uri", "fingerprint", "rows")},
        "gates": gates,
        "failed": [gate["name"] for gate in gates if gate["status"] in ("failed", "refused")],
        "effect": {where: _effect(main_effect(manifest["effects"], where)) for where in manifest["effects"] if where != "truth"},
    }


def _effect(estimate: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if estimate is None else {field: estimate.get(field) for field in EFFECT_FIELDS}
