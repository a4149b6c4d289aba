"""Support: no released number that the source could not have."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks.checks.evidence import Evidence
from tasks.checks.metric import Metric, gate, shorten
from tasks.contract.spec import GatesSpec


class Params(BaseModel):
    """No parameters: the switch is in ``gates`` of the SPEC."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SupportCheck:
    """Counts released cells outside the natural support of their columns: none is allowed."""

    def measure(self, evidence: Evidence, gates: GatesSpec) -> list[Metric]:
        """Return the gate, nothing where no support was read."""
        support = evidence.support
        if support is None:
            return []
        cells = sum(count for _, count in support.outside)
        where = [f"{name}: {count}" for name, count in support.outside]
        return [gate("support", float(cells), gates, detail=shorten(where))]


def build(params: Params) -> SupportCheck:  # noqa: ARG001 - every method's build takes its Params
    """Return the check."""
    return SupportCheck()
