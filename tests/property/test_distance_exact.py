"""Every path of the engine against the definition, bit for bit."""

import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.distance import closest, closest_counts, closest_tied, fit_scale, products, tree
from tasks.distance.records import encode, find_distinct, keep_first

closest_module = sys.modules["tasks.distance.closest"]  # the function of the same name hides the module


def naive(query, reference, scale):
    """All distances, straight from the definition: numeric terms in column order, then the mismatches."""
    total = np.zeros((len(query), len(reference)))
    mismatches = np.zeros_like(total)
    for name, kind, width in zip(scale.names, scale.kinds, scale.widths):
        x, y = query[name], reference[name]
        if kind == "numeric":
            x, y = x.to_numpy(np.float64)[:, None], y.to_numpy(np.float64)[None, :]
            step = np.abs(x - y) / width
            term = {"l2": step * step, "l1": step, "gower": np.minimum(step, 1)}[scale.metric]
            total += np.where(np.isnan(term), 0, term)
            mismatches += np.isnan(x) != np.isnan(y)
        else:
            x, y = (column.astype(object).where(column.notna(), "missing").to_numpy() for column in (x, y))
            mismatches += x[:, None] != y[None, :]
    total += mismatches
    return {"l2": np.sqrt(total), "l1": total, "gower": total / len(scale.names)}[scale.metric]


def table(rng, rows, numeric=5, gappy=2, levels=(2, 3, 7), digits=None, outliers=0, copies=0.0):
    columns = {}
    for j in range(numeric):
        values = rng.normal(size=rows)
        if digits is not None:
            values = np.round(values, digits)
        values[rng.integers(0, rows, outliers)] *= 1e9
        if j >= numeric - gappy:
            values[rng.random(rows) < 0.15] = np.nan
        columns[f"n{j}"] = values
    for j, size in enumerate(levels):
        codes = rng.integers(-1 if j == 0 else 0, size, rows)
        columns[f"c{j}"] = pd.Categorical.from_codes(codes, categories=[f"l{i}" for i in range(size)])
    frame = pd.DataFrame(columns)
    picked = np.where(rng.random(rows) < copies, rng.integers(0, rows, rows), np.arange(rows))
    return frame.iloc[picked].reset_index(drop=True)


SHAPES = {
    "mixed": {},
    "grid": {"digits": 0},
    "copies": {"copies": 0.5, "digits": 1},
    "outliers": {"outliers": 3},
    "numeric": {"numeric": 12, "gappy": 0, "levels": ()},
    "wide": {"numeric": 24, "gappy": 0, "levels": ()},
    "numeric grid": {"numeric": 6, "gappy": 0, "levels": (), "digits": 0, "copies": 0.3},
    "numeric outliers": {"numeric": 20, "gappy": 0, "levels": (), "outliers": 5},
    "categorical": {"numeric": 0, "gappy": 0, "levels": (2, 3, 4, 5, 9)},
    "numeric and categorical": {"numeric": 9, "gappy": 0, "levels": (2, 3, 7), "digits": 1},
    "many columns": {"numeric": 10, "gappy": 0, "levels": (2,) * 11},
    "many levels": {"numeric": 1, "gappy": 0, "levels": (400, 150, 2, 2, 2)},
}


@pytest.fixture(params=["dense", "boxes", "everything"])
def path(request, monkeypatch):
    """Force one way of searching."""
    if request.param != "dense":
        monkeypatch.setattr(closest_module, "SMALL", -1)
    if request.param == "everything":
        monkeypatch.setattr(tree, "PROBE", 8)
        monkeypatch.setattr(tree, "SWEEP_ABOVE", -1.0)
    monkeypatch.setattr(tree, "BLOCK", 100)
    return request.param


@pytest.mark.parametrize("metric", ["l2", "l1", "gower"])
@pytest.mark.parametrize("shape", SHAPES)
def test_distances_and_indices_are_those_of_the_definition(path, metric, shape):
    rng = np.random.default_rng(11)
    query, reference = table(rng, 230, **SHAPES[shape]), table(rng, 700, **SHAPES[shape])
    scale = fit_scale([query, reference[:50]], metric)  # reference cells outside the fitted range
    expected = naive(query, reference, scale)
    order = np.argsort(expected, axis=1, kind="stable")
    for k in (1, 4):
        distances, indices = closest(query, reference, k, scale=scale)
        assert distances.tobytes() == np.ascontiguousarray(np.take_along_axis(expected, order[:, :k], 1)).tobytes()
        assert np.array_equal(indices, order[:, :k])
    ties = expected == expected.min(axis=1, keepdims=True)
    tied = closest_tied(query, reference, scale=scale)
    assert np.array_equal(tied.distances, expected.min(axis=1))
    assert np.array_equal(np.diff(tied.starts), ties.sum(axis=1))
    assert np.array_equal(tied.indices, np.nonzero(ties)[1])
    counts = closest_counts(query, reference, scale=scale)
    assert counts == pytest.approx((ties / ties.sum(axis=1, keepdims=True)).sum(axis=0), abs=1e-9)


