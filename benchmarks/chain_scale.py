"""The chain at scale: time, CPU and memory of training and sampling as many rows as the table has.

    python -m benchmarks.chain_scale [--rows 100000] [--world wide] [--part-rows 250000] [--out build/chain_scale.jsonl]

The wide world has 20 covariates. The table is made and brought into a run's form in a process of its own; a second process reads it in
parts of ``--part-rows``, fits ``chain`` on all rows, draws as many in blocks of 100,000, and is what is measured: its memory is the most it
ever held, libraries included. Compiled loops are compiled before the clock starts, as they are on every machine that has
run the synthesizer once. To reach: 1,000,000 rows within 10 minutes and 6 GiB on 2 cores. Beside it the area under the ROC curve of a
boosted classifier that tells drawn rows from fresh ones of the world (20,000 of each; 0.5 is ideal).
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from benchmarks import worlds
from tasks.contract.frames import to_frame
from tasks.contract.registry import resolve
from tasks.contract.rng import rng_for
from tasks.contract.roles import TableSchema
from tasks.contract.spec import RolesSpec
from tasks.source.inspection import Inspection
from tasks.source.rows import canonical

FRESH_ROWS = 20_000
BLOCK = 100_000
PIECE = 500_000
ROWS_OF_GROUP = 50_000
MINUTES, GIB = 10.0, 6.0


def pieces(world: str, rows: int) -> Iterator[pa.Table]:
    """Draw so many rows of a world, a piece at a time; the last piece holds fresh rows."""
    for start in (*range(0, rows, PIECE), rows):
        wanted = min(PIECE, rows - start) or FRESH_ROWS
        yield pa.Table.from_pandas(worlds.draw(world, wanted, np.random.default_rng([1, start])).frame(), preserve_index=False)


def make(world: str, rows: int, folder: Path) -> None:
    """Write the table to learn from, fresh rows of the same world, and their schema; independent rows are in a random order."""
    roles = RolesSpec.model_validate({"treatment": "a", "outcome": "y"})
    inspection = Inspection(roles)
    state = functools.reduce(inspection.visit, pieces(world, rows), inspection.start())
    schema = inspection.finish(state, roles, folds=5, source_format="parquet").table
    (folder / "schema.json").write_text(schema.model_dump_json())
    with contextlib.ExitStack() as files:
        table: pq.ParquetWriter | None = None
        for number, piece in enumerate(pieces(world, rows)):
            typed = canonical(piece, schema, "parquet")
            if number == -(-rows // PIECE):
                pq.write_table(typed, folder / "fresh.parquet")
                continue
            table = table or files.enter_context(pq.ParquetWriter(folder / "table.parquet", typed.schema))
            table.write_table(typed, row_group_size=ROWS_OF_GROUP)


def separation(fresh: pd.DataFrame, drawn: pd.DataFrame) -> float:
    """Return the out-of-fold AUC of a classifier that tells the two apart."""
    stacked = pd.concat([fresh, drawn], ignore_index=True)
    features = stacked.apply(lambda x: x.cat.codes if isinstance(x.dtype, pd.CategoricalDtype) else x).to_numpy(dtype=np.float64)
    truth = np.repeat([0, 1], [len(fresh), len(drawn)])
    model = HistGradientBoostingClassifier(max_iter=100, random_state=0)
    return float(roc_auc_score(truth, cross_val_predict(model, features, truth, cv=3, method="predict_proba")[:, 1]))


def read(file: Path, schema: TableSchema, rows: int) -> Iterator[pd.DataFrame]:
    """Read a table in parts of so many rows."""
    for batch in pq.ParquetFile(file).iter_batches(batch_size=rows):
        yield to_frame(pa.Table.from_batches([batch]), schema.modelled)


def measure(folder: Path, part_rows: int) -> dict[str, object]:
    """Fit and sample, and return what it took."""
    schema = TableSchema.model_validate_json((folder / "schema.json").read_text())
    file = folder / "table.parquet"
    rows = pq.ParquetFile(file).metadata.num_rows
    chain = resolve("synthesizer", "chain")
    chain.fit(next(read(file, schema, 2000)), schema.modelled, rng_for(0, "warm")).sample(100, rng_for(0, "warm draw"))
    wall, cpu = [time.perf_counter()], [time.process_time()]

    def tick() -> None:
        wall.append(time.perf_counter())
        cpu.append(time.process_time())

    model = chain.fit_parts(read(file, schema, part_rows), schema.modelled, rng_for(1, "covariates"))
    tick()
    rng = rng_for(1, "draw")
    drawn = model.sample(min(BLOCK, rows), rng)
    for start in range(BLOCK, rows, BLOCK):
        model.sample(min(BLOCK, rows - start), rng)
    tick()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    fresh = to_frame(pq.read_table(folder / "fresh.parquet"), schema.modelled)
    return {
        "rows": rows,
        "columns": len(schema.modelled),
        "part_rows": part_rows,
        "wall_seconds": {"fit": round(wall[1] - wall[0], 1), "sample": round(wall[2] - wall[1], 1)},
        "cpu_seconds": {"fit": round(cpu[1] - cpu[0], 1), "sample": round(cpu[2] - cpu[1], 1)},
        "peak_gib": round(peak, 2),
        "auc": round(separation(fresh, drawn.iloc[: len(fresh)]), 4),
        "reached": wall[2] - wall[0] <= 60 * MINUTES and peak <= GIB,
        "machine": platform.processor() or platform.machine(),
    }


def main() -> None:
    """Make the table in one process, measure in another, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--world", default="wide", choices=sorted(worlds.LAWS))
    parser.add_argument("--part-rows", type=int, default=250_000, help="rows read at once")
    parser.add_argument("--out", type=Path, default=Path("build/chain_scale.jsonl"))
    parser.add_argument("--stage", choices=["make", "measure"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.stage == "make":
        make(asked.world, asked.rows, asked.folder)
    elif asked.stage == "measure":
        print(json.dumps(measure(asked.folder, asked.part_rows)))
    else:
        with tempfile.TemporaryDirectory() as folder:
            call = [sys.executable, "-m", "benchmarks.chain_scale", "--folder", folder, "--rows", str(asked.rows), "--world", asked.world]
            subprocess.run([*call, "--stage", "make"], check=True)
            call += ["--part-rows", str(asked.part_rows)]
            found = subprocess.run([*call, "--stage", "measure"], check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        line = json.dumps({"world": asked.world, **json.loads(found)})
        print(line)
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        with asked.out.open("a") as out:
            out.write(line + "\n")


if __name__ == "__main__":
    main()
