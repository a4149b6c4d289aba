"""Whether a release carries the effect of a study that is more than two arms of independent rows.

    python -m benchmarks.study_worlds [--seeds 100] [--worlds arms clusters ...] [--draws balanced] [--jobs 2] [--out FILE]

Five worlds of known truth, each with confounded treatment and effects that vary with a covariate:

* "arms": 1,000 people, four arms; all six pairs are judged;
* "clusters": 50 villages of 20 people with effects of their own on outcome and treatment;
* "weights": 1,000 people sampled by chances that go with the effect;
* "dropout": 1,000 people of whom 30 % lack the outcome, most where the effect is large (``missing_outcome = "ipcw"``);
* "outcomes": 1,000 people with two outcomes, a continuous one and a binary one.

A seed draws a source, runs the whole release flow on it (copula, learner glm, 5 folds, 10,000 rows), and keeps AIPW's effect in source
and release with the truth. Gates that measure distances are off: fifty villages leave too few for a holdout, and effects are what is
asked. A line tells the root mean squared error of the release over that of the source, with its Monte-Carlo standard error, and how often
the release lies within a quarter of the source's standard error of it. Raw numbers go to a file of JSON lines; a second run goes on where
the first ended.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtr

from benchmarks.checkpoints import work_off
from benchmarks.coverage import EFFECT, dropout, survey, villages
from benchmarks.fidelity import ratio
from benchmarks.worlds import expit
from flows.release import mint
from tasks.contract.rng import rng_for
from tasks.numerics.threads import one_thread
from tests.direct import directly, run_of

RELEASED = 10_000
PEOPLE = 1_000
MEANS = (0.0, 1.0, 2.0, 0.5)
DISTANCES = (
    "closeness_z",
    "closeness_excess",
    "near_copies",
    "dcr_margin",
    "exact_copies",
    "closeness_groups",
    "holdout_budget",
    "isolated_rows",
)
Truth = dict[tuple[str, str, str], float]


class Study(NamedTuple):
    """What is studied; two runs with the same values add up."""

    rows: int
    draws: str = "iid"


class Job(NamedTuple):
    """One source of a world."""

    world: str
    seed: int


class World(NamedTuple):
    """A source with its roles, and true effects by outcome, arm and control ("" where there is one outcome or two arms)."""

    frame: pd.DataFrame
    roles: dict[str, Any]
    truth: Truth


def _two(frame: pd.DataFrame, **roles: Any) -> World:
    return World(frame.round(4), {"treatment": "a", "outcome": "y", **roles}, {("", "", ""): EFFECT})


def arms(seed: int) -> World:
    """Draw four arms."""
    rng = rng_for(seed, "study of arms")
    x, z = rng.normal(size=(2, PEOPLE)).round(3)
    logits = np.column_stack((np.zeros(PEOPLE), 0.6 * x, 0.5 * z - 0.3, -0.5 * x))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    a = (rng.random((PEOPLE, 1)) > shares.cumsum(axis=1)).sum(axis=1)
    y = x + 0.5 * z + np.array(MEANS)[a] * (1.0 + 0.3 * x) + rng.normal(size=PEOPLE)
    truth = {("", str(k), str(j)): MEANS[k] - MEANS[j] for k in range(4) for j in range(k)}
    frame = pd.DataFrame({"x": x, "z": z, "a": a, "y": y.round(4)})
    return World(frame, {"treatment": "a", "outcome": "y", "control": 0}, truth)


def clusters(seed: int) -> World:
    """Draw people in villages."""
    place = np.repeat(np.arange(50), 20)
    return _two(villages(seed).frame.assign(village=[f"v{number:02d}" for number in place]), cluster="village")


def weights(seed: int) -> World:
    """Draw people by unequal chances."""
    drawn = survey(seed)
    return _two(drawn.frame.assign(w=drawn.weights), weight="w")


def missing(seed: int) -> World:
    """Draw people of whom some lack the outcome."""
    return _two(dropout(seed).frame, missing_outcome="ipcw")


def outcomes(seed: int) -> World:
    """Draw a continuous and a binary outcome that hang together beyond what covariates and treatment explain."""
    rng = rng_for(seed, "study of outcomes")
    x, z = rng.normal(size=(2, PEOPLE)).round(3)
    a = (rng.random(PEOPLE) < expit(0.5 * x)).astype(int)
    shared = rng.normal(size=PEOPLE)
    y = a * (EFFECT + 0.5 * x) + x + 0.5 * z + shared
    event = (0.6 * shared + 0.8 * rng.normal(size=PEOPLE) < 0.6 * a + 0.4 * x - 0.5).astype(int)
    at = rng_for(0, "study of outcomes", "truth").normal(size=1_000_000)
    effect = float(np.mean(ndtr(0.1 + 0.4 * at) - ndtr(-0.5 + 0.4 * at)))
    frame = pd.DataFrame({"x": x, "z": z, "a": a, "y": y.round(4), "event": event})
    roles = {"treatment": "a", "outcomes": ["y", "event"]}
    return World(frame, roles, {("y", "", ""): EFFECT, ("event", "", ""): effect})


WORLDS: dict[str, Callable[[int], World]] = {
    "arms": arms,
    "clusters": clusters,
    "weights": weights,
    "dropout": missing,
    "outcomes": outcomes,
}


def one(study: Study, job: Job) -> dict[str, Any]:
    """Draw a source, release from it, and keep AIPW's effects of both with the truth."""
    world = WORLDS[job.world](job.seed)
    with tempfile.TemporaryDirectory() as place, one_thread(), contextlib.redirect_stderr(io.StringIO()):
        folder = Path(place)
        world.frame.to_parquet(folder / "source.parquet", index=False)
        spec = {
            "name": "study",
            "seed": job.seed,
            "source": {"uri": str(folder / "source.parquet")},
            "roles": world.roles,
            "covariates": {"synthesizer": "copula"},
            "mechanisms": {"learner": "glm", "repeats": 1},
            "release": {"rows": study.rows, "part_rows": study.rows, "draws": study.draws},
            "gates": dict.fromkeys(DISTANCES, False),
            "store": {"uri": str(folder / "store")},
            "engine": {"dask": "threads", "workers": 1},
        }
        reply, _ = directly(mint, run_of(spec, folder / "work"))
    manifest = reply["manifest"]
    sides = {side: _effects(manifest["effects"][side]["all"]) for side in ("source", "release")}
    effects = [
        {"pair": list(pair), "truth": truth, "source": sides["source"][pair], "release": sides["release"][pair][0]}
        for pair, truth in world.truth.items()
    ]
    return {"study": study._asdict(), "world": job.world, "seed": job.seed, "effects": effects, "status": reply["status"]}


