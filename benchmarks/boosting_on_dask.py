"""Do XGBoost's trees depend on the number of Dask workers? The same rows on 1, 2 and 3 workers, and from external memory in one process.

    python -m benchmarks.boosting_on_dask --rows 60000

Each way runs in a process of its own: worker processes of one thread, partitions of 10,000 rows, the settings of the learner
``xgboost``. Every ensemble predicts the same further rows. Two workers are run twice: ``again`` is the largest difference of the two.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import xgboost

from benchmarks.memory import Peak
from tasks.nuisance.trees import TreeParams

Float64 = npt.NDArray[np.float64]

COLUMNS = 20
PARTITION = 10_000
HELD = 20_000
WORKERS = (1, 2, 3)


def part(number: int, rows: int) -> tuple[Float64, Float64]:
    """Draw covariates, shape (rows, COLUMNS), and a binary target of one partition."""
    rng = np.random.default_rng([20261127, number])
    x = rng.normal(size=(rows, COLUMNS)).round(3)
    logit = x[:, 0] + np.sin(2.0 * x[:, 1]) + x[:, 2] * x[:, 3] - 0.5 * np.abs(x[:, 4])
    return x, (rng.random(rows) < 1.0 / (1.0 + np.exp(-logit))).astype(np.float64)


def sizes(rows: int) -> list[int]:
    """Return the rows of each partition."""
    return [min(PARTITION, rows - start) for start in range(0, rows, PARTITION)]


def settings() -> dict[str, Any]:
    """Return the settings of the learner's defaults."""
    params = TreeParams()
    return {
        "objective": "binary:logistic",
        "eta": params.learning_rate,
        "max_leaves": params.leaves,
        "max_depth": 0,
        "grow_policy": "lossguide",
        "tree_method": "hist",
        "reg_lambda": params.l2,
        "min_child_weight": params.min_samples_leaf * 0.25,
        "nthread": 1,
        "verbosity": 0,
    }


class Batches(xgboost.DataIter):
    """The partitions in turn."""

    def __init__(self, rows: int, folder: Path) -> None:
        self._sizes, self._next = sizes(rows), 0
        super().__init__(cache_prefix=str(folder / "page"))

    def next(self, input_data: Callable[..., None]) -> bool:
        """Hand over the next partition."""
        if self._next == len(self._sizes):
            return False
        x, y = part(self._next, self._sizes[self._next])
        input_data(data=x, label=y)
        self._next += 1
        return True

    def reset(self) -> None:
        """Start again."""
        self._next = 0


def external(rows: int) -> Float64:
    """Grow the trees from a cache on disk; return what they predict for the further rows."""
    with tempfile.TemporaryDirectory() as folder:
        matrix = xgboost.ExtMemQuantileDMatrix(Batches(rows, Path(folder)), nthread=1)
        booster = xgboost.train(settings(), matrix, TreeParams().iterations)
        del matrix
    return np.asarray(booster.inplace_predict(part(10**6, HELD)[0]), dtype=np.float64)


def on_dask(rows: int, workers: int) -> Float64:
    """Grow the trees on worker processes, which hold the partitions; return what they predict for the further rows."""
    import dask
    import dask.array as da
    from distributed import Client, LocalCluster, wait
    from xgboost import dask as dxgb

    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        drawn = [dask.delayed(part, nout=2)(number, size) for number, size in enumerate(sizes(rows))]
        x = da.concatenate([da.from_delayed(each[0], (size, COLUMNS), float) for each, size in zip(drawn, sizes(rows), strict=True)])
        y = da.concatenate([da.from_delayed(each[1], (size,), float) for each, size in zip(drawn, sizes(rows), strict=True)])
        x, y = client.persist([x, y])
        wait([x, y])
        booster = dxgb.train(client, settings(), dxgb.DaskQuantileDMatrix(client, x, y), TreeParams().iterations)["booster"]
    return np.asarray(booster.inplace_predict(part(10**6, HELD)[0]), dtype=np.float64)


def run(rows: int, workers: int) -> None:
    """Run one way in this process; write a JSON line of its costs and its predictions."""
    began, process = time.monotonic(), psutil.Process()
    with Peak(process.pid, 0.2) as peak:
        predicted = external(rows) if workers == 0 else on_dask(rows, workers)
    spent = process.cpu_times()
    cpu = spent.user + spent.system + spent.children_user + spent.children_system
    line = {"seconds": time.monotonic() - began, "cpu": cpu, "largest": peak.largest, "whole": peak.pss, "predicted": predicted.tolist()}
    sys.stdout.write(json.dumps(line) + "\n")


def way(rows: int, workers: int) -> dict[str, Any]:
    """Run one way in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.boosting_on_dask", "--rows", str(rows), "--only", str(workers)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    line: dict[str, Any] = json.loads(told.splitlines()[-1])
    return line | {"predicted": np.array(line["predicted"])}


def main() -> None:
    """Run all ways twice and print their table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--only", type=int, help="run this number of workers alone, 0 for external memory")
    options = parser.parse_args()
    if options.only is not None:
        run(options.rows, options.only)
        return
    found = {workers: way(options.rows, workers) for workers in (0, *WORKERS)}
    again = way(options.rows, 2)
    print("| way | CPU s | s | largest process, MiB | all processes, MiB | from external memory | from one worker | again |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for workers, first in found.items():
        others = (found[0], found[1], *([again] if workers == 2 else []))
        apart = [f"{np.abs(first['predicted'] - other['predicted']).max():.1e}" for other in others]
        name = f"{workers} workers" if workers else "external memory"
        costs = f"{first['cpu']:.0f} | {first['seconds']:.0f} | {first['largest']:,.0f} | {first['whole']:,.0f}"
        print(f"| {name} | {costs} | {' | '.join([*apart, ''][:3])} |", flush=True)


if __name__ == "__main__":
    main()
