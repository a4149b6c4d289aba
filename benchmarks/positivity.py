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
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from threadpoolctl import threadpool_limits

from benchmarks import minting, worlds
from tasks.augmentation.agreement import recalibrate
from tasks.augmentation.criterion import Known, choose, curve
from tasks.augmentation.effects import Augmented, Averaging, effects
from tasks.augmentation.ensemble import Ensemble
from tasks.augmentation.filling import fill
from tasks.augmentation.rivals import Pooled, Rival, losing, rivals
from tasks.augmentation.rows import choose_rows, flipped
from tasks.contract.columns import conform
from tasks.contract.errors import EstimationError
from tasks.contract.fluctuation import truncation_bound
from tasks.contract.nuisance import Nuisances
from tasks.contract.registry import resolve
from tasks.contract.results import Estimate
from tasks.contract.rng import mix, rng_for, salt
from tasks.estimation.evaluate import evaluate
from tasks.mechanisms.balanced import balanced_outcome
from tasks.source.rows import canonical, content_hash, settle

WORLD = "deterministic"
ESTIMATORS = ("ipw", "aipw", "or", "tmle")
FOLDS = 5
EXTERNAL_ROWS = 1_000
#: Candidates per added row.
CANDIDATES = 4
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


def ensemble(source: minting.Source, fitted: minting.Fit, repeats: int) -> Ensemble:
    """Predict the source's rows by every fold model of a fit."""
    found = [model.predict(source.frame) for model in fitted.models]
    shape = (repeats, FOLDS, len(source.y))
    return Ensemble(np.stack([each.q0 for each in found]).reshape(shape), np.stack([each.q1 for each in found]).reshape(shape))


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
    spreads = [ensemble(source, fitted, study.repeats) for fitted in (own, given)]
    known = Known(source.a, source.y, own.nuisances, spreads[0], spreads[1], source.kind, bound, external)
    found = recalibrate(source.a, source.y, *known.given.mean, source.kind) if external else None
    averaging: Averaging = "real"
    chosen = choose(curve(known, study.most, averaging, found))
    whole = 0 if pooled is None else len(pooled.y)
    ways = rivals(known, chosen, found, pooled, truncation_bound(max(whole, 2), "auto"))
    made = minting.mechanisms(donor, given, minting.targeted(donor, given), seed)
    rng = rng_for(seed, "augment", external)
    model = resolve("synthesizer", study.synthesizer).fit(source.seed_rows(seed), source.schema.modelled, rng_for(seed, "covariates", 0))
    pool = minting.conformed(model.sample(max(CANDIDATES * chosen.rows, 400), rng), source.schema.modelled)
    g = np.mean([fold.propensity.predict(pool) for fold in own.models], axis=0)
    predicted, filling = made.predict(pool), fill(g, chosen.level)
    taken = choose_rows(filling, chosen.rows, predicted.q1 - predicted.q0, rng)
    frame = pool.iloc[taken.rows].reset_index(drop=True)
    design = Nuisances((filling.arm1 / (filling.arm0 + filling.arm1))[taken.rows], predicted.q0[taken.rows], predicted.q1[taken.rows])
    drawn = balanced_outcome(made.law, taken.arm, design, frame, rng)
    y = conform(source.schema.outcome, pa.array(drawn)).to_numpy(zero_copy_only=False).astype(np.float64)
    keys = mix(np.arange(len(y), dtype=np.uint64), salt(seed, "added"))
    both = together(source, minting.Source(source.schema, frame, taken.arm, y, keys), seed)
    refit = minting.fit(both, study.learner, seed, FOLDS, repeats=study.repeats)
    tilt = np.concatenate((fill(own.nuisances.g, chosen.level).tilt, filling.tilt[taken.rows]))
    table = Augmented(both.a, both.y, refit.nuisances, tilt, len(source.y), source.kind, truncation_bound(len(both.y), "auto"))
    variance = chosen.borrowed
    return Answer(points(effects(table, "real", variance)), points(effects(table, "pooled", variance)), ways, len(y), variance)


def one_seed(study: Study, seed: int) -> dict[str, Any]:
    """Return the raw estimates of one seed."""
    with threadpool_limits(limits=1):
        drawn = worlds.draw(WORLD, study.rows, rng_for(seed, "world", study.rows))
        source = minting.source_of(*worlds.snapshot(drawn.frame()))
        own = minting.fit(source, study.learner, seed, FOLDS, repeats=study.repeats)
        answers: dict[str, Any] = {"none": points(evaluate(source.a, source.y, own.nuisances, source.kind, ("or", "ipw", "aipw", "tmle", "ato")))}
        alone = augmented(study, source, own, source, own, None, seed)
        answers["self"] = alone._asdict() | {"refused": bool(losing(alone.rivals)), "rivals": [each._asdict() for each in alone.rivals]}
        other = worlds.draw(WORLD, EXTERNAL_ROWS, rng_for(seed, "external", study.rows), randomised=True).frame()
        for share in study.flips:
            donor = as_source(other, source)
            donor = donor._replace(y=flipped(donor.y, donor.keys, share, seed))
            given = minting.fit(donor, study.learner, seed, FOLDS, repeats=study.repeats)
            stacked = together(source, donor, seed)
            fitted = minting.fit(stacked, study.learner, seed, FOLDS, repeats=study.repeats)
            pooled = Pooled(stacked.a, stacked.y, fitted.nuisances, given.nuisances.q1 - given.nuisances.q0)
            found = augmented(study, source, own, donor, given, pooled, seed)
            answers[f"external {share:g}"] = found._asdict() | {
                "refused": bool(losing(found.rivals)),
                "rivals": [each._asdict() for each in found.rivals],
                "pooling": points(evaluate(stacked.a, stacked.y, fitted.nuisances, source.kind, ("or", "ipw", "aipw", "tmle"))),
            }
    return {"seed": seed, "study": study._asdict(), "treated": int(source.a.sum()), "answers": answers}
