"""Coded cells: what is looked up of their predictors is what the matrix of predictors holds."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tasks.covariates.chain.views import Lens
from tasks.covariates.coded_cells import encode, predict_indices
from tasks.covariates.forest.descent import Drawn, Predictors
from tasks.covariates.forest.growth import grow_tree
from tasks.covariates.forest.leaves import _fill, make_rows
from tasks.covariates.margins import Coded
from tasks.covariates.predictors import Block, Index, expand

ROWS = 700


def blocks_and_cells(seed: int) -> tuple[tuple[Block, ...], Drawn]:
    """A category, a number with two atoms, a number without atoms, a category of one predictor; all with missing cells."""
    rng = np.random.default_rng(seed)
    number = np.zeros((4, 5))
    number[:, 0], number[[0, 1, 3], [2, 3, 4]] = (-1.0, 0.4, 0.0, 0.0), 1.0
    plain = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    blocks = (Block(rng.normal(size=(5, 3)), -1), Block(number, 2), Block(plain, 0), Block(rng.normal(size=(3, 1)), -1))
    drawn = Drawn.empty(len(blocks), ROWS)
    for at, block in enumerate(blocks):
        drawn.state[at] = rng.integers(-1, len(block.table) - 1, ROWS)
        drawn.score[at] = 2.0 * rng.normal(size=ROWS)
    return blocks, drawn


def indices_of(width: int, seed: int) -> tuple[Index, Index]:
    rng = np.random.default_rng(seed)
    return Index(rng.normal(size=(width, 2)), rng.normal(size=2)), Index(rng.normal(size=(width, 1)), rng.normal(size=1))


def test_indices_are_those_of_the_design() -> None:
    blocks, drawn = blocks_and_cells(0)
    design = np.column_stack([expand(block, cells) for block, cells in zip(blocks, drawn.columns)])
    states, line = indices_of(design.shape[1], 1)
    expected = np.column_stack([states.predict(design), line.predict(design)])
    assert_allclose(predict_indices(blocks, (states, line), drawn.columns, ROWS), expected, rtol=1e-12, atol=1e-12)
    alone = predict_indices((), (Index(np.zeros((1, 1)), np.array([3.0])),), [], 4)
    assert_array_equal(alone, np.full((4, 1), 3.0))


def test_codes_are_those_of_the_design() -> None:
    blocks, drawn = blocks_and_cells(2)
    lens = Lens(blocks, *indices_of(12, 3), np.zeros((0, 1)))
    features = lens.features(drawn.columns, ROWS)
    assert features.shape == (ROWS, 10 + 3)  # no squares
    edges = np.sort(np.random.default_rng(4).normal(size=(features.shape[1], 7)), axis=1)
    edges[::3, 5:] = np.inf
    expected = np.empty(features.T.shape, dtype=np.uint8)
    encode(features, edges, expected)
    assert_array_equal(expected, [(cut < column[:, None]).sum(axis=1) for cut, column in zip(edges, features.T)])
    view = lens._replace(edges=edges).look(lambda rows: [Coded(state[rows], score[rows]) for state, score in zip(*drawn)], ROWS)
    assert_array_equal(view.codes, expected)
    assert_array_equal(view.line, features[:, -1])
    assert_array_equal(view.odds, features[:, -3:-1].astype(np.float32))


@pytest.mark.parametrize("least", [5, 20])
def test_rows_land_where_the_tree_sends_their_predictors(least: int) -> None:
    blocks, drawn = blocks_and_cells(5)
    rng = np.random.default_rng(6)
    design = np.column_stack([expand(block, cells) for block, cells in zip(blocks, drawn.columns)])
    indices = rng.normal(size=(ROWS, 2))
    features = np.column_stack([design, indices]).astype(np.float32)
    residual = features[:, 3] + features[:, 4] + features[:, -1] + rng.normal(size=ROWS)
    rows = make_rows(features, np.zeros((ROWS, 0)), Coded(np.zeros(ROWS, dtype=np.intp), residual), residual, 0, 1)
    tree = grow_tree(features, residual[:, None], 5, 1.0, 1).tree_
    leaves = _fill(tree, rows, 1, 1.0, least)
    leaf = Predictors.of(blocks).land(drawn, indices, leaves, np.zeros(ROWS, dtype=np.intp))
    assert_array_equal(np.bincount(leaf, minlength=len(leaves.left)), leaves.size)
    assert len(np.unique(leaf)) > 3
    if least == 5:
        assert_array_equal(leaf, tree.apply(features))
