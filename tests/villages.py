"""A survey of villages: ids, clusters, weights, strata and passengers in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.releasing import spec_of, write

ROLES: dict[str, Any] = {
    "treatment": "drug",
    "outcome": "score",
    "id": ["person"],
    "cluster": "village",
    "weight": "weight",
    "strata": ["region"],
    "passengers": ["lab", "event"],
}


def villages(count: int = 90, size: int = 6, seed: int = 1, spread: float = 0.65) -> pd.DataFrame:
    """Draw people in villages; remoteness and region are the same for a village, the weight depends on x."""
    rng = np.random.default_rng(seed)
    sizes = rng.poisson(size - 1, count) + 1
    n, place = int(sizes.sum()), np.repeat(np.arange(count), sizes)
    remote = rng.normal(size=count).round(2)[place]
    region = rng.choice(["north", "south"], count)[place]
    x = (rng.normal(size=n) + 0.5 * rng.normal(size=count)[place]).round(2)
    drug = (rng.random(n) < 1 / (1 + np.exp(-0.5 * x - 0.3 * remote))).astype(int)
    score = drug + x + 0.5 * remote + spread * rng.normal(size=count)[place] + rng.normal(size=n)
    return pd.DataFrame(
        {
            "person": [f"P-{number:05d}" for number in rng.permutation(n)],
            "village": 1000 + 3 * place,
            "region": region,
            "remote": remote,
            "x": x,
            "lab": (2 * score + rng.normal(size=n)).round(1),
            "event": np.where(rng.random(n) < 1 / (1 + np.exp(1 - score / 2)), "yes", "no"),
            "weight": (np.exp(0.5 * x) + 0.2).round(3),
            "drug": drug,
            "score": score.round(3),
        }
    )


def study_spec(folder: Path, **changes: Any) -> dict[str, Any]:
    """Return the SPEC of a small release of it; its table is written into the folder."""
    source = write(villages(), folder / "villages.parquet")
    values = spec_of(source, folder / "store", name="villages", roles=ROLES, release__rows=400, mechanisms__repeats=1)
    values["gates"] = {**values.get("gates", {}), "min_reference_rows": 20}
    return {**values, **changes}
