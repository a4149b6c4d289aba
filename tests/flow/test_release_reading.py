"""Whole releases of tables with traits: the effect is the true one, and what is released looks like the source."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.releasing import manifest, save, spec_of
from tests.tables import traits
from tests.tables.base import Made


def _released(waymint, made: Made, to: Path) -> dict[str, object]:
    spec = spec_of(made.uri, to / "store", roles=dict(made.roles), release={"rows": 600, "part_rows": 400})
    spec["source"] |= dict(made.source)
    answer = waymint("release", save(spec, to / "spec.yaml"))
    assert answer.code == 0, answer.err
    found = manifest(to / "store")
    for side in ("source", "release"):
        main = found["effects"][side]["ate"]
        assert abs(main["estimate"] - 1.0) < 4 * main["se"], side
    return found


@pytest.mark.parametrize("kind", ["hive", "codes", "index"])
def test_effects_of_folders_codes_and_stored_indices(kind: str, waymint, tmp_path: Path) -> None:
    make = {
        "hive": traits.hive,
        "codes": lambda to: traits.coded(to, "?", missing_values={"age": ["?"]}),
        "index": traits.index,
    }
    found = _released(waymint, make[kind](tmp_path), tmp_path)
    drawn = pq.read_table(tmp_path / "store/trial/v000001/data/copy-0")
    names = {"hive": ["x", "z", "a", "y", "year", "site"], "codes": ["age", "a", "y"], "index": ["x", "z", "a", "y"]}[kind]
    assert drawn.column_names == names
    if kind == "codes":
        assert 0 < drawn["age"].null_count < 80
    else:
        assert any("row index" in line or "partitioned" in line for line in found["warnings"])


def test_yes_and_no_are_released_as_they_came(waymint, tmp_path: Path) -> None:
    made = traits.answers(tmp_path, ("Nein", "Ja"))
    spec = spec_of(made.uri, tmp_path / "store", roles=dict(made.roles), release={"rows": 500})
    answer = waymint("release", save(spec, tmp_path / "spec.yaml"))
    assert answer.code == 0, answer.err
    drawn = pq.read_table(tmp_path / "store/trial/v000001/data/copy-0")
    assert set(drawn["y"].to_pylist()) == {"Ja", "Nein"}
    assert manifest(tmp_path / "store")["schema"]["outcome_kind"] == "binary"


def test_an_ordered_category_keeps_its_dictionary(waymint, tmp_path: Path) -> None:
    made = traits.ordered(tmp_path)
    spec = spec_of(made.uri, tmp_path / "store", roles=dict(made.roles), release={"rows": 500, "part_rows": 300})
    answer = waymint("release", save(spec, tmp_path / "spec.yaml"))
    assert answer.code == 0, answer.err
    for part in (tmp_path / "store/trial/v000001/data/copy-0").glob("*.parquet"):
        column = pq.read_table(part)["grade"]
        assert column.type.ordered
        assert column.chunk(0).dictionary.to_pylist() == ["mild", "acute", "severe", "fatal"]
