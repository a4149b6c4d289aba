"""The chain at scale: time, CPU and memory of training and sampling as many rows as the table has.

    python -m benchmarks.chain_scale [--rows 100000] [--world wide] [--out build/chain_scale.jsonl]

The wide world has 20 covariates. The table is made and brought into a run's form in a process of its own; a second process loads it,
fits ``chain`` on all rows, draws as many in blocks of 100,000, and is what is measured: its memory is the most it ever held, libraries and
table included. Compiled loops are compiled before the clock starts, as they are on every machine that has run the synthesizer once.
To reach: 1,000,000 rows within 10 minutes and 6 GiB on 2 cores. Beside it the area under the ROC curve of a boosted classifier that
tells drawn rows from fresh ones of the world (20,000 of each; 0.5 is ideal).
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from benchmarks import worlds
from tasks.contract.frames import to_frame
from tasks.contract.registry import resolve
from tasks.contract.rng import rng_for
from tasks.contract.roles import TableSchema

FRESH_ROWS = 20_000
BLOCK = 100_000
MINUTES, GIB = 10.0, 6.0


def make(world: str, rows: int, folder: Path) -> None:
    """Write the table to learn from, fresh rows of the same world, and their schema."""
    drawn = worlds.draw(world, rows + FRESH_ROWS, np.random.default_rng(1)).frame()
    table, schema = worlds.snapshot(drawn)
    # rows come in the order of their hashes: the last are a random sample
    pq.write_table(table.slice(0, rows), folder / "table.parquet")
    pq.write_table(table.slice(rows), folder / "fresh.parquet")
    (folder / "schema.json").write_text(schema.model_dump_json())


def separation(fresh: pd.DataFrame, drawn: pd.DataFrame) -> float:
    """Return the out-of-fold AUC of a classifier that tells the two apart."""
    stacked = pd.concat([fresh, drawn], ignore_index=True)
    features = stacked.apply(lambda x: x.cat.codes if isinstance(x.dtype, pd.CategoricalDtype) else x).to_numpy(dtype=np.float64)
    truth = np.repeat([0, 1], [len(fresh), len(drawn)])
    model = HistGradientBoostingClassifier(max_iter=100, random_state=0)
    return float(roc_auc_score(truth, cross_val_predict(model, features, truth, cv=3, method="predict_proba")[:, 1]))


def measure(folder: Path) -> dict[str, object]:
    """Fit and sample, and return what it took."""
    schema = TableSchema.model_validate_json((folder / "schema.json").read_text())
    table = to_frame(pq.read_table(folder / "table.parquet"), schema.modelled)
    chain = resolve("synthesizer", "chain")
    chain.fit(table.iloc[:2000], schema.modelled, rng_for(0, "warm")).sample(100, rng_for(0, "warm draw"))
    wall, cpu = [time.perf_counter()], [time.process_time()]

    def tick() -> None:
        wall.append(time.perf_counter())
        cpu.append(time.process_time())

    model = chain.fit(table, schema.modelled, rng_for(1, "covariates"))
    tick()
    rng = rng_for(1, "draw")
    drawn = [model.sample(min(BLOCK, len(table) - start), rng) for start in range(0, len(table), BLOCK)]
    tick()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    fresh = to_frame(pq.read_table(folder / "fresh.parquet"), schema.modelled)
    return {
        "rows": len(table),
        "columns": table.shape[1],
        "wall_seconds": {"fit": round(wall[1] - wall[0], 1), "sample": round(wall[2] - wall[1], 1)},
        "cpu_seconds": {"fit": round(cpu[1] - cpu[0], 1), "sample": round(cpu[2] - cpu[1], 1)},
        "peak_gib": round(peak, 2),
        "auc": round(separation(fresh, drawn[0].iloc[: len(fresh)]), 4),
        "reached": wall[2] - wall[0] <= 60 * MINUTES and peak <= GIB,
        "machine": platform.processor() or platform.machine(),
    }


def main() -> None:
    """Make the table in one process, measure in another, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--world", default="wide", choices=sorted(worlds.LAWS))
    parser.add_argument("--out", type=Path, default=Path("build/chain_scale.jsonl"))
    parser.add_argument("--stage", choices=["make", "measure"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.stage == "make":
        make(asked.world, asked.rows, asked.folder)
    elif asked.stage == "measure":
        print(json.dumps(measure(asked.folder)))
    else:
        with tempfile.TemporaryDirectory() as folder:
            call = [sys.executable, "-m", "benchmarks.chain_scale", "--folder", folder, "--rows", str(asked.rows), "--world", asked.world]
            subprocess.run([*call, "--stage", "make"], check=True)
            found = subprocess.run([*call, "--stage", "measure"], check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        line = json.dumps({"world": asked.world, **json.loads(found)})
        print(line)
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        with asked.out.open("a") as out:
            out.write(line + "\n")


if __name__ == "__main__":
    main()
