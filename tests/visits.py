"""A trial with two visits: the second outcome hangs together with the first, and some rows lack it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.releasing import spec_of, write


def visits(rows: int = 1200, seed: int = 3) -> pd.DataFrame:
    """Draw rows whose effects are 1 at the first visit and 2 at the second, in whole points; a quarter misses the second."""
    rng = np.random.default_rng(seed)
    age, sex = rng.normal(50, 10, rows).round(2), rng.integers(0, 2, rows)
    drug = rng.random(rows) < 1 / (1 + np.exp(-0.03 * (age - 50)))
    shared = rng.normal(0, 1, rows)
    first = 0.05 * age + drug * 1.0 + shared + rng.normal(0, 0.7, rows)
    second = np.maximum(np.rint(8 + 0.05 * age + 2.0 * drug + 1.5 * shared + rng.normal(0, 1.5, rows)), 0)
    stays = rng.random(rows) < 1 / (1 + np.exp(-(1.1 - 0.03 * (age - 50) + 0.4 * drug)))
    return pd.DataFrame(
        {
            "person": [f"P{number:05d}" for number in rng.permutation(rows)],
            "age": age,
            "sex": np.where(sex, "f", "m"),
            "drug": drug.astype(int),
            "early": first.round(3),
            "late": np.where(stays, second, np.nan),
            "lab": (0.5 * first + rng.normal(0, 1, rows)).round(2),
        }
    )


def visits_spec(folder: Path, **settings: Any) -> dict[str, Any]:
    """Return a SPEC of some seconds that releases both visits, with missing cells."""
    source = write(visits(), folder / "visits.csv")
    roles = {"treatment": "drug", "outcomes": ["early", "late"], "id": ["person"], "passengers": ["lab"], "missing_outcome": "ipcw"}
    given = {"name": "visits", "roles": roles, "release__draws": "balanced", "release__rows": 1200, "release__part_rows": 600}
    return spec_of(source, folder / "store", **{**given, "mechanisms__repeats": 1, **settings})
