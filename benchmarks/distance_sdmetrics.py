"""SDMetrics' distances to the closest record, run by benchmarks/distance.py under a Python of their own: nothing of waymint is imported.

    python distance_sdmetrics.py FOLDER TEXT_COLUMN...

The folder holds query.csv and reference.csv and gets distances.npy; prints one line of JSON: CPU and wall seconds.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sdmetrics.single_table.privacy.dcr_utils import calculate_dcr  # type: ignore[import-not-found,unused-ignore]


def main() -> None:
    folder, text = Path(sys.argv[1]), sys.argv[2:]
    kinds = dict.fromkeys(text, str)
    query, reference = (pd.read_csv(folder / f"{name}.csv", dtype=kinds, float_precision="round_trip") for name in ("query", "reference"))
    columns = {name: {"sdtype": "categorical" if name in text else "numerical"} for name in query.columns}
    wall, cpu = time.perf_counter(), time.process_time()
    distances = calculate_dcr(query, reference, {"columns": columns})
    spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    np.save(folder / "distances.npy", distances.to_numpy())
    print(json.dumps(spent))


if __name__ == "__main__":
    main()
