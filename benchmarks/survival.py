"""Do estimates of survival and restricted means find the truth? Worlds of known truth, many draws each.

    python -m benchmarks.survival --draws 200 [--rows 500 1000] [--learner glm] [--jobs 2]

Times and censoring are exponential (or switch their rate at a time), with hazards that depend on covariates:

* confounded: treatment, event and censoring depend on the same covariate;
* crossing: the treatment harms early and helps late, so hazards cross;
* trial: a randomised treatment, administrative censoring, a known difference of restricted means;
* null: as confounded, without an effect: its rate of intervals that miss zero is the type-1 error.

Of each estimator and number: bias over the standard deviation of the estimates, coverage of 95 % intervals, the mean standard error over
that standard deviation. The bias is the mean distance from the one-step estimate with the world's own hazards and chances, which is
without bias: the two move together from table to table, so the Monte-Carlo error of the bias is a fraction of that of a plain mean.
A second run goes on where the first ended.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.checkpoints import work_off
from tasks.contract.errors import WaymintError
from tasks.contract.nuisance import Float64
from tasks.contract.survival import Grid, restricted_mean, survival_at
from tasks.estimation.survival.analysis import ESTIMATORS, analyse_survival
from tasks.estimation.survival.table import read_survival
from tasks.targeting.survival import ArmData, estimate_curve

HORIZON, TIME = 10.0, 5.0
COVARIATES = ("x", "z", "u")
TRUTH_ROWS = 2_000_000
#: Periods of the grid of :func:`oracle`.
FINE = 400


class World(NamedTuple):
    """Hazards exp(.) of a world; ``confounding`` is the coefficient of x in the log odds of treatment."""

    confounding: float
    effect: float
    late_effect: float
    event_on_x: float
    censoring: float
    censoring_on_x: float


WORLDS = {
    "confounded": World(0.8, -0.5, -0.5, 0.7, 0.05, 0.6),
    "crossing": World(0.8, 0.5, -0.8, 0.7, 0.05, 0.6),
    "trial": World(0.0, -0.4, -0.4, 0.7, 0.0, 0.0),
    "null": World(0.8, 0.0, 0.0, 0.7, 0.05, 0.6),
}


class Study(NamedTuple):
    """What is studied."""

    rows: int
    learner: str


class Job(NamedTuple):
    """One table."""

    world: str
    seed: int


def rates(world: World, x: Float64, z: Float64, a: Float64) -> tuple[Float64, Float64]:
    """Return the hazard before and after time 5."""
    base = np.exp(np.log(0.10) + world.event_on_x * x + 0.3 * z)
    return base * np.exp(world.effect * a), base * np.exp(world.late_effect * a)


def table(name: str, rows: int, seed: int) -> pd.DataFrame:
    """Draw a table."""
    world, rng = WORLDS[name], np.random.default_rng(seed)
    x, z, u = rng.normal(size=(3, rows))
    a = (rng.random(rows) < 1 / (1 + np.exp(-world.confounding * x))).astype(float)
    early, late = rates(world, x, z, a)
    debt = rng.exponential(size=rows)  # the cumulative hazard at which the event comes
    t = np.where(debt < early * TIME, debt / early, TIME + (debt - early * TIME) / late)
    c = np.full(rows, 1.2 * HORIZON)
    if world.censoring:
        c = np.minimum(c, rng.exponential(1 / (world.censoring * np.exp(world.censoring_on_x * x - 0.3 * a))))
    return pd.DataFrame({"x": x, "z": z, "u": u, "a": a.astype(int), "t": np.minimum(t, c), "e": (t <= c).astype(int)})


def truth(name: str) -> dict[str, float]:
    """Return the contrasts of the population, from two million rows."""
    rng = np.random.default_rng(123)
    x, z = rng.normal(size=(2, TRUTH_ROWS))
    risk, mean = [], []
    for a in (0.0, 1.0):
        early, late = rates(WORLDS[name], x, z, np.full(TRUTH_ROWS, a))
        kept = np.exp(-early * TIME)
        risk.append(1.0 - kept.mean())
        mean.append(((1.0 - kept) / early + kept * (1.0 - np.exp(-late * (HORIZON - TIME))) / late).mean())
    return {"risk_difference": risk[1] - risk[0], "rmst_difference": mean[1] - mean[0]}


def oracle(name: str, rows: int, seed: int) -> dict[str, float]:
    """Return the one-step estimates of a table that know g and the hazards of event and censoring, on a fine grid."""
    world, frame = WORLDS[name], table(name, rows, seed)
    x, z, a, time = (frame[column].to_numpy(dtype=np.float64) for column in ("x", "z", "a", "t"))
    grid = Grid(tuple(np.linspace(0.0, HORIZON, FINE + 1)[1:].tolist()))
    ends, width = np.array(grid.edges), HORIZON / FINE
    periods, treated = grid.counts(time, frame["e"].to_numpy() == 1), 1 / (1 + np.exp(-world.confounding * x))
    functionals, points = (survival_at(grid, TIME), restricted_mean(grid)), []
    for arm in (0.0, 1.0):
        early, late = rates(world, x, z, np.full(rows, arm))
        hazard = -np.expm1(-np.where(ends <= TIME, early[:, None], late[:, None]) * width)
        lost = world.censoring * np.exp(world.censoring_on_x * x - 0.3 * arm)
        uncensored = np.exp(-lost[:, None] * (ends - width / 2))
        data = ArmData(a == arm, periods, treated if arm else 1 - treated, hazard, uncensored, np.ones(rows))
        points.append(estimate_curve(data, functionals).points)
    gap = points[1] - points[0]
    return {"risk_difference": -float(gap[0]), "rmst_difference": float(gap[1])}


def do(study: Study, job: Job) -> dict[str, Any]:
    """Estimate one table."""
    roles = {"treatment": "a", "time": "t", "event": "e", "covariates": COVARIATES}
    analysis = analyse_survival(
        read_survival(table(job.world, study.rows, job.seed), roles), HORIZON, (TIME,), seed=job.seed, learner=study.learner
    )
    contrasts = [one for one in analysis.estimates if one.control is not None]
    numbers = {f"{one.estimator} {one.estimand}": [one.estimate, one.se, one.ci_low, one.ci_high] for one in contrasts}
    return {"study": study._asdict(), **job._asdict(), "numbers": numbers, "unsolved": analysis.unsolved}


def lines(study: Study, results: Mapping[Job, dict[str, Any]]) -> list[str]:
    """Return the rows of the Markdown table of one study."""
    written = []
    for world in WORLDS:
        of_world = {job: line["numbers"] for job, line in results.items() if job.world == world}
        if not of_world:
            continue
        exact, drawn = truth(world), list(of_world.values())
        informed = [oracle(world, study.rows, job.seed) for job in of_world]
        for estimand in ("risk_difference", "rmst_difference"):
            for estimator in ESTIMATORS:
                point, se, low, high = np.array([numbers[f"{estimator} {estimand}"] for numbers in drawn]).T
                spread, count = float(point.std(ddof=1)), len(drawn)
                covered = float(np.mean((low <= exact[estimand]) & (exact[estimand] <= high)))
                error = np.sqrt(covered * (1 - covered) / count)
                gap = (point - np.array([each[estimand] for each in informed])) / spread
                cells = (world, f"{study.rows:,}", estimand, estimator, str(count), f"{exact[estimand]:.4f}")
                numbers = (
                    f"{gap.mean():+.3f} ± {gap.std(ddof=1) / np.sqrt(count):.3f}",
                    f"{covered:.1%} ± {error:.1%}",
                    f"{np.mean(se) / spread:.2f}",
                )
                written.append("| " + " | ".join((*cells, *numbers)) + " |")
    return written


def main() -> None:
    """Work off what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--rows", type=int, nargs="+", default=[500, 1_000])
    parser.add_argument("--learner", default="glm")
    parser.add_argument("--worlds", nargs="+", default=list(WORLDS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/survival.jsonl"))
    options = parser.parse_args()
    print("| world | rows | number | estimator | draws | truth | bias over sd | coverage | SE over sd |")
    print("|" + "---|" * 9)
    for rows in options.rows:
        study = Study(rows, options.learner)
        jobs = [Job(world, seed) for seed in range(options.draws) for world in options.worlds]
        results, _ = work_off(
            study,
            jobs,
            do,
            options.out,
            options.jobs,
            job_of=lambda raw: Job(raw["world"], raw["seed"]),
            told="{0} of {1}",
            refusals=(WaymintError,),
        )
        print("\n".join(lines(study, {job: results[job] for job in jobs if job in results})), flush=True)


if __name__ == "__main__":
    main()
