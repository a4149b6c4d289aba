"""Does augmentation help where positivity fails? The published scenario, with the baselines it lacked.

    python -m benchmarks.positivity [--sizes 100 200 500] [--seeds 100] [--learner glm|stack] [--flips 0 0.05 0.1 0.2] [--jobs 2]

World "deterministic" (benchmarks/worlds.py): treatment nearly a function of the covariates, so about 14 % are treated and nearly nobody
could have got either arm. The external table: 1,000 rows of the same law, randomised, with a share of its labels flipped. Every seed is
analysed

* none: as it is; trimming: on rows with g in [0.1, 0.9]; overlap: by overlap weights (another estimand; its error as the ATE's is shown);
* pooling: source and external table stacked into one;
* forced: augmented from the external table whatever the criterion says, averaged over real rows; pooled: the same, over all rows;
* external: what ``waymint augment`` gives: forced where it publishes, none where it refuses;
* self, self_forced: the same with the source itself as the source of outcomes.

Cells are mean squared errors against the true effect with Monte-Carlo errors, beside the published ones (Xu 2026, arXiv 2604.23904; five
seeds). Raw estimates go to a file of JSON lines, one per seed and size; a second run goes on where the first ended.
"""

from __future__ import annotations

import argparse
import json
import math
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from threadpoolctl import threadpool_limits

from benchmarks import minting, worlds
from benchmarks.checkpoints import work_off
from tasks.augmentation.agreement import recalibrate
from tasks.augmentation.criterion import Inputs, choose, curve
from tasks.augmentation.effects import Augmented, Averaging, effects
from tasks.augmentation.ensemble import Ensemble, redrawn
from tasks.augmentation.filling import fill
from tasks.augmentation.rivals import Pooled, Rival, rivals, tolerance, worth
from tasks.augmentation.rows import choose_rows, flipped
from tasks.contract.columns import conform
from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Nuisances
from tasks.contract.registry import resolve
from tasks.contract.results import Estimate
from tasks.contract.rng import mix, rng_for, salt
from tasks.contract.spec.augment import AugmentSpec
from tasks.estimation.evaluate import evaluate
from tasks.mechanisms.balanced import balanced_outcome
from tasks.source.rows import canonical, content_hash, settle
from tasks.targeting.fluctuation import truncation_bound

WORLD = "deterministic"
ESTIMATORS = ("ipw", "aipw", "or", "tmle")
FOLDS = 5
EXTERNAL_ROWS = 1_000
#: The SPEC's augment.worth.
WORTH = AugmentSpec().worth or math.inf
#: Candidates per added row.
CANDIDATES = 4
#: Bootstrap draws of an outcome model.
DRAWS = 20
#: Mean squared errors of Xu (2026), by rows and what was done: IPW, AIPW, OR, TMLE.
PUBLISHED = {
    200: {
        "none": (0.0082, 0.0232, 0.0259, 0.0104),
        "external (LLM)": (0.0010, 0.0020, 0.0035, 0.0042),
        "external (GAN)": (0.0025, 0.0034, 0.0045, 0.0057),
        "self (LLM)": (0.0197, 0.0308, 0.0351, 0.0111),
    },
    500: {"none": (0.0031, 0.0287, 0.0311, 0.0061), "external (LLM)": (0.0023, 0.0047, 0.0062, 0.0015)},
}


class Study(NamedTuple):
    """What is studied; two runs with the same values add up."""

    rows: int
    learner: str
    synthesizer: str
    flips: tuple[float, ...]
    most: float
    repeats: int


def points(found: Sequence[Estimate]) -> dict[str, list[float]]:
    """Return estimate and standard error of each estimator."""
    return {("ato" if one.estimand == "ato" else one.estimator): [one.estimate, one.se] for one in found}


