"""Does the simulation engine tell the truth? Estimators under a law fitted to one sample, beside the same estimators on fresh real draws.

    python -m benchmarks.engine [--worlds moderate poor ...] [--rows 1000] [--replicates 2000] [--samples 1] [--jobs 2]

A sample of a world of known truth (benchmarks/worlds.py) is all the engine sees: it fits synthesizer, mechanisms and calibration as
``waymint simulate`` does and draws data sets from its own law (design "fitted"). On the other side stand data sets drawn from the world
itself. Both sides are analysed by the same code: cross-fitted once, every estimator evaluated, errors taken against the side's own truth.

Judged, per world and sample: the ratio of RMSEs, engine over real, of every estimator (0.8 to 1.25); Kendall's tau-b of the two rankings of
the ATE's estimators by RMSE (0.8 on average); the difference of coverages (3 points). Estimators that are one estimate, as TMLE and its
adaptive form under good overlap, tie on both sides; pairs whose real RMSEs differ by less than two Monte-Carlo errors are no ranking
at all, so tau is also told of the other pairs alone. One sample is one: its law carries that sample's chance, which no engine can know;
``--samples`` shows how much that is.

Raw answers go to a file of JSON lines, one per job; a second run goes on where the first ended.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from scipy.stats import kendalltau
from threadpoolctl import threadpool_limits

from benchmarks import minting, worlds
from benchmarks.checkpoints import work_off
from tasks.contract.frames import to_frame
from tasks.contract.nuisance import Nuisances
from tasks.contract.registry import resolve
from tasks.contract.rng import rng_for
from tasks.contract.spec import SMALL, MechanismsSpec
from tasks.contract.spec.simulate import SimulateSpec
from tasks.simulation.batches import estimators_of
from tasks.simulation.grid import Cell
from tasks.simulation.performance import Answers, performance
from tasks.simulation.population import Data, Population, truths
from tasks.simulation.population import source_of as law_of
from tasks.simulation.replicate import Method, replicates
from tasks.source.rows import canonical

Float64 = npt.NDArray[np.float64]

WORLDS = ("trial", "moderate", "poor", "continuous", "mixed")
BATCH = 100
POOL = 50_000
BLOCK = 25_000
RATIO, TAU, POINTS = (0.8, 1.25), 0.8, 0.03
NUMBERS = ("estimate", "se", "ci_low", "ci_high")
TRUTH_STEP = 100_000


class Study(NamedTuple):
    """What is studied; two runs with the same values add up."""

    rows: int
    learner: str
    synthesizer: str
    mechanisms: str
    folds: int


class Job(NamedTuple):
    """One job: replicates of one side of one sample; ``sample`` is None on the real side, which all samples of a world share."""

    world: str
    sample: int | None
    first: int
    replicates: int


class World:
    """The world itself in the place of a law: fresh data sets, canonical as a run would read them."""

    def __init__(self, name: str, schema: Any) -> None:
        self.name, self.schema, self.population = name, schema, self
        self.kind: str = schema.outcome_kind
        self.labels: tuple[str, ...] = schema.arms

    def draw(self, n: int, rng: np.random.Generator) -> Data:
        """Draw one data set of n rows."""
        rows = canonical(pa.Table.from_pandas(worlds.draw(self.name, n, rng).frame(), preserve_index=False), self.schema, "parquet")
        a, y = (np.array(rows.column(name).to_numpy()) for name in ("a", "y"))
        return Data(to_frame(rows, self.schema.modelled), a.astype(np.int8), y.astype(np.float64))


def snapshot(world: str, rows: int, sample: int) -> minting.Source:
    """Draw the sample that the engine sees."""
    return minting.source_of(*worlds.snapshot(worlds.draw(world, rows, rng_for(sample, "engine sample", world)).frame()))


@functools.lru_cache(maxsize=2)
def law(study: Study, world: str, sample: int) -> Population:
    """Fit the hybrid model to a sample and draw the rows that data sets are sampled from, as the flow does."""
    source = snapshot(world, study.rows, sample)
    repeats = 3 if study.rows <= SMALL else 1
    fitted = minting.fit(source, study.mechanisms, sample, repeats=repeats)
    made = minting.mechanisms(source, fitted, minting.targeted(source, fitted), sample)
    model = resolve("synthesizer", study.synthesizer).fit(
        source.training_rows(sample), source.schema.modelled, rng_for(sample, "covariates")
    )
    rng = rng_for(sample, "draw")
    solved = minting.calibrated(source, model, made, fitted, rng)
    blocks = [minting.mint(source, model, made, solved, BLOCK, rng, "fitted") for _ in range(POOL // BLOCK)]
    frame = pd.concat([block.frame for block in blocks], ignore_index=True)
    parts = Nuisances(*(np.concatenate(values) for values in zip(*(block.nuisances for block in blocks))))
    return Population(
        frame, parts, made.law, source.kind, source.schema.modelled, source.schema.outcome, source.schema.arms, MechanismsSpec()
    )


def cell_of(study: Study) -> Cell:
    """Return the one cell of the study."""
    return Cell(study.rows, "fitted", None, 1.0, None, 1.0, study.learner)


def method_of(study: Study) -> Method:
    """Return how data sets of either side are analysed."""
    names = estimators_of(SimulateSpec())
    return Method(resolve("learner", study.learner), {name: resolve("estimator", name) for name in names}, study.folds, "auto")


def work(study: Study, job: Job) -> dict[str, Any]:
    """Do one job: every estimator's answers, the side's truth, and CPU seconds."""
    start, cell = time.process_time(), cell_of(study)
    with threadpool_limits(limits=1):
        if job.sample is None:
            source: Any = World(job.world, snapshot(job.world, study.rows, 0).schema)
            truth = real_truths(job.world)
        else:
            source = law_of(law(study, job.world, job.sample), cell)
            truth = {effect.estimand: found.value for effect, found in truths(source).items()}
        began = time.process_time()
        draw = 0 if job.sample is None else 1 + job.sample
        done = replicates(source, method_of(study), cell, 2026, draw, range(job.first, job.first + job.replicates))
    answers: dict[str, list[Any]] = {}
    for one in done:
        for each in one.outcomes:
            (found,) = each.estimates
            answers.setdefault(each.estimator, []).append(None if found is None else [getattr(found, name) for name in NUMBERS])
    estimands = {each.estimator: found.estimand for one in done for each in one.outcomes for found in each.estimates if found is not None}
    return {
        "study": study._asdict(),
        "job": job._asdict(),
        "truth": truth,
        "estimands": estimands,
        "answers": answers,
        "cpu": {"fit": began - start, "replicates": time.process_time() - began},
    }


@functools.lru_cache(maxsize=16)
def real_truths(world: str) -> dict[str, float]:
    """Return ATE, ATT, ATC and ATO of a world over as many covariate rows as its ATE is computed from."""
    total: dict[str, list[float]] = {name: [0.0, 0.0] for name in ("ate", "att", "atc", "ato")}
    rng = np.random.default_rng(20260423)
    for _ in range(worlds.TRUTH_ROWS // TRUTH_STEP):
        drawn = worlds.draw(world, TRUTH_STEP, rng)
        tau = drawn.q1 - drawn.q0
        for name, weight in {"ate": np.ones(len(tau)), "att": drawn.g, "atc": 1 - drawn.g, "ato": drawn.g * (1 - drawn.g)}.items():
            total[name][0] += float(weight @ tau)
            total[name][1] += float(weight.sum())
    return {name: above / below for name, (above, below) in total.items()}


class Side(NamedTuple):
    """All answers of one side: errors and intervals by estimator, each (R, 4) with NaN where it failed; truth by estimator."""

    answers: dict[str, Float64]
    truth: dict[str, float]
    estimand: dict[str, str]


def side(lines: Sequence[dict[str, Any]]) -> Side:
    """Join the jobs of one side."""
    ordered = sorted(lines, key=lambda line: line["job"]["first"])
    estimands = {name: estimand for line in ordered for name, estimand in line["estimands"].items()}
    blank = [math.nan] * len(NUMBERS)
    answers = {name: np.array([one or blank for line in ordered for one in line["answers"][name]]) for name in ordered[0]["answers"]}
    return Side(answers, {name: ordered[0]["truth"][estimand] for name, estimand in estimands.items()}, estimands)


def compare(real: Side, engine: Side) -> dict[str, Any]:
    """Compare the two sides of one sample."""
    rows, errors = [], {}
    for name in real.truth:
        told = [performance(Answers(*one.answers[name].T), one.truth[name]) for one in (real, engine)]
        if any(value is None for each in told for value in (*each["rmse"], *each["coverage"])):
            continue
        (r, r_se), (e, e_se) = (np.array(each["rmse"], dtype=np.float64).tolist() for each in told)
        (cr, cr_se), (ce, ce_se) = (np.array(each["coverage"], dtype=np.float64).tolist() for each in told)
        errors[name] = (r, e)
        rows.append(
            {
                "estimator": name,
                "estimand": real.estimand[name],
                "rmse_real": r,
                "rmse_engine": e,
                "ratio": e / r,
                "ratio_mcse": e / r * math.hypot(r_se / r, e_se / e),
                "coverage_real": cr,
                "coverage_engine": ce,
                "difference": ce - cr,
                "difference_mcse": math.hypot(cr_se, ce_se),
                "bias_real": told[0]["bias"].value,
                "bias_engine": told[1]["bias"].value,
                "truth_real": real.truth[name],
                "truth_engine": engine.truth[name],
                "failures": [each["failures"].value for each in told],
            }
        )
    ate = [name for name in errors if real.estimand[name] == "ate"]
    tau = float(kendalltau(*zip(*(errors[name] for name in ate))).statistic)
    pairs = [(one, other) for one, other in itertools.combinations(ate, 2) if _differ(real, one, other)]
    agree = [(errors[one][0] - errors[other][0]) * (errors[one][1] - errors[other][1]) > 0 for one, other in pairs]
    resolved = None if not agree else 2.0 * float(np.mean(agree)) - 1.0
    return {"rows": rows, "tau": tau, "tau_resolved": resolved, "pairs": len(pairs)}


def _differ(real: Side, one: str, other: str) -> bool:
    """Tell whether two estimators' real mean squared errors differ by more than two Monte-Carlo errors, pair by pair of answers."""
    gap = (real.answers[one][:, 0] - real.truth[one]) ** 2 - (real.answers[other][:, 0] - real.truth[other]) ** 2
    known = gap[np.isfinite(gap)]
    return bool(abs(known.mean()) > 2.0 * known.std(ddof=1) / math.sqrt(len(known)))


