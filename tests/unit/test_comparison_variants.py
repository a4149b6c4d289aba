"""What a comparison is made of: the SPEC's section, its variants, their folders in one workspace, what they cost."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from infra.metering import metered
from infra.workspace import Run, Workspace
from tasks.comparison.row import Row, refused_row
from tasks.comparison.task import ROW, answers, finished_row, keep_row
from tasks.comparison.variants import seed_spec, seeds, variant_spec, variants
from tasks.contract.errors import EstimationError, SpecError, StoreError
from tasks.contract.refs import PartitionRef, Ref
from tasks.contract.registry import names
from tasks.contract.roles import Column, TableSchema, pack_field
from tasks.contract.spec import Spec, parse_spec
from tasks.publish.layout import comparison_key, place_of


def spec(compare: dict | None = None, **values) -> Spec:
    base = {
        "name": "trial",
        "seed": 7,
        "source": {"uri": "x.parquet"},
        "roles": {"treatment": "a", "outcome": "y"},
        "compare": compare or {},
    }
    return parse_spec({**base, **values})


def test_a_bare_comparison_takes_real_synthesizers_in_both_modes() -> None:
    asked = spec().compare
    assert {candidate.name for candidate in asked.synthesizers} <= set(names("synthesizer"))
    assert len(asked.synthesizers) >= 2
    assert asked.modes == ("hybrid", "full")
    assert parse_spec(spec({"synthesizers": ["forest"]}).model_dump(mode="json")).compare.synthesizers[0].title == "forest"


@pytest.mark.parametrize(
    ("compare", "message"),
    [
        ({"synthesizers": ["forest", "forest"]}, "synthesizers must differ in name or label"),
        ({"synthesizers": []}, "synthesizers must name at least one"),
        ({"synthesizers": [{"name": "forest", "parms": {}}]}, "compare.synthesizers.0.parms of SPEC must be a known key"),
        ({"synthesizers": [{"name": "forest", "label": "../x"}]}, "label must be of at most 40 letters"),
        ({"modes": ["hybrid", "hybrid"]}, "modes must name at least one mode, and none twice"),
        ({"seeds": 0}, "compare.seeds of SPEC must be valid"),
        ({"rows": 10}, "compare.rows of SPEC must be valid"),
    ],
)
def test_a_section_that_can_not_be_is_refused(compare: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec(compare)


def test_every_variant_is_a_release_spec_of_its_own() -> None:
    two = {"synthesizers": ["copula", {"name": "forest", "params": {"leaf": 30}, "label": "large leaves"}], "seeds": 2}
    asked = spec(two, release={"copies": 3, "rows": 50_000, "draws": "balanced", "include_nuisances": True})
    assert seeds(asked) == [7, 8]
    found = [variant for seed in seeds(asked) for variant in variants(asked, seed)]
    assert len(found) == len({variant.folder for variant in found}) == 8
    made = [variant_spec(asked, variant) for variant in found]
    assert {(own.seed, own.covariates.synthesizer, own.release.mode) for own in made} == {
        (seed, name, mode) for seed in (7, 8) for name in ("copula", "forest") for mode in ("hybrid", "full")
    }
    for own in made:
        # each could be written down as a SPEC: in mode "full" balanced draws and nuisances would be refused
        assert Spec.model_validate(own.model_dump()) == own
        assert (own.release.rows, own.release.copies, own.release.include_nuisances) == (10_000, 1, False)
        assert own.covariates.params == ({"leaf": 30} if own.covariates.synthesizer == "forest" else {})
        assert own.release.draws == ("balanced" if own.release.mode == "hybrid" else "iid")
    assert str(found[2]) == "large leaves, hybrid, seed 7"
    assert seed_spec(spec({"rows": 300}), 7).release.rows == 300
    assert seed_spec(spec(release={"rows": 500}), 7).release.rows == 500
    assert seeds(spec({"seeds": 2}, seed=2**63 - 1)) == [2**63 - 1, 0]


def test_only_what_is_compared_decides_which_run_is_resumed() -> None:
    assert spec({"seeds": 2}).digest("compare") != spec().digest("compare")
    assert spec({"seeds": 2}).digest() == spec().digest()


def test_a_comparison_lies_beside_the_releases() -> None:
    key = comparison_key("trial", "20260101T000000Z-0a0b0c0d", "compare.html")
    assert key == "trial/comparisons/20260101T000000Z-0a0b0c0d/compare.html"
    assert place_of(key).kind == "other"
    with pytest.raises(StoreError):
        comparison_key("trial", "../x", "compare.html")


def test_folders_of_a_workspace_write_apart_and_read_together(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/space"
    root, one, two = Workspace(uri), Workspace(uri, "seed-7/00-full"), Workspace(uri, "seed-7/01-full")
    table = pa.table({"x": [1.0, 2.0]})
    shared = root.put_table("snapshot.parquet", table)
    own = one.put_table("drawn.parquet", table)
    two.put_record("cost", {"x": 1})
    assert own.key == "seed-7/00-full/drawn.parquet"
    assert one.finished("drawn.parquet", PartitionRef) == own
    assert two.finished("drawn.parquet", PartitionRef) is None
    assert root.finished("drawn.parquet", PartitionRef) is None
    assert one.table(shared).equals(table)
    assert two.table(own).equals(table)
    assert (one.record("cost"), two.record("cost")) == (None, {"x": 1})
    assert one.model(two.put_model("m", [3])) == [3]
    assert one.read(two.put_bytes("b", b"x").key) == b"x"
    one.clear()
    assert two.finished("b", Ref) is not None
    assert root.finished("snapshot.parquet", PartitionRef) == shared
    assert not (tmp_path / "space/seed-7/00-full").exists()
    root.clear()
    assert not (tmp_path / "space").exists()


def test_a_finished_variant_is_kept_and_nothing_else_of_it(tmp_path: Path) -> None:
    asked = spec()
    variant = variants(asked, 7)[1]
    run = Run(
        spec=variant_spec(asked, variant),
        workspace=f"file://{tmp_path}/space",
        id="i",
        created="2026-01-01T00:00:00+00:00",
        folder=variant.folder,
    )
    run.space().put_bytes("model", b"large")
    assert finished_row(run) is None
    row = Row(synthesizer=variant.title, mode=variant.mode, seed=7, tstr=0.123456789012345)
    assert keep_row(run, row) == row
    assert finished_row(run) == row
    left = sorted(path.name for path in (tmp_path / "space" / variant.folder).iterdir())
    assert left == [ROW, f"{ROW}.receipt"]


def test_a_comparison_of_which_nothing_could_be_made_is_an_error(tmp_path: Path) -> None:
    asked = spec()
    run = Run(spec=asked, workspace=f"file://{tmp_path}", id="i", created="2026-01-01T00:00:00+00:00")
    field = pack_field(pa.field("y", pa.float64()))
    columns = tuple(
        Column(id=name, name=name, role=role, kind="continuous", field=field) for name, role in (("a", "treatment"), ("y", "outcome"))
    )
    schema = TableSchema(columns=columns, treated="1", control="0", outcome_kind="continuous", rows=10)
    refused = [refused_row(variant, "too few rows") for variant in variants(asked, 7)]
    with pytest.raises(EstimationError, match="all 4 were refused, the first: too few rows"):
        answers(run, schema, {}, 10, refused)
    record = answers(run, schema, {}, 10, [*refused[1:], Row(synthesizer="forest", mode="full", seed=7)])
    assert record["recommendation"]["synthesizer"] is None
    assert [each["seeds"] for each in record["summary"]] == [1, 0, 0]


def test_a_meter_tells_work_from_waiting_and_sees_memory_that_is_given_back() -> None:
    with metered() as idle:
        time.sleep(0.05)
    with metered() as busy:
        block = np.ones(40_000_000 // 8)
        total = float(np.sort(block).sum())
        del block
    assert total == 5e6
    assert idle.cpu_seconds < 0.03
    assert idle.wall_seconds >= 0.05
    assert busy.cpu_seconds > idle.cpu_seconds
    if busy.peak_mib is not None:  # on Linux
        assert 30 < busy.peak_mib < 300
        assert idle.peak_mib is not None
        assert idle.peak_mib < 20
