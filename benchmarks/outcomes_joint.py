"""Two outcomes, one of them missing in a third, on four arms: whether a release carries both effects and what they have in common.

Usage: python -m benchmarks.outcomes_joint [--rows 10000] [--seeds 5] [--learner glm] [--draws balanced] [--cost]

Releases of ``examples/actg175-visits.toml`` (ACTG 175), drawn in this process. Per seed: gaps of all pairwise effects between release
and source in standard errors of the source, how far differences of pairs are from being transitive, the largest gap of the Spearman
correlation of residuals by arm, and of the share of missing cells. With ``--cost`` the CPU seconds of a release of both outcomes and of
the first alone, everything else equal.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flows.release import mint
from tests.direct import directly, run_of

ROOT = Path(__file__).parents[1]


class Figures(NamedTuple):
    """What one release is judged by.

    Attributes
    ----------
    gaps : dict of str to list of float
        Of each outcome: pairwise effects of the release minus those of the source, in the source's standard errors.
    transitive : float
        Largest distance of psi_k - psi_j from the difference of their contrasts with the control.
    spearman, missing : float
        Largest gap between release and source over arms.
    cpu : float
        CPU seconds.
    """

    gaps: dict[str, list[float]]
    transitive: float
    spearman: float
    missing: float
    cpu: float


def spec_of(rows: int, seed: int, learner: str, draws: str) -> dict[str, Any]:
    """Return the example's SPEC with other rows and seed."""
    spec = tomllib.loads((ROOT / "examples" / "actg175-visits.toml").read_text())
    spec["source"]["uri"] = str(ROOT / spec["source"]["uri"])
    spec["seed"] = seed
    spec["mechanisms"] |= {"learner": learner}
    spec["release"] |= {"rows": rows, "draws": draws}
    spec["gates"] = {"holdout_budget": False}
    return spec


def minted(spec: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """Release in a folder that is removed again; return the manifest and CPU seconds."""
    with tempfile.TemporaryDirectory(prefix="waymint-benchmark-") as folder:
        spec["store"]["uri"] = f"file://{folder}/store"
        began = time.process_time()
        reply, _ = directly(mint, run_of(spec, Path(folder) / "work"))
    manifest: dict[str, Any] = reply["manifest"]
    failed = [gate["name"] for gate in manifest["gates"] if gate["status"] == "failed"]
    if failed:
        print(f"failed gates: {', '.join(failed)}", flush=True)
    return manifest, time.process_time() - began


def figures(manifest: dict[str, Any], cpu: float) -> Figures:
    """Compare source and release by the estimator that the release carries."""
    tables = {
        where: {
            (each["outcome"], each["arm"], each["control"]): each
            for each in manifest["effects"][where]["all"]
            if (each["estimand"], each["estimator"]) == ("ate", "adaptive")
        }
        for where in ("source", "release")
    }
    gaps: dict[str, list[float]] = {}
    for key, source in tables["source"].items():
        gaps.setdefault(key[0], []).append((tables["release"][key]["estimate"] - source["estimate"]) / source["se"])
    of_release = {key: each["estimate"] for key, each in tables["release"].items()}
    transitive = max(
        abs(value - of_release[outcome, arm, "0"] + of_release[outcome, control, "0"])
        for (outcome, arm, control), value in of_release.items()
        if control != "0"
    )
    together = manifest["fidelity"]["together"]
    largest = {name: max(abs(row["release"] - row["source"]) for row in together[name]) for name in ("spearman", "missing")}
    return Figures(gaps, transitive, largest["spearman"], largest["missing"], cpu)


def cost(rows: int, learner: str, draws: str) -> None:
    """Print CPU seconds of one outcome and of two."""
    one = spec_of(rows, 1, learner, draws)
    one["roles"] = {name: value for name, value in one["roles"].items() if name not in ("outcomes", "visits", "missing_outcome")}
    one["roles"]["outcome"] = "cd420"
    del one["outcomes"]["cd496"]
    minted(spec_of(500, 1, "glm", draws))  # imports and compilation
    alone, both = minted(one)[1], minted(spec_of(rows, 1, learner, draws))[1]
    print(f"CPU of one outcome {alone:.1f} s, of two {both:.1f} s: {both / alone:.2f} times", flush=True)


def main() -> None:
    """Print the figures of every seed and their summary."""
    parser = argparse.ArgumentParser(description="Two outcomes of ACTG 175 in one release.")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--learner", default="glm")
    parser.add_argument("--draws", default="balanced")
    parser.add_argument("--cost", action="store_true")
    given = parser.parse_args()
    if given.cost:
        cost(given.rows, given.learner, given.draws)
        return
    results = []
    for seed in range(1, given.seeds + 1):
        one = figures(*minted(spec_of(given.rows, seed, given.learner, given.draws)))
        results.append(one)
        worst = {outcome: max(map(abs, gaps)) for outcome, gaps in one.gaps.items()}
        listed = ", ".join(f"{outcome} {gap:.3f}" for outcome, gap in worst.items())
        print(f"seed {seed}: largest gap in source SE: {listed}; Spearman {one.spearman:.3f}, missing {one.missing:.4f}", flush=True)
    for outcome in results[0].gaps:
        gaps = np.abs([gap for one in results for gap in one.gaps[outcome]])
        print(f"{outcome}: {np.mean(gaps <= 0.25):.1%} of {len(gaps)} pairwise effects within 0.25 source SE, largest {gaps.max():.3f}")
    print(f"transitive to {max(one.transitive for one in results):.1e}")
    print(f"Spearman by arm within {max(one.spearman for one in results):.3f}, missing share by arm within", end=" ")
    print(f"{100 * max(one.missing for one in results):.2f} points; {np.mean([one.cpu for one in results]):.0f} s CPU a release")


if __name__ == "__main__":
    main()