def as_source(frame: pd.DataFrame, like: minting.Source) -> minting.Source:
    """Bring another table into the form of a source: its schema, its levels."""
    rows = canonical(pa.Table.from_pandas(frame, preserve_index=False), like.schema, "parquet")
    return minting.source_of(settle(rows.append_column("hash", pa.array(content_hash(rows)))), like.schema)


def ensemble(study: Study, table: minting.Source, at: minting.Source, seed: int) -> Ensemble:
    """Predict the source's rows by models of a table's bootstrap draws."""
    rng = rng_for(seed, "ensemble", len(table.y))
    return redrawn(resolve("learner", study.learner), (table.frame, table.a, table.y), at.kind, at.frame, DRAWS, rng)


def together(first: minting.Source, second: minting.Source, seed: int) -> minting.Source:
    """Stack two tables; keys are made anew where rows of both could share one."""
    keys = np.concatenate((first.keys, mix(second.keys, salt(seed, "second table"))))
    frame = pd.concat([first.frame, second.frame], ignore_index=True)
    return minting.Source(first.schema, frame, np.concatenate((first.a, second.a)), np.concatenate((first.y, second.y)), keys)


class Answer(NamedTuple):
    """What one way of augmenting gave: estimates by averaging, the rivals, and how many rows it took."""

    real: dict[str, list[float]]
    pooled: dict[str, list[float]]
    rivals: list[Rival]
    rows: int
    borrowed: float


def augmented(
    study: Study, source: minting.Source, own: minting.Fit, donor: minting.Source, given: minting.Fit, pooled: Pooled | None, seed: int
) -> Answer:
    """Augment a source with outcomes of a donor (itself, or another table), whatever the criterion says of it."""
    bound, external = truncation_bound(len(source.y), "auto"), pooled is not None
    spreads = [ensemble(study, table, source, seed) for table in ((source, donor) if external else (source,))]
    known = Inputs(source.a, source.y, own.nuisances, spreads[0], spreads[-1], source.kind, bound, external)
    found = recalibrate(source.a, source.y, known.given, source.kind) if external else None
    averaging: Averaging = "real"
    chosen = choose(curve(known, study.most, averaging, found))
    whole = 0 if pooled is None else len(pooled.y)
    ways = rivals(known, chosen, found, pooled, truncation_bound(max(whole, 2), "auto"))
    made = minting.mechanisms(donor, given, minting.targeted(donor, given), seed)
    rng = rng_for(seed, "augment", external)
    model = resolve("synthesizer", study.synthesizer).fit(
        source.training_rows(seed), source.schema.modelled, rng_for(seed, "covariates", 0)
    )
    pool = minting.conformed(model.sample(max(CANDIDATES * chosen.rows, 400), rng), source.schema.modelled)
    g = np.mean([fold.propensity.predict(pool) for fold in own.models], axis=0)
    predicted, filling = made.predict(pool), fill((1.0 - g, g), chosen.level)
    tau = predicted.q1 - predicted.q0
    taken = choose_rows(filling, chosen.rows, (tau, tau), rng)
    frame = pool.iloc[taken.rows].reset_index(drop=True)
    design = Nuisances(*(values[taken.rows] for values in (*filling.design, *predicted.outcomes)))
    drawn = balanced_outcome(made.law, taken.arm, design, frame, rng)
    y = conform(source.schema.outcome, pa.array(drawn)).to_numpy(zero_copy_only=False).astype(np.float64)
    keys = mix(np.arange(len(y), dtype=np.uint64), salt(seed, "added"))
    both = together(source, minting.Source(source.schema, frame, taken.arm, y, keys), seed)
    refit = minting.fit(both, study.learner, seed, FOLDS, repeats=study.repeats)
    tilt = np.concatenate((fill(own.nuisances.propensities, chosen.level).tilt, filling.tilt[taken.rows]))
    table = Augmented(both.a, both.y, refit.nuisances, tilt, len(source.y), source.kind, truncation_bound(len(both.y), "auto"))
    variance = chosen.borrowed
    return Answer(points(effects(table, "real", variance)), points(effects(table, "pooled", variance)), ways, len(y), variance)


