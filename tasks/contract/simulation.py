"""The SPEC's section of ``waymint simulate``."""

from __future__ import annotations

from tasks.contract.section import Section


class SimulateSpec(Section):
    """What ``waymint simulate`` simulates."""
