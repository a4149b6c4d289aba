"""Form: the source's columns, and only values the source could have."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks.checks.evidence import Evidence
from tasks.checks.metric import Metric, gate, shorten
from tasks.contract.spec import GatesSpec


class Params(BaseModel):
    """No parameters: the switches are in ``gates`` of the SPEC."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SchemaCheck:
    """Counts mismatched columns, and cells outside levels or safe ranges: none is allowed."""

    def measure(self, evidence: Evidence, gates: GatesSpec) -> list[Metric]:
        """Return the two gates; refusals where no row was inspected."""
        schema = evidence.schema
        if schema is None:
            return []
        cells = sum(count for _, count in schema.outside)
        where = [f"{name}: {count}" for name, count in schema.outside]
        return [
            gate("columns", float(len(schema.mismatches)), gates, detail=shorten(schema.mismatches)),
            gate(
                "levels",
                float(cells) if schema.rows else None,
                gates,
                refused=schema.rows == 0,
                detail=shorten(where) if schema.rows else "no released row was inspected",
            ),
        ]


def build(params: Params) -> SchemaCheck:  # noqa: ARG001 - every method's build takes its Params
    """Return the check."""
    return SchemaCheck()
