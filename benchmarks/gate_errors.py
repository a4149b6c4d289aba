"""How often the gates on laws and support reject fresh draws of the source's own law, and how often they see a law that is another.

    python -m benchmarks.gate_errors [--tables 200] [--power 40]

Prints two Markdown tables, those of docs/gates.md. Each table is a source of 800 or 2,000 rows and a release of 1,000 or 10,000 rows.
Treatment in the source depends on covariates, in the release it is a coin: the source's arms are weighted by 1/g, as in a release.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from tasks.checks.comparison import design_weights
from tasks.checks.evidence import Evidence
from tasks.checks.laws import LawEvidence, level_gap, ordered_gap, weighted_gap
from tasks.checks.methods import laws, support
from tasks.checks.metric import Metric
from tasks.checks.support import SupportEvidence, natural_support
from tasks.checks.verdict import outcome
from tasks.contract.spec import GatesSpec

SIZES = ((800, 1_000), (2_000, 10_000))
Draw = Callable[[np.ndarray, np.random.Generator], np.ndarray]
GATES = ("outcome_law", "margins", "missingness", "support")


def _smooth(mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (mean + rng.normal(size=len(mean))).round(3)


def _cost(mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.random(len(mean)) < 0.52, 0.0, np.exp(6 + 0.5 * mean + rng.normal(size=len(mean)))).round(2)


def _days(mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.minimum(365, rng.exponential(200 * np.exp(0.3 * mean))).round()


def _score(mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(5 * np.round((50 + 10 * mean + 20 * rng.normal(size=len(mean))) / 5), 0, 100)


def _visits(mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.negative_binomial(1.5, 1 / (1 + np.exp(0.4 * mean))).astype(float)


def _share(mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    drawn = rng.beta(2 + 0.5 * np.abs(mean), 2).round(3)
    atom = rng.random(len(mean))
    return np.where(atom < 0.08, 0.0, np.where(atom > 0.9, 1.0, drawn))


def _heavy(mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (mean + rng.standard_t(2.5, size=len(mean))).round(2)


def _sentinel(mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.random(len(mean)) < 0.06, -9.0, (40 + 5 * mean + 6 * rng.normal(size=len(mean))).round(1))


LAWS: Mapping[str, Draw] = {
    "normal": _smooth,
    "cost, 52 % zeros": _cost,
    "days up to 365": _days,
    "score in fives": _score,
    "overdispersed counts": _visits,
    "shares with atoms": _share,
    "heavy tails": _heavy,
    "sentinel -9": _sentinel,
}


def table(rows: int, draw: Draw, rng: np.random.Generator, coin: bool) -> pd.DataFrame:
    """Draw rows: three covariates with cells missing together, treatment, outcome, and the propensity."""
    x = rng.normal(size=rows)
    g = np.full(rows, 0.5) if coin else 1 / (1 + np.exp(-0.8 * x))
    a = (rng.random(rows) < g).astype(np.int8)
    lab, level = np.exp(0.3 * x + rng.normal(size=rows)).round(2), rng.choice(8, rows, p=[0.4, 0.3, 0.15, 0.08, 0.04, 0.02, 0.007, 0.003])
    gone = rng.random(rows) < 0.15
    also = np.where(gone, rng.random(rows) < 0.8, rng.random(rows) < 0.02)
    return pd.DataFrame(
        {
            "x": np.where(also, np.nan, x.round(2)),
            "lab": np.where(gone, np.nan, lab),
            "level": level,
            "a": a,
            "y": draw(a + x, rng),
            "g": g,
        }
    )


def judge(source: pd.DataFrame, release: pd.DataFrame, rng: np.random.Generator) -> dict[str, str]:
    """Return what each gate says of a release."""
    g = source["g"].to_numpy()
    weight = design_weights(source["a"].to_numpy(), (1 - g, g), 0.01, "randomized", 1.0)
    arms = []
    for label, name in ((1, "treated"), (0, "control")):
        here, there = (frame["a"].to_numpy() == label for frame in (source, release))
        arms.append((name, weighted_gap(source["y"].to_numpy()[here], weight[here], release["y"].to_numpy()[there], rng)))
    margins = [(name, ordered_gap(source[name].dropna().to_numpy(), release[name].dropna().to_numpy(), rng)) for name in ("x", "lab")]
    margins.append(("level", level_gap(source["level"].to_numpy(), release["level"].to_numpy(), rng)))
    codes = [(2 * frame["x"].isna() + frame["lab"].isna()).to_numpy(dtype=np.int64) for frame in (source, release)]
    supports = {name: natural_support(source[name].to_numpy()) for name in ("x", "lab", "y")}
    broken = [(name, count) for name, own in supports.items() for count in own.violations(release[name].to_numpy()).values()]
    evidence = Evidence(
        laws=LawEvidence(tuple(arms), 2, tuple(margins), level_gap(codes[0], codes[1], rng)),
        support=SupportEvidence(len(release), tuple(broken)),
    )
    checks = (laws.build(laws.Params()), support.build(support.Params()))
    found: list[Metric] = [metric for check in checks for metric in check.measure(evidence, GatesSpec())]
    return {metric.name: outcome(metric) for metric in found if metric.rule is not None}


def additive(frame: pd.DataFrame, _rng: np.random.Generator) -> pd.DataFrame:
    """Draw the outcome as mean plus normal noise of the arm's own spread, rounded: what keeps every mean and no shape."""
    spread = frame.groupby("a")["y"].transform("std")
    return frame.assign(y=(frame.groupby("a")["y"].transform("mean") + spread * _rng.normal(size=len(frame))).round(2))


