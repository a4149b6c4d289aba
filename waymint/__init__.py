"""waymint in Python: frames in, releases and estimates out, the same flows as the command line.

>>> import waymint
>>> release = waymint.release(frame, treatment="drug", outcome="score")  # doctest: +SKIP
>>> release.frame()  # doctest: +SKIP

Functions: :func:`release`, :func:`augment`, :func:`simulate`, :func:`compare`, :func:`audit`, :func:`estimate`, :func:`more`,
:func:`load`.
Each returns a frozen result with ``frame()``, ``plot()`` and a table for notebooks. Errors are subclasses of :class:`WaymintError`.

Importing the package is quick: pandas, Prefect, Dask and the rest are loaded by the first call that needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from tasks.contract.errors import (
    EstimationError,
    GateFailed,
    InfrastructureError,
    SourceError,
    SpecError,
    StoreConflict,
    StoreError,
    StoreForbidden,
    StoreLink,
    StoreMissing,
    StoreUnavailable,
    WaymintError,
)
from waymint.api import audit, augment, compare, load, more, release, simulate
from waymint.estimation import estimate

if TYPE_CHECKING:
    from tasks.contract.spec import Spec
    from waymint.results import Audit, Comparison, Estimates, Release, Simulation

__all__ = [
    "Audit",
    "Comparison",
    "Estimates",
    "EstimationError",
    "GateFailed",
    "InfrastructureError",
    "Release",
    "Simulation",
    "SourceError",
    "Spec",
    "SpecError",
    "StoreConflict",
    "StoreError",
    "StoreForbidden",
    "StoreLink",
    "StoreMissing",
    "StoreUnavailable",
    "WaymintError",
    "audit",
    "augment",
    "compare",
    "estimate",
    "load",
    "more",
    "release",
    "simulate",
]

_RESULTS = "waymint.results"
#: Classes whose modules take a moment to import: loaded when first named.
_LATER = {"Spec": "tasks.contract.spec"} | dict.fromkeys(("Audit", "Comparison", "Estimates", "Release", "Simulation"), _RESULTS)


def __getattr__(name: str) -> object:
    """Load a class when it is first named."""
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module 'waymint' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List what the package offers."""
    return sorted(__all__)
