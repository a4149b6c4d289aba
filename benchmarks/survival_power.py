"""Power of trials like ACTG 175, arms 3 and 0: restricted means to 1,000 days by Kaplan and Meier, and the log-rank test.

python -m benchmarks.survival_power [--replicates 2000] [--rows 200 400 600 800]

The law is the source's own, fitted once; treatment is randomized.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from flows.simulate import replicate
from tasks.simulation.sizes_page import power_lines
from tests.direct import directly, run_of

ROOT = Path(__file__).resolve().parents[1]
COVARIATES = ["age", "wtkg", "karnof", "cd40", "gender", "symptom"]


def spec(folder: Path, rows: list[int], replicates: int) -> dict[str, Any]:
    """Return the SPEC of the simulation; its table is written to ``folder``."""
    frame = pd.read_csv(ROOT / "tests/data/actg175.csv")
    frame.loc[frame["arms"].isin([0, 3]), ["arms", "days", "cens", *COVARIATES]].to_csv(folder / "actg175.csv", index=False)
    simulate = {"rows": rows, "designs": ["randomized"], "estimators": ["km", "logrank"], "replicates": replicates, "precision": 0}
    return {
        "name": "actg",
        "seed": 1,
        "source": {"uri": str(folder / "actg175.csv")},
        "roles": {"treatment": "arms", "treated": 3, "control": 0, "outcome": "days"},
        "outcomes": {"days": {"kind": "survival", "event": "cens", "horizon": 1_000}},
        "covariates": {"synthesizer": "copula"},
        "mechanisms": {"learner": "glm", "repeats": 1},
        "simulate": simulate | {"draws": 0, "pool": 10_000},
        "store": {"uri": f"file://{folder}/store"},
    }


def main() -> None:
    """Print power and type-1 error by size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=2_000)
    parser.add_argument("--rows", type=int, nargs="+", default=[200, 400, 600, 800])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reply, _ = directly(replicate, run_of(spec(folder, given.rows, given.replicates), folder / "workspace"), None)
    print("\n".join(power_lines(reply["sizes"])))
    print(f"{reply['speed']['replicates']:,} trials, {1_000 * reply['speed']['seconds']:.1f} ms of CPU each")


if __name__ == "__main__":
    main()
