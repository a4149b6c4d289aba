"""Coverage of intervals for four arms: single pairs, and all pairs together.

Usage: python -m benchmarks.arms [--draws 400] [--rows 1000]

Each draw is a table of three covariates, four confounded arms and an outcome whose effects are known. AIPW and TMLE on
cross-fitted ridge GLMs give every pair; a draw's joint interval covers if all six pairs do.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
import pandas as pd

from tasks.estimation.analysis import estimate

MEANS = np.array([0.0, 1.0, 2.0, 0.5])
ROLES = {"treatment": "arm", "outcome": "y", "control": 0}


def draw(rows: int, seed: int) -> pd.DataFrame:
    """Draw one table: arm k has the mean ``MEANS[k]``."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(rows, 3))
    logits = np.column_stack((np.zeros(rows), 0.6 * w[:, 0], 0.5 * w[:, 1] - 0.3, -0.5 * w[:, 0]))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    a = (rng.random((rows, 1)) > p.cumsum(axis=1)).sum(axis=1)
    y = w[:, 0] + 0.5 * w[:, 1] ** 2 - 0.5 + MEANS[a] * (1.0 + 0.3 * w[:, 2]) + rng.normal(size=rows)
    return pd.DataFrame(w, columns=["w0", "w1", "w2"]).assign(arm=a, y=y)


def coverage(draws: int, rows: int) -> dict[str, dict[str, tuple[int, int]]]:
    """Return by estimator how often pairs and whole draws were covered: (covered, judged)."""
    found = {name: {"pair": [0, 0], "joint": [0, 0]} for name in ("aipw", "tmle")}
    for seed in range(draws):
        estimates = estimate(draw(rows, seed), ROLES, ("aipw", "tmle"), seed, "glm", folds=3)
        for name, counts in found.items():
            inside = []
            for one in estimates:
                if one.estimand == "ate" and one.estimator == name:
                    truth = MEANS[int(one.arm or 0)] - MEANS[int(one.control or 0)]
                    counts["pair"][0] += int(one.ci_low <= truth <= one.ci_high)
                    counts["pair"][1] += 1
                    inside.append((one.joint_low or 0.0) <= truth <= (one.joint_high or 0.0))
            counts["joint"][0] += all(inside)
            counts["joint"][1] += 1
    return {name: {what: (count[0], count[1]) for what, count in counts.items()} for name, counts in found.items()}


def main() -> None:
    """Print the coverage with its Monte-Carlo error; pairs of a draw hang together, so its error is that of the draws at most."""
    parser = argparse.ArgumentParser(description="Coverage of intervals for four arms.")
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--rows", type=int, default=1000)
    asked = parser.parse_args()
    for name, counts in coverage(asked.draws, asked.rows).items():
        for what, (covered, judged) in counts.items():
            share = covered / judged
            error = math.sqrt(share * (1.0 - share) / asked.draws)
            print(f"{name:<6}{what:<7}{share:.3f}  (Monte-Carlo error {error:.3f}, {asked.draws} draws of {asked.rows} rows)", flush=True)


if __name__ == "__main__":
    main()
