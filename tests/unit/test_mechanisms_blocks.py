"""Shortcuts of time and memory give what the long way gives."""

import numpy as np
import pandas as pd
import pytest

from tasks.contract.registry import resolve
from tasks.nuisance.design import eta_of, fit_design, with_treatment
from tasks.nuisance.fold_model import fit_fold
from tasks.nuisance.ridge import _leverages
from tasks.numerics.newton import trace_of_ridge
from tasks.numerics.products import weighted_gram


def table(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"w0": rng.normal(size=n), "w1": pd.Categorical(rng.choice(["u", "v", "z"], n), categories=["u", "v", "x", "z"])})
    frame.loc[rng.random(n) < 0.1, "w0"] = np.nan
    frame.loc[rng.random(n) < 0.1, "w1"] = None
    return frame


@pytest.mark.parametrize("interactions", [True, False])
def test_the_linear_predictor_needs_no_wide_matrix(interactions: bool) -> None:
    rng = np.random.default_rng(1)
    x, a = rng.normal(size=(200, 5)), rng.integers(0, 2, 200).astype(np.int8)
    wide = with_treatment(x, a, interactions)
    coefficients = rng.normal(size=(wide.shape[1],))
    assert np.allclose(eta_of(x, a, coefficients, interactions), wide @ coefficients, rtol=1e-12, atol=1e-12)


def test_leverages_of_all_strengths_are_those_of_the_inverse() -> None:
    rng = np.random.default_rng(2)
    x, w = rng.normal(size=(5000, 12)), rng.exponential(size=5000)
    x[:, 3] = x[:, 4]  # collinear columns
    penalty = np.concatenate(([0.0, 0.0], np.ones(10)))
    gram = weighted_gram(x, w)
    assert np.allclose(gram, (x * w[:, None]).T @ x, rtol=1e-10, atol=1e-8)
    factors = [0.5, 40.0, 1e4]
    found = _leverages(x, gram, penalty, factors)
    for row, factor in zip(found, factors):
        inverse = np.linalg.inv(gram + np.diag(factor * penalty + trace_of_ridge(gram)))
        assert np.allclose(row, np.einsum("ij,jk,ik->i", x, inverse, x), rtol=1e-6, atol=0)


def test_categories_enter_the_design_by_name_not_by_code() -> None:
    train = table(500)
    design = fit_design(train)
    fresh = table(300, seed=3)
    renumbered = fresh.assign(w1=fresh["w1"].cat.set_categories(["new", "z", "x", "v", "u"]))
    np.testing.assert_array_equal(design.matrix(renumbered), design.matrix(fresh))
    # a level that training did not see has no effect at all; a missing cell has its own
    odd = pd.DataFrame({"w0": [0.0, 0.0], "w1": pd.Categorical(["x", None], categories=["u", "v", "x", "z"])})
    width = len(design.category[0].levels)
    assert not design.matrix(odd)[0, -width:].any()
    assert design.matrix(odd)[1, -1] > 0


def test_prediction_block_by_block_is_prediction() -> None:
    train, fresh = table(600), table(40_000, seed=4)
    rng = np.random.default_rng(5)
    a = rng.integers(0, 2, 600).astype(np.int8)
    y = np.nan_to_num(train["w0"].to_numpy()) + a + rng.normal(size=600)
    model = fit_fold(resolve("learner", "stack"), train, a, y, "continuous", np.ones(600, dtype=bool), rng)
    g, q0, q1 = model.predict(fresh)
    for arm, q in enumerate((q0, q1)):
        assert np.allclose(q, model.outcome.predict(fresh, np.full(40_000, arm, dtype=np.int8)), rtol=1e-12, atol=1e-12)
    assert np.allclose(g, model.propensity.predict(fresh), rtol=1e-12, atol=1e-12)
