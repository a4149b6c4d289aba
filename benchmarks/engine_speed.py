"""How fast the simulation engine is: beside a loop that fits each estimator alone with forests, and with two workers instead of one.

    python -m benchmarks.engine_speed [--world moderate] [--rows 1000] [--rounds 5] [--workers 1 2] [--json build/engine_speed.json]

Ours: data sets from a law fitted to one sample of the world, cross-fitted once with the GLM learner, every estimator evaluated. The
loop: the same data sets; each estimator fits what it needs for itself, with scikit-learn's random forests (100 trees, leaves of at
least five rows) in as many folds: g for IPW, Q for OR, both for the others. Both sides take turns in one process on one thread; CPU
seconds, medians over rounds with the smallest and largest. Wanted: at least 20 replicates per second and core, and ten times the loop.

Workers: the same batches through the engine's own kind of cluster (Dask worker processes of one thread) with one worker and with two,
wall seconds, in turns; a machine whose cores are busy otherwise can't show the gain. Wanted: 1.7 times.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client, LocalCluster
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from threadpoolctl import threadpool_limits

from benchmarks.engine import Study, cell_of, law, method_of
from tasks.contract.nuisance import Int8, Nuisances
from tasks.contract.rng import rng_for
from tasks.nuisance.folds import assign_folds, fold_strata
from tasks.simulation.population import Data, Source
from tasks.simulation.population import source_of as law_of
from tasks.simulation.replicate import replicates
from tasks.targeting.fluctuation import truncation_bound

NEEDS = {"or": "q", "ipw": "g"}
TREES, LEAF = 100, 5
BATCH = 100


def forests(data: Data, kind: str, fold_of: Int8, needs: str) -> Nuisances:
    """Cross-fit what one estimator needs by random forests; what it does not need is a constant."""
    n = len(data.y)
    found = Nuisances(np.full(n, 0.5), np.zeros(n), np.zeros(n))
    x = data.covariates.apply(lambda column: column.cat.codes if column.dtype == "category" else column).to_numpy(dtype=np.float64)
    wide = np.column_stack((x, data.a))
    for fold in np.unique(fold_of):
        train, test = fold_of != fold, fold_of == fold
        if "g" in needs:
            model = RandomForestClassifier(TREES, min_samples_leaf=LEAF, random_state=0).fit(x[train], data.a[train])
            found.g[test] = np.clip(model.predict_proba(x[test])[:, 1], 1e-6, 1 - 1e-6)
        if "q" in needs:
            forest = RandomForestClassifier if kind == "binary" else RandomForestRegressor
            model = forest(TREES, min_samples_leaf=LEAF, random_state=0).fit(wide[train], data.y[train])
            for arm, q in ((0, found.q0), (1, found.q1)):
                there = np.column_stack((x[test], np.full(int(test.sum()), arm)))
                q[test] = model.predict_proba(there)[:, 1] if kind == "binary" else model.predict(there)
    return found


def loop(source: Source, study: Study, number: int) -> dict[str, float]:
    """Analyse one data set the plain way: every estimator by itself."""
    cell, method, kind = cell_of(study), method_of(study), source.population.kind
    rng = rng_for(2026, "simulate", f"{cell.key}/0/{number}")  # the very data set that ours is given
    data = source.draw(cell.n, rng)
    fold_of = assign_folds(np.arange(cell.n, dtype=np.uint64), fold_strata(data.a, data.y, kind), study.folds, 0)
    bound = truncation_bound(cell.n, "auto")
    found = {}
    for name, estimator in method.estimators.items():
        nuisances = forests(data, kind, fold_of, NEEDS.get(name, "gq"))
        found[name] = estimator.evaluate(data.a, data.y, nuisances, kind, bound).estimate
    return found


def batch(study: Study, world: str, first: int, count: int = BATCH) -> int:
    """Run one batch, as a worker does; returns its replicates."""
    with threadpool_limits(limits=1):
        cell = cell_of(study)
        source = law_of(law(study, world, 0), cell)
        return len(replicates(source, method_of(study), cell, 2026, 0, range(first, first + count)))


def seconds_per_replicate(study: Study, world: str, rounds: int, each: int) -> dict[str, list[float]]:
    """Return CPU seconds of one replicate, round by round, of ours and of the loop, taking turns."""
    cell, method = cell_of(study), method_of(study)
    source = law_of(law(study, world, 0), cell)
    replicates(source, method, cell, 2026, 0, range(2))  # what is compiled is compiled
    found: dict[str, list[float]] = {"ours": [], "loop": []}
    for turn in range(rounds):
        start = time.process_time()
        replicates(source, method, cell, 2026, 0, range(turn * each, (turn + 1) * each))
        found["ours"].append((time.process_time() - start) / each)
        start = time.process_time()
        loop(source, study, turn * each)
        found["loop"].append(time.process_time() - start)
        print(f"round {turn}: ours {1000 * found['ours'][-1]:.1f} ms, loop {1000 * found['loop'][-1]:.0f} ms", flush=True)
    return found


def scaling(study: Study, world: str, workers: list[int], batches: int, rounds: int) -> dict[int, list[float]]:
    """Return wall seconds of the same batches by number of workers, round by round, taking turns."""
    found: dict[int, list[float]] = {count: [] for count in workers}
    for _ in range(rounds):
        for count in workers:
            with LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
                client.run(batch, study, world, 0, 2)  # imports, law and compiled code are there before the clock runs
                start = time.monotonic()
                client.gather([client.submit(batch, study, world, BATCH * number, pure=False) for number in range(batches)])
                found[count].append(time.monotonic() - start)
            print(f"{count} workers: {found[count][-1]:.1f} s for {batches * BATCH} replicates", flush=True)
    return found


def spread(values: list[float]) -> dict[str, float]:
    """Return median, smallest and largest."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", default="moderate")
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--replicates", type=int, default=40, help="of ours in a round; the loop does one")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2], help="none: leave this part out")
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--json", type=Path, default=Path("build/engine_speed.json"))
    asked = parser.parse_args()
    # the law's own learner is no part of a replicate: a quick one will do
    study = Study(asked.rows, "glm", "copula", "glm", 5)
    with threadpool_limits(limits=1):
        found = seconds_per_replicate(study, asked.world, asked.rounds, asked.replicates)
    ours, plain = spread(found["ours"]), spread(found["loop"])
    result: dict[str, Any] = {
        "world": asked.world,
        "rows": asked.rows,
        "ours": ours,
        "loop": plain,
        "ratio": plain["median"] / ours["median"],
    }
    result["per_second"] = 1.0 / ours["median"]
    print(f"{result['per_second']:.1f} replicates per CPU second (wanted 20); {result['ratio']:.0f} times the loop (wanted 10)")
    if asked.workers:
        walls = scaling(study, asked.world, asked.workers, asked.batches, max(1, asked.rounds // 2))
        result["workers"] = {str(count): spread(values) for count, values in walls.items()}
        first, last = min(walls), max(walls)
        result["gain"] = statistics.median(walls[first]) / statistics.median(walls[last])
        print(f"{last} workers are {result['gain']:.2f} times as fast as {first} (wanted 1.7 for a doubling)")
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    asked.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
