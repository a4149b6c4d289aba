"""The SPEC's section of ``waymint compare``."""

from __future__ import annotations

from tasks.contract.section import Section


class CompareSpec(Section):
    """What ``waymint compare`` compares."""