def one_seed(study: Study, seed: int) -> dict[str, Any]:
    """Return the raw estimates of one seed."""
    with threadpool_limits(limits=1):
        drawn = worlds.draw(WORLD, study.rows, rng_for(seed, "world", study.rows))
        source = minting.source_of(*worlds.snapshot(drawn.frame()))
        own = minting.fit(source, study.learner, seed, FOLDS, repeats=study.repeats)
        answers: dict[str, Any] = {
            "none": points(evaluate(source.a, source.y, own.nuisances, source.kind, ("or", "ipw", "aipw", "tmle", "ato")))
        }
        alone = augmented(study, source, own, source, own, None, seed)
        answers["self"] = alone._asdict() | {
            "refused": worth(alone.rivals) > tolerance(WORTH, False),
            "rivals": [each._asdict() for each in alone.rivals],
        }
        other = worlds.draw(WORLD, EXTERNAL_ROWS, rng_for(seed, "external", study.rows), randomised=True).frame()
        for share in study.flips:
            donor = as_source(other, source)
            donor = donor._replace(y=flipped(donor.y, donor.keys, share, seed))
            given = minting.fit(donor, study.learner, seed, FOLDS, repeats=study.repeats)
            stacked = together(source, donor, seed)
            fitted = minting.fit(stacked, study.learner, seed, FOLDS, repeats=study.repeats)
            pooled = Pooled(stacked.a, stacked.y, fitted.nuisances, given.nuisances.outcomes)
            found = augmented(study, source, own, donor, given, pooled, seed)
            answers[f"external {share:g}"] = found._asdict() | {
                "refused": worth(found.rivals) > tolerance(WORTH, True),
                "rivals": [each._asdict() for each in found.rivals],
                "pooling": points(evaluate(stacked.a, stacked.y, fitted.nuisances, source.kind, ("or", "ipw", "aipw", "tmle"))),
            }
    return {"seed": seed, "study": study._asdict(), "treated": int(source.a.sum()), "answers": answers}


def epistemic(seeds: int, learner: str = "glm") -> dict[str, Any]:
    """Compare estimates of how far a mean effect learnt from the external table is off, with how far it is.

    The effect is averaged over 200 fixed rows. Returned: its variance over external tables, and by each way the mean and the standard
    deviation of what one table says of it: bootstrap (20 draws), fold models (delete-a-group jackknife on the 5 folds of a run), and direct
    prediction of the excess risk, (Y - Q)^2 - Q (1 - Q) out of fold, whose mean over rows and arms is the largest it allows.
    """
    at = minting.source_of(*worlds.snapshot(worlds.draw(WORLD, 200, rng_for(0, "fixed rows")).frame()))
    ones, points = np.ones(len(at.y)), []
    told: dict[str, list[float]] = {"bootstrap": [], "fold models": [], "direct prediction": []}
    study = Study(len(at.y), learner, "copula", (0.0,), 0.9, 1)
    with threadpool_limits(limits=1):
        for seed in range(seeds):
            donor = as_source(worlds.draw(WORLD, EXTERNAL_ROWS, rng_for(seed, "external"), randomised=True).frame(), at)
            fitted = minting.fit(donor, learner, seed, FOLDS)
            folds = np.array([float(np.mean(found.q1 - found.q0)) for found in (model.predict(at.frame) for model in fitted.models)])
            points.append(float(folds.mean()))
            told["bootstrap"].append(ensemble(study, donor, at, seed).variance(ones, ones))
            told["fold models"].append(float((FOLDS - 1) / FOLDS * np.sum((folds - folds.mean()) ** 2)))
            q = np.where(donor.a == 1, fitted.nuisances.q1, fitted.nuisances.q0)
            excess = (donor.y - q) ** 2 - q * (1.0 - q)
            told["direct prediction"].append(float(excess[donor.a == 1].mean() + excess[donor.a == 0].mean()))
    found = {name: [float(np.mean(values)), float(np.std(values, ddof=1))] for name, values in told.items()}
    return {"seeds": seeds, "variance": float(np.var(points, ddof=1)), "told": found}


