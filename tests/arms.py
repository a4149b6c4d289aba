"""A small table of three arms, and releases of it made in the test's own process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flows.release import mint
from tests.direct import directly, run_of
from tests.releasing import spec_of

GATES_OFF = ("closeness_z", "closeness_excess", "near_copies", "dcr_margin", "exact_copies", "closeness_groups", "holdout_budget")
ROLES = {"treatment": "arm", "outcome": "y", "control": "none"}
LABELS = ("none", "high", "low")
PAIRS = {("high", "none"), ("low", "none"), ("low", "high")}


def trial(rows: int = 700, seed: int = 3) -> pd.DataFrame:
    """Draw a table of three arms, one of them confounded."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=rows).round(3), rng.normal(size=rows).round(3)
    logits = np.column_stack((np.zeros(rows), 0.5 * x, -0.4 * x))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    a = (rng.random((rows, 1)) > p.cumsum(axis=1)).sum(axis=1)
    y = (x + 0.5 * z + np.array([0.0, 1.0, 2.0])[a] + rng.normal(size=rows)).round(3)
    return pd.DataFrame({"x": x, "z": z, "arm": np.array(["none", "low", "high"])[a], "y": y})


def published(folder: Path, work: str = "work", **settings: Any) -> dict[str, Any]:
    """Return the reply of a release of ``source.parquet`` in a folder."""
    reply, _ = directly(mint, run_of(spec_of(folder / "source.parquet", folder / "store", **settings), folder / work))
    return reply
