"""What must not change by accident: the bytes of three releases, and the keys of their manifests.

``python -m tests.flow.test_release_bytes`` writes the golden file anew; a change of it is explained in CHANGELOG.md.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_info

from tests.releasing import Command, Ran, manifest, parts, save, spec_of, table, write

GOLDEN = Path(__file__).parents[1] / "golden" / "releases.json"
NAMES = ("continuous", "mixed", "nhefs")


def mixed(rows: int = 900) -> pd.DataFrame:
    """Draw a table with text levels, missing cells, dates and a binary outcome."""
    rng = np.random.default_rng(20261126)
    x = rng.normal(size=rows).round(2)
    site = rng.choice(["north", "south", "west"], rows, p=[0.5, 0.3, 0.2])
    a = (rng.random(rows) < 1 / (1 + np.exp(-0.6 * x - 0.4 * (site == "north")))).astype(int)
    y = (rng.random(rows) < 1 / (1 + np.exp(0.3 - 0.8 * a - 0.5 * x))).astype(int)
    day = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 700, rows), "D")
    lab = pd.Series(np.exp(rng.normal(size=rows) + 0.2 * x).round(3)).mask(rng.random(rows) < 0.2)
    return pd.DataFrame({"x": x, "site": site, "day": day, "lab": lab, "drug": a, "score": y})


def specs(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the three SPECs by name; their tables are written into the folder."""
    one, two = write(table(), folder / "continuous.csv"), write(mixed(), folder / "mixed.parquet")
    return {
        "continuous": spec_of(one, folder / "store", name="continuous", release__copies=2, source__partition_rows=300),
        "mixed": spec_of(
            two,
            folder / "store",
            name="mixed",
            covariates__synthesizer="forest",
            mechanisms__learner="stack",
            mechanisms__treatment="fitted",
            release__rows=1200,
            release__include_nuisances=True,
        ),
        "nhefs": spec_of(
            "builtin:nhefs",
            folder / "store",
            name="nhefs",
            roles={"treatment": "qsmk", "outcome": "wt82_71", "missing_outcome": "drop", "covariates": ["sex", "age", "race", "wt71"]},
            covariates__synthesizer="chain",
            mechanisms__targets=["ate", "att"],
            mechanisms__treatment="fitted",
            release__draws="balanced",
            release__rows=1000,
        ),
    }


def machine() -> str:
    """Return what decides how floating-point sums round: the processor's kind and the kernels of BLAS."""
    kernels = sorted({str(pool.get("architecture")) for pool in threadpool_info() if pool["user_api"] == "blas"})
    return f"{platform.machine()} {' '.join(kernels)}"


def keys(value: Any, path: str = "") -> set[str]:
    """Return the dotted keys of nested objects; entries of lists share one path."""
    if isinstance(value, dict):
        return {path, *(found for key, inner in value.items() for found in keys(inner, f"{path}.{key}"))}
    if isinstance(value, list):
        return {path, *(found for inner in value for found in keys(inner, f"{path}[]"))}
    return {path}


def describe(store: Path, name: str) -> dict[str, Any]:
    """Return digests, column means and manifest keys of a release."""
    found = parts(store, name)
    frames = pd.concat([pd.read_parquet(io.BytesIO(content)) for content in found.values()])
    means = {column: float(frames[column].mean()) for column in frames.select_dtypes("number")}
    record = manifest(store, name)
    return {
        "digests": {path: hashlib.sha256(content).hexdigest() for path, content in found.items()},
        "means": means,
        "gates": {gate["name"]: gate["outcome"] for gate in record["gates"]},
        "keys": sorted(keys({key: value for key, value in record.items() if key != "packages"})),
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_release_keeps_its_bytes(name: str, tmp_path: Path, waymint: Callable[..., Ran]) -> None:
    golden = json.loads(GOLDEN.read_text())
    ran = waymint("release", save(specs(tmp_path)[name], tmp_path / "spec.yaml"), "--json")
    assert ran.code == 0, ran.err
    now, then = describe(tmp_path / "store", name), golden["releases"][name]
    assert set(then["keys"]) <= set(now["keys"])
    assert {gate: now["gates"].get(gate) for gate in then["gates"]} == then["gates"]
    assert set(now["digests"]) == set(then["digests"])
    assert now["means"] == pytest.approx(then["means"], rel=0.05, abs=0.05)
    if machine() == golden["machine"]:
        assert now["digests"] == then["digests"]


def main() -> None:
    """Write the golden file."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        releases = {}
        for name, values in specs(folder).items():
            ran = Command(folder / "home").run("release", save(values, folder / f"{name}.yaml"), "--json")
            if ran.code:
                raise SystemExit(f"{name}: exit {ran.code}\n{ran.out}\n{ran.err}")
            releases[name] = describe(folder / "store", name)
        GOLDEN.write_text(json.dumps({"machine": machine(), "releases": releases}, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
