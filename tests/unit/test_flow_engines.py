"""Where a run's work is done if its SPEC leaves it open: by the size of the source, the rows drawn, and the flow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.stages.engines import SMALL_BYTES, SMALL_ROWS, choose_engine
from tasks.contract.errors import SourceError
from tasks.contract.spec import EngineSpec, Spec, parse_spec


def spec_of(uri: object, **release: Any) -> Spec:
    roles = {"treatment": "a", "outcome": "y"}
    return parse_spec({"name": "trial", "source": {"uri": str(uri)}, "roles": roles, "release": release})


def table(folder: Path, size: int) -> Path:
    path = folder / f"{size}.csv"
    path.write_bytes(b"a,y\n" + b"0" * (size - 4))
    return path


def test_a_small_table_is_worked_on_in_threads_and_the_spec_says_so(tmp_path: Path) -> None:
    asked = spec_of(table(tmp_path, SMALL_BYTES), rows=SMALL_ROWS)
    assert asked.engine.dask == "auto"
    chosen = choose_engine(asked, "release")
    assert chosen.spec.engine.dask == "threads"
    assert chosen.spec.digest() == asked.digest()  # a killed run is found again
    assert choose_engine(spec_of("builtin:nhefs"), "audit").spec.engine.dask == "threads"


def test_a_large_source_many_rows_and_repeated_work_get_processes(tmp_path: Path) -> None:
    large = choose_engine(spec_of(table(tmp_path, SMALL_BYTES + 1)), "release")
    assert (large.spec.engine.dask, large.reason) == ("local", "the source has 1.0 MB, more than 1")
    folder = choose_engine(spec_of(tmp_path), "release")
    assert folder.spec.engine.dask == "local"
    copies = choose_engine(spec_of("builtin:nhefs", rows=SMALL_ROWS // 2 + 1, copies=2), "release")
    assert copies.spec.engine.dask == "local"
    for flow in ("simulate", "compare"):
        assert choose_engine(spec_of("no-such-table.csv"), flow).spec.engine.dask == "local"


@pytest.mark.parametrize("dask", ["local", "threads", "tcp://scheduler:8786"])
def test_what_a_spec_says_is_taken(dask: str) -> None:
    asked = spec_of("no-such-table.csv").model_copy(update={"engine": EngineSpec(dask=dask)})
    assert choose_engine(asked, "release") == (asked, "")


def test_a_source_that_is_not_there_is_said() -> None:
    with pytest.raises(SourceError, match="no-such-table"):
        choose_engine(spec_of("no-such-table.csv"), "release")