WAYS = ("none", "trimming", "overlap", "pooling", "external", "forced", "pooled")


def estimate_of(raw: dict[str, Any], way: str, estimator: str, flip: float) -> float | None:
    """Return what one way of analysing one seed estimates; None where it can't be done."""
    answers = raw["answers"]
    own = answers["none"][estimator][0]
    if way == "none":
        return float(own)
    found = answers["self" if way.startswith("self") else f"external {flip:g}"]
    if way in ("external", "self"):
        return float(own if found["refused"] else found["real"][estimator][0])
    if way in ("trimming", "overlap"):
        value = next(each["estimate"] for each in found["rivals"] if each["name"] == way)
        return None if value is None else float(value)
    place = {"forced": "real", "self_forced": "real"}.get(way, way)
    return float(found[place][estimator][0])


def summary(lines: Sequence[dict[str, Any]], study: Study, truth: float) -> list[dict[str, Any]]:
    """Return mean squared errors with their Monte-Carlo errors, by flips, way and estimator, and each way's against none and pooling."""
    rows = []
    for flip in study.flips:
        for way in (*WAYS, "self", "self_forced"):
            for estimator in ESTIMATORS:
                errors = _errors(lines, way, estimator, flip, truth)
                known = errors[np.isfinite(errors)]
                record = {"rows": study.rows, "flip": flip, "way": way, "estimator": estimator, "seeds": len(known), "mse": _mean(known)}
                record["mse_mcse"] = _mcse(known)
                for rival in ("none", "pooling"):
                    gap = errors - _errors(lines, rival, estimator, flip, truth)
                    gap = gap[np.isfinite(gap)]
                    record |= {f"minus_{rival}": _mean(gap), f"minus_{rival}_mcse": _mcse(gap)}
                rows.append(record)
    return rows


def _errors(lines: Sequence[dict[str, Any]], way: str, estimator: str, flip: float, truth: float) -> Any:
    found = [estimate_of(raw, way, estimator, flip) for raw in lines]
    return np.array([math.nan if value is None else (value - truth) ** 2 for value in found])


def _mean(values: Any) -> float:
    return float(values.mean()) if len(values) else math.nan


def _mcse(values: Any) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def coverage(lines: Sequence[dict[str, Any]], flip: float, truth: float) -> dict[str, float]:
    """Return how often the 95 % intervals of the augmented table (averaged over real rows) hold the truth."""
    found = {}
    for estimator in ESTIMATORS:
        pairs = np.array([raw["answers"][f"external {flip:g}"]["real"][estimator] for raw in lines])
        found[estimator] = float(np.mean(np.abs(pairs[:, 0] - truth) <= 1.96 * pairs[:, 1]))
    return found


def run(study: Study, seeds: int, path: Path, jobs: int) -> tuple[list[dict[str, Any]], int]:
    """Work off the seeds that are missing in the file; return all lines in the order of seeds, and how many seeds were refused."""
    # a source that can't answer is a refusal, and is counted
    told = f"n = {study.rows}: {{}} of {{}} seeds"
    seed_of = operator.itemgetter("seed")
    known, refused = work_off(study, range(seeds), one_seed, path, jobs, job_of=seed_of, told=told, refusals=(EstimationError,))
    return [known[seed] for seed in sorted(known) if seed < seeds], refused


