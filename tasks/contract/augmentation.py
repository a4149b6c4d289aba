"""The SPEC's section of ``waymint augment``."""

from __future__ import annotations

from tasks.contract.section import Section


class AugmentSpec(Section):
    """What ``waymint augment`` adds."""
