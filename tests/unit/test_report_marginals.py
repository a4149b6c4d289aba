"""Marginals: the same counts for every way of cutting the table, cells that show no extreme."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.contract.reduction import reduce_parts
from tasks.report.bins import bins_of
from tasks.report.marginals import MOST_LEVELS, Marginals, paired
from tests.reporting import EXTREME, HOSTILE, counts, schema, table

KINDS = ("continuous", "binary", "count")
ROWS = 211


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, ROWS), max_size=6), st.sampled_from(KINDS))
def test_every_cutting_counts_the_same(cuts: list[int], kind: str) -> None:
    like = schema(kind)
    whole = table(like, ROWS, 3)
    edges = [0, *sorted(cuts), ROWS]
    parts = [whole.slice(start, stop - start) for start, stop in itertools.pairwise(edges)]
    found, wanted = reduce_parts(Marginals(like), parts), counts(like, whole)
    assert found.keys() == wanted.keys()
    for name, cells in wanted.items():
        assert np.array_equal(found[name], cells)
        assert cells.sum() == ROWS


@pytest.mark.parametrize("kind", KINDS)
def test_counts_are_what_the_rows_hold(kind: str) -> None:
    like = schema(kind)
    rows = table(like, 500, 8)
    found = counts(like, rows)
    treated = int(rows.column("a").to_numpy().sum())
    assert found["a"].tolist() == [500 - treated, treated]
    smokes = rows.column("w5").cast(pa.string()).to_pylist()
    assert found["w5"].tolist() == [smokes.count("false"), smokes.count("true")]
    assert found["w0"][-1] == rows.column("w0").null_count > 0
    assert "w6" not in found  # constant
    if kind == "binary":
        assert found["y"].tolist() == [int((rows.column("y").to_numpy() == value).sum()) for value in (0, 1)]
    if kind == "count":
        y = rows.column("y").to_numpy()
        assert found["y"].tolist() == [*(int((y == value).sum()) for value in range(6)), int((y >= 6).sum())]


def test_nan_is_missing_too() -> None:
    like = schema()
    rows = table(like, 50, 1)
    place = rows.column_names.index("w0")
    holed = rows.set_column(place, "w0", pa.array([float("nan")] * 50))
    assert counts(like, holed)["w0"][-1] == 50


def test_a_level_that_the_source_has_not_is_left_to_the_gate() -> None:
    like = schema()
    rows = table(like, 50, 1)
    strange = pa.array(["never seen"] * 50).dictionary_encode()
    found = counts(like, rows.set_column(rows.column_names.index("w5"), "w5", strange))
    assert found["w5"].sum() == 0


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e12), st.sampled_from(["continuous", "integer", "datetime"]))
def test_edges_are_round_and_inside_the_safe_range(low: float, width: float, kind: str) -> None:
    if kind != "continuous":
        low, width = float(round(low)), float(round(width) + 1)
    like = schema()
    column = like.columns[0].model_copy(update={"kind": kind, "low": low, "high": low + width})
    bins = bins_of(column, like)
    assert bins.edges is not None
    assert (np.diff(bins.edges) > 0).all()
    assert ((bins.edges > low) & (bins.edges < low + width)).all()
    assert len(bins.edges) <= 20
    assert len(bins.labels) == len(bins.edges) + bins.whole


def test_no_label_or_edge_is_an_extreme_of_the_source() -> None:
    like = schema()
    rows = paired(like, counts(like, table(like, 1000, 5)), counts(like, table(like, 1000, 6)))
    numbers = next(row for row in rows if row["name"] == HOSTILE)
    assert numbers["labels"]
    assert all(float(label) <= 61.7 and float(label) % 5 == 0 for label in numbers["labels"])
    assert EXTREME > 61.7


def test_small_levels_are_shown_together() -> None:
    like = schema()
    row = next(
        row for row in paired(like, counts(like, table(like, 1000, 5)), counts(like, table(like, 1000, 6))) if row["name"] == "country"
    )
    assert len(row["labels"]) <= MOST_LEVELS
    assert row["labels"][-1].endswith("others")


def test_the_same_table_differs_by_nothing_and_disjoint_ones_by_everything() -> None:
    like = schema()
    left = counts(like, table(like, 800, 1))
    assert {row["distance"] for row in paired(like, left, left)} == {0.0}
    none, every = np.array([800, 0]), np.array([0, 800])
    row = paired(like, {**left, "a": none}, {**left, "a": every})
    assert next(each for each in row if each["role"] == "treatment")["distance"] == 1.0


def test_wide_ranges_are_cut_evenly_on_the_logarithmic_scale() -> None:
    like = schema()
    bins = bins_of(like.columns[0].model_copy(update={"low": 0.7, "high": 900.0}), like)
    assert bins.labels == ("1", "2", "5", "10", "20", "50", "100", "200", "500")
    assert len(bins_of(like.columns[0].model_copy(update={"low": 1e-9, "high": 1e12}), like).labels) == 10


def test_dates_are_cut_at_months_or_years() -> None:
    like = schema()
    bins = bins_of(like.columns[3], like)
    assert bins.labels[0] == "2015-07"
    assert bins.labels[-1] == "2023-01"