def run(study: Study, jobs: Sequence[Job], path: Path, workers: int) -> list[dict[str, Any]]:
    """Work off the jobs that are missing in the file; return the lines of all."""
    known, _ = work_off(study, jobs, work, path, workers, job_of=lambda line: Job(**line["job"]), told="{} of {} jobs")
    return [known[job] for job in jobs]


def show(world: str, sample: int, found: dict[str, Any]) -> None:
    """Print one comparison."""
    tau = "–" if found["tau_resolved"] is None else f"{found['tau_resolved']:.2f}"
    print(f"\n{world}, sample {sample}: Kendall tau {found['tau']:.2f}; of the {found['pairs']} pairs that really differ {tau}")
    heads = (("RMSE real", 11), ("engine", 9), ("ratio", 7), ("+-", 6), ("coverage real", 15), ("engine", 8), ("diff", 8), ("+-", 7))
    print(f"{'estimator':10s}" + "".join(f"{text:>{width}s}" for text, width in heads))
    for row in found["rows"]:
        fits = "" if RATIO[0] <= row["ratio"] <= RATIO[1] and abs(row["difference"]) <= POINTS else "  OUTSIDE"
        print(
            f"{row['estimator']:10s}{row['rmse_real']:11.4f}{row['rmse_engine']:9.4f}{row['ratio']:7.2f}{row['ratio_mcse']:6.2f}"
            f"{row['coverage_real']:15.3f}{row['coverage_engine']:8.3f}{row['difference']:+8.3f}{row['difference_mcse']:7.3f}{fits}"
        )