def blurred(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Move every outcome by a twentieth of the standard deviation: shape kept, atoms and grid lost."""
    return frame.assign(y=frame["y"] + 0.05 * frame["y"].std() * rng.normal(size=len(frame)))


def clipped(frame: pd.DataFrame, _rng: np.random.Generator) -> pd.DataFrame:
    """Cut the tails of the outcome at its 10 % and 90 % points."""
    return frame.assign(y=frame["y"].clip(*frame["y"].quantile([0.1, 0.9])))


def shifted(frame: pd.DataFrame, _rng: np.random.Generator) -> pd.DataFrame:
    """Shift a covariate by three tenths of its standard deviation."""
    return frame.assign(lab=(frame["lab"] + 0.3 * frame["lab"].std()).round(2))


def scattered(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Scatter missing cells of each column over rows of their own."""
    masked = {name: rng.permutation(frame[name].isna().to_numpy()) for name in ("x", "lab")}
    known = {name: frame[name].fillna(frame[name].median()) for name in masked}
    return frame.assign(**{name: known[name].mask(gone) for name, gone in masked.items()})


FAULTS: Mapping[str, Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]] = {
    "normal noise on arm means": additive,
    "outcomes moved by 5 % of an sd": blurred,
    "outcome's tails cut at 10 %": clipped,
    "a covariate shifted by 0.3 sd": shifted,
    "missing cells scattered": scattered,
}


def rates(law: str, sizes: tuple[int, int], count: int, seed: int, fault: Any = None) -> dict[str, dict[str, float]]:
    """Return, for each gate, the share of tables it answers with fail and with inconclusive."""
    seen: dict[str, list[str]] = {name: [] for name in GATES}
    for number in range(count):
        rng = np.random.default_rng([seed, number, *sizes])
        source, release = table(sizes[0], LAWS[law], rng, coin=False), table(sizes[1], LAWS[law], rng, coin=True)
        for name, answer in judge(source, release if fault is None else fault(release, rng), rng).items():
            seen[name].append(answer)
    return {name: {each: answers.count(each) / count for each in ("fail", "inconclusive")} for name, answers in seen.items()}


def _cell(rate: Mapping[str, float]) -> str:
    more = f" ({100 * rate['inconclusive']:.0f})" if rate["inconclusive"] else ""
    return f"{100 * rate['fail']:.1f}{more}"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=200)
    parser.add_argument("--power", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    head = "| " + " | ".join(["law", "rows", *GATES]) + " |\n|" + "---|" * (len(GATES) + 2)
    print(f"Fresh draws, {args.tables} tables each: percent failed (inconclusive)\n\n{head}")
    for law in LAWS:
        for sizes in SIZES:
            found = rates(law, sizes, args.tables, args.seed)
            print("| " + " | ".join([law, f"{sizes[0]:,}, {sizes[1]:,}", *(_cell(found[name]) for name in GATES)]) + " |", flush=True)
    head = head.replace("| law | rows |", "| law | fault | rows |").replace("|---|---|", "|---|---|---|", 1)
    print(f"\nOther laws, {args.power} tables each: percent failed (inconclusive)\n\n{head}")
    for name, fault in FAULTS.items():
        for law in LAWS if fault in (additive, blurred, clipped) else ("normal",):
            for sizes in SIZES:
                found = rates(law, sizes, args.power, args.seed + 1, fault)
                cells = [law, name, f"{sizes[0]:,}, {sizes[1]:,}", *(_cell(found[gate]) for gate in GATES)]
                print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
