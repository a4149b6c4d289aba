"""Whether releases of a time to event keep its curves, and whether their gates see where one does not.

    python -m benchmarks.survival_release gates [--tables 100]
    python -m benchmarks.survival_release actg [--runs 20] [--rows 100000]
    python -m benchmarks.survival_release worlds [--runs 40] [--world confounded] [--rows 600]

* gates: how often each gate rejects a fresh table of the source's own law, and how often it sees one of four other laws;
* actg: ACTG 175, four arms: differences of restricted means to 1,000 days of release and source, in the source's standard errors; each
  run splits, fits and draws anew;
* worlds: errors of the effect in release and source about the known truth of a world of ``benchmarks.survival``; beside them those of
  a naive generator, where one synthesizer draws covariates, arm, time and event together.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.survival import COVARIATES, HORIZON, TIME, table, truth
from flows.stages.copies import fit_models
from flows.stages.source import read_source
from infra.logging import PlainDisplay
from infra.stages import Stages
from tasks.checks.evidence import Evidence
from tasks.checks.methods.survival import SurvivalCheck
from tasks.checks.survival import survival_evidence
from tasks.checks.verdict import outcome
from tasks.contract.nuisance import Float64
from tasks.contract.registry import resolve
from tasks.contract.rng import rng_for
from tasks.contract.roles import TableSchema
from tasks.contract.spec import GatesSpec
from tasks.contract.survival import EventRows, Grid, TimesToEvent, causes_of
from tasks.estimation.survival.kaplan_meier import Steps, kaplan_meier
from tasks.estimation.survival.record import survival_record
from tasks.mechanisms.blocks import joint_block
from tasks.mechanisms.survival_draw import times_block
from tasks.nuisance.plan import Plan
from tasks.nuisance.survival_fold import cross_fit_times
from tasks.nuisance.task import curves_of
from tasks.numerics.normal import Z95
from tests.direct import DirectWork, run_of

ROOT = Path(__file__).resolve().parents[1]
GATES = ("rmst_fidelity", "curve_distance", "event_share")
SOURCE_ROWS, RELEASE_ROWS = 800, 2_000
FOLDS, BOUND = 2, 0.02
BLOCK = 25_000
NAIVE = "naive generator"
Change = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]


def _same(frame: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    return frame


def _exchanged(frame: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    """Give each arm the times and events of the other."""
    return frame.assign(a=1 - frame["a"])


def _shorter(frame: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    """Halve the times of the treated arm."""
    return frame.assign(t=frame["t"] * np.where(frame["a"] == 1, 0.5, 1.0))


def _early(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Let a third of all events come at once: another shape."""
    moved = (rng.random(len(frame)) < 1 / 3) & (frame["e"] == 1)
    return frame.assign(t=np.where(moved, 0.2, frame["t"]))


def _censored(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Lose three fifths of the rows early, whatever would have come: curves stay and events don't."""
    lost = np.where(rng.random(len(frame)) < 0.6, rng.uniform(0.0, 3.0, len(frame)), np.inf)
    return frame.assign(t=np.minimum(frame["t"], lost), e=np.where(lost < frame["t"], 0, frame["e"]))


LAWS: dict[str, Change] = {
    "the source's own law": _same,
    "arms exchanged": _exchanged,
    "treated times halved": _shorter,
    "a third of the events at once": _early,
    "three fifths lost early": _censored,
}


def record_of(frame: pd.DataFrame, times: TimesToEvent) -> dict[str, Any]:
    """Return the record of a table's curves that a release's manifest would hold, with ridge regressions and two folds."""
    a, time, e = frame["a"].to_numpy().astype(np.int8), frame["t"].to_numpy(), frame["e"].to_numpy().astype(np.float64)
    rows = EventRows(np.arange(len(frame), dtype=np.uint64), a, time, e > 0.5, cause=causes_of(e, times))
    plan = Plan("table", 1, FOLDS)
    predicted = cross_fit_times(plan, resolve("learner", "glm"), rows, frame[list(COVARIATES)], times, 2, BOUND)
    joined = pa.table(predicted.columns()).rename_columns({"outcome": "y"})
    joined = joined.append_column("a", pa.array(rows.a)).append_column("time", pa.array(rows.time))
    joined = joined.append_column("e", pa.array(e))
    schema = TableSchema(columns=(), treated="1", control="0", arms=("0", "1"), outcome_kind="survival", rows=len(frame), survival=times)
    return {"survival": survival_record(schema, joined, predicted.curves, BOUND)}


def periods_of(frame: pd.DataFrame) -> TimesToEvent:
    """Return the periods of a table of ``benchmarks.survival``."""
    edges = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, TIME, 6.0, 7.0, 8.0, 9.0, HORIZON)
    centres = Grid(edges).centres(frame["t"].to_numpy(), frame["e"].to_numpy() == 1)
    return TimesToEvent(horizon=HORIZON, times=(TIME,), edges=edges, centres=centres)


