"""Do intervals from copies cover the truth? Combined by each rule, beside the naive interval of one release.

    python -m benchmarks.intervals --world moderate --seeds 200 [--learner glm|stack] [--generators forest copula spoilt] [--jobs 2]

Every seed draws a source of n rows from a world of known truth (benchmarks/worlds.py). From it come, per generator and size, m copies
(each with its own Bayesian bootstrap draw of mechanisms and calibration, as ``release.copies = m`` makes them) and one release from equally
weighted rows (``copies = 1``). Each released table is estimated by itself, as an analyst would. Then:

* combined: the m copies by the rules source (the variance of the source's estimate is published), raghunathan and raab;
* single: the one release, its variance and the source's added up (rule source with one copy of one fit);
* naive: the one release's own interval, as if it were data.

World "null" has effect zero: there ``excludes_zero`` is the type-1 error. Rule raab takes a released row for a source row: it is meant for
design "fitted" only. ``--draws balanced`` studies balanced draws: copies then scatter less than their standard errors say, so rule source
is conservative, and rule raghunathan, which subtracts what the copies' own draws should have added, is not to be used.
Raw estimates go to a file of JSON lines, one per seed; a second run goes on where the first ended.
"""

from __future__ import annotations

import argparse
import json
import math
import operator
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from benchmarks import minting, worlds
from benchmarks.checkpoints import work_off
from tasks.contract.columns import conform
from tasks.contract.errors import EstimationError
from tasks.contract.registry import resolve
from tasks.contract.results import Estimate
from tasks.contract.rng import mix, rng_for, salt
from tasks.covariates.protocol import CovariateModel
from tasks.estimation.combine import Rule, combine
from tasks.estimation.evaluate import evaluate
from tasks.mechanisms.balanced import balanced_outcome, balanced_treatment
from tasks.mechanisms.draw import Design
from tasks.mechanisms.model import Mechanisms
from tasks.mechanisms.moments import features
from tasks.nuisance.crossfit import Rows, cross_fit_small
from tasks.nuisance.plan import Plan
from tasks.numerics.normal import Z95

ESTIMATORS = ("or", "ipw", "aipw", "tmle")
GENERATORS = ("forest", "copula", "spoilt")
RULES: tuple[Rule, ...] = ("source", "raghunathan", "raab")
FOLDS = 5
#: What the combined interval of the default rule must cover, where the study is large enough to tell.
BAND = (0.92, 0.98)


class Study(NamedTuple):
    """What is studied; two runs with the same values add up."""

    world: str
    rows: int
    learner: str
    generators: tuple[str, ...]
    copies: int
    factors: tuple[int, ...]
    design: Design
    draws: str
    pool: int


class Pairs(NamedTuple):
    """Estimates and standard errors, by estimator."""

    points: dict[str, float]
    errors: dict[str, float]


def _pairs(found: Iterable[Estimate]) -> Pairs:
    listed = list(found)
    return Pairs({one.estimator: one.estimate for one in listed}, {one.estimator: one.se for one in listed})


def estimate(source: minting.Source, release: minting.Release, learner: str, seed: int) -> Pairs:
    """Estimate on a released table alone: cross-fitted on its own rows, as the flow and ``waymint estimate`` do."""
    keys = mix(np.arange(len(release.a), dtype=np.uint64), salt(seed, "release key"))
    rows = Rows(keys, release.a, release.y, source.kind)
    # batched where the learner can: the same predictions, to rounding, at less than half the time
    nuisances = cross_fit_small(Plan("release", seed, FOLDS), resolve("learner", learner), rows, release.frame).first
    return _pairs(evaluate(release.a, release.y, nuisances, source.kind, ESTIMATORS))


def balanced(source: minting.Source, made: Mechanisms, release: minting.Release, rng: np.random.Generator) -> minting.Release:
    """Draw treatments and outcomes of a release again, balanced: what ``release.draws = "balanced"`` makes of the same covariates."""
    matched = features(release.frame, release.nuisances, source.schema.modelled)[:, :-3]  # without g, Q*0, Q*1
    a = balanced_treatment(release.nuisances, rng, matched)
    drawn = balanced_outcome(made.law, a, release.nuisances, release.frame, rng)
    y = conform(source.schema.outcome, pa.array(drawn)).to_numpy(zero_copy_only=False).astype(np.float64)
    return release._replace(a=a, y=y)


