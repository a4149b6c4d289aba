"""Commands that describe waymint itself."""

from __future__ import annotations

from infra.cli.options import JsonOption
from infra.cli.progress import suggest
from infra.cli.replies import call_entry, print_json


def schema() -> None:
    """Print the JSON Schema of SPEC."""
    from tasks.contract.spec import Spec

    print_json(Spec.model_json_schema())


def datasets(json_: JsonOption = False) -> None:
    """List the built-in sources."""
    call_entry("releases", "datasets", json_)
    suggest("waymint init builtin:NAME", json_)
