"""Whether releases of a time to event keep its curves, and whether their gates see where one does not.

    python -m benchmarks.survival_release gates [--tables 100]
    python -m benchmarks.survival_release actg [--runs 5] [--rows 20000]
    python -m benchmarks.survival_release worlds [--runs 40] [--world confounded] [--rows 600]

* gates: how often each gate rejects a fresh table of the source's own law, and how often it sees one of four other laws;
* actg: ACTG 175, four arms: differences of restricted means to 1,000 days of release and source, in the source's standard errors;
* worlds: errors of the effect in release and source about the known truth of a world of ``benchmarks.survival``.
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
from flows.release import mint
from tasks.checks.evidence import Evidence
from tasks.checks.methods.survival import SurvivalCheck
from tasks.checks.survival import survival_evidence
from tasks.checks.verdict import outcome
from tasks.contract.registry import resolve
from tasks.contract.roles import TableSchema
from tasks.contract.spec import GatesSpec
from tasks.contract.survival import EventRows, Grid, TimesToEvent
from tasks.estimation.survival.record import survival_record
from tasks.nuisance.plan import Plan
from tasks.nuisance.survival_fold import cross_fit_times
from tests.direct import directly, run_of

ROOT = Path(__file__).resolve().parents[1]
GATES = ("rmst_fidelity", "curve_distance", "event_share")
SOURCE_ROWS, RELEASE_ROWS = 800, 2_000
FOLDS, BOUND = 2, 0.02
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
    rows = EventRows(np.arange(len(frame), dtype=np.uint64), *(frame[name].to_numpy() for name in ("a", "t")), frame["e"].to_numpy() == 1)
    rows = rows._replace(a=rows.a.astype(np.int8))
    plan = Plan("table", 1, FOLDS)
    predicted = cross_fit_times(plan, resolve("learner", "glm"), rows, frame[list(COVARIATES)], times, 2, BOUND)
    joined = pa.table(predicted.columns()).rename_columns({"outcome": "y"})
    joined = joined.append_column("a", pa.array(rows.a)).append_column("time", pa.array(rows.time))
    joined = joined.append_column("e", pa.array(rows.event.astype(np.float64)))
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


def _minted(frame: pd.DataFrame, values: dict[str, Any]) -> dict[str, Any]:
    """Mint one release in this process and return its manifest."""
    with tempfile.TemporaryDirectory(prefix="waymint-benchmark-") as folder:
        frame.to_parquet(f"{folder}/source.parquet", index=False)
        whole = values | {"name": "study", "source": {"uri": f"{folder}/source.parquet"}, "store": {"uri": f"file://{folder}/store"}}
        reply, _ = directly(mint, run_of(whole, Path(folder) / "workspace"))
    manifest: dict[str, Any] = reply["manifest"]
    return manifest | {"status": reply["status"]}


def actg(runs: int, rows: int) -> list[str]:
    """Return the pairwise differences of restricted means of ACTG 175 in source and releases."""
    covariates = ("age", "wtkg", "hemo", "homo", "drugs", "karnof", "oprior", "race", "gender", "str2", "symptom", "cd40", "cd80")
    frame = pd.read_csv(ROOT / "tests" / "data" / "actg175.csv")[["arms", "days", "cens", *covariates]]
    gaps: dict[str, list[float]] = {}
    curves: list[float] = []
    rejected = 0
    for seed in range(runs):
        manifest = _minted(
            frame,
            {
                "seed": seed,
                "roles": {"treatment": "arms", "control": 0, "outcome": "days"},
                "outcomes": {"days": {"kind": "survival", "event": "cens", "horizon": 1000, "times": [365, 730]}},
                "covariates": {"synthesizer": "copula"},
                "mechanisms": {"learner": "glm", "repeats": 1},
                "release": {"rows": rows, "draws": "balanced"},
            },
        )
        rejected += manifest["status"] != "published"
        pairs = zip(*(manifest["effects"][where]["survival"]["estimates"] for where in ("source", "release")), strict=True)
        for one, other in pairs:
            if one["estimand"] == "rmst_difference":
                gaps.setdefault(f"{one['arm']} - {one['control']}", []).append((other["estimate"] - one["estimate"]) / one["se"])
            if one["estimand"] == "survival":
                curves.append(other["estimate"] - one["estimate"])
    lines = ["| arms | gap of the release in source SEs, mean | largest | within 0.25 |", "|---|---:|---:|---:|"]
    for pair, values in gaps.items():
        sizes = np.abs(values)
        lines.append(f"| {pair} | {np.mean(values):+.3f} | {sizes.max():.3f} | {np.mean(sizes <= 0.25):.0%} |")
    whole = np.mean(np.max(np.abs(np.array(list(gaps.values()))), axis=0) <= 0.25)
    return [*lines, "", f"all pairs within 0.25 in {whole:.0%} of {runs} runs of {rows:,} rows; S(t) at 365 and 730 days: largest gap "
            f"{np.max(np.abs(curves)):.4f}; {rejected} rejected"]  # fmt: skip


def worlds(runs: int, world: str, rows: int) -> list[str]:
    """Return the errors of source and release about the truth of a world."""
    exact, errors = truth(world)["rmst_difference"], {"source": [], "release": []}  # type: dict[str, list[float]]
    covered = {"source": 0, "release": 0}
    for seed in range(runs):
        manifest = _minted(
            table(world, rows, seed).round(4),
            {
                "seed": seed,
                "roles": {"treatment": "a", "outcome": "t"},
                "outcomes": {"t": {"kind": "survival", "event": "e", "horizon": HORIZON, "times": [TIME]}},
                "covariates": {"synthesizer": "copula"},
                "mechanisms": {"learner": "glm", "folds": 3, "repeats": 1},
                "release": {"rows": 2 * rows, "draws": "balanced"},
                "gates": {"inconclusive": "warn"},
            },
        )
        for where in errors:
            ate = manifest["effects"][where]["ate"]
            errors[where].append(ate["estimate"] - exact)
        combined = next(e for e in manifest["effects"]["release"]["combined"] if (e["estimand"], e["estimator"]) == ("ate", "adaptive"))
        covered["source"] += manifest["effects"]["source"]["ate"]["ci_low"] <= exact <= manifest["effects"]["source"]["ate"]["ci_high"]
        covered["release"] += combined["ci_low"] <= exact <= combined["ci_high"]
    root = {where: float(np.sqrt(np.mean(np.square(each)))) for where, each in errors.items()}
    bias = {where: float(np.mean(each)) for where, each in errors.items()}
    return [
        f"{world}, {rows:,} rows, {runs} runs; difference of restricted means {exact:.4f}",
        *(f"{where}: bias {bias[where]:+.4f}, RMSE {root[where]:.4f}, coverage {covered[where] / runs:.1%}" for where in errors),
        f"RMSE of release over source {root['release'] / root['source']:.3f}",
    ]


def main() -> None:
    """Run one of the studies and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=["gates", "actg", "worlds"])
    parser.add_argument("--tables", type=int, default=100)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--world", default="confounded")
    options = parser.parse_args()
    written = {
        "gates": lambda: gates(options.tables),
        "actg": lambda: actg(options.runs, options.rows or 20_000),
        "worlds": lambda: worlds(options.runs, options.world, options.rows or 600),
    }[options.study]()
    print("\n".join(written))


if __name__ == "__main__":
    main()
