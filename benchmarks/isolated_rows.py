"""How often the gate on isolated rows rejects fresh draws of the source's own law, and how often it sees copies of outliers.

    python -m benchmarks.isolated_rows [--tables 60] [--power 20]

Prints two Markdown tables, those of docs/gates.md. Each table is training rows, holdout and released rows of one law. A copy is one of the
training rows that are farthest from all other training rows, each number moved by a share of the column's standard deviation.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from tasks.checks.evidence import IsolationEvidence
from tasks.checks.gathering import isolation_evidence
from tasks.checks.methods.isolation import number_p, side_p
from tasks.checks.pool import gather
from tasks.contract.spec import GatesSpec
from tasks.distance import fit_scale
from tasks.distance.isolation import approaches, most_isolated
from tasks.distance.task import COMPARED

SIZES = ((280, 120, 1_000), (1_100, 480, 2_000), (1_100, 480, 10_000))
COPIES, JITTERS = (3, 5, 10, 20), (0.0, 0.02, 0.05)
Draw = Callable[[int, np.random.Generator], pd.DataFrame]


def _normal(columns: int) -> Draw:
    return lambda rows, rng: pd.DataFrame(rng.normal(size=(rows, columns)).round(3)).add_prefix("w")


def _category(rows: int, levels: int, rng: np.random.Generator) -> pd.Categorical:
    shares = 1 / np.arange(1, levels + 1) ** 1.5
    return pd.Categorical.from_codes(rng.choice(levels, rows, p=shares / shares.sum()), [str(level) for level in range(levels)])


def _mixed(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    frame = pd.DataFrame((0.5 * rng.normal(size=(rows, 1)) + rng.normal(size=(rows, 5))).round(2)).add_prefix("w")
    frame = frame.assign(cost=np.exp(1.5 * rng.normal(size=rows)).round(1), age=np.clip((50 + 15 * rng.normal(size=rows)).round(), 18, 90))
    return frame.assign(**{f"c{levels}": _category(rows, levels, rng) for levels in (2, 4, 8)})


def _heavy(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame(rng.standard_t(2, size=(rows, 6)).round(3)).add_prefix("w")


def _counts(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    frame = pd.DataFrame({f"n{mean}": rng.poisson(mean, size=rows).astype(float) for mean in (2, 4, 6, 8)})
    return frame.assign(**{f"c{levels}": _category(rows, levels, rng) for levels in (2, 4, 8)})


def _categories(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame({f"c{number}": _category(rows, levels, rng) for number, levels in enumerate((2, 2, 2, 3, 4, 6, 8, 10))})


LAWS: Mapping[str, Draw] = {
    "normal, 1 column": _normal(1),
    "normal, 2 columns": _normal(2),
    "normal, 5 columns": _normal(5),
    "normal, 15 columns": _normal(15),
    "mixed, 11 columns": _mixed,
    "heavy tails, 6 columns": _heavy,
    "counts and categories": _counts,
    "categories alone": _categories,
}


def evidence(training: pd.DataFrame, holdout: pd.DataFrame, release: pd.DataFrame, rng: np.random.Generator) -> IsolationEvidence:
    """Measure one release as a run does."""
    pool, scale = gather(training, holdout), fit_scale([training, holdout], metric="l2")
    alone = most_isolated(pool.rows, pool.training + pool.holdout, scale).rows
    single = rng.permutation(np.flatnonzero((pool.holdout == 1) & (pool.training == 0)))[:COMPARED]
    rows = np.concatenate([alone, single])
    near = approaches(pool.rows.iloc[rows].reset_index(drop=True), release, scale)
    return isolation_evidence({"isolated": np.arange(len(rows)) < len(alone), "training": pool.training[rows] > 0}, [near])


def copied(training: pd.DataFrame, release: pd.DataFrame, count: int, jitter: float, rng: np.random.Generator) -> pd.DataFrame:
    """Replace released rows by copies of the most isolated training rows."""
    pool = gather(training, training.iloc[:0])
    rows = pool.rows.iloc[most_isolated(pool.rows, pool.training, fit_scale([training], metric="l2")).rows[:count]]
    spread = training.std(numeric_only=True)
    moved = rows.assign(**{name: rows[name] + jitter * spread[name] * rng.normal(size=len(rows)) for name in spread.index})
    return pd.concat([release.iloc[len(moved) :], moved], ignore_index=True)


def rate(law: str, sizes: tuple[int, int, int], tables: int, seed: int, count: int = 0, jitter: float = 0.0) -> float:
    """Return the share of tables that fail the gate at its default."""
    failed = 0
    for number in range(tables):
        rng = np.random.default_rng([seed, number, *sizes])
        training, holdout, release = (LAWS[law](rows, rng) for rows in sizes)
        seen = evidence(training, holdout, copied(training, release, count, jitter, rng) if count else release, rng)
        failed += 2 * min(side_p(seen), number_p(seen)) < GatesSpec().limit("isolated_rows")
    return failed / tables


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=60)
    parser.add_argument("--power", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print(
        f"Fresh draws, {args.tables} tables each: percent failed\n\n| law | "
        + " | ".join(f"{a:,}, {b:,}, {c:,}" for a, b, c in SIZES)
        + " |"
    )
    print("|" + "---|" * (len(SIZES) + 1))
    for law in LAWS:
        print(f"| {law} | " + " | ".join(f"{100 * rate(law, sizes, args.tables, args.seed):.1f}" for sizes in SIZES) + " |", flush=True)
    settings = [(count, 0.02) for count in COPIES] + [(10, jitter) for jitter in JITTERS if jitter != 0.02]
    heads = [f"{count} copies, {jitter:.0%}" for count, jitter in settings]
    print(f"\nCopies among {SIZES[1][2]:,} released rows, {args.power} tables each: percent failed\n\n| law | " + " | ".join(heads) + " |")
    print("|" + "---|" * (len(heads) + 1))
    for law in LAWS:
        cells = [f"{100 * rate(law, SIZES[1], args.power, args.seed + 1, *setting):.0f}" for setting in settings]
        print(f"| {law} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
