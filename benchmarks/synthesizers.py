"""Synthesizers side by side: how well drawn covariates follow the law, CPU seconds of fitting and drawing, memory.

    python -m benchmarks.synthesizers [--rows 1000,100000] [--worlds moderate,wide,mixed] [--methods forest,copula,...] [--seeds 5]
        [--params '{"ctgan": {"epochs": 50}}'] [--drawn 20000] [--timeout 7200] [--out build/synthesizers.jsonl]
        [--peer-python PATH] [--peers ctgan,tvae,arf,great] [--peer-params '{"ctgan": {"epochs": 50}}']
    python -m benchmarks.synthesizers --report [--out build/synthesizers.jsonl]

Each world's covariates are drawn anew for each seed; a synthesizer is fitted on them in a process of its own and draws ``--drawn`` rows;
boosted trees (tasks.comparison) tell these from as many fresh rows of the law: 0.5 is ideal, and `bootstrap`, which copies, shows what the
training rows themselves reach. CPU seconds are those of the process, memory its high-water mark above what it held before fitting. Peers
(packages ctgan, arfpy, be-great) run under ``--peer-python``, an environment of their own, by benchmarks/synthesizer_peers.py on the same
rows. Jobs alternate between methods; each is appended to ``--out`` and not done again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t as student

from benchmarks.minting import conformed
from benchmarks.worlds import LAWS, draw, snapshot
from infra.metering import metered
from tasks.comparison.twosample import two_sample
from tasks.contract.frames import to_frame
from tasks.contract.registry import names, resolve
from tasks.contract.rng import rng_for
from tasks.contract.roles import Column

PEERS = ("ctgan", "tvae", "arf", "great")
PEER = "peer "
WORLDS = ("moderate", "wide", "mixed")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
HEAD = ("world", "rows", "method", "seeds", "two-sample AUC", "95 % over seeds", "fit CPU s", "draw CPU s", "peak MiB", "failed")


class Job(NamedTuple):
    """One synthesizer on one seed's rows."""

    world: str
    rows: int
    method: str
    seed: int
    params: str
    drawn: int

    @property
    def key(self) -> str:
        """Return what tells jobs apart."""
        return json.dumps(self)


def covariates(world: str, rows: int, seed: int) -> tuple[pd.DataFrame, tuple[Column, ...]]:
    """Draw a world's covariates in canonical form, with the description of their columns."""
    table, schema = snapshot(draw(world, rows, np.random.default_rng([seed, rows, 20260105])).frame(), kind=LAWS[world].kind)
    return to_frame(table, schema.modelled), schema.modelled


def fresh(world: str, rows: int, seed: int, columns: tuple[Column, ...]) -> pd.DataFrame:
    """Draw rows of the law that nobody has seen, in the form of the columns that were learnt: rounded and bounded as drawn rows are."""
    drawn = LAWS[world].covariates(rows, np.random.default_rng([seed, rows, 77]))
    cells: dict[str, Any] = {}
    for column in columns:
        raw = drawn[column.name]
        if column.is_category:
            text = raw.map(lambda value: None if pd.isna(value) else str(value))
            cells[column.id] = pd.Categorical(text, categories=pd.Index(column.levels, dtype=object))
        else:
            cells[column.id] = raw.to_numpy(dtype=np.float64)
    return conformed(pd.DataFrame(cells), columns)


def own(job: Job, out: Path) -> dict[str, Any]:
    """Fit and draw with one of our synthesizers in this process; write the drawn rows."""
    table, columns = covariates(job.world, job.rows, job.seed)
    # loads the method's module and what that imports: no part of its costs
    synthesizer = resolve("synthesizer", job.method, json.loads(job.params))
    cpu = time.process_time()
    with metered() as fitting:
        model = synthesizer.fit(table, columns, rng_for(job.seed, "covariates"))
    fitted = time.process_time()
    with metered() as drawing:
        drawn = model.sample(job.drawn, rng_for(job.seed, "draw"))
    done = time.process_time()
    drawn.to_pickle(out)
    peaks = [meter.peak_mib for meter in (fitting, drawing) if meter.peak_mib is not None]
    return {
        "fit_seconds": fitted - cpu,
        "sample_seconds": done - fitted,
        "fit_wall": fitting.wall_seconds,
        "sample_wall": drawing.wall_seconds,
        "peak_mib": max(peaks, default=None),
    }


def foreign(job: Job, python: str, folder: Path, timeout: float) -> tuple[dict[str, Any], pd.DataFrame]:
    """Fit and draw with a peer's package under its own Python; the rows go over as CSV."""
    table, columns = covariates(job.world, job.rows, job.seed)
    table.to_csv(folder / "in.csv", index=False)
    asked = {
        "method": job.method.removeprefix(PEER),
        "discrete": [column.id for column in columns if column.is_category],
        "rows": job.drawn,
        "seed": job.seed,
        "params": json.loads(job.params),
    }
    script = Path(__file__).with_name("synthesizer_peers.py")
    told = run([python, str(script), str(folder / "in.csv"), str(folder / "out.csv"), json.dumps(asked)], timeout)
    text = {column.id: str for column in columns if column.is_category}
    raw = pd.read_csv(folder / "out.csv", dtype=text, keep_default_na=True)
    cells: dict[str, Any] = {}
    for column in columns:
        if column.is_category:
            levels = pd.Index(column.levels, dtype=object)
            cells[column.id] = pd.Categorical(raw[column.id].astype(object).where(raw[column.id].notna(), None), categories=levels)
        else:
            cells[column.id] = pd.to_numeric(raw[column.id], errors="coerce").to_numpy(dtype=np.float64)
    return told, pd.DataFrame(cells)


