"""A trial with two visits: the second outcome hangs together with the first, and some rows lack it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.contract.nuisance import Float64
from tests.releasing import spec_of, write


def visits(rows: int = 1200, seed: int = 3) -> pd.DataFrame:
    """Draw rows whose effects are 1 at the first visit and 2 at the second, in whole points; a quarter misses the second."""
    return _drawn(np.random.default_rng(seed), rows, None)


def village_visits(count: int = 120, size: int = 6, seed: int = 3, spread: float = 0.7) -> pd.DataFrame:
    """Draw the same in villages, whose people share a part of both visits' results."""
    rng = np.random.default_rng(seed)
    sizes = rng.poisson(size - 1, count) + 1
    place = np.repeat(np.arange(count), sizes)
    shared = spread * rng.normal(size=(count, 2)) @ np.array([[1.0, 0.6], [0.0, 0.8]])
    return _drawn(rng, len(place), shared[place]).assign(village=1000 + 3 * place)


def _drawn(rng: np.random.Generator, rows: int, villages: Float64 | None) -> pd.DataFrame:
    age, sex = rng.normal(50, 10, rows).round(2), rng.integers(0, 2, rows)
    drug = rng.random(rows) < 1 / (1 + np.exp(-0.03 * (age - 50)))
    shared = rng.normal(0, 1, rows)
    first = 0.05 * age + drug * 1.0 + shared + rng.normal(0, 0.7, rows)
    second = np.maximum(np.rint(8 + 0.05 * age + 2.0 * drug + 1.5 * shared + rng.normal(0, 1.5, rows)), 0)
    if villages is not None:
        first, second = first + villages[:, 0], np.maximum(np.rint(second + 2.0 * villages[:, 1]), 0)
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


def village_spec(folder: Path, frame: pd.DataFrame | None = None, **settings: Any) -> dict[str, Any]:
    """Return a SPEC that releases both visits of people in villages."""
    spec = visits_spec(folder, **{"roles__cluster": "village", "gates__min_reference_rows": 20, "release__rows": 700, **settings})
    write(village_visits() if frame is None else frame, folder / "visits.csv")
    return spec


def visits_spec(folder: Path, **settings: Any) -> dict[str, Any]:
    """Return a SPEC of some seconds that releases both visits, with missing cells."""
    source = write(visits(), folder / "visits.csv")
    roles = {"treatment": "drug", "outcomes": ["early", "late"], "id": ["person"], "passengers": ["lab"], "missing_outcome": "ipcw"}
    given = {"name": "visits", "roles": roles, "release__draws": "balanced", "release__rows": 1200, "release__part_rows": 600}
    return spec_of(source, folder / "store", **{**given, "mechanisms__repeats": 1, **settings})
