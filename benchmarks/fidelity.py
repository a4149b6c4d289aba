"""Does a release carry the effect? The leaderboard over many seed tables, in worlds of known truth.

    python -m benchmarks.fidelity [--worlds trial,moderate,...] [--synthesizers forest,copula] [--seeds 100] [--jobs 2]
        [--out build/fidelity.jsonl]
    python -m benchmarks.fidelity --report [--synthesizers forest,copula] [--out build/fidelity.jsonl]

Per world and seed: a source of 1,000 rows is drawn and cross-fitted once (one repeat); each row of the table releases 10,000 rows from it;
the release is analysed as an analyst would, by estimators cross-fitted with the glm learner. What is done is appended to ``--out`` line by
line and not done again. Compared: the estimators on the source itself (the ceiling), covariates drawn from the true law with our
mechanisms, our hybrid with each synthesizer and each synthesizer of (W, A, Y) alone; where the copula is among them also one spoilt on
purpose and the hybrid as it is published (forests in sample, no targeting, no calibration, continuous outcomes without residual).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.preprocessing import OrdinalEncoder
from threadpoolctl import threadpool_limits

from benchmarks.minting import Fit, Release, Source, calibrated, conformed, fit, mechanisms, mint, source_of, spoil, targeted
from benchmarks.worlds import LAWS, draw, snapshot, truth
from tasks.contract.columns import joint_columns
from tasks.contract.nuisance import Nuisances
from tasks.contract.registry import resolve
from tasks.contract.results import Estimate
from tasks.contract.rng import in_holdout, rng_for
from tasks.covariates.protocol import CovariateModel
from tasks.distance import closest, fit_scale
from tasks.estimation.evaluate import evaluate
from tasks.estimation.transfer import transfer_scores
from tasks.nuisance.crossfit import InMemory, Rows, cross_fit
from tasks.nuisance.plan import Plan

ROWS = 1_000
RELEASED = 10_000
FOLDS = 5
SYNTHESIZERS = "forest,copula"
NOT_OURS = ("published", "full ")
ESTIMATORS = ("or", "ipw", "aipw", "tmle", "adaptive", "ato")
RIVALS = ("difference", "or", "ipw", "aipw", "tmle")
BASELINES = 25  # seeds on which the rows that are not ours are run too: their errors are large and show early
CALIBRATION = 0.05  # default of gates.calibration: what relaxes the means by more is refused

HEAD = (
    "",
    "estimator",
    "seeds",
    "bias",
    "sd",
    "RMSE (MC error)",
    "to AIPW on the source",
    "to the best in hindsight",
    "naive coverage",
    "TSTR",
    "closer to seed",
    "refused",
)

Float64 = npt.NDArray[np.float64]


def told(estimates: Iterable[Estimate]) -> dict[str, list[float]]:
    """Return estimate and standard error by estimator (ATO under its estimand)."""
    return {(each.estimator if each.estimand == "ate" else each.estimand): [each.estimate, each.se] for each in estimates}


def difference(a: npt.NDArray[np.int8], y: Float64) -> list[float]:
    """Return the difference in means and its standard error."""
    one, zero = y[a == 1], y[a == 0]
    return [float(one.mean() - zero.mean()), float(np.sqrt(one.var(ddof=1) / len(one) + zero.var(ddof=1) / len(zero)))]


def analyse(source: Source, release: Release, seed: int) -> dict[str, Any]:
    """Analyse a release: effects, what a model trained on it predicts of the source, closeness to the seed."""
    keys = np.arange(len(release.y), dtype=np.uint64)
    rows = Rows(keys, release.a, release.y, source.kind)
    found, models, _ = cross_fit(Plan("release", seed, FOLDS), resolve("learner", "glm"), rows, InMemory(release.frame))
    effects = told(evaluate(release.a, release.y, found, source.kind, ESTIMATORS)) | {"difference": difference(release.a, release.y)}
    predicted = models[0].predict(source.frame)
    learnt = np.where(source.a == 1, predicted.q1, predicted.q0)
    score = transfer_scores(source.y, learnt, learnt, source.kind)[0]
    return {"effects": effects, "tstr": score.tstr.value, "share": _share(source, release.frame, seed), "sd": float(release.y.std())}


def _share(source: Source, released: pd.DataFrame, seed: int) -> float:
    """Return the share of released rows closer to seed than to holdout, equal sizes, ties halved."""
    held = in_holdout(source.keys, seed, 0.3)
    outside = source.frame[held]
    inside = source.frame[~held].iloc[: len(outside)]
    scale = fit_scale([source.frame])
    sample = released.iloc[:2_000]
    near, far = (closest(sample, rows.reset_index(drop=True), scale=scale)[0][:, 0] for rows in (inside, outside))
    return float(np.mean(near < far) + 0.5 * np.mean(near == far))


class TrueLaw:
    """The world's own covariate law as a synthesizer."""

    def __init__(self, world: str, source: Source) -> None:
        self.world, self.columns = world, source.schema.modelled

    def sample(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        """Draw canonical covariates."""
        drawn = LAWS[self.world].covariates(n, rng)
        out = {}
        for column in self.columns:
            if column.is_category:
                raw = drawn[column.name]
                text = raw.map(lambda value: None if pd.isna(value) else str(value))
                out[column.id] = pd.Categorical(text, categories=pd.Index(column.levels, dtype=object))
            else:
                out[column.id] = drawn[column.name].to_numpy(dtype=np.float64)
        return pd.DataFrame(out)


def as_published(source: Source, models: dict[str, CovariateModel], seed: int) -> dict[str, Release]:
    """Return the published kind of hybrid, by generator: forests for g and Q fitted and used in sample, nothing targeted or calibrated."""
    columns = source.schema.modelled
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    coded = [column.id for column in columns if column.is_category]
    if coded:
        encoder.fit(source.frame[coded].astype(object))

    def matrix(frame: pd.DataFrame) -> Float64:
        parts = [frame[column.id].fillna(-9.0).to_numpy(dtype=np.float64)[:, None] for column in columns if not column.is_category]
        return np.column_stack([*parts, *([encoder.transform(frame[coded].astype(object))] if coded else [])])

    x, rng = matrix(source.frame), rng_for(seed, "published")
    binary = source.kind == "binary"
    forest = RandomForestClassifier if binary else RandomForestRegressor
    g = RandomForestClassifier(n_estimators=100, random_state=seed).fit(x, source.a)
    q = forest(n_estimators=100, random_state=seed).fit(np.column_stack((x, source.a)), source.y)
    releases = {}
    for name, model in models.items():
        frame = conformed(model.sample(RELEASED, rng), columns)
        w = matrix(frame)
        a = (rng.random(RELEASED) < g.predict_proba(w)[:, 1]).astype(np.int8)
        at = np.column_stack((w, a))
        mean = q.predict_proba(at)[:, 1] if binary else q.predict(at)
        y = (rng.random(RELEASED) < mean).astype(np.float64) if binary else np.asarray(mean, dtype=np.float64)
        releases[name] = Release(frame, a, y, Nuisances(mean, mean, mean))
    return releases


def jointly(source: Source, synthesizer: str, seed: int) -> Release:
    """Draw W, A and Y from the synthesizer alone."""
    columns = joint_columns(source.schema)
    seen = source.frame.copy()
    treatment, outcome = (column for column in columns if column.role != "covariate")
    for column, values in ((treatment, source.a), (outcome, source.y)):
        if column.is_category:
            text = pd.Series(values).map(lambda value, own=column: own.levels[int(value)] if len(own.levels) == 2 else str(value))
            seen[column.id] = pd.Categorical(text, categories=pd.Index(column.levels, dtype=object))
        else:
            seen[column.id] = values.astype(np.float64)
    table = seen[~in_holdout(source.keys, seed, 0.3)].reset_index(drop=True)
    rng = rng_for(seed, "full")
    drawn = resolve("synthesizer", synthesizer).fit(table, columns, rng).sample(RELEASED, rng)

    def numbers(name: str) -> Float64:
        column = drawn[name]
        return (column.cat.codes if isinstance(column.dtype, pd.CategoricalDtype) else column).to_numpy(dtype=np.float64)

    frame = conformed(drawn[[column.id for column in source.schema.modelled]], source.schema.modelled)
    return Release(frame, (numbers("a") > 0.5).astype(np.int8), numbers("y"), Nuisances(numbers("y"), numbers("y"), numbers("y")))


def study(task: tuple[str, int, str, str]) -> dict[str, Any]:
    """Do one seed table of one world."""
    world, seed, learner, synthesizers = task
    began = time.process_time()
    drawn = draw(world, ROWS, np.random.default_rng([seed, 20260101]))
    source = source_of(*snapshot(drawn.frame(), kind=LAWS[world].kind))
    fitted: Fit = fit(source, learner, seed, FOLDS)
    own = told(evaluate(source.a, source.y, fitted.nuisances, source.kind, ESTIMATORS)) | {"difference": difference(source.a, source.y)}
    targeting = targeted(source, fitted)
    made = mechanisms(source, fitted, targeting, seed)
    table = source.training_rows(seed)
    models: dict[str, Any] = {"true covariates": TrueLaw(world, source)} if seed < BASELINES else {}
    for name in synthesizers.split(","):
        models[name] = resolve("synthesizer", name).fit(table, source.schema.modelled, rng_for(seed, "covariates"))
    if "copula" in models:
        models["spoilt"] = spoil(models["copula"], table)
    rows: dict[str, Any] = {}
    for name, model in models.items():
        rng = rng_for(seed, "draw", name)
        solved = calibrated(source, model, made, fitted, rng)
        release = mint(source, model, made, solved, RELEASED, rng)
        exact = float(np.mean(release.nuisances.q1 - release.nuisances.q0))
        rows[name] = analyse(source, release, seed) | {"exact": exact, "relaxed": solved.relaxed, "ess": solved.ess}
    if seed < BASELINES:
        if "copula" in models:
            for name, release in as_published(source, {"published": models["copula"], "published, spoilt": models["spoilt"]}, seed).items():
                rows[name] = analyse(source, release, seed)
        for name in synthesizers.split(","):
            rows[f"full {name}"] = analyse(source, jointly(source, name, seed), seed)
    return {
        "world": world,
        "seed": seed,
        "learner": learner,
        "synthesizers": synthesizers,
        "truth": truth(world),
        "source": own,
        "truncation": targeting.truncation._asdict(),
        "sd": float(source.y.std()),
        "rows": rows,
        "seconds": time.process_time() - began,
    }


def root_mean_square(errors: Float64) -> tuple[float, float]:
    """Return the RMSE and its Monte-Carlo standard error (delta method)."""
    squares = errors**2
    value = float(np.sqrt(squares.mean()))
    return value, float(squares.std(ddof=1) / np.sqrt(len(squares)) / (2.0 * value)) if value > 0.0 else 0.0


def ratio(errors: Float64, against: Float64) -> tuple[float, float]:
    """Return the ratio of two RMSEs on the same seeds and its Monte-Carlo standard error (delta method on paired squares)."""
    top, bottom = errors**2, against**2
    value = float(np.sqrt(top.mean() / bottom.mean()))
    influence = top / top.mean() - bottom / bottom.mean()
    return value, float(0.5 * value * influence.std(ddof=1) / np.sqrt(len(top)))


def summary(lines: list[dict[str, Any]]) -> str:
    """Return the leaderboard as Markdown tables, one per world."""
    text = []
    for world in [name for name in LAWS if any(line["world"] == name for line in lines)]:
        found = [line for line in lines if line["world"] == world]
        goal = found[0]["truth"]
        errors = {name: np.array([line["source"][name][0] for line in found]) - goal for name in (*RIVALS, "adaptive")}
        best = min((name for name in RIVALS if name != "difference"), key=lambda name: float(np.mean(errors[name] ** 2)))
        changed = np.mean([line["truncation"]["bound"] > line["truncation"]["full"] for line in found])
        text += [
            f"\n**{world}**: {len(found)} seed tables of {ROWS:,} rows, true ATE {goal:.4f}; best estimator on the source in hindsight: "
            f"{best}; overlap called poor in {changed:.0%}\n",
            f"| {' | '.join(HEAD)} |",
            "|---" * len(HEAD) + "|",
        ]
        for name in (*RIVALS, "adaptive"):
            covered = np.mean([abs(line["source"][name][0] - goal) < 1.96 * line["source"][name][1] for line in found])
            text.append(_row("source", name, errors[name], errors["aipw"], errors[best], covered, "", "", ""))
        for row in max((line["rows"] for line in found), key=len):
            those = [line for line in found if row in line["rows"]]
            refused = np.mean([line["rows"][row].get("relaxed", 0.0) > CALIBRATION for line in those])
            scores = [float(np.mean([line["rows"][row][key] for line in those])) for key in ("tstr", "share")]
            at = np.array([row in line["rows"] for line in found])
            for name in RIVALS[1:] if row.startswith(NOT_OURS) else ("aipw",):
                effects = np.array([line["rows"][row]["effects"][name] for line in those])
                own = effects[:, 0] - goal
                covered = float(np.mean(np.abs(own) < 1.96 * effects[:, 1]))
                last = (f"{scores[0]:.3f}", f"{scores[1]:.3f}", f"{refused:.0%}")
                text.append(_row(row, name, own, errors["aipw"][at], errors[best][at], covered, *last))
    return "\n".join(text)


def brief(lines: list[dict[str, Any]]) -> str:
    """Return one line per world: RMSE of AIPW on the source, and what releases do against it and against the best in hindsight."""
    rows = [name for name in max((line["rows"] for line in lines), key=len, default={}) if name != "true covariates"]
    text = [f"| world | AIPW on the source | best in hindsight | {' | '.join(rows)} |", "|---" * (3 + len(rows)) + "|"]
    for world in [name for name in LAWS if any(line["world"] == name for line in lines)]:
        found = [line for line in lines if line["world"] == world]
        goal = found[0]["truth"]
        errors = {name: np.array([line["source"][name][0] for line in found]) - goal for name in RIVALS}
        best = min((name for name in RIVALS if name != "difference"), key=lambda name: float(np.mean(errors[name] ** 2)))
        cells = [f"{world} ({len(found)})", "{:.4f} ± {:.4f}".format(*root_mean_square(errors["aipw"])), best]
        for row in rows:
            at = np.array([row in line["rows"] for line in found])
            own = np.array([line["rows"][row]["effects"]["aipw"][0] for line in found if row in line["rows"]]) - goal
            first, second = ratio(own, errors["aipw"][at]), ratio(own, errors[best][at])
            cells.append(f"{first[0]:.2f} ± {first[1]:.2f}; {second[0]:.2f} ± {second[1]:.2f}")
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text)


