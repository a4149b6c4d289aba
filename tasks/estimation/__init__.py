"""Effects from (W, A, Y): estimators on shared cross-fitted nuisances, overlap, balance, fidelity, combining rules."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.estimation.analysis import Analysis, analyse, estimate

__all__ = ["Analysis", "analyse", "estimate"]


def __getattr__(name: str) -> object:
    # pandas and the rest load when a face is first used, not when the package is
    if name in __all__:
        return getattr(importlib.import_module("tasks.estimation.analysis"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