def verdicts(source: pd.DataFrame, release: pd.DataFrame) -> dict[str, str]:
    """Return what each gate says of a release of a source."""
    times = periods_of(source)
    evidence = Evidence(survival=survival_evidence(record_of(source, times), record_of(release, times)))
    return {metric.name: outcome(metric) for metric in SurvivalCheck().measure(evidence, GatesSpec())}


def gates(tables: int) -> list[str]:
    """Return a Markdown table: by law the share of tables that each gate rejects."""
    lines = ["| law of the release | " + " | ".join(GATES) + " |", "|---|" + "---:|" * len(GATES)]
    for name, change in LAWS.items():
        count = tables if name == next(iter(LAWS)) else max(tables // 5, 5)
        failed = dict.fromkeys(GATES, 0)
        for seed in range(count):
            rng = np.random.default_rng(10_000 + seed)
            release = change(table("confounded", RELEASE_ROWS, 1_000 + seed), rng)
            for gate, verdict in verdicts(table("confounded", SOURCE_ROWS, seed), release).items():
                failed[gate] += verdict == "fail"
        lines.append(f"| {name} ({count} tables) | " + " | ".join(f"{failed[gate] / count:.1%}" for gate in GATES) + " |")
    return lines


class Draws:
    """The fitted mechanisms of one table: its own estimates, and as many released rows as wanted, without a gate or a store."""

    def __init__(self, frame: pd.DataFrame, values: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory(prefix="waymint-benchmark-") as folder:
            frame.to_parquet(f"{folder}/source.parquet", index=False)
            whole = values | {"name": "study", "source": {"uri": f"{folder}/source.parquet"}, "store": {"uri": f"file://{folder}/store"}}
            run, stages = run_of(whole, Path(folder) / "workspace"), Stages(PlainDisplay(), work=DirectWork())
            source = read_source(run, stages)
            self.schema, self.settings, self.full = source.described.table, run.spec.mechanisms, run.spec.release.mode == "full"
            fitted = fit_models(run, stages, self.schema, source.parts, 0)
            space = run.space()
            nuisances = fitted.fitted.nuisances
            rows = pa.concat_tables([space.table(part) for part in nuisances])
            self.record = survival_record(self.schema, rows, curves_of(space, nuisances), BOUND)
            refs = (fitted.models.covariates, fitted.models.mechanisms, fitted.models.balance)
            self.models = tuple(space.model(ref) for ref in refs if ref is not None)

    def rows(self, rows: int, seed: int) -> tuple[Float64, Float64, Float64]:
        """Draw a release and return arms, times and events, each of shape (rows,); in mode "full" the synthesizer draws everything."""
        parts = []
        for number, start in enumerate(range(0, rows, BLOCK)):
            rng = rng_for(seed, "benchmark", number)
            size = min(BLOCK, rows - start)
            parts.append(self._block(size, rng))
        a, time, e = (np.concatenate([part.column(name).to_numpy() for part in parts]) for name in ("a", "y", "e"))
        return a, time, e

    def curves(self, rows: int, seed: int) -> dict[str, Steps]:
        """Draw a release and return the product-limit curve of each arm."""
        a, time, e = self.rows(rows, seed)
        arms = enumerate(self.schema.arms)
        return {label: kaplan_meier(time[a == arm], e[a == arm] > 0.5, np.ones(int((a == arm).sum()))) for arm, label in arms}

    def _block(self, rows: int, rng: np.random.Generator) -> pa.Table:
        """Draw one block of rows."""
        if self.full:
            return joint_block(self.schema, self.models[0], self.models[1], rows, rng)
        covariates, mechanisms, balance = self.models
        return times_block(self.settings, True, self.schema, covariates, mechanisms, balance, rows, rng)

    def estimates(self, estimand: str) -> list[dict[str, Any]]:
        """Return the source's own estimates."""
        return [each for each in self.record["estimates"] if each["estimand"] == estimand]


def actg(runs: int, rows: int) -> list[str]:
    """Return how far the pairwise differences of restricted means of releases of ACTG 175 lie from the source's."""
    covariates = ("age", "wtkg", "hemo", "homo", "drugs", "karnof", "oprior", "race", "gender", "str2", "symptom", "cd40", "cd80")
    frame = pd.read_csv(ROOT / "tests" / "data" / "actg175.csv")[["arms", "days", "cens", *covariates]]
    values: dict[str, Any] = {
        "roles": {"treatment": "arms", "control": 0, "outcome": "days"},
        "outcomes": {"days": {"kind": "survival", "event": "cens", "horizon": 1000, "times": [365, 730]}},
        "covariates": {"synthesizer": "copula"},
        "mechanisms": {"learner": "glm", "repeats": 1},
    }
    gaps: dict[str, list[float]] = {}
    curves: list[float] = []
    for seed in range(runs):
        draws = Draws(frame, values | {"seed": seed})
        drawn = draws.curves(rows, seed)
        for each in draws.estimates("rmst_difference"):
            gap = float(drawn[each["arm"]].area(0.0, 1000.0) - drawn[each["control"]].area(0.0, 1000.0)) - each["estimate"]
            gaps.setdefault(f"{each['arm']} - {each['control']}", []).append(gap / each["se"])
        curves += [drawn[each["arm"]].at(each["time"]) - each["estimate"] for each in draws.estimates("survival")]
    lines = ["| arms | gap of the release in source SEs, mean | largest | within 0.25 |", "|---|---:|---:|---:|"]
    for pair, of_pair in gaps.items():
        sizes = np.abs(of_pair)
        lines.append(f"| {pair} | {np.mean(of_pair):+.3f} | {sizes.max():.3f} | {np.mean(sizes <= 0.25):.0%} |")
    whole = np.mean(np.max(np.abs(np.array(list(gaps.values()))), axis=0) <= 0.25)
    within = f"all pairs within 0.25 in {whole:.0%} of {runs} releases of {rows:,} rows"
    return [*lines, "", f"{within}; largest gap of S(t) at 365 and 730 days: {np.max(np.abs(curves)):.4f}"]


def worlds(runs: int, world: str, rows: int) -> list[str]:
    """Return the errors of source, release and naive generator about the truth of a world."""
    exact = truth(world)["rmst_difference"]
    errors: dict[str, list[float]] = {"source": [], "release": [], NAIVE: []}
    covered = dict.fromkeys(errors, 0)
    for seed in range(runs):
        values = {
            "seed": seed,
            "roles": {"treatment": "a", "outcome": "t"},
            "outcomes": {"t": {"kind": "survival", "event": "e", "horizon": HORIZON, "times": [TIME]}},
            "covariates": {"synthesizer": "copula"},
            "mechanisms": {"learner": "glm", "folds": 3, "repeats": 1},
        }
        frame = table(world, rows, seed).round(4)
        draws, naive = Draws(frame, values), Draws(frame, values | {"release": {"mode": "full"}})
        (own,) = draws.estimates("rmst_difference")
        found = {"source": own["estimate"], "release": difference(draws, 10 * rows, seed), NAIVE: difference(naive, 10 * rows, seed)}
        for where, estimate in found.items():
            errors[where].append(estimate - exact)
            covered[where] += abs(estimate - exact) <= Z95 * own["se"]
    root = {where: float(np.sqrt(np.mean(np.square(each)))) for where, each in errors.items()}
    return [
        f"{world}, {rows:,} rows, releases of {10 * rows:,}, {runs} runs; difference of restricted means {exact:.4f}",
        *(
            f"{where}: bias {np.mean(each):+.4f}, RMSE {root[where]:.4f}, within 1.96 of its errors {covered[where] / runs:.1%}"
            for where, each in errors.items()
        ),
        *(f"RMSE of {where} over source {ratio(each, errors['source'])}" for where, each in errors.items() if where != "source"),
    ]


def difference(draws: Draws, rows: int, seed: int) -> float:
    """Return the difference of restricted means of a release."""
    drawn = draws.curves(rows, seed)
    return float(drawn["1"].area(0.0, HORIZON) - drawn["0"].area(0.0, HORIZON))


def ratio(errors: list[float], beside: list[float]) -> str:
    """Return the ratio of two root mean squares over the same runs, with its Monte-Carlo error by the jackknife."""
    ours, others = np.square(errors), np.square(beside)
    n = len(ours)
    without = np.sqrt((ours.sum() - ours) / (others.sum() - others))
    spread = np.sqrt((n - 1) * np.var(without))
    return f"{np.sqrt(ours.sum() / others.sum()):.3f} +- {spread:.3f}"


def main() -> None:
    """Run one of the studies and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=["gates", "actg", "worlds"])
    parser.add_argument("--tables", type=int, default=100)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--world", default="confounded")
    options = parser.parse_args()
    written = {
        "gates": lambda: gates(options.tables),
        "actg": lambda: actg(options.runs, options.rows or 100_000),
        "worlds": lambda: worlds(options.runs, options.world, options.rows or 600),
    }[options.study]()
    print("\n".join(written))


if __name__ == "__main__":
    main()
