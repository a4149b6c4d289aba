"""A synthetic Parquet source of any size: 20 covariates of mixed kinds, a confounded treatment, a continuous outcome or a time to event.

Run ``python -m benchmarks.make_source FOLDER --rows N [--times]``. Files are written part by part: memory does not grow with rows.
The effect is known: :data:`EFFECT` at every age, plus :data:`SLOPE` per standard deviation of ``age``, whose mean is zero; on a time to
event it is :data:`LOG_RATIO`, the logarithm of the ratio of hazards.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

Float64 = npt.NDArray[np.float64]

TREATMENT = "treated"
OUTCOME = "outcome"
TIME, EVENT = "months", "event"
EFFECT = 2.0
SLOPE = 0.5
LOG_RATIO = -0.4
#: Months that rows are followed at most.
FOLLOWED = 60.0
PART_ROWS = 100_000
ROW_GROUP_ROWS = 50_000
MISSING = {"income": 0.08, "ldl": 0.05, "bmi": 0.02, "region": 0.03, "smoker": 0.04}
LEVELS = {
    "region": ("north", "east", "south", "west", "centre", "isles"),
    "education": ("none", "primary", "secondary", "college", "university"),
    "occupation": tuple(f"occupation {number:02d}" for number in range(24)),
    "payer": ("public", "private", "none"),
    "stage": ("I", "II", "III", "IV"),
}


def part(number: int, rows: int, seed: int = 0, times: bool = False) -> pa.Table:
    """Draw one part: a pure function of its number, its rows and the seed.

    Parameters
    ----------
    number : int
        Number of the part.
    rows : int
        Its rows.
    seed : int
        Seed of the whole source.
    times : bool
        Whether the outcome is a time to event.

    Returns
    -------
    pyarrow.Table
        20 covariates, the treatment (0/1) and the outcome (float64), or the time (float64) and whether the event came (0/1).
    """
    rng = np.random.default_rng([seed, number])
    # three latent factors make every covariate depend on every other
    health, wealth, age = rng.normal(size=(3, rows))
    columns: dict[str, Any] = {
        "age": np.round(50.0 + 12.0 * age, 1),
        "bmi": np.round(27.0 + 3.0 * health + 1.0 * age + rng.normal(0, 2, rows), 2),
        "sbp": np.round(128.0 + 6.0 * health + 8.0 * age + rng.normal(0, 9, rows), 1),
        "dbp": np.round(79.0 + 4.0 * health + 2.0 * age + rng.normal(0, 6, rows), 1),
        "ldl": np.round(np.exp(4.75 + 0.10 * health + rng.normal(0, 0.2, rows)), 1),
        "hdl": np.round(np.exp(3.95 - 0.08 * health + rng.normal(0, 0.2, rows)), 1),
        "income": np.round(np.exp(10.3 + 0.5 * wealth + rng.normal(0, 0.35, rows)), 2),
        "creatinine": np.round(np.exp(-0.1 + 0.08 * age + rng.normal(0, 0.15, rows)), 3),
        "glucose": np.round(np.exp(4.6 + 0.08 * health + rng.normal(0, 0.12, rows)), 1),
        "visits": rng.poisson(np.exp(0.7 + 0.35 * health)),
        "children": np.minimum(rng.poisson(np.exp(0.3 + 0.1 * age)), 9),
        "medicines": rng.poisson(np.exp(0.9 + 0.25 * health + 0.25 * age)),
        "smoker": _chance(-0.9 + 0.5 * health - 0.4 * wealth, rng),
        "insured": _chance(1.2 + 0.8 * wealth, rng),
        "diabetes": _chance(-2.0 + 0.9 * health + 0.4 * age, rng),
    }
    drives = {"region": wealth, "education": wealth + 0.3 * age, "occupation": wealth - 0.2 * health, "payer": wealth, "stage": health}
    for name, levels in LEVELS.items():
        columns[name] = _levels(levels, drives[name], rng)
    treated = _chance(0.45 * health - 0.35 * wealth + 0.30 * age - 0.2, rng)
    columns[TREATMENT] = treated.astype(np.int64)
    if times:
        columns |= _times(0.4 * health - 0.3 * wealth + 0.3 * age + 0.2 * columns["diabetes"] + LOG_RATIO * treated, wealth, rng)
    else:
        mean = 10.0 + 1.5 * health - 1.0 * wealth + 0.8 * age * (age > 0) + 0.3 * columns["diabetes"]
        columns[OUTCOME] = np.round(mean + treated * (EFFECT + SLOPE * age) + rng.normal(0, 2.0, rows), 4)
    arrays = {
        name: pa.array(values, mask=rng.random(rows) < MISSING[name] if name in MISSING else None) for name, values in columns.items()
    }
    return pa.table(arrays)


def _chance(logit: Float64, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    return np.asarray(rng.random(len(logit)) < 1.0 / (1.0 + np.exp(-logit)))


def _times(risk: Float64, wealth: Float64, rng: np.random.Generator) -> dict[str, Any]:
    """Draw exponential times to an event of a given log relative hazard, and to dropout that depends on wealth too."""
    until = rng.exponential(40.0 * np.exp(-risk))
    lost = np.minimum(rng.exponential(80.0 * np.exp(0.2 * wealth)), FOLLOWED)
    return {TIME: np.round(np.minimum(until, lost), 3), EVENT: (until <= lost).astype(np.int64)}


def _levels(levels: tuple[str, ...], drive: Float64, rng: np.random.Generator) -> npt.NDArray[np.str_]:
    """Cut a driven, skewed share into ordered levels: early ones are common, late ones rare."""
    share = 1.0 / (1.0 + np.exp(-(0.7 * drive + rng.normal(0, 1.2, len(drive)))))
    codes = np.minimum((share**1.5 * len(levels)).astype(np.int64), len(levels) - 1)
    return np.array(levels)[codes]


def make_source(folder: Path, rows: int, seed: int = 0, times: bool = False) -> Path:
    """Write a source of ``rows`` rows into a new folder, one part in memory at a time.

    Parameters
    ----------
    folder : Path
        Where the parts go; must not hold any yet.
    rows : int
        Rows in all.
    seed : int
        Seed of the source.
    times : bool
        Whether the outcome is a time to event.

    Returns
    -------
    Path
        The folder.
    """
    folder.mkdir(parents=True)
    for number, start in enumerate(range(0, rows, PART_ROWS)):
        table = part(number, min(PART_ROWS, rows - start), seed, times)
        pq.write_table(table, folder / f"part-{number:05d}.parquet", row_group_size=ROW_GROUP_ROWS)
    return folder


def main() -> None:
    """Write a source from the command line."""
    parser = argparse.ArgumentParser(description="Write a synthetic Parquet source.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--times", action="store_true", help="a time to event")
    asked = parser.parse_args()
    print(make_source(asked.folder, asked.rows, asked.seed, asked.times))


if __name__ == "__main__":
    main()
