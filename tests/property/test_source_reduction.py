"""However a source is cut, ordered and merged, what comes out is the same to the bit."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tasks.contract.spec import RolesSpec
from tasks.source import numbers
from tasks.source.inspection import Findings, Inspection
from tasks.source.rows import bucket_of, canonical, content_hash, settle

LIGHT = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
FLOATS = st.floats(allow_nan=True, allow_infinity=False, width=64)
CELLS = st.one_of(st.none(), st.sampled_from(["1", "2.5", "-7", "x", "true", "FALSE", "2020-01-01", "2020-01-01 10:00:00", "007", "1e400"]))


def plain(value: Any) -> Any:
    """Unfold findings to values that compare by bits."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tobytes()
    if isinstance(value, Findings):
        return {name: plain(inner) for name, inner in vars(value).items() if name != "fields"}
    if isinstance(value, dict):
        return [(name, plain(inner)) for name, inner in value.items()]
    if isinstance(value, tuple):
        return [plain(inner) for inner in value]
    return sorted(value) if isinstance(value, frozenset) else value


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(1, 40))
    fixed = {"min_size": rows, "max_size": rows}
    return pa.table(
        {
            "t": pa.array(draw(st.lists(st.sampled_from(["0", "1", None]), **fixed)), pa.string()),
            "y": pa.array(draw(st.lists(FLOATS, **fixed))),
            "text": pa.array(draw(st.lists(CELLS, **fixed)), pa.string()),
            "number": pa.array(draw(st.lists(st.one_of(st.none(), st.integers(-3, 3), st.just(10**9)), **fixed)), pa.int64()),
            "few": pa.array(draw(st.lists(st.sampled_from("abcdefg"), **fixed))).dictionary_encode(),
        }
    )


def cuts(draw: st.DrawFn, table: pa.Table) -> list[pa.Table]:
    """Shuffle rows and cut them anywhere."""
    order = draw(st.permutations(range(table.num_rows)))
    places = sorted(draw(st.lists(st.integers(0, table.num_rows), max_size=6)))
    shuffled = table.take(pa.array(order, pa.int64()))
    return [shuffled.slice(start, stop - start) for start, stop in zip([0, *places], [*places, table.num_rows], strict=True)]


@LIGHT
@given(st.data())
def test_inspection_is_the_same_for_every_cut_order_and_merge(data: st.DataObject) -> None:
    table = data.draw(tables())
    inspection = Inspection(RolesSpec(treatment="t", outcome="y", max_levels=4))
    whole = inspection.visit(inspection.start(), table)
    states = [inspection.visit(inspection.start(), part) for part in cuts(data.draw, table)]
    while len(states) > 1:
        right = states.pop(data.draw(st.integers(0, len(states) - 1)))
        left = states.pop(data.draw(st.integers(0, len(states) - 1)))
        states.append(inspection.merge(left, pickle.loads(pickle.dumps(right))))
    assert plain(states[0]) == plain(whole)


@LIGHT
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_numbers_merge_exactly_beyond_their_bounds(seed: int, parts: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_cauchy(30_000) * 10.0 ** rng.integers(-30, 30)
    whole = numbers.measure(values)
    pieces = [numbers.measure(piece) for piece in np.split(rng.permutation(values), np.sort(rng.integers(0, 30_000, parts)))]
    while len(pieces) > 1:
        pieces.append(numbers.merge(pieces.pop(int(rng.integers(len(pieces)))), pieces.pop(int(rng.integers(len(pieces))))))
    assert plain(pieces[0]) == plain(whole)
    assert len(whole.buckets) <= numbers.BUCKETS
    assert abs(numbers.distinct(whole) / 30_000 - 1) < 0.2
    for share in (0.1, 0.5, 0.9):
        exact = np.quantile(values, share)
        assert abs(numbers.quantile(whole, share) - exact) <= 0.02 * abs(exact) + 0.02 * np.median(np.abs(values))


@LIGHT
@given(st.data(), st.integers(1, 9))
def test_the_snapshot_is_the_same_for_every_cut_order_and_number_of_buckets(data: st.DataObject, buckets: int) -> None:
    rows = data.draw(st.integers(25, 60))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    table = pa.table(
        {
            "t": np.arange(rows) % 2,
            "y": pa.array(rng.integers(0, 3, rows) * 0.5),
            "w": pa.array(np.array(["p", "q"])[rng.integers(0, 2, rows)]),
        }
    )
    inspection = Inspection(RolesSpec(treatment="t", outcome="y"))
    frequent = table.column("w").to_pylist().count("p")
    assume(5 <= frequent <= rows - 5 and len(set(table.column("y").to_pylist())) > 1)
    schema = inspection.finish(inspection.visit(inspection.start(), table), inspection.roles, folds=2, source_format="parquet").table

    def keyed(part: pa.Table) -> pa.Table:
        typed = canonical(part, schema, "parquet")
        return typed.append_column("hash", pa.array(content_hash(typed), pa.uint64()))

    expected = settle(keyed(table))
    parts = [keyed(part) for part in cuts(data.draw, table)]
    gathered = pa.concat_tables(parts)
    places = bucket_of(gathered.column("hash").to_numpy(), buckets)
    settled = [settle(gathered.filter(pa.array(places == bucket))) for bucket in range(buckets)]
    assert pa.concat_tables(settled).to_pylist() == expected.to_pylist()
    assert len(set(expected.column("key").to_pylist())) == rows


@LIGHT
@given(st.integers(0, 2**32), st.integers(60, 200))
def test_a_profile_shows_no_extreme_and_nothing_rare(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    skewed = np.round(rng.lognormal(0, 3, rows), int(rng.integers(0, 4)))
    levels = np.array([f"level-{k}-" for k in range(40)])[rng.geometric(0.2, rows) % 40]
    table = pa.table({"t": np.arange(rows) % 2, "y": rng.normal(size=rows), "number": skewed, "text": levels})
    inspection = Inspection(RolesSpec(treatment="t", outcome="y"))
    found = inspection.finish(inspection.visit(inspection.start(), table), inspection.roles, folds=5, source_format="parquet")
    shown = found.profile.model_dump_json()
    for column in found.profile.columns:
        if column.name in ("y", "number"):
            values = table.column(column.name).to_numpy()
            assert not {float(values.min()), float(values.max())} & set(column.deciles or ())
    names, counts = np.unique(levels, return_counts=True)
    for name, count in zip(names, counts, strict=True):
        assert (str(name) in shown) == (count >= 5)
        assert count >= 5 or str(name) not in found.table.model_dump_json()
    low, high = found.table.covariates[0].low, found.table.covariates[0].high
    for bound, extreme in ((low, skewed.min()), (high, skewed.max())):
        assert bound != extreme or (skewed == extreme).sum() >= 5