def _effects(estimates: list[dict[str, Any]]) -> dict[tuple[str, str, str], tuple[float, float]]:
    """Return AIPW's estimate and standard error of each pair of arms, of each outcome."""
    kept = [each for each in estimates if each["estimand"] == "ate" and each["estimator"] == "aipw"]
    return {(each.get("outcome") or "", each.get("arm") or "", each.get("control") or ""): (each["estimate"], each["se"]) for each in kept}


def rows_of(world: str, lines: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a table: one for each effect of a world."""
    rows = []
    for place, first in enumerate(lines[0]["effects"]):
        each = [line["effects"][place] for line in lines]
        truth, source, release = (np.array([one[key] for one in each]) for key in ("truth", "source", "release"))
        value, error = ratio(release - truth, source[:, 0] - truth)
        near = float(np.mean(np.abs(release - source[:, 0]) < 0.25 * source[:, 1]))
        published = float(np.mean([line["status"] == "published" for line in lines]))
        outcome, arm, control = first["pair"]
        name = " ".join(part for part in (outcome, f"{arm} - {control}" if arm else "") if part)
        rows.append(f"| {world} | {name or 'ate'} | {len(lines)} | {value:.3f} ± {error:.3f} | {near:.0%} | {published:.0%} |")
    return rows


def main() -> None:
    """Run the study and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--worlds", nargs="+", default=list(WORLDS), choices=list(WORLDS))
    parser.add_argument("--rows", type=int, default=RELEASED)
    parser.add_argument("--draws", choices=["iid", "balanced"], default="iid")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/study_worlds.jsonl"))
    options = parser.parse_args()
    study, jobs = Study(options.rows, options.draws), [Job(world, seed) for seed in range(options.seeds) for world in options.worlds]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    lines, _ = work_off(
        study, jobs, one, options.out, options.jobs, job_of=lambda line: Job(line["world"], line["seed"]), told="{} of {} sources"
    )
    print("| world | effect | sources | RMSE, release to source | within SE/4 of the source | published |\n|---|---|---:|---:|---:|---:|")
    for world in options.worlds:
        print("\n".join(rows_of(world, [lines[job] for job in jobs if job.world == world])))


if __name__ == "__main__":
    main()
