"""Whether releases keep the incidences of competing causes, and whether their gates see where one does not.

    python -m benchmarks.causes world [--runs 40] [--rows 600]
    python -m benchmarks.causes gates [--tables 40]

Two causes come at exponential times, with hazards that depend on covariates and arm; treatment depends on the same covariate. So F_1(t|W)
and the time lost to cause 1 have a closed form, and their population means are known.

* world: errors of the differences of F_1(t) and of the time lost about the truth: of the source's one-step estimate, and of Aalen and
  Johansen's on a release ten times as large;
* gates: how often each gate of causes rejects a fresh table of the source's own law, and how often it sees one of three other laws.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.survival_release import Draws, record_of
from tasks.checks.evidence import Evidence
from tasks.checks.methods.survival import SurvivalCheck
from tasks.checks.survival import survival_evidence
from tasks.checks.verdict import outcome
from tasks.contract.nuisance import Float64
from tasks.contract.spec import GatesSpec
from tasks.contract.survival import Grid, TimesToEvent
from tasks.estimation.incidence.aalen_johansen import aalen_johansen

HORIZON, TIME = 10.0, 5.0
TRUTH_ROWS = 1_000_000
SOURCE_ROWS, RELEASE_ROWS = 800, 2_000
GATES = ("incidence_fidelity", "incidence_distance", "cause_share")
ESTIMANDS = ("incidence_difference", "time_lost_difference")
Change = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]


def hazards(x: Float64, z: Float64, a: Float64) -> tuple[Float64, Float64]:
    """Return the constant hazards of both causes."""
    return np.exp(np.log(0.07) + 0.6 * x - 0.6 * a), np.exp(np.log(0.06) - 0.3 * x + 0.3 * z + 0.3 * a)


def table(rows: int, seed: int) -> pd.DataFrame:
    """Draw a table: ``e`` is 1 for the cause of interest, 2 for the other, 0 for censoring."""
    rng = np.random.default_rng(seed)
    x, z, u = rng.normal(size=(3, rows))
    a = (rng.random(rows) < 1 / (1 + np.exp(-0.8 * x))).astype(float)
    one, two = (rng.exponential(1 / hazard) for hazard in hazards(x, z, a))
    lost = np.minimum(rng.exponential(1 / (0.04 * np.exp(0.3 * a))), 1.2 * HORIZON)
    until = np.minimum(one, two)
    e = np.where(until <= lost, np.where(one <= two, 1, 2), 0)
    return pd.DataFrame({"x": x, "z": z, "u": u, "a": a.astype(int), "t": np.minimum(until, lost), "e": e}).round(4)


def truth() -> dict[str, float]:
    """Return the contrasts of the population for cause 1: with h = h_1 + h_2, F_1(t|W) = h_1 / h (1 - exp(-h t)).

    The time lost is its integral to the horizon, h_1 / h (T - (1 - exp(-h T)) / h).
    """
    rng = np.random.default_rng(123)
    x, z = rng.normal(size=(2, TRUTH_ROWS))
    means = []
    for a in (0.0, 1.0):
        first, second = hazards(x, z, np.full(TRUTH_ROWS, a))
        total = first + second
        lost = first / total * (HORIZON + np.expm1(-total * HORIZON) / total)
        means.append((float(np.mean(-first / total * np.expm1(-total * TIME))), float(lost.mean())))
    return {name: means[1][at] - means[0][at] for at, name in enumerate(ESTIMANDS)}


def released(a: Float64, time: Float64, e: Float64) -> dict[str, float]:
    """Return the contrasts of a release by Aalen and Johansen."""
    steps = [aalen_johansen(time[a == arm], e[a == arm].astype(np.int8), np.ones(int((a == arm).sum()))) for arm in (0, 1)]
    return {
        "incidence_difference": steps[1].at(TIME) - steps[0].at(TIME),
        "time_lost_difference": float(steps[1].area(0.0, HORIZON) - steps[0].area(0.0, HORIZON)),
    }


def world(runs: int, rows: int) -> list[str]:
    """Return a Markdown table of the errors of source and release about the truth."""
    exact = truth()
    errors: dict[str, dict[str, list[float]]] = {name: {"source": [], "release": []} for name in ESTIMANDS}
    for seed in range(runs):
        values: dict[str, Any] = {
            "seed": seed,
            "roles": {"treatment": "a", "outcome": "t"},
            "outcomes": {"t": {"kind": "survival", "event": "e", "cause": 1, "horizon": HORIZON, "times": [TIME]}},
            "covariates": {"synthesizer": "copula"},
            "mechanisms": {"learner": "glm", "folds": 3, "repeats": 1},
        }
        draws = Draws(table(rows, seed), values)
        of_release = released(*draws.rows(10 * rows, seed))
        of_source = {each["estimand"]: each["estimate"] for each in draws.record["causes"][0]["estimates"] if each["control"] is not None}
        for name in ESTIMANDS:
            errors[name]["source"].append(of_source[name] - exact[name])
            errors[name]["release"].append(of_release[name] - exact[name])
    lines = ["| number | truth | RMSE, source | RMSE, release | ratio | bias, release |", "|---|---:|---:|---:|---:|---:|"]
    for name, of_both in errors.items():
        squares = np.square([of_both["source"], of_both["release"]])
        root = np.sqrt(squares.mean(axis=1))
        ratio = root[1] / root[0]
        # of the ratio of two means of squares that move together: the delta method
        spread = squares[1] / squares[1].mean() - squares[0] / squares[0].mean()
        error = 0.5 * ratio * spread.std(ddof=1) / np.sqrt(runs)
        bias, of_bias = np.mean(of_both["release"]), np.std(of_both["release"], ddof=1) / np.sqrt(runs)
        figures = f"{exact[name]:.4f} | {root[0]:.4f} | {root[1]:.4f} | {ratio:.3f} ± {error:.3f} | {bias:+.4f} ± {of_bias:.4f}"
        lines.append(f"| {name} | {figures} |")
    return [*lines, "", f"{runs} tables of {rows:,} rows, releases of {10 * rows:,}"]


def _same(frame: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    return frame


def _exchanged(frame: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    """Give each event the other cause: survival and the share of events stay."""
    return frame.assign(e=np.where(frame["e"] > 0, 3 - frame["e"], 0))


def _blind(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Draw causes by a coin, whatever the arm and the covariates."""
    return frame.assign(e=np.where(frame["e"] > 0, rng.integers(1, 3, len(frame)), 0))