def generator(name: str, source: minting.Source, seed: int) -> CovariateModel:
    """Fit a synthesizer of W on the training rows; ``"spoilt"`` is a forest whose draws are shifted."""
    table = source.training_rows(seed)
    kind = "forest" if name == "spoilt" else name
    model = cast(CovariateModel, resolve("synthesizer", kind).fit(table, source.schema.modelled, rng_for(seed, "covariates", 0)))
    return minting.spoil(model, table) if name == "spoilt" else model


def one_seed(study: Study, seed: int) -> dict[str, Any]:
    """Return the raw estimates of one seed: of the source, of one release, of every copy."""
    with threadpool_limits(limits=1):
        drawn = worlds.draw(study.world, study.rows, rng_for(seed, "world", study.world))
        source = minting.source_of(*worlds.snapshot(drawn.frame()))
        fits = [minting.fit(source, study.learner, seed, FOLDS, copy) for copy in (None, *range(study.copies))]
        made = [minting.mechanisms(source, fitted, minting.targeted(source, fitted), seed) for fitted in fits]
        releases: dict[str, dict[str, list[Pairs]]] = {}
        for name in study.generators:
            model = generator(name, source, seed)
            tables: dict[str, list[Pairs]] = {str(factor): [] for factor in study.factors}
            for number, (fitted, mechanisms) in enumerate(zip(fits, made)):
                solved = minting.calibrated(source, model, mechanisms, fitted, rng_for(seed, "calibrate", f"{name}/{number}"), study.pool)
                for factor in study.factors:
                    rng = rng_for(seed, "draw", f"{name}/{number}/{factor}")
                    release = minting.mint(source, model, mechanisms, solved, factor * study.rows, rng, study.design)
                    if study.draws == "balanced":
                        release = balanced(source, mechanisms, release, rng)
                    tables[str(factor)].append(estimate(source, release, study.learner, seed))
            releases[name] = tables
        own = _pairs(evaluate(source.a, source.y, fits[0].nuisances, source.kind, ESTIMATORS))
    return {"seed": seed, "study": study._asdict(), "source": own, "releases": releases}


class Interval(NamedTuple):
    """A point and its 95 % interval."""

    estimate: float
    low: float
    high: float


def intervals(raw: dict[str, Any], name: str, factor: int, estimator: str) -> dict[str, Interval]:
    """Return every kind of interval that one seed's releases give for one estimator."""
    single, *copies = (Pairs(*each) for each in raw["releases"][name][str(factor)])
    own = Pairs(*raw["source"])
    n = int(raw["study"]["rows"])
    variance = own.errors[estimator] ** 2
    q, u = [copy.points[estimator] for copy in copies], [copy.errors[estimator] ** 2 for copy in copies]
    point, error = single.points[estimator], single.errors[estimator]
    alone = combine([point], [error**2], factor * n, n, "source", variance, proper=False)
    at_source, reach = own.points[estimator], Z95 * own.errors[estimator]
    found = {
        "data": Interval(at_source, at_source - reach, at_source + reach),
        "naive": Interval(point, point - Z95 * error, point + Z95 * error),
        "single": Interval(alone.estimate, alone.ci_low, alone.ci_high),
    }
    for rule in RULES:
        both = combine(q, u, factor * n, n, rule, variance)
        found[rule] = Interval(both.estimate, both.ci_low, both.ci_high)
    return found


