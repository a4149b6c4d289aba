"""The error that a rejected run ends with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.checks.verdict import decide, explain
from tasks.contract.errors import GateFailed
from tasks.contract.results import Gate


def rejection(reply: Mapping[str, Any]) -> GateFailed:
    """Turn the reply of a rejected run into the error it ends with: a table of what failed by how much, and the way out."""
    gates = [Gate.model_validate(gate) for gate in reply["manifest"]["gates"]]
    failed = len(decide(gates).failed)
    lines = "\n".join(explain(gates))
    error = GateFailed(
        f"{failed} of {len(gates)} gates failed; nothing was published.\n{lines}", f"Checks and report: {reply['uri']}/report.html"
    )
    error.reply = dict(reply)
    return error
