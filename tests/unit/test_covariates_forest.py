"""Forests of the covariate model: where donors land in a pruned tree, and ridge regressions that share a basis."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tasks.covariates.forest.descent import Drawn, Predictors
from tasks.covariates.forest.growth import grow_tree
from tasks.covariates.forest.leaves import _fill, make_rows
from tasks.covariates.margins import Coded
from tasks.covariates.predictors import fit_index, make_basis


@pytest.mark.parametrize("least", [5, 60, 400])
def test_donors_lie_in_the_leaves_that_drawn_rows_descend_to(least: int) -> None:
    rng = np.random.default_rng(3)
    features = rng.normal(size=(1500, 6)).astype(np.float32)
    residual = features[:, 0] ** 2 + rng.normal(size=1500)
    state = rng.integers(-1, 2, 1500)
    rows = make_rows(features, rng.normal(size=(1500, 2)), Coded(state, residual), residual, 1, 2)
    tree = grow_tree(features[:700].copy(), np.column_stack([residual, np.abs(residual)])[:700], 5, 1.0, 1).tree_

    leaves = _fill(tree, rows, 2, 1.0, least)

    leaf = Predictors.of([]).land(Drawn.empty(0, 1500), features.astype(np.float64), leaves, np.zeros(1500, dtype=np.intp))
    held = np.bincount(leaf, minlength=len(leaves.left))
    assert held[held > 0].min() >= min(least, 1500)
    assert (held[leaves.left >= 0] == 0).all()
    assert_array_equal(leaves.size, np.bincount(leaf[rows.is_smooth], minlength=len(leaves.left)))
    for node in np.flatnonzero(leaves.size >= 5):
        donors = leaves.residual[leaves.start[node] : leaves.start[node] + leaves.size[node]]
        assert_allclose(donors, np.sort(residual[rows.is_smooth & (leaf == node)]).astype(np.float32))
        assert_allclose([leaves.centre[node], leaves.spread[node]], [donors.mean(), donors.std(ddof=1)], rtol=1e-5, atol=1e-6)


def test_regressions_on_one_basis_are_ridge_regressions_of_the_standardised_design() -> None:
    rng = np.random.default_rng(4)
    design = np.column_stack([rng.normal(2.0, 5.0, (400, 4)), np.full(400, 7.0)])
    target = design[:, :2] @ [[1.0, 0.5], [-2.0, 0.0]] + rng.normal(size=(400, 2))
    basis = make_basis(design)
    index = fit_index(basis, target)

    standard = np.column_stack([(design[:, :4] - design[:, :4].mean(axis=0)) / design[:, :4].std(axis=0), np.zeros(400)])
    assert_allclose(basis.standard, standard, atol=1e-12)
    centred = target - target.mean(axis=0)
    exact = [
        np.linalg.solve(standard.T @ standard + penalty * np.eye(5), standard.T @ centred) for penalty in (1.0, 3.0, 10.0, 30.0, 100.0)
    ]
    fitted = index.predict(design) - target.mean(axis=0)
    assert min(float(np.abs(standard @ slope - fitted).max()) for slope in exact) < 1e-9
