"""Coverage of 95 % intervals where rows come in clusters, with informative survey weights, or with outcomes that some rows lack.

    python -m benchmarks.coverage [--draws 400] [--worlds clusters weights dropout] [--learner glm] [--jobs 2] [--out FILE]

World "clusters": 50 villages of 20 people; covariates vary by person, the outcome has a village effect of standard deviation 0.65, and the
treatment leans on a village effect of its own. Intervals sum influence values within villages, with t of 49 degrees of freedom. Beside them
stands what intervals cover that take rows as independent.

World "weights": 1,000 people, sampled with chances that depend on a covariate that also changes the effect. The truth is the population's
mean effect, and intervals are weighted. Beside them stands what unweighted ones cover.

World "dropout": 1,000 people of whom 30 % lack the outcome, by a chance that depends on a covariate and differs between the arms, while the
effect rises with that covariate. Intervals weight by the inverse of the chance to be observed (IPCW). Beside them stands what those of the
complete rows cover.

Each line tells the share of intervals that cover the truth, with its Monte-Carlo standard error. Raw estimates go to a file of JSON lines;
a second run goes on where the first ended.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.checkpoints import work_off
from benchmarks.worlds import expit
from tasks.contract.nuisance import Float64
from tasks.contract.rng import UInt64, mix, rng_for, salt
from tasks.estimation.analysis import analyse
from tasks.numerics.threads import one_thread

ESTIMATORS = ("ipw", "aipw", "tmle")
VILLAGES, PEOPLE, SPREAD = 50, 20, 0.65
SAMPLED = 1_000
EFFECT = 1.0
ROLES = {"treatment": "a", "outcome": "y", "covariates": ("x", "z"), "outcome_kind": "continuous"}


class Study(NamedTuple):
    """What is studied; two runs with the same values add up."""

    learner: str


class Job(NamedTuple):
    """One draw of a world."""

    world: str
    seed: int


class Draw(NamedTuple):
    """A data set, and how its rows count: each of n rows."""

    frame: pd.DataFrame
    clusters: UInt64 | None = None
    weights: Float64 | None = None
    dropout: bool = False


def villages(seed: int) -> Draw:
    """Draw people in villages."""
    rng = rng_for(seed, "coverage of clusters")
    n, place = VILLAGES * PEOPLE, np.repeat(np.arange(VILLAGES), PEOPLE)
    x, z = rng.normal(size=n), rng.normal(size=n)
    a = (rng.random(n) < expit(0.5 * x + 0.5 * rng.normal(size=VILLAGES)[place])).astype(np.int8)
    y = EFFECT * a + x + 0.5 * z + SPREAD * rng.normal(size=VILLAGES)[place] + rng.normal(size=n)
    return Draw(pd.DataFrame({"x": x, "z": z, "a": a, "y": y}), clusters=mix(place.astype(np.uint64), salt("village")))


def survey(seed: int) -> Draw:
    """Draw people by chances that fall with x, while the effect rises with it: its mean over the population is ``EFFECT``."""
    rng = rng_for(seed, "coverage of weights")
    x = rng.normal(size=12 * SAMPLED)
    chance = expit(-1.0 - x)
    taken = np.flatnonzero(rng.random(len(x)) < chance)[:SAMPLED]
    x, chance = x[taken], chance[taken]
    z = rng.normal(size=SAMPLED)
    a = (rng.random(SAMPLED) < expit(0.5 * x)).astype(np.int8)
    y = a * (EFFECT + 0.5 * x) + x + 0.5 * z + rng.normal(size=SAMPLED)
    return Draw(pd.DataFrame({"x": x, "z": z, "a": a, "y": y}), weights=1.0 / chance)


def dropout(seed: int) -> Draw:
    """Draw people who stay less often the higher their x, in the treated more so, while the effect rises with x."""
    rng = rng_for(seed, "coverage of dropout")
    x, z = rng.normal(size=(2, SAMPLED))
    a = (rng.random(SAMPLED) < expit(0.5 * x)).astype(np.int8)
    y = a * (EFFECT + 0.5 * x) + x + 0.5 * z + rng.normal(size=SAMPLED)
    stays = rng.random(SAMPLED) < expit(1.0 - (0.4 + 0.6 * a) * x)
    return Draw(pd.DataFrame({"x": x, "z": z, "a": a, "y": np.where(stays, y, np.nan)}), dropout=True)


WORLDS = {"clusters": villages, "weights": survey, "dropout": dropout}


def one(study: Study, job: Job) -> dict[str, Any]:
    """Estimate on one draw, as the rows count and as if they were independent, of equal weight and all there were."""
    drawn = WORLDS[job.world](job.seed)
    with one_thread():
        roles = {**ROLES, "missing_outcome": "ipcw"} if drawn.dropout else ROLES
        sound = analyse(drawn.frame, roles, ESTIMATORS, job.seed, study.learner, clusters=drawn.clusters, weights=drawn.weights)
        naive = analyse(drawn.frame.dropna(), ROLES, ESTIMATORS, job.seed, study.learner)
    sides = {"sound": sound, "naive": naive}
    estimates = {
        side: {each.estimator: [each.estimate, each.ci_low, each.ci_high] for each in made.estimates} for side, made in sides.items()
    }
    return {"study": study._asdict(), "world": job.world, "seed": job.seed, "estimates": estimates}


def covered(lines: list[dict[str, Any]], side: str, estimator: str) -> tuple[float, float]:
    """Return the share of intervals that cover the truth, and its standard error."""
    ends = [line["estimates"][side][estimator][1:] for line in lines]
    share = float(np.mean([low <= EFFECT <= high for low, high in ends]))
    return share, float(np.sqrt(share * (1 - share) / len(ends)))


def main() -> None:
    """Run the study and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--worlds", nargs="+", default=list(WORLDS), choices=list(WORLDS))
    parser.add_argument("--learner", default="glm")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/coverage.jsonl"))
    options = parser.parse_args()
    study, jobs = Study(options.learner), [Job(world, seed) for world in options.worlds for seed in range(options.draws)]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    lines, _ = work_off(
        study, jobs, one, options.out, options.jobs, job_of=lambda line: Job(line["world"], line["seed"]), told="{} of {} draws"
    )
    print(f"{'world':<10}{'estimator':<10}{'draws':>6}{'covers':>9}{'MC se':>8}{'naive':>8}")
    for world in options.worlds:
        some = [lines[job] for job in jobs if job.world == world]
        for estimator in ESTIMATORS:
            (share, se), (naive, _) = covered(some, "sound", estimator), covered(some, "naive", estimator)
            print(f"{world:<10}{estimator:<10}{len(some):>6}{share:>9.3f}{se:>8.3f}{naive:>8.3f}")


if __name__ == "__main__":
    main()
