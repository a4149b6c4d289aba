"""Any cutting of the rows into partitions, in any order, gives the same models."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.contract.nuisance import FoldRows
from tasks.contract.reduction import reduce_passes
from tasks.contract.registry import resolve
from tests.refining import cut, fold_models, partitioned, world

KINDS = ("continuous", "binary", "count")
ROWS = 600


@functools.cache
def fitted(kind, weighted):
    table = world(ROWS, kind, weighted=weighted)
    fits = fold_models(table, kind, cap=250)
    return table, fits, partitioned(table, fits, kind, 1)


def same(table, one, other):
    for (g, q), (g_own, q_own) in zip(one, other, strict=True):
        assert np.allclose(g.predict(table.covariates), g_own.predict(table.covariates), rtol=0, atol=1e-9)
        assert np.allclose(q.predict(table.covariates, table.a), q_own.predict(table.covariates, table.a), rtol=1e-9, atol=1e-9)
        assert np.allclose(g.coefficients, g_own.coefficients, rtol=0, atol=1e-9)
        assert np.allclose(q.coefficients, q_own.coefficients, rtol=0, atol=1e-9)


@pytest.mark.parametrize("parts", [2, 7, 50])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_even_cuttings(kind, weighted, parts):
    table, fits, (whole, passes) = fitted(kind, weighted)
    found, own = partitioned(table, fits, kind, parts)
    assert own == passes
    same(table, whole, found)


@given(st.sampled_from(KINDS), st.booleans(), st.lists(st.integers(0, ROWS), max_size=6))
@settings(max_examples=25, deadline=None)
def test_any_cutting_empty_parts_among_them(kind, weighted, edges):
    table, fits, (whole, _) = fitted(kind, weighted)
    same(table, whole, partitioned(table, fits, kind, sorted(edges))[0])


@given(st.sampled_from(KINDS), st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_any_order_of_rows_and_of_merging(kind, seed):
    table, fits, (whole, _) = fitted(kind, False)
    order = np.random.default_rng(seed).permutation(ROWS)
    refinement = resolve("learner", "glm").refinement(*fits, kind)
    pieces = [FoldRows(table.covariates.iloc[rows], table.a[rows], table.y[rows], table.folds[rows]) for rows in np.array_split(order, 5)]
    same(table, whole, refinement.models(reduce_passes(refinement, lambda: pieces)))
    state = refinement.start()
    while not refinement.finished(state):  # merged as a tree, from the right
        a, b, c = (refinement.visit(state, part) for part in cut(table, 3))
        state = refinement.advance(refinement.merge(a, refinement.merge(b, c)))
    same(table, whole, refinement.models(state))