def main() -> None:
    """Run the study, print it, write JSON beside the raw lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="+", default=list(WORLDS), choices=list(worlds.LAWS))
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--replicates", type=int, default=2_000)
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--learner", default="glm", help="of the estimators")
    parser.add_argument("--mechanisms", default="stack", help="learner of the engine's mechanisms")
    parser.add_argument("--synthesizer", default="forest")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("build/engine"), help="where raw lines and JSON go")
    asked = parser.parse_args()
    study = Study(asked.rows, asked.learner, asked.synthesizer, asked.mechanisms, 5)
    batches = range(0, asked.replicates, BATCH)
    sides = [(world, sample) for world in asked.worlds for sample in (None, *range(asked.samples))]
    # an engine's side is one job: its law is fitted once
    jobs = [
        job
        for world, sample in sides
        for job in (
            [Job(world, None, first, min(BATCH, asked.replicates - first)) for first in batches]
            if sample is None
            else [Job(world, sample, 0, asked.replicates)]
        )
    ]
    lines = run(study, jobs, asked.folder / "engine.jsonl", asked.jobs)
    found = []
    for world in asked.worlds:
        real = side([line for line in lines if line["job"]["world"] == world and line["job"]["sample"] is None])
        for sample in range(asked.samples):
            engine = side([line for line in lines if line["job"]["world"] == world and line["job"]["sample"] == sample])
            found.append({"world": world, "sample": sample, **compare(real, engine)})
            show(world, sample, found[-1])
    rows = [row for each in found for row in each["rows"]]
    inside = sum(RATIO[0] <= row["ratio"] <= RATIO[1] for row in rows)
    near = sum(abs(row["difference"]) <= POINTS for row in rows)
    tau = float(np.mean([each["tau"] for each in found]))
    resolved = [each["tau_resolved"] for each in found if each["tau_resolved"] is not None]
    print(f"\nRMSE ratio within {RATIO[0]} to {RATIO[1]}: {inside} of {len(rows)}; coverage within {POINTS:.0%}: {near} of {len(rows)}")
    print(f"Kendall tau {tau:.2f} on average (wanted {TAU}); of pairs that really differ {np.mean(resolved) if resolved else math.nan:.2f}")
    summary = {
        "inside": inside,
        "near": near,
        "rows": len(rows),
        "tau": tau,
        "tau_resolved": float(np.mean(resolved)) if resolved else None,
    }
    report = {"study": study._asdict(), "replicates": asked.replicates, "summary": summary, "found": found}
    (asked.folder / "engine.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
