"""ACTG175, a real trial: how near its releases come to its effect and to the spread of its outcome.

    python -m benchmarks.trial [--seeds 20] [--rows 100000] [--out build/trial.jsonl]

Arms 1 and 2 (1,046 rows), outcome cd420, forest covariates, the default learner with the default repeats, 100,000 rows released so
that the noise of the draw is a tenth of the source's standard error. Every seed is another assignment of folds, another split into
seed and holdout, another fit of the synthesizer and another draw. Judged: how often the release's AIPW estimate lies within a quarter
of the source's standard error of the source's AIPW estimate, and the released outcome's spread.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from benchmarks.closeness import ACTG
from benchmarks.fidelity import told
from benchmarks.minting import calibrated, fit, mechanisms, mint, source_of, targeted
from benchmarks.worlds import snapshot
from tasks.contract.registry import resolve
from tasks.contract.rng import rng_for
from tasks.contract.spec import REPEATS
from tasks.estimation.evaluate import evaluate
from tasks.nuisance.crossfit import InMemory, Rows, cross_fit
from tasks.nuisance.plan import Plan

NEAR = 0.25
DATA = Path(__file__).parent.parent / "tests" / "data" / "actg175.csv"


def run(seed: int, rows: int) -> dict[str, Any]:
    """Release once, and analyse source and release."""
    table = pd.read_csv(DATA)
    table = table[table["arms"].isin([1, 2])].assign(a=lambda frame: (frame["arms"] == 2).astype(int), y=lambda frame: frame["cd420"])
    source = source_of(*snapshot(table[[*ACTG, "a", "y"]], kind="continuous"))
    fitted = fit(source, "stack", seed, repeats=REPEATS)
    own = told(evaluate(source.a, source.y, fitted.nuisances, source.kind, ("or", "ipw", "aipw", "tmle", "adaptive")))
    made = mechanisms(source, fitted, targeted(source, fitted), seed)
    model = resolve("synthesizer", "forest").fit(source.training_rows(seed), source.schema.modelled, rng_for(seed, "covariates"))
    rng = rng_for(seed, "draw")
    solved = calibrated(source, model, made, fitted, rng)
    # in blocks, as a run draws them
    blocks = [mint(source, model, made, solved, min(25_000, rows - start), rng) for start in range(0, rows, 25_000)]
    frame = pd.concat([block.frame for block in blocks], ignore_index=True)
    a, y = (np.concatenate([getattr(block, name) for block in blocks]) for name in ("a", "y"))
    keys = np.arange(len(y), dtype=np.uint64)
    found = cross_fit(Plan("release", seed, 5), resolve("learner", "glm"), Rows(keys, a, y, source.kind), InMemory(frame)).nuisances
    released = told(evaluate(a, y, found, source.kind, ("or", "ipw", "aipw", "tmle")))
    exact = float(np.mean(np.concatenate([block.nuisances.q1 - block.nuisances.q0 for block in blocks])))
    return {"seed": seed, "source": own, "release": released, "exact": exact, "sd": [float(source.y.std()), float(y.std())]}


def main() -> None:
    """Run the seeds that are not done, and sum up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=Path("build/trial.jsonl"))
    asked = parser.parse_args()
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in asked.out.read_text().splitlines()] if asked.out.exists() else []
    done = {line["seed"] for line in lines}
    with threadpool_limits(limits=1), asked.out.open("a") as out:
        for seed in range(asked.seeds):
            if seed not in done:
                lines.append(run(seed, asked.rows))
                out.write(json.dumps(lines[-1]) + "\n")
                out.flush()
    gap = np.array([(line["release"]["aipw"][0] - line["source"]["aipw"][0]) / line["source"]["aipw"][1] for line in lines])
    spread = np.array([line["sd"][1] / line["sd"][0] for line in lines])
    points = np.array([line["source"]["aipw"][0] for line in lines])
    error, released = (np.mean([line[where]["aipw"][at] for line in lines]) for where, at in (("source", 1), ("release", 0)))
    print(f"source AIPW {points.mean():.2f}, sd over folds {points.std(ddof=1):.2f}, SE {error:.2f}")
    print(f"release AIPW {released:.2f}; gap in source SE: mean {gap.mean():+.3f}, sd {gap.std():.3f}")
    print(f"within {NEAR} SE: {int(np.sum(np.abs(gap) <= NEAR))} of {len(gap)}; largest {np.abs(gap).max():.3f}")
    print(f"spread of the outcome, release over source: {spread.min():.3f} to {spread.max():.3f}")


if __name__ == "__main__":
    main()
