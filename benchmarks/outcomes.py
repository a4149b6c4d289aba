"""Do released outcomes look like the source's, whatever their law? Twelve outcome laws, released with each synthesizer.

    python -m benchmarks.outcomes --seeds 20        # a line for each seed and law in build/outcomes.jsonl; goes on where it stopped
    python -m benchmarks.outcomes --speed           # CPU seconds of a million draws by `tilt` and by `scale`

Of each release: cells outside the law's natural support; the Kolmogorov distance of each arm's outcomes to the source's, over that of a
fresh sample of the same size, and how often that ratio is at most 1.2 (a second fresh sample shows how often chance alone has it so), or
at most 1.2 times the distance that 95 % of fresh samples keep; the error of the effect carried, beside that of the efficient estimate.
Brackets hold Monte-Carlo errors: 95 % bootstrap intervals over sources, standard errors of shares. The released treatment is drawn from the
fitted propensities (design "fitted"), so that an arm's covariates are those of the source's arm and a fresh sample is the right yardstick.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

from benchmarks.checkpoints import work_off
from benchmarks.minting import calibrated, fit, mechanisms, mint, source_of, targeted
from benchmarks.outcome_worlds import WORLDS, Drawn, impossible
from benchmarks.worlds import snapshot
from tasks.contract.errors import WaymintError
from tasks.contract.nuisance import Float64
from tasks.contract.registry import resolve
from tasks.contract.rng import rng_for
from tasks.mechanisms.laws.choice import fit_law
from tasks.mechanisms.laws.support import find_support

SYNTHESIZERS = ("forest", "chain")
TRUTH_ROWS = 2_000_000
ALLOWED = 1.2  # distance of a release over that of a fresh sample
RESAMPLES = 2_000


class Study(NamedTuple):
    """What is studied."""

    rows: int
    learner: str


class Job(NamedTuple):
    """One source of one law."""

    world: str
    seed: int


def frame_of(drawn: Drawn) -> pd.DataFrame:
    """Return a source table."""
    return drawn.covariates.assign(a=drawn.a, y=drawn.y)


def distances(source: Float64, a: np.ndarray[Any, Any], y: Float64, arms: np.ndarray[Any, Any]) -> list[float]:
    """Return each arm's Kolmogorov distance to the source's arm."""
    return [float(ks_2samp(source[a == arm], y[arms == arm]).statistic) for arm in (0, 1)]


def do(study: Study, job: Job) -> dict[str, Any]:
    """Release one source with each synthesizer."""
    drawn = WORLDS[job.world](study.rows, 1_000 + job.seed)
    rows, schema = snapshot(frame_of(drawn), kind=drawn.kind)
    source = source_of(rows, schema)
    fitted = fit(source, study.learner, job.seed)
    targeting = targeted(source, fitted)
    made = mechanisms(source, fitted, targeting, job.seed)
    fresh, other = (WORLDS[job.world](study.rows, start + job.seed) for start in (500_000, 700_000))
    found: dict[str, Any] = {"study": study._asdict(), **job._asdict(), "law": made.law.key, "estimate": targeting.ate}
    found["fresh"] = distances(source.y, source.a, fresh.y, fresh.a)
    found["other"] = distances(source.y, source.a, other.y, other.a)
    for name in SYNTHESIZERS:
        model = resolve("synthesizer", name).fit(source.training_rows(job.seed), schema.modelled, rng_for(job.seed, "covariates"))
        rng = rng_for(job.seed, "draw", name)
        release = mint(source, model, made, calibrated(source, model, made, fitted, rng), study.rows, rng, "fitted")
        found[name] = {
            "distance": distances(source.y, source.a, release.y, release.a),
            "impossible": impossible(job.world, release.y),
            "effect": float(np.mean(release.nuisances.q1 - release.nuisances.q0)),
        }
    return found


def truth(world: str) -> float:
    """Return a world's average effect: weighted by the known propensities, over two million rows."""
    total, step = [0.0, 0.0, 0.0, 0.0], 200_000
    for part in range(TRUTH_ROWS // step):
        drawn = WORLDS[world](step, 900_000 + part)
        g = 1 / (1 + np.exp(-0.9 * drawn.covariates["w0"].to_numpy()))
        for arm, weight in ((0, (drawn.a == 0) / (1 - g)), (1, (drawn.a == 1) / g)):
            total[2 * arm] += float(weight @ drawn.y)
            total[2 * arm + 1] += float(weight.sum())
    return total[2] / total[3] - total[0] / total[1]


def table(found: Mapping[Job, dict[str, Any]]) -> str:
    """Return the Markdown table."""
    head = ("outcome", "law chosen", "synthesizer", "sources", "impossible cells", "median distance", "of a fresh sample")
    head = (
        *head,
        "ratio of medians",
        f"arms at most {ALLOWED} times",
        "of a second fresh sample",
        f"at most {ALLOWED} times its 95 % point",
    )
    head = (*head, "RMSE over the estimate's")
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for world in WORLDS:
        lines_of = [line for job, line in found.items() if job.world == world]
        if not lines_of:
            continue
        exact = truth(world)
        laws = pd.Series([line["law"] for line in lines_of]).value_counts()
        fresh, other = (np.array([line[name] for line in lines_of]) for name in ("fresh", "other"))
        own = np.array([line["estimate"] - exact for line in lines_of]) ** 2
        usual = np.quantile(np.concatenate((fresh, other)), 0.95, axis=0)
        for name in SYNTHESIZERS:
            each = np.array([line[name]["distance"] for line in lines_of])
            errors = np.array([line[name]["effect"] - exact for line in lines_of]) ** 2
            within = [_share(distance <= ALLOWED * limit) for distance, limit in ((each, fresh), (other, fresh), (each, usual))]
            cells: tuple[str, ...] = (world, ", ".join(f"{law} {count}" for law, count in laws.items()), name, str(len(lines_of)))
            cells = (*cells, str(sum(line[name]["impossible"] for line in lines_of)), f"{np.median(each):.3f}", f"{np.median(fresh):.3f}")
            cells = (*cells, _resampled(each, fresh, np.median, "{:.2f}"), *within, _resampled(errors, own, _root, "{:.3f}"))
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _root(squares: Float64) -> Any:
    return np.sqrt(np.mean(squares))


def _share(holds: np.ndarray[Any, Any]) -> str:
    """Return a share over arms and its standard error; the arms of a source are not independent."""
    error = holds.mean(axis=1).std(ddof=1) / np.sqrt(len(holds)) if len(holds) > 1 else np.nan
    return f"{holds.mean():.0%} ({100 * error:.0f})"


def _resampled(each: Float64, other: Float64, statistic: Callable[[Float64], Any], form: str) -> str:
    """Return a ratio of statistics over sources with its bootstrap interval."""
    rng = np.random.default_rng(0)
    draws = rng.integers(len(each), size=(RESAMPLES, len(each)))
    ratios = np.array([statistic(each[rows]) / statistic(other[rows]) for rows in draws])
    low, high = np.quantile(ratios, [0.025, 0.975])
    return f"{form} ({form} to {form})".format(statistic(each) / statistic(other), low, high)


def speed(rows: int = 1_000_000) -> str:
    """Time draws from both laws, alternating; CPU seconds of a million, the least of five."""
    lines = ["| covariates | spread | scale, s | tilt, s | ratio |", "|---:|---|---:|---:|---:|"]
    for width in (5, 20):
        for varies in (True, False):
            rng = np.random.default_rng(0)
            x, a = rng.normal(size=(3_000, width)).round(3), rng.integers(0, 2, 3_000).astype(np.int8)
            w = pd.DataFrame({f"w{at}": x[:, at] for at in range(width)})
            mean = 50 + 5 * x[:, 0] + 3 * a
            y = np.round(mean + 8 * (np.exp(0.5 * x[:, 1]) if varies else 1.0) * rng.normal(size=3_000))
            plain = find_support(y)._replace(grid=False, atoms=False, heaped=False, bounded=(False, False), sign=0)
            laws = [
                fit_law(a, y, mean, mean, w, "continuous", np.random.default_rng(0), law=law, support=support)
                for law, support in (("scale", plain), ("tilt", find_support(y)))
            ]
            many = rng.integers(3_000, size=rows)
            wide, arms, means = w.iloc[many].reset_index(drop=True), a[many], mean[many]
            spent = [[], []]  # type: list[list[float]]
            for law in laws:
                law.draw(arms[:10], means[:10], wide[:10], np.random.default_rng(0))
            for number in range(5):
                for law, seconds in zip(laws, spent):
                    began = time.process_time()
                    law.draw(arms, means, wide, np.random.default_rng(number))
                    seconds.append(time.process_time() - began)
            least = [min(seconds) * 1e6 / rows for seconds in spent]
            lines.append(f"| {width} | {'varies' if varies else 'even'} | {least[0]:.3f} | {least[1]:.3f} | {least[1] / least[0]:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Work off what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--learner", default="stack")
    parser.add_argument("--worlds", default=",".join(WORLDS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/outcomes.jsonl"))
    parser.add_argument("--speed", action="store_true")
    asked = parser.parse_args()
    if asked.speed:
        print(speed())
        return
    jobs = [Job(world, seed) for seed in range(asked.seeds) for world in asked.worlds.split(",")]
    found, refused = work_off(
        Study(asked.rows, asked.learner),
        jobs,
        do,
        asked.out,
        asked.jobs,
        job_of=lambda raw: Job(raw["world"], raw["seed"]),
        told="{0} of {1}",
        refusals=(WaymintError,),
    )
    print(table({job: found[job] for job in jobs if job in found}))
    print(f"refused: {refused}")


if __name__ == "__main__":
    main()
