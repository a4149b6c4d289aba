"""A release whose vectors are read a partition at a time says what the release says that holds them in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.release import mint
from tasks.nuisance import task as nuisance
from tasks.numerics.blocked import BlockedTable
from tests.direct import directly, run_of
from tests.releasing import spec_of, write
from tests.villages import study_spec
from tests.visits import visits_spec

#: Rounding of sums in another order.
CLOSE = 1e-9


def clinic(folder: Path) -> dict[str, Any]:
    """Return the SPEC of a table with a subgroup, a binary outcome, poor overlap and every target."""
    rng, n = np.random.default_rng(5), 1_200
    x, sex = rng.normal(size=n).round(3), rng.choice(["f", "m"], n)
    drug = (rng.random(n) < 1 / (1 + np.exp(-1.6 * x))).astype(int)
    score = (rng.random(n) < 1 / (1 + np.exp(0.3 - 0.8 * drug - 0.6 * x * (sex == "f")))).astype(int)
    source = write(pd.DataFrame({"x": x, "sex": sex, "drug": drug, "score": score}), folder / "clinic.parquet")
    values = spec_of(source, folder / "store", mechanisms__repeats=1, release__rows=900, release__part_rows=300, source__partition_rows=250)
    values["roles"] = {"treatment": "drug", "outcome": "score", "subgroups": ["sex"]}
    values["mechanisms"] |= {"learner": "glm", "targets": ["ate", "att", "ato"], "treatment": "fitted", "fit_rows": 400}
    return values


def numbers(record: Any, path: str = "") -> dict[str, float]:
    """Return all numbers of a record by their paths."""
    if isinstance(record, dict):
        return {key: value for name, each in record.items() for key, value in numbers(each, f"{path}/{name}").items()}
    if isinstance(record, list | tuple):
        return {key: value for at, each in enumerate(record) for key, value in numbers(each, f"{path}/{at}").items()}
    return {path: float(record)} if isinstance(record, int | float) and not isinstance(record, bool) else {}


@pytest.mark.parametrize("spec", [clinic, study_spec, visits_spec])
def test_a_release_does_not_depend_on_what_is_held(spec: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Targeting, effects, overlap, fidelity and their gates; the study with clusters and weights, and outcomes with gaps."""
    tables: list[BlockedTable] = []
    monkeypatch.setattr(nuisance, "BlockedTable", lambda *given: tables.append(BlockedTable(*given)) or tables[-1])
    records = []
    for held in (nuisance.HELD_ROWS, 1):
        monkeypatch.setattr(nuisance, "HELD_ROWS", held)
        folder = tmp_path / str(held)
        folder.mkdir()
        values = spec(folder)
        values["source"] = {**values["source"], "partition_rows": 150}
        # balanced draws choose between rows: another rounding may choose another one
        values["release"] = {**values["release"], "part_rows": 150, "draws": "iid"}
        reply, _ = directly(mint, run_of(values, folder / "workspace"))
        records.append(reply["manifest"])
        assert bool(tables) == (held == 1)
    whole, parted = records
    for section in ("effects", "fidelity", "gates"):
        expected, found = numbers(whole[section]), numbers(parted[section])
        assert found.keys() == expected.keys()
        assert len(found) > 5
        for key, value in expected.items():
            assert abs(found[key] - value) <= CLOSE * max(1.0, abs(value)), key
