"""A simulation by the command: what it prints, what it keeps, and what it leaves behind."""

from __future__ import annotations

import json
import math
import re
import signal
from pathlib import Path

import pandas as pd
import pytest

from tests.releasing import Command, files, kill, save, spec_of, wait_for

FIELDS = {"n", "design", "estimator", "bias", "variance", "rmse", "coverage", "ci_width", "power", "failures", "replicates"}
MEASURED = FIELDS - {"n", "design", "estimator", "replicates"}
ASKED = {"rows": [100], "designs": ["fitted"], "effect_scales": [1.0, 0.0], "replicates": 20, "draws": 1, "pool": 2_000, "folds": 2}


def test_estimators_are_tried_and_the_figures_kept(waymint, source: Path, tmp_path: Path) -> None:
    store, work = tmp_path / "store", tmp_path / "work"
    spec = save(spec_of(source, store, engine__workspace=str(work), mechanisms__repeats=1, simulate=ASKED), tmp_path / "spec.yaml")
    answer = waymint("simulate", spec, "--json")
    assert answer.code == 0, answer.err
    reply = answer.json()
    assert set(reply) >= {"uri", "truth", "truth_se", "rows", "ranking", "recommendation"}
    assert 0.5 < reply["truth"] < 2.5
    assert 0.0 < reply["truth_se"] < 0.1
    rows = reply["rows"]
    assert all(set(row) >= FIELDS | {f"{name}_mcse" for name in MEASURED} for row in rows)
    assert {row["estimator"] for row in rows} >= {"or", "ipw", "aipw", "tmle", "adaptive", "att", "atc", "ato"}
    assert {(row["n"], row["design"], row["replicates"]) for row in rows} == {(100, "fitted", 20)}
    none = [row for row in rows if row["effect_scale"] == 0.0]
    assert {row["truth"] for row in none} == {0.0}
    assert all(row["type1_error"] == row["power"] for row in none)
    told = {row["estimator"]: row for row in rows if row["effect_scale"] == 1.0}
    assert told["tmle"]["truth"] == reply["truth"]

    # what is kept: the figures again, every replicate, and a page; nothing else anywhere, and no real row
    folder = reply["uri"].removeprefix(f"file://{store}/")
    assert re.fullmatch(r"trial/simulations/\d{8}T\d{6}Z-[0-9a-f]{8}", folder)
    assert files(store) == [f"{folder}/{name}" for name in ("metrics.parquet", "replicates.parquet", "simulate.html", "simulate.json")]
    assert list(work.iterdir()) == []
    record = json.loads((store / folder / "simulate.json").read_text())
    assert record["rows"] == rows
    every = pd.read_parquet(store / folder / "replicates.parquet")
    own = every[(every["draw"] == 0) & (every["cell"] == told["tmle"]["cell"]) & (every["estimator"] == "tmle")]
    assert len(own) == 20
    assert own["estimate"].mean() - reply["truth"] == pytest.approx(told["tmle"]["bias"])
    assert math.sqrt(((own["estimate"] - reply["truth"]) ** 2).mean()) == pytest.approx(told["tmle"]["rmse"])
    assert set(every["draw"]) == {0, 1}
    metrics = pd.read_parquet(store / folder / "metrics.parquet")
    assert len(metrics) == 2 * len(rows)
    page = (store / folder / "simulate.html").read_text()
    assert not re.search(r'(src|href)="', page)
    assert "Estimators on data like trial" in page


def test_what_can_not_be_simulated_is_told(waymint, source: Path, tmp_path: Path) -> None:
    asked = {
        "unknown estimator": ({"estimators": ["magic"]}, 2, "estimator of SPEC must be one of"),
        "unknown learner": ({"learners": ["magic"]}, 2, "learner of SPEC must be one of"),
        "unknown parameter": (
            {"params": {"glm": {"cubes": True}}},
            2,
            "cubes of learner 'glm' must be valid: extra inputs are not permitted",
        ),
        "subgroups": ({"estimators": ["gate"]}, 2, "estimators of simulate must be of the whole table; got 'gate'"),
        "too large a grid": ({"effect_scales": [k / 100 for k in range(300)]}, 2, "at most 200 cells"),
    }
    for name, (simulate, code, said) in asked.items():
        spec = save(spec_of(source, tmp_path / "store", simulate=simulate), tmp_path / "spec.yaml")
        answer = waymint("simulate", spec, "--json")
        assert (answer.code, answer.json()["code"]) == (code, code), name
        assert said in answer.json()["error"], name
    assert files(tmp_path / "store") == []


@pytest.mark.slow
def test_threads_and_processes_simulate_the_same(waymint, source: Path, tmp_path: Path) -> None:
    """Equal SPECs, another engine: the same replicates to the last byte; a covariate that is none is refused after the source is read."""
    found = []
    for dask in ("threads", "local"):
        simulate = {**ASKED, "draws": 0, "effect_scales": [1.0], "learners": ["glm", "boosted"], "withheld": ["age"]}
        values = spec_of(source, tmp_path / dask, engine__dask=dask, mechanisms__repeats=1, simulate=simulate)
        answer = waymint("simulate", save(values, tmp_path / "spec.yaml"))
        assert answer.code == 0, answer.err
        assert "report    file://" in answer.out
        assert "age withheld" in answer.out
        found.append({path.name: path.read_bytes() for path in (tmp_path / dask).rglob("*.parquet")})
    assert found[0] == found[1]
    values = spec_of(source, tmp_path / "no", mechanisms__repeats=1, simulate={**ASKED, "withheld": ["height"]})
    refused = waymint("simulate", save(values, tmp_path / "spec.yaml"), "--json")
    assert refused.code == 2
    assert "withheld of simulate must be one of at least two covariates that vary; got 'height'" in refused.json()["error"]


@pytest.mark.slow
def test_killed_and_resumed(command: Command, source: Path, tmp_path: Path) -> None:
    """A killed simulation goes on with the batches that are missing and ends with the bytes of one that was not killed."""
    work, simulate = tmp_path / "work", {**ASKED, "rows": [100, 150], "effect_scales": [1.0], "replicates": 210, "precision": 0.0}
    made = []
    for name, killed in (("whole", False), ("killed", True)):
        values = spec_of(source, tmp_path / name, engine__workspace=str(work), mechanisms__repeats=1, simulate=simulate)
        spec = save(values, tmp_path / "spec.yaml")
        if killed:
            process = command.start("simulate", spec)
            wait_for(lambda: list(work.glob("*/simulate/*/draw-0/*.parquet.receipt")), process)
            assert kill(process).code == -signal.SIGKILL
            assert list(work.glob("*/simulate/law-1.model.receipt"))
        answer = command.run("simulate", spec, "--json")
        assert answer.code == 0, answer.err
        assert ("resuming run" in answer.err) == killed
        assert {row["replicates"] for row in answer.json()["rows"]} == {210}
        assert not list(work.iterdir())
        made.append({path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.parquet")})
    assert made[0] == made[1]