def test_rows_that_no_box_excludes_are_searched_by_products_and_far_cells_cost_no_row(monkeypatch):
    calls = []
    searched = tree._over_blocks
    monkeypatch.setattr(tree, "_over_blocks", lambda kernel, *of: calls.append(kernel) or searched(kernel, *of))
    monkeypatch.setattr(closest_module, "SMALL", -1)
    monkeypatch.setattr(tree, "PROBE", 8)
    monkeypatch.setattr(tree, "SWEEP_ABOVE", -1.0)
    rng = np.random.default_rng(5)
    query, reference = table(rng, 70, 20, 0, ()), table(rng, 1000, 20, 0, ())
    # near pairs far from the middle, where the products of shadows cancel to less than they are rounded by
    reference.iloc[::10] += 3e4
    query.iloc[:20] = reference.iloc[:200:10].to_numpy() + rng.normal(0, 1e-4, (20, 20))
    scale = fit_scale([table(rng, 100, 20, 0, ())])
    distances, indices = closest(query, reference, 3, scale=scale)
    expected = naive(query, reference, scale)
    order = np.argsort(expected, axis=1, kind="stable")[:, :3]
    assert np.array_equal(indices, order)
    assert distances.tobytes() == np.ascontiguousarray(np.take_along_axis(expected, order, 1)).tobytes()
    assert any(cell.cell_contents is products.multiply for cell in calls[0].__closure__)


def test_threads_and_blocks_do_not_change_a_bit(monkeypatch):
    rng = np.random.default_rng(3)
    query, reference = table(rng, 900, digits=1), table(rng, 1500, digits=1)
    scale = fit_scale([query, reference])
    monkeypatch.setattr(closest_module, "SMALL", -1)
    answers = set()
    for block, threads in ((1024, 1), (64, 1), (64, 2), (7, 3)):
        monkeypatch.setattr(tree, "BLOCK", block)
        distances, indices = closest(query, reference, 2, scale=scale, threads=threads)
        answers.add(distances.tobytes() + indices.tobytes() + closest_counts(query, reference, scale=scale, threads=threads).tobytes())
    assert len(answers) == 1


def test_order_of_reference_rows_does_not_change_distances(path):
    rng = np.random.default_rng(4)
    query, reference = table(rng, 200), table(rng, 400)
    scale = fit_scale([query, reference])
    order = rng.permutation(len(reference))
    one, where = closest(query, reference, scale=scale)
    other, there = closest(query, reference.iloc[order], scale=scale)
    assert one.tobytes() == other.tobytes()
    assert np.array_equal(where, order[there])


def test_cells_at_the_edge_of_float64_are_still_ranked(path):
    reference = pd.DataFrame({"x": [1e308, -1e308, 3.0, 5e-324, 0.0], "y": [0.0, 0.0, 1e200, 0.0, 1.0]})
    scale = fit_scale([pd.DataFrame({"x": [0.0, 1.0], "y": [0.0, 1.0]})])
    distances, indices = closest(reference, reference, scale=scale)
    assert np.array_equal(distances.ravel(), np.zeros(5))
    assert np.array_equal(indices.ravel(), np.arange(5))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 60),
    metric=st.sampled_from(["l2", "l1", "gower"]),
    digits=st.sampled_from([0, 1, None]),
)
def test_small_and_large_paths_agree_bit_for_bit(seed, rows, metric, digits):
    rng = np.random.default_rng(seed)
    query, reference = table(rng, 40, digits=digits), table(rng, rows, digits=digits)
    scale = fit_scale([query, reference], metric)
    k = min(3, rows)
    small = closest(query, reference, k, scale=scale)
    left, right, sizes = encode(query, reference, scale)
    copies = find_distinct(right)
    large = tree.search(left, keep_first(right, copies), copies, sizes, k, scale, 1)
    assert small[0].tobytes() == large[0].tobytes()
    assert np.array_equal(small[1], large[1])


def test_copies_are_found_however_they_are_written():
    rng = np.random.default_rng(9)
    frame = table(rng, 300)
    _, records, _ = encode(frame, pd.concat([frame, frame.iloc[::-1]]), fit_scale([frame]))
    copies = find_distinct(records)
    assert len(copies.starts) == 301
    assert np.array_equal(copies.group[:300], copies.group[:299:-1])
    assert np.array_equal(np.sort(copies.rows), np.arange(600))
