"""Closest records: CPU seconds of this engine beside faiss, scikit-learn, SciPy and a blocked matrix product.

Run ``python -m benchmarks.distance`` (20,000 x 20,000), ``--full`` (100,000 x 100,000) or ``--rows N``. CPU seconds are those of the whole
process, compilation not included; peers see numeric columns divided by the scale and categories as one-hot columns times
sqrt(1/2), which is the same metric. faiss-cpu is optional. ``--peer-python PATH`` names a Python that has SDMetrics, which is timed on
two sizes it can finish and extrapolated by the exponent between them; its error is that against ours in its own metric.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import psutil
from threadpoolctl import threadpool_limits

from benchmarks.distance_peers import PEERS, TREES, Method, run_sdmetrics
from tasks.distance import Scale, closest, fit_scale

LEVELS = (2, 2, 3, 4, 5, 6, 8, 10)


class Run(NamedTuple):
    """One method on one data set; CPU and wall in seconds, scaled up to all queries."""

    method: str
    queries: int
    cpu: float
    wall: float
    extra_mib: float
    error: float


def mixture(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw 12 correlated numeric and 8 categorical columns from 25 components, with 2 % near copies."""
    law = np.random.default_rng(25)
    weights = law.dirichlet(np.full(25, 2.0))
    centres, loadings = law.normal(0, 1.5, (25, 12)), law.normal(0, 0.6, (25, 4, 12))
    tables = [law.dirichlet(np.full(size, 0.5), 25) for size in LEVELS]
    part = rng.choice(25, rows, p=weights)
    values = centres[part] + np.einsum("nf,nfd->nd", rng.normal(size=(rows, 4)), loadings[part]) + rng.normal(0, 0.4, (rows, 12))
    values[:, 0] = np.round(5 * values[:, 0])
    values[:, 1] = np.exp(values[:, 1] / 2)
    values[:, 2] = np.maximum(values[:, 2], 0)
    values[:, 3] = np.round(values[:, 3], 1)
    codes = np.column_stack(
        [(table[part].cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1).clip(max=table.shape[1] - 1) for table in tables]
    )
    copies = rng.choice(rows, (2, rows // 50), replace=False) if rows >= 50 else np.empty((2, 0), dtype=int)
    values[copies[0]] = values[copies[1]]
    values[copies[0], 4:] += rng.normal(0, 0.01, (copies.shape[1], 8))
    codes[copies[0]] = codes[copies[1]]
    return _frame(values, codes)


def iid(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw 12 independent normal and 8 independent uniform categorical columns: nothing to prune by."""
    return _frame(rng.normal(size=(rows, 12)), np.column_stack([rng.integers(0, size, rows) for size in LEVELS]))


def iid_numeric(columns: int) -> Callable[[int, np.random.Generator], pd.DataFrame]:
    """Draw independent normal columns."""
    return lambda rows, rng: _frame(rng.normal(size=(rows, columns)), np.empty((rows, 0), dtype=int))


def _frame(values: np.ndarray, codes: np.ndarray) -> pd.DataFrame:
    columns: dict[str, Any] = {f"w{j}": values[:, j] for j in range(values.shape[1])}
    for j in range(codes.shape[1]):
        levels = np.array([f"level {i}" for i in range(LEVELS[j])], dtype=object)
        columns[f"w{values.shape[1] + j}"] = pd.Categorical(levels[codes[:, j]], categories=levels)
    return pd.DataFrame(columns)


DATA: dict[str, Callable[[int, np.random.Generator], pd.DataFrame]] = {
    "mixture": mixture,
    "iid": iid,
    "iid20": iid_numeric(20),
    "iid50": iid_numeric(50),
}


def run_own(query: pd.DataFrame, reference: pd.DataFrame, scale: Scale) -> np.ndarray:
    return closest(query, reference, scale=scale)[0][:, 0]


METHODS: dict[str, Method] = {"own": run_own, **PEERS}


def truth(query: pd.DataFrame, reference: pd.DataFrame, scale: Scale) -> np.ndarray:
    """Brute force over all pairs, in float64, from the definition."""
    best = np.empty(len(query))
    left = [
        query[name].to_numpy(np.float64) if kind == "numeric" else query[name].cat.codes.to_numpy()
        for name, kind in zip(scale.names, scale.kinds)
    ]
    right = [
        reference[name].to_numpy(np.float64) if kind == "numeric" else reference[name].cat.codes.to_numpy()
        for name, kind in zip(scale.names, scale.kinds)
    ]
    for row in range(len(query)):
        total = np.zeros(len(reference))
        for x, y, kind, width in zip(left, right, scale.kinds, scale.widths):
            total += ((x[row] - y) / width) ** 2 if kind == "numeric" else x[row] != y
        best[row] = np.sqrt(total.min())
    return best


class Memory:
    """Largest resident size while a block runs, beyond what it started with."""

    def __enter__(self) -> Memory:
        self.process = psutil.Process()
        self.before = self.process.memory_info().rss
        self.peak = self.before
        self.over = threading.Event()
        self.watch = threading.Thread(target=self._look)
        self.watch.start()
        return self

    def _look(self) -> None:
        while not self.over.wait(0.02):
            self.peak = max(self.peak, self.process.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.watch.join()

    @property
    def extra_mib(self) -> float:
        """Return mebibytes."""
        return float(self.peak - self.before) / 2**20


def clock(method: str, query: pd.DataFrame, reference: pd.DataFrame, scale: Scale, check: np.ndarray, expected: np.ndarray) -> Run:
    with Memory() as memory, threadpool_limits(1):
        wall, cpu = time.perf_counter(), time.process_time()
        distances = METHODS[method](query, reference, scale)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    known = check[check < len(query)]
    error = float(np.abs(distances[known] - expected[: len(known)]).max())
    return Run(method, len(query), cpu, wall, memory.extra_mib, error)


def compare(data: str, rows: int, methods: list[str], sample: int, seed: int) -> list[Run]:
    rng = np.random.default_rng(seed)
    query, reference = DATA[data](rows, rng), DATA[data](rows, rng)
    scale = fit_scale([query, reference])
    check = np.linspace(0, min(rows, 2000) - 1, sample).astype(int)
    expected = truth(query.iloc[check], reference, scale)
    runs = []
    for method in methods:
        # trees take hours on all queries: they get the first 2,000, and their seconds are scaled up to all
        some = 2000 if method in TREES else rows
        run = clock(method, query[:some], reference, scale, check, expected)
        runs.append(run._replace(queries=min(some, rows), cpu=run.cpu * rows / min(some, rows), wall=run.wall * rows / min(some, rows)))
        last = runs[-1]
        kind = f"extrapolated from {last.queries} queries" if last.queries < rows else ""
        figures = f"cpu {last.cpu:9.2f} s  wall {last.wall:9.2f} s  extra {last.extra_mib:6.0f} MiB  error {last.error:.1e}  {kind}"
        print(f"{data:8} {rows:>8} {method:24} {figures.rstrip()}", flush=True)
    return runs


def extrapolate(data: str, rows: int, sizes: tuple[int, int], python: str, seed: int) -> Run:
    """Time SDMetrics on two sizes it can finish and carry the larger one on to ``rows`` by the exponent between them."""
    spent = []
    for size in sizes:
        rng = np.random.default_rng(seed)
        spent.append(run_sdmetrics(DATA[data](size, rng), DATA[data](size, rng), python))
    exponent = np.log(spent[1][0] / spent[0][0]) / np.log(sizes[1] / sizes[0])
    more = float((rows / sizes[1]) ** exponent)
    measured = ", ".join(f"{size:,} rows {one[0]:.1f} s" for size, one in zip(sizes, spent))
    how = f"error {spent[1][2]:.1e}  extrapolated: {measured}, exponent {exponent:.2f}"
    print(f"{data:8} {rows:>8} {'SDMetrics DCR':24} cpu {more * spent[1][0]:9.0f} s  {how}", flush=True)
    return Run("SDMetrics DCR (extrapolated)", sizes[1], more * spent[1][0], more * spent[1][1], float("nan"), spent[1][2])


def warm_up() -> None:
    """Compile once, on rows enough to leave the small path and, where boxes do not pay, to see that."""
    for data in DATA.values():
        rng = np.random.default_rng(0)
        query, reference = data(6000, rng), data(6000, rng)
        closest(query, reference, scale=fit_scale([query, reference]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--full", action="store_true", help="100,000 x 100,000")
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--sample", type=int, default=200, help="rows checked by brute force")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--peer-python", help="a Python with SDMetrics: pip install sdmetrics in an environment of its own")
    parser.add_argument("--peer-rows", type=int, nargs=2, default=(1000, 2000), help="sizes SDMetrics is timed at")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/distance.json"))
    options = parser.parse_args()
    methods = list(options.methods)
    try:
        import faiss
    except ImportError:
        methods = [method for method in methods if not method.startswith("faiss")]
    else:
        faiss.omp_set_num_threads(1)
    rows = 100_000 if options.full else options.rows
    warm_up()
    tables: dict[str, Any] = {}
    for data in options.data:
        runs = compare(data, rows, methods, options.sample, options.seed)
        if options.peer_python:
            runs.append(extrapolate(data, rows, tuple(options.peer_rows), options.peer_python, options.seed))
        own = next((run.cpu for run in runs if run.method == "own"), float("nan"))
        tables[data] = [{**run._asdict(), "ratio_to_own": run.cpu / own} for run in runs]
        print("   ", "  ".join(f"{run.method} {run.cpu / own:.2f}x" for run in runs if run.method != "own"), flush=True)
    about = {
        "rows": rows,
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    options.json.write_text(json.dumps({"about": about, "tables": tables}, indent=1) + "\n")


if __name__ == "__main__":
    main()