def show(rows: Sequence[dict[str, Any]], lines: Sequence[dict[str, Any]], study: Study, truth: float) -> None:
    """Print one size's mean squared errors, the published ones beside them, and what was to be reached."""
    print(f"\nn = {study.rows}, {len(lines)} seeds: mean squared error (Monte-Carlo error)")
    print(f"{'':28s}" + "".join(f"{name:>18s}" for name in ESTIMATORS))
    for name, values in PUBLISHED.get(study.rows, {}).items():
        print(f"{'published: ' + name:28s}" + "".join(f"{value:18.4f}" for value in values))
    for flip in study.flips:
        told = [*WAYS, "self", "self_forced"] if flip == study.flips[0] else list(WAYS[3:])
        for way in told:
            cells = [next(r for r in rows if (r["flip"], r["way"], r["estimator"]) == (flip, way, name)) for name in ESTIMATORS]
            title = way if way in ("none", "trimming", "overlap", "self", "self_forced") else f"{way}, flips {flip:.0%}"
            print(f"{title:28s}" + "".join(f"{cell['mse']:9.4f} ({cell['mse_mcse']:.4f})" for cell in cells))
        found = [raw["answers"][f"external {flip:g}"] for raw in lines]
        refused, added = np.mean([each["refused"] for each in found]), np.mean([each["rows"] for each in found])
        covered = ", ".join(f"{name} {value:.2f}" for name, value in coverage(lines, flip, truth).items())
        print(f"  flips {flip:.0%}: refused {refused:.0%}; {added:.0f} rows added on average; coverage of forced: {covered}")
    print(f"  self: refused {np.mean([raw['answers']['self']['refused'] for raw in lines]):.0%}")
    for line in reached(rows):
        print("  " + line)


def reached(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Say cell by cell what was to be reached and was not; a cell fails where it is beyond two Monte-Carlo errors."""
    failed = []
    for row in rows:
        if row["way"] not in ("external", "self"):
            continue
        rivals = ("none", "pooling") if row["way"] == "external" else ("none",)
        for rival in rivals:
            if row[f"minus_{rival}"] > 2.0 * row[f"minus_{rival}_mcse"] + 1e-12:
                failed.append(f"{row['way']}, flips {row['flip']:.0%}, {row['estimator']}: above {rival} by {row[f'minus_{rival}']:.4f}")
        if row["way"] == "external" and row["rows"] == 200 and row["flip"] == 0 and row["estimator"] in ("aipw", "tmle"):
            least = row["mse"] - row["minus_none"]
            if row["mse"] > 0.5 * least:
                failed.append(f"external, {row['estimator']}: {row['mse'] / least:.2f} of the error of no augmentation, to be at most 0.5")
    return [f"not reached: {text}" for text in failed] or ["all cells reached what they were to"]


def main() -> None:
    """Run the study and print mean squared errors; JSON into a file beside the raw lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 200, 500])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--learner", default="glm")
    parser.add_argument("--synthesizer", default="copula")
    parser.add_argument("--flips", type=float, nargs="+", default=[0.0, 0.05, 0.1, 0.2])
    parser.add_argument("--most", type=float, default=0.9, help="the SPEC's augment.most")
    parser.add_argument("--repeats", type=int, default=1, help="cross-fittings averaged; a run takes 3")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("build/positivity"), help="where raw lines and JSON go")
    parser.add_argument("--epistemic", action="store_true", help="compare estimates of the outcome model's own error instead")
    asked = parser.parse_args()
    if asked.epistemic:
        print(json.dumps(epistemic(asked.seeds, asked.learner), indent=1))
        return
    truth, report = worlds.truth(WORLD), []
    for size in asked.sizes:
        study = Study(size, asked.learner, asked.synthesizer, tuple(asked.flips), asked.most, asked.repeats)
        base = asked.folder / f"positivity-{size}-{study.learner}"
        lines, refused = run(study, asked.seeds, base.with_suffix(".jsonl"), asked.jobs)
        rows = summary(lines, study, truth)
        show(rows, lines, study, truth)
        report.append({"study": study._asdict(), "truth": truth, "refused": refused, "rows": rows, "failed": reached(rows)})
    (asked.folder / f"positivity-{asked.learner}.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
