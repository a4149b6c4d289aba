"""Singling out and linkability by anonymeter: run by an interpreter of its own environment, knows nothing of waymint.

    python benchmarks/attacks_peer.py FOLDER ATTACKS SEED

The folder holds seed.csv, holdout.csv and release.csv with the same columns, and columns.json: names of the numeric ones, and the two
halves for linkability. Prints one JSON object: rates on the seed and on the holdout ("control") and the risk with its 95 % interval.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anonymeter.evaluators import LinkabilityEvaluator, SinglingOutEvaluator  # type: ignore[import-not-found,unused-ignore]


def read(path: Path, numeric: list[str]) -> pd.DataFrame:
    """Read a table: the columns not named are text."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    for name in numeric:
        frame[name] = pd.to_numeric(frame[name])
    return frame


def told(evaluator: Any, **of: Any) -> dict[str, Any]:
    """Return rates and risk; nothing where anonymeter had no guess."""
    evaluator.evaluate(**of)
    results = evaluator.results()
    risk = evaluator.risk()
    return {
        "rate": float(results.attack_rate.value),
        "control": float(results.control_rate.value),
        "risk": float(risk.value),
        "ci": [float(end) for end in risk.ci],
    }


def main() -> None:
    """Run the attacks."""
    folder, attacks, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    columns = json.loads((folder / "columns.json").read_text())
    own, control, release = (read(folder / f"{name}.csv", columns["numeric"]) for name in ("seed", "holdout", "release"))
    np.random.seed(seed)  # anonymeter's linkability draws from the global state
    found = {}
    for mode in ("univariate", "multivariate"):
        evaluator = SinglingOutEvaluator(ori=own, syn=release, n_attacks=attacks, n_cols=3, control=control)
        try:
            found[f"singling_out.rate_{mode}"] = told(evaluator, mode=mode)
        except RuntimeError as error:  # too few queries that single out
            found[f"singling_out.rate_{mode}"] = {"failed": str(error).splitlines()[0]}
    most = min(attacks, len(own), len(control))
    linkage = LinkabilityEvaluator(
        ori=own, syn=release, aux_cols=(columns["halves"][0], columns["halves"][1]), n_attacks=most, n_neighbors=1, control=control
    )
    found["linkability.rate"] = told(linkage, n_jobs=1)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
