"""A release keeps every trait of its source in every row, says so, and writes it down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.releasing import Ran, manifest, save, spec_of, write
from tests.traits import everything, faults

ROLES = {"treatment": "a", "outcome": "y"}


def released(store: Path, copy: int = 0) -> pd.DataFrame:
    return pq.read_table(store / "trial" / "v000001" / "data" / f"copy-{copy}").to_pandas()


@pytest.mark.parametrize(
    "settings",
    [
        {"covariates__synthesizer": "forest", "release__rows": 1500},
        # a joint draw of treatment and outcome by a copula need not carry the effect: that is not the question here
        {
            "covariates__synthesizer": "copula",
            "release__mode": "full",
            "release__copies": 2,
            "release__rows": 600,
            "gates__fidelity": False,
        },
    ],
    ids=["hybrid", "full, bootstrapped"],
)
def test_traits_hold_in_every_row_of_every_part(settings: dict[str, Any], waymint: Callable[..., Ran], tmp_path: Path) -> None:
    source = everything(900)
    uri = write(source, tmp_path / "source.parquet")
    roles = ROLES | {"relations": ["total = drugs + ward", "start <= end"]}
    spec = spec_of(uri, tmp_path / "store", roles=roles, **settings)
    answer = waymint("release", save(spec, tmp_path / "spec.yaml"))
    assert answer.code == 0, answer.err
    for copy in range(spec["release"].get("copies", 1)):
        found = released(tmp_path / "store", copy)
        assert not any(faults(source, found).values()), faults(source, found)
        assert list(found) == list(source)
    kept = manifest(tmp_path / "store", "trial")["fidelity"]["kept"]
    assert {"total = drugs + ward", "start <= end", "copy(x, x_again)", "within(town, region)"} <= set(kept["relations"])
    assert kept["grids"] == ["visit: days"]
    assert kept["atoms"] == ["bmi: values apart from the rest"]
    assert kept["missingness"] == ["lab0, lab1, lab2: missing in 2 patterns"]
    said = " ".join((answer.out + answer.err).split())
    assert "kept relations: " in said
    assert "copy(x, x_again)" in said


def test_a_relation_of_no_column_is_refused_at_once(waymint: Callable[..., Ran], tmp_path: Path) -> None:
    uri = write(everything(300), tmp_path / "source.parquet")
    spec = spec_of(uri, tmp_path / "store", roles=ROLES | {"relations": ["start <= ende"]})
    answer = waymint("release", save(spec, tmp_path / "spec.yaml"))
    assert answer.code == 2
    said = " ".join((answer.out + answer.err).split())
    assert "relation 'start <= ende' of roles must name covariates; got 'ende', which is none. hint: Did you mean 'end'?" in said