def run(command: list[str], timeout: float) -> dict[str, Any]:
    """Run a process that ends with one line of JSON."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, env={**os.environ, **ONE_THREAD})
    if ended.returncode:
        raise RuntimeError(ended.stderr.strip().splitlines()[-1] if ended.stderr.strip() else f"exit code {ended.returncode}")
    told: dict[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
    return told


def done_by(job: Job, python: str | None, timeout: float) -> dict[str, Any]:
    """Do one job in a process of its own and judge what it drew; a failure is a result too."""
    _, columns = covariates(job.world, job.rows, job.seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        try:
            if job.method.startswith(PEER):
                assert python is not None
                told, raw = foreign(job, python, folder, timeout)
            else:
                told = run(
                    [sys.executable, "-m", "benchmarks.synthesizers", "--one", job.key, "--into", str(folder / "drawn.pickle")], timeout
                )
                raw = pd.read_pickle(folder / "drawn.pickle")
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            return {**job._asdict(), "failed": str(error)[:300]}
    drawn = conformed(raw, columns)
    judged = two_sample(fresh(job.world, job.drawn, job.seed, columns), drawn, rng_for(job.seed, "judge"), most=job.drawn)
    return {**job._asdict(), **told, "auc": judged.auc, "auc_se": judged.se}


def jobs(asked: argparse.Namespace) -> Iterator[Job]:
    """List the jobs: seeds outermost and methods innermost, so that methods alternate."""
    params, peer_params = json.loads(asked.params), json.loads(asked.peer_params)
    methods = [(name, params.get(name, {})) for name in asked.methods.split(",")]
    if asked.peer_python:
        methods += [(PEER + name, peer_params.get(name, {})) for name in asked.peers.split(",")]
    for rows in map(int, asked.rows.split(",")):
        for seed in range(asked.seeds):
            for world in asked.worlds.split(","):
                for name, own_params in methods:
                    yield Job(world, rows, name, seed, json.dumps(own_params, sort_keys=True), asked.drawn)


def finished(path: Path) -> list[dict[str, Any]]:
    """Read what is done; a line cut short by an interruption is left out."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def report(rows: list[dict[str, Any]]) -> list[str]:
    """Return the table: means over seeds, medians of costs."""
    frame = pd.DataFrame(rows)
    if frame.empty:
        return ["nothing is done yet"]
    for name in ("failed", "auc", "fit_seconds", "sample_seconds", "peak_mib"):
        frame[name] = frame.get(name, np.nan)
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    for (world, size, method, params), group in frame.groupby(["world", "rows", "method", "params"], sort=True):
        well = group[group["failed"].isna()]
        label = method + ("" if params == "{}" else f" {params}")
        cells = [world, f"{size:,}", label, str(len(well))]
        if len(well):
            mean, spread = float(well["auc"].mean()), float(well["auc"].std(ddof=1)) if len(well) > 1 else math.nan
            half = float(student.ppf(0.975, len(well) - 1)) * spread / math.sqrt(len(well)) if len(well) > 1 else math.nan
            cells += [f"{mean:.3f}", f"{mean - half:.3f} to {mean + half:.3f}" if math.isfinite(half) else "–"]
            cells += [f"{well[name].median():,.2f}" for name in ("fit_seconds", "sample_seconds")]
            cells.append("–" if well["peak_mib"].isna().all() else f"{well['peak_mib'].median():,.0f}")
        else:
            cells += ["–"] * 5
        lines.append("| " + " | ".join([*cells, "" if len(well) == len(group) else str(group["failed"].dropna().iloc[0])[:80]]) + " |")
    return lines


def main() -> None:
    known = ",".join(names("synthesizer"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="1000,100000")
    parser.add_argument("--worlds", default=",".join(WORLDS))
    parser.add_argument("--methods", default=known)
    parser.add_argument("--params", default="{}", help="parameters by method, JSON")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--drawn", type=int, default=20_000)
    parser.add_argument("--peer-python", default=None, help="a Python that has the peers' packages")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--peer-params", default="{}", help="parameters by peer, JSON")
    parser.add_argument("--timeout", type=float, default=7_200.0, help="seconds after which a job has failed")
    parser.add_argument("--out", type=Path, default=Path("build/synthesizers.jsonl"))
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(own(Job(*json.loads(asked.one)), asked.into)))
        return
    if not asked.report:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        done = {Job(*(row[name] for name in Job._fields)).key for row in finished(asked.out)}
        for job in jobs(asked):
            if job.key not in done:
                row = done_by(job, asked.peer_python, asked.timeout)
                with asked.out.open("a") as out:
                    out.write(json.dumps(row) + "\n")
                score = row.get("failed") or f"AUC {row['auc']:.3f}, fit {row['fit_seconds']:.2f} CPU s"
                print(f"{job.world} {job.rows:,} {job.method} seed {job.seed}: {score}", file=sys.stderr)
    print("\n".join(report(finished(asked.out))))


if __name__ == "__main__":
    main()