def summary(lines: Sequence[dict[str, Any]], study: Study, truth: float) -> list[dict[str, Any]]:
    """Return coverage, its Monte-Carlo error, mean width, bias and spread, by generator, size, estimator and kind of interval."""
    rows = []
    for name in study.generators:
        for factor in study.factors:
            for estimator in ESTIMATORS:
                by_seed = [intervals(raw, name, factor, estimator) for raw in lines]
                for kind in by_seed[0]:
                    found = np.array([each[kind] for each in by_seed])
                    covered = float(np.mean((found[:, 1] <= truth) & (truth <= found[:, 2])))
                    rows.append(
                        {
                            "generator": name,
                            "factor": factor,
                            "estimator": estimator,
                            "interval": kind,
                            "seeds": len(found),
                            "coverage": covered,
                            "coverage_mcse": math.sqrt(covered * (1.0 - covered) / len(found)),
                            "excludes_zero": float(np.mean((found[:, 1] > 0.0) | (found[:, 2] < 0.0))),
                            "width": float(np.mean(found[:, 2] - found[:, 1])),
                            "bias": float(np.mean(found[:, 0]) - truth),
                            "sd": float(np.std(found[:, 0], ddof=1)) if len(found) > 1 else math.nan,
                        }
                    )
    return rows


def run(study: Study, seeds: int, path: Path, jobs: int) -> tuple[list[dict[str, Any]], int]:
    """Work off the seeds that are missing in the file; return all lines in the order of seeds, and how many seeds were refused."""
    # a source that can't answer is a refusal, and is counted
    told, seed_of = "{} of {} seeds", operator.itemgetter("seed")
    known, refused = work_off(study, range(seeds), one_seed, path, jobs, job_of=seed_of, told=told, refusals=(EstimationError,))
    return [known[seed] for seed in sorted(known) if seed < seeds], refused


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print coverage as a table: a line per generator, size and estimator, a column per kind of interval."""
    kinds = list(dict.fromkeys(row["interval"] for row in rows))
    print(f"{'generator':10s}{'k/n':>4s} {'estimator':10s}" + "".join(f"{kind:>14s}" for kind in kinds))
    lines: dict[tuple[str, int, str], dict[str, dict[str, Any]]] = {}
    for row in rows:
        lines.setdefault((row["generator"], row["factor"], row["estimator"]), {})[row["interval"]] = row
    for (name, factor, estimator), found in lines.items():
        cells = "".join(f"{found[kind]['coverage']:9.3f} {found[kind]['width']:4.2f}" for kind in kinds)
        print(f"{name:10s}{factor:4d} {estimator:10s}{cells}")


def main() -> None:
    """Run the study and print coverage and mean width of every kind of interval; JSON into a file beside the raw lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", default="moderate", choices=[*worlds.LAWS, "deterministic"])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--rows", type=int, default=1000, help="rows of the source")
    parser.add_argument("--learner", default="glm")
    parser.add_argument("--generators", nargs="+", default=list(GENERATORS))
    parser.add_argument("--copies", type=int, default=5)
    parser.add_argument("--factors", type=int, nargs="+", default=[1, 10], help="rows of a copy per source row")
    parser.add_argument("--design", default="randomized", choices=["randomized", "fitted"])
    parser.add_argument("--draws", default="iid", choices=["iid", "balanced"])
    parser.add_argument("--pool", type=int, default=minting.POOL_ROWS, help="covariate rows that calibration is solved on")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("build/intervals"), help="where raw lines and JSON go")
    asked = parser.parse_args()
    generators, factors = tuple(asked.generators), tuple(asked.factors)
    study = Study(asked.world, asked.rows, asked.learner, generators, asked.copies, factors, asked.design, asked.draws, asked.pool)
    base = asked.folder / f"coverage-{study.world}-{study.learner}-{study.design}-{study.draws}"
    lines, refused = run(study, asked.seeds, base.with_suffix(".jsonl"), asked.jobs)
    truth = worlds.truth(study.world)
    rows = summary(lines, study, truth)
    show(rows)
    judged = [row for row in rows if row["interval"] == "source"]
    inside = sum(BAND[0] <= row["coverage"] <= BAND[1] for row in judged)
    print(f"truth {truth:.4f}; rule source within {BAND[0]:.0%} to {BAND[1]:.0%}: {inside} of {len(judged)}; refused seeds: {refused}")
    report = {"study": study._asdict(), "truth": truth, "refused": refused, "rows": rows}
    base.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
