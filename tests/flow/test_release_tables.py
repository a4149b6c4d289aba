"""Tables of many types, names and gaps, and what is asked of them: every one publishes in its own shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.releasing import manifest, save, spec_of, table, write

ROWS = 700
QUOTED = "a \"b\", 'c'"


def _hostile() -> pa.Table:
    """Return a table whose columns are named like ours or worse, of many types, with gaps; treatment 'y', outcome 'a'."""
    rng = np.random.default_rng(11)
    severity = rng.normal(0, 1, ROWS)
    treated = rng.random(ROWS) < 1 / (1 + np.exp(-0.4 * severity))
    visits = rng.poisson(np.exp(0.6 + 0.3 * severity + 0.4 * treated))

    def gaps(values: list[object], share: float) -> list[object]:
        return [None if gone else value for value, gone in zip(values, rng.random(ROWS) < share, strict=True)]

    days = rng.integers(18_000, 19_000, ROWS)
    columns = {
        "key": pa.array(gaps(list(severity.round(5)), 0.2), pa.float64()),
        "fold": pa.array(gaps(list(rng.choice(["low", "mid", "high"], ROWS, p=[0.5, 0.3, 0.2])), 0.15), pa.string()),
        "g": pa.array(gaps([int(value) for value in rng.integers(0, 40, ROWS)], 0.1), pa.int32()),
        "q0": pa.array(gaps([bool(value) for value in rng.random(ROWS) < 0.3], 0.1), pa.bool_()),
        "w0": pa.array([int(day) for day in days], pa.int32()).cast(pa.date32()),
        "a": pa.array([int(value) for value in visits], pa.int16()),
        " spaced  out ": pa.array([int(day) * 86_400_000_000 for day in days[::-1]], pa.int64()).cast(pa.timestamp("us")),
        QUOTED: pa.array(severity * 2 + rng.normal(0, 1, ROWS), pa.float32()),
        ".hidden": pa.array(rng.choice(["ä", "<b>", "Ω"], ROWS), pa.string()).dictionary_encode(),
        "größe_名": pa.array(rng.integers(0, 2, ROWS), pa.int8()),
        "same": pa.array([3.5] * ROWS, pa.float64()),
        "y": pa.array(np.where(treated, "drug", "placebo"), pa.string()),
    }
    return pa.table(columns)


def test_hostile_names_many_types_and_gaps(waymint, tmp_path: Path) -> None:
    real = _hostile()
    source = write(real, tmp_path / "source.parquet")
    roles = {"treatment": "y", "treated": "drug", "outcome": "a", "outcome_kind": "count", "subgroups": ["fold"]}
    spec = spec_of(source, tmp_path / "store", roles=roles, release={"rows": 900}, covariates={"synthesizer": "forest"})
    answer = waymint("release", save(spec, tmp_path / "spec.yaml"))
    assert answer.code == 0, answer.err
    drawn = pq.read_table(tmp_path / "store" / "trial" / "v000001" / "data" / "copy-0")
    assert drawn.schema.remove_metadata().equals(real.schema)
    assert drawn.num_rows == 900
    # gaps come at the source's rate, within what two samples may differ by
    for name in real.column_names:
        theirs, ours = real[name].null_count / ROWS, drawn[name].null_count / 900
        spread = np.sqrt(theirs * (1 - theirs) * (1 / 900 + 1 / (0.7 * ROWS)))
        assert abs(theirs - ours) <= 4 * spread, name
    # values are of the source's world
    assert set(drawn["fold"].drop_null().to_pylist()) == {"low", "mid", "high"}
    assert set(drawn[".hidden"].to_pylist()) == {"ä", "<b>", "Ω"}
    assert set(drawn["y"].to_pylist()) == {"drug", "placebo"}
    assert min(drawn["a"].to_pylist()) >= 0
    assert set(drawn["größe_名"].to_pylist()) == {0, 1}
    assert min(real["w0"].to_pylist()) <= min(drawn["w0"].to_pylist())
    # a constant stays what it is, and the user hears of it
    assert drawn["same"].to_pylist() == [3.5] * 900
    assert any("'same'" in warning for warning in manifest(tmp_path / "store")["warnings"])
    assert "warning: " in answer.err
    estimates = manifest(tmp_path / "store")["effects"]["source"]["all"]
    assert sum("gate" in each["estimand"] for each in estimates) >= 3


def test_binary_outcome_from_csv_in_two_copies(waymint, tmp_path: Path) -> None:
    frame = table()
    frame["score"] = (frame["score"] > frame["score"].median()).astype(int)
    frame["since"] = pd.date_range("2020-01-01", periods=len(frame)).strftime("%Y-%m-%d")
    frame["drug"] = np.where(frame["drug"] == 1, "yes", "no")
    source = write(frame, tmp_path / "source.csv")
    spec = spec_of(source, tmp_path / "store", roles__treated="yes", release__copies=2, mechanisms__treatment="fitted")
    answer = waymint("release", save(spec, tmp_path / "spec.yaml"))
    assert answer.code == 0, answer.err
    folder = tmp_path / "store" / "trial" / "v000001"
    found = manifest(tmp_path / "store")
    assert [file["path"] for file in found["files"] if file["path"].endswith(".parquet")] == [
        f"data/copy-{copy}/part-0000{part}.parquet" for copy in range(2) for part in range(3)
    ]
    copies = [pd.read_parquet(folder / "data" / f"copy-{copy}") for copy in range(2)]
    for drawn in copies:
        assert list(drawn.columns) == list(frame.columns)
        assert len(drawn) == 500
        assert set(drawn["score"]) == {0, 1}
        assert set(drawn["drug"]) == {"yes", "no"}
        assert str(pq.read_schema(folder / "data/copy-0/part-00000.parquet").field("since").type).startswith("date32")
    assert not copies[0].equals(copies[1])
    assert len(found["effects"]["release"]["copies"]) == 2


def test_the_baseline_draws_everything_at_once(waymint, source: Path, tmp_path: Path) -> None:
    """Mode "full" draws W, A and Y by the synthesizer alone; whatever the verdict, no truth is claimed."""
    spec = spec_of(source, tmp_path / "store", release__mode="full", gates__fidelity=False)
    answer = waymint("release", save(spec, tmp_path / "spec.yaml"), "--json")
    assert answer.code == 0, answer.err
    found = answer.json()["manifest"]
    assert found["effects"]["truth"] is None
    assert pq.read_schema(tmp_path / "store/trial/v000001/data/copy-0/part-00000.parquet").names == list(table().columns)
