"""Outcomes of generators that are fitted on covariates, treatment and outcome jointly, beside ours: benchmarks/outcomes.py's laws.

    python -m benchmarks.outcome_peers --peer-python PYTHON_WITH_PEERS [--peers arf,tvae,ctgan] [--seeds 2] [--rows 2000]

A peer (packages ctgan and arfpy, as in benchmarks/synthesizers.py) gets the whole source as one table, treatment as a category, and draws
as many rows; its outcomes are rounded to the source's digits. Ours is a release by `forest` and `glm`. Of each: the Kolmogorov distance of
each arm's outcomes to the source's beside that of a fresh sample, cells outside the law's support, and the effect that AIPW with
`glm` finds in the released rows, against the truth. A line for each job in build/outcome-peers.jsonl; goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.checkpoints import work_off
from benchmarks.minting import calibrated, fit, mechanisms, mint, source_of, targeted
from benchmarks.outcome_worlds import WORLDS, Drawn, impossible
from benchmarks.outcomes import distances, frame_of, truth
from benchmarks.synthesizers import run
from benchmarks.worlds import snapshot
from tasks.contract.errors import WaymintError
from tasks.contract.nuisance import Float64
from tasks.contract.registry import resolve
from tasks.contract.rng import rng_for

OURS = "waymint"
LEARNER = "glm"
FAILED = (RuntimeError, subprocess.TimeoutExpired, WaymintError)


class Study(NamedTuple):
    """What is studied."""

    rows: int
    python: str
    timeout: float


class Job(NamedTuple):
    """One generator on one source of one law."""

    world: str
    seed: int
    method: str


def estimated(frame: pd.DataFrame, kind: str) -> float:
    """Return the effect in a table by AIPW with cross-fitted `glm`."""
    source = source_of(*snapshot(frame, kind=kind))
    return float(targeted(source, fit(source, LEARNER, 0)).ate)


def released(job: Job, drawn: Drawn, rows: int) -> pd.DataFrame:
    """Release a source by our own functions."""
    table, schema = snapshot(frame_of(drawn), kind=drawn.kind)
    source = source_of(table, schema)
    fitted = fit(source, LEARNER, job.seed)
    made = mechanisms(source, fitted, targeted(source, fitted), job.seed)
    model = resolve("synthesizer", "forest").fit(source.training_rows(job.seed), schema.modelled, rng_for(job.seed, "covariates"))
    rng = rng_for(job.seed, "draw")
    release = mint(source, model, made, calibrated(source, model, made, fitted, rng), rows, rng, "fitted")
    names = {column.id: column.name for column in schema.modelled}
    return release.frame.rename(columns=names).assign(a=release.a, y=release.y)


def generated(study: Study, job: Job, source: pd.DataFrame) -> pd.DataFrame:
    """Fit a peer on the whole table under its own Python and draw as many rows."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source.to_csv(folder / "in.csv", index=False)
        asked = {"method": job.method, "discrete": ["w2", "a"], "rows": study.rows, "seed": job.seed, "params": {}}
        script = Path(__file__).with_name("synthesizer_peers.py")
        run([study.python, str(script), str(folder / "in.csv"), str(folder / "out.csv"), json.dumps(asked)], study.timeout)
        drawn = pd.read_csv(folder / "out.csv", dtype={"w2": str})
    drawn["a"] = drawn["a"].astype(np.int8)
    return drawn.assign(y=np.round(drawn["y"].to_numpy(dtype=np.float64), digits(source["y"].to_numpy(dtype=np.float64))))


def digits(values: Float64) -> int:
    """Return the digits behind the point that values have, at most six."""
    return next((places for places in range(6) if np.allclose(values, np.round(values, places), rtol=0.0, atol=1e-9)), 6)


def do(study: Study, job: Job) -> dict[str, Any]:
    """Release one source by one generator; a failure of a peer is a result too."""
    drawn, fresh = (WORLDS[job.world](study.rows, start + job.seed) for start in (1_000, 500_000))
    line: dict[str, Any] = {"study": study._asdict(), **job._asdict(), "fresh": distances(drawn.y, drawn.a, fresh.y, fresh.a)}
    line["own"] = estimated(frame_of(drawn), drawn.kind)
    try:
        table = released(job, drawn, study.rows) if job.method == OURS else generated(study, job, frame_of(drawn))
        y, a = table["y"].to_numpy(dtype=np.float64), table["a"].to_numpy(dtype=np.int8)
        line["distance"] = distances(drawn.y, drawn.a, y, a)
        line["impossible"] = impossible(job.world, y)
        kind = drawn.kind if job.method == OURS or not line["impossible"] else "continuous"
        line["effect"] = estimated(table, kind)
    except FAILED as error:
        line["failed"] = str(error)[:200]
    return line


def table_of(found: Mapping[Job, dict[str, Any]]) -> str:
    """Return the Markdown table."""
    head = ("outcome", "generator", "sources", "outcomes the law can't have", "median distance", "of a fresh sample", "largest distance")
    head = (*head, "RMSE of the effect in its rows", "of that in the source")
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for world in dict.fromkeys(job.world for job in found):
        exact = truth(world)
        for method in dict.fromkeys(job.method for job in found):
            of_method = [line for job, line in found.items() if (job.world, job.method) == (world, method)]
            done = [line for line in of_method if "failed" not in line]
            if not done:
                if of_method:
                    lines.append(f"| {world} | {method} | 0 of {len(of_method)}: {of_method[0]['failed'][:60]} |" + " |" * (len(head) - 3))
                continue
            each, fresh = (np.array([line[name] for line in done]) for name in ("distance", "fresh"))
            count, rows = sum(line["impossible"] for line in done), len(done) * done[0]["study"]["rows"]
            errors = [float(np.sqrt(np.mean([(line[name] - exact) ** 2 for line in done]))) for name in ("effect", "own")]
            cells = (world, method, str(len(done)), f"{count / rows:.1%}", f"{np.median(each):.3f}", f"{np.median(fresh):.3f}")
            lines.append("| " + " | ".join((*cells, f"{each.max():.3f}", f"{errors[0]:.3g}", f"{errors[1]:.3g}")) + " |")
    return "\n".join(lines)


def main() -> None:
    """Work off what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", required=True, help="a Python that has the peers' packages")
    parser.add_argument("--peers", default="arf,tvae,ctgan")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--worlds", default=",".join(WORLDS))
    parser.add_argument("--timeout", type=float, default=1_800.0, help="seconds after which a peer has failed")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/outcome-peers.jsonl"))
    asked = parser.parse_args()
    methods = (OURS, *asked.peers.split(","))
    jobs = [Job(world, seed, method) for seed in range(asked.seeds) for method in methods for world in asked.worlds.split(",")]
    found, _ = work_off(
        Study(asked.rows, asked.peer_python, asked.timeout),
        jobs,
        do,
        asked.out,
        asked.jobs,
        job_of=lambda raw: Job(raw["world"], raw["seed"], raw["method"]),
        told="{0} of {1}",
    )
    print(table_of({job: found[job] for job in jobs if job in found}))


if __name__ == "__main__":
    main()