def _row(row: str, name: str, errors: Float64, ceiling: Float64, best: Float64, covered: float, tstr: str, share: str, refused: str) -> str:
    (rmse, error), (first, first_error), (second, second_error) = root_mean_square(errors), ratio(errors, ceiling), ratio(errors, best)
    cells = (
        row,
        name,
        f"{len(errors)}",
        f"{errors.mean():+.4f}",
        f"{errors.std(ddof=1):.4f}",
        f"{rmse:.4f} ({error:.4f})",
        f"{first:.2f} ± {first_error:.2f}",
        f"{second:.2f} ± {second_error:.2f}",
        f"{covered:.0%}",
        tstr,
        share,
        refused,
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run what is not done yet, or print the leaderboard."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", default=",".join(LAWS))
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--learner", default="stack")
    parser.add_argument("--synthesizers", default=SYNTHESIZERS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/fidelity.jsonl"))
    parser.add_argument("--report", action="store_true")
    asked = parser.parse_args()
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in asked.out.read_text().splitlines()] if asked.out.exists() else []
    if not asked.report:
        done = {(line["world"], line["seed"], line["learner"], line["synthesizers"]) for line in lines}
        # seeds outermost: stopped early, every world has about the same number
        wanted = [(world, seed, asked.learner, asked.synthesizers) for seed in range(asked.seeds) for world in asked.worlds.split(",")]
        with multiprocessing.get_context("spawn").Pool(asked.jobs, threadpool_limits, (1,)) as pool, asked.out.open("a") as out:
            for line in pool.imap_unordered(study, [task for task in wanted if task not in done]):
                out.write(json.dumps(line) + "\n")
                out.flush()
                lines.append(line)
                print(f"{line['world']} {line['seed']}: {line['seconds']:.0f} s", flush=True)
    kept = [line for line in lines if (line["learner"], line["synthesizers"]) == (asked.learner, asked.synthesizers)]
    print(summary(kept))
    print()
    print(brief(kept))


if __name__ == "__main__":
    main()
