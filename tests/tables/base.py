"""What all tables of traits start from: a confounder x, a treatment a, an outcome y with an average effect of 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

ROWS = 600


class Made(NamedTuple):
    """A table that was written: where, its roles, and what its SPEC says of reading."""

    uri: Path
    roles: Mapping[str, Any]
    source: Mapping[str, Any] = {}


class Trait(NamedTuple):
    """One trait of real tables.

    Attributes
    ----------
    title : str
        What the table is like.
    make : callable
        Writes it into a folder.
    verdict : str
        ``"kept"``, ``"warned"`` or ``"refused"``.
    said : str
        A part of what is said; of a table that is kept, a covariate's kind or the outcome's, as ``"column: kind"``.
    """

    title: str
    make: Callable[[Path], Made]
    verdict: str
    said: str


def base(seed: int, rows: int = ROWS) -> tuple[pd.DataFrame, np.random.Generator]:
    """Draw a confounded table: naive differences are far from 1."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows).round(2)
    a = (rng.uniform(size=rows) < 1 / (1 + np.exp(-0.9 * x))).astype(int)
    y = (1.0 * a + 1.2 * x + rng.normal(size=rows)).round(3)
    return pd.DataFrame({"x": x, "z": rng.normal(size=rows).round(2), "a": a, "y": y}), rng


def roles(**more: Any) -> dict[str, Any]:
    """Return the usual roles."""
    return {"treatment": "a", "outcome": "y", **more}


def text_csv(frame: pd.DataFrame, path: Path, separator: str = ",", encoding: str = "utf-8") -> Path:
    """Write cells as they print, nothing quoted."""
    lines = [separator.join(frame.columns)]
    lines += [separator.join(str(cell) for cell in row) for row in frame.itertuples(index=False)]
    path.write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return path


def comma(values: pd.Series) -> pd.Series:
    """Return numbers as text with decimal commas."""
    return values.map(lambda value: str(value).replace(".", ","))
