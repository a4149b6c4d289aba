"""Whoever estimates on a release with its own settings gets its manifest's numbers; and no flow lets a fold see itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from prefect import flow

from flows.estimate import estimate
from flows.stages.nuisances import cross_fit
from flows.stages.runs import carry_out
from flows.stages.source import read_source
from infra.stages import Stages
from infra.workspace import Run
from tasks.contract.columns import nuisances_of
from tasks.contract.spec import parse_spec
from tasks.nuisance.task import Table
from tests.flow.test_release_bytes import mixed
from tests.releasing import Ran, manifest, save, spec_of, table, write

NAMES = ("or", "ipw", "aipw", "tmle")

# texts, dates, missing cells and a binary outcome, the treated label first in the alphabet, a stack of learners, three repeats;
# a continuous outcome, two copies, and more rows than a learner gets at once: passes over partitions
RELEASES: dict[str, dict[str, Any]] = {
    "mixed": {"roles__treated": "drug", "mechanisms__learner": "stack", "mechanisms__treatment": "fitted", "release__rows": 700},
    "passes": {
        "mechanisms__fit_rows": 200, "mechanisms__repeats": 1, "mechanisms__truncation": 0.03, "release__copies": 2, "release__rows": 900,
    },
}  # fmt: skip


def settings(told: dict[str, Any]) -> dict[str, Any]:
    """Return the options of ``waymint estimate`` that are the release's own."""
    spec = told["spec"]
    asked = spec["mechanisms"]
    repeats = asked["repeats"] if asked["repeats"] != "auto" else 3
    return {
        "estimators": NAMES,
        "seed": spec["seed"],
        "learner": asked["learner"],
        "folds": asked["folds"],
        "repeats": repeats,
        "fit_rows": asked["fit_rows"],
        "propensity": None,
    }


@pytest.mark.parametrize("name", list(RELEASES))
def test_estimate_gives_the_manifest_s_numbers(name: str, waymint: Callable[..., Ran], tmp_path: Path) -> None:
    frame = table() if name == "passes" else mixed()
    if name == "mixed":
        frame["drug"] = np.where(frame["drug"] == 1, "drug", "placebo")
    spec = spec_of(write(frame, tmp_path / "source.parquet"), tmp_path / "store", **RELEASES[name])
    ran = waymint("release", save(spec, tmp_path / "spec.yaml"), "--json")
    assert ran.code in (0, 3), ran.err
    assert ran.code == 0, ran.out
    told = manifest(tmp_path / "store")
    expected = {each["estimator"]: each for each in told["effects"]["release"]["all"] if each["estimand"] == "ate"}
    for memory_rows in (10**6, 0):
        reply, _ = estimate(f"{tmp_path}/store/trial", {}, settings(told) | {"memory_rows": memory_rows})
        assert reply["fit"]["out_of_core"] is (memory_rows == 0)
        for each in reply["estimates"]:
            for key in ("estimate", "se", "ci_low", "ci_high", "ess"):
                assert each[key] == pytest.approx(expected[each["estimator"]][key], rel=1e-9, abs=1e-9), (each["estimator"], key)
        combined = {each["estimator"]: each for each in told["effects"]["release"]["combined"] if each["estimand"] == "ate"}
        for each in reply["combined"]:
            assert each["estimate"] == pytest.approx(combined[each["estimator"]]["estimate"], rel=1e-9, abs=1e-9)


@flow(name="fit twice", validate_parameters=False)
def fit_twice(run: Run) -> dict[str, Any]:
    """Cross-fit a source, and once more with noise for the outcomes of one fold."""
    stages = Stages.current()
    found = read_source(run, stages)
    schema, space = found.described.table, run.space()
    before = cross_fit(run, stages, schema, Table("before", found.parts), "before")
    fold = space.table(before.nuisances, ["fold"])["fold"].to_numpy()
    parts, start = [], 0
    for part in found.parts:
        rows = space.table(part)
        y, own = rows["y"].to_numpy().copy(), fold[start : start + part.rows] == 0
        y[own] = np.random.default_rng(part.part).normal(0, 30, own.sum())
        changed = rows.set_column(rows.column_names.index("y"), "y", pa.array(y))
        parts.append(space.put_table(f"noise-{part.part}.parquet", changed, part=part.part))
        start += part.rows
    after = cross_fit(run, stages, schema, Table("after", tuple(parts)), "after")
    one, other = (nuisances_of(space.table(each.nuisances)) for each in (before, after))
    moved = {name: np.abs(getattr(one, name) - getattr(other, name)) for name in ("g", "q0", "q1")}
    return {"own": max(float(each[fold == 0].max()) for each in moved.values()), "others": float(moved["q1"][fold != 0].max())}


@pytest.mark.parametrize("fit_rows", [200, 10_000])
def test_no_fold_sees_itself_in_a_flow(fit_rows: int, prefect: str, home: Path, tmp_path: Path) -> None:
    source = write(table(), tmp_path / "source.parquet")
    asked = {"mechanisms__fit_rows": fit_rows, "mechanisms__repeats": 1, "source__partition_rows": 300, "name": f"twice-{fit_rows}"}
    moved = carry_out(parse_spec(spec_of(source, tmp_path / "store", **asked)), "audit", fit_twice)
    assert moved["own"] < 1e-9
    assert moved["others"] > 0.1