def _early(frame: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    """Let all early events be of the first cause, and all late ones of the second."""
    return frame.assign(e=np.where(frame["e"] > 0, np.where(frame["t"] < 0.4 * TIME, 1, 2), 0))


LAWS: dict[str, Change] = {
    "the source's own law": _same,
    "causes exchanged": _exchanged,
    "causes by a coin": _blind,
    "one cause early, the other late": _early,
}


def verdicts(source: pd.DataFrame, release: pd.DataFrame) -> dict[str, str]:
    """Return what each gate on a time to event says of a release of a source."""
    edges = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, TIME, 6.0, 7.0, 8.0, 9.0, HORIZON)
    centres = Grid(edges).centres(source["t"].to_numpy(), source["e"].to_numpy() > 0)
    times = TimesToEvent(horizon=HORIZON, times=(TIME,), edges=edges, centres=centres, causes=("1", "2"))
    evidence = Evidence(survival=survival_evidence(record_of(source, times), record_of(release, times)))
    return {metric.name: outcome(metric) for metric in SurvivalCheck().measure(evidence, GatesSpec())}


def gates(tables: int) -> list[str]:
    """Return a Markdown table: by law the share of tables that each gate rejects."""
    lines = ["| law of the release | " + " | ".join(GATES) + " |", "|---|" + "---:|" * len(GATES)]
    for name, change in LAWS.items():
        count = tables if name == next(iter(LAWS)) else max(tables // 8, 3)
        failed = dict.fromkeys(GATES, 0)
        for seed in range(count):
            release = change(table(RELEASE_ROWS, 1_000 + seed), np.random.default_rng(10_000 + seed))
            said = verdicts(table(SOURCE_ROWS, seed), release)
            for gate in GATES:
                failed[gate] += said[gate] == "fail"
        lines.append(f"| {name} ({count} tables) | " + " | ".join(f"{failed[gate] / count:.1%}" for gate in GATES) + " |")
    return lines


def main() -> None:
    """Run one of the studies and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=["world", "gates"])
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--tables", type=int, default=40)
    options = parser.parse_args()
    print("\n".join(world(options.runs, options.rows) if options.study == "world" else gates(options.tables)))


if __name__ == "__main__":
    main()
