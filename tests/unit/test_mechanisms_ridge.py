"""The ridge GLM against independent solvers."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge

from tasks.nuisance.design import fit_design
from tasks.nuisance.regressors import regressors
from tasks.nuisance.ridge import fit_ridge, loss_of
from tasks.nuisance.simplex import convex_weights


def data(n: int = 300, p: int = 5) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(n, p))
    return x, x @ np.linspace(-0.5, 0.5, p), rng


def with_intercept(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.column_stack((np.ones(len(x)), x)), np.append(0.0, np.ones(x.shape[1]))


def test_gaussian_equals_sklearn() -> None:
    x, eta, rng = data()
    y = eta + rng.normal(size=len(eta))
    design, penalty = with_intercept(x)
    found = fit_ridge(design, y, penalty, "gaussian", strengths=(0.1,))
    other = Ridge(alpha=0.1 * len(y)).fit(x, y)
    np.testing.assert_allclose(found.coefficients, np.append(other.intercept_, other.coef_), atol=1e-7)


def test_binomial_equals_sklearn() -> None:
    x, eta, rng = data()
    y = (rng.random(len(eta)) < 1 / (1 + np.exp(-eta))).astype(float)
    design, penalty = with_intercept(x)
    found = fit_ridge(design, y, penalty, "binomial", strengths=(0.1,))
    strength = 0.1 * y.mean() * (1 - y.mean()) * len(y)
    other = LogisticRegression(C=1 / strength, tol=1e-10, max_iter=10_000).fit(x, y)
    np.testing.assert_allclose(found.coefficients, np.append(other.intercept_, other.coef_[0]), atol=1e-5)


def test_poisson_equals_sklearn() -> None:
    x, eta, rng = data()
    y = rng.poisson(np.exp(1 + eta)).astype(float)
    design, penalty = with_intercept(x)
    found = fit_ridge(design, y, penalty, "poisson", strengths=(0.1,))
    other = PoissonRegressor(alpha=0.1 * y.mean(), tol=1e-10, max_iter=10_000).fit(x, y)
    np.testing.assert_allclose(found.coefficients, np.append(other.intercept_, other.coef_), atol=1e-5)


def test_leave_one_out_is_exact_for_gaussian_and_close_for_binomial() -> None:
    x, eta, rng = data(n=60)
    design, penalty = with_intercept(x)
    for family, y, tolerance in (
        ("gaussian", eta + rng.normal(size=60), 1e-6),
        ("binomial", (rng.random(60) < 1 / (1 + np.exp(-eta))).astype(float), 5e-3),
    ):
        strength = 0.05
        told = fit_ridge(design, y, penalty, family, strengths=(strength,)).loss
        losses = []
        for row in range(60):
            rest = np.arange(60) != row
            # the same penalty in absolute terms as the full fit has
            scale = 60 / 59 if family == "gaussian" else 60 / 59 * (y.mean() * (1 - y.mean())) / (y[rest].mean() * (1 - y[rest].mean()))
            b = fit_ridge(design[rest], y[rest], penalty, family, strengths=(strength * scale,)).coefficients
            losses.append(loss_of(family, y[row : row + 1], design[row : row + 1] @ b)[0])
        assert told == pytest.approx(np.mean(losses), abs=tolerance)


def test_weights_are_repetitions() -> None:
    x, eta, rng = data(n=100)
    y = (rng.random(100) < 1 / (1 + np.exp(-eta))).astype(float)
    times = rng.integers(1, 4, 100)
    design, penalty = with_intercept(x)
    weighted = fit_ridge(design, y, penalty, "binomial", times.astype(float), strengths=(1e-8,))
    repeated = fit_ridge(np.repeat(design, times, axis=0), np.repeat(y, times), penalty, "binomial", strengths=(1e-8,))
    np.testing.assert_allclose(weighted.coefficients, repeated.coefficients, atol=1e-5)


@pytest.mark.parametrize("family", ["gaussian", "binomial", "poisson"])
@pytest.mark.parametrize("size", [0.02, 0.3, 2.0])
def test_many_rows_get_the_fit_that_every_strength_s_own_fit_would_choose(family, size: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    n, p = 2_400, 20
    x = rng.normal(size=(n, p))
    eta = x @ (rng.normal(size=p) * size / np.sqrt(p))
    w = rng.exponential(size=n)
    y = {
        "gaussian": eta + rng.normal(size=n),
        "binomial": (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(float),
        "poisson": rng.poisson(np.exp(eta / 2)).astype(float),
    }[family]
    design, penalty = with_intercept(x)
    path = fit_ridge(design, y, penalty, family, w)
    monkeypatch.setattr("tasks.nuisance.regressors.MANY_ROWS", 400)
    many = fit_ridge(design, y, penalty, family, w)
    # where two strengths are all but equally good either may be chosen
    if many.strength == path.strength:
        assert many.loss == pytest.approx(path.loss, abs=1e-7)
        np.testing.assert_allclose(many.coefficients, path.coefficients, atol=1e-6)
    else:
        assert many.loss - path.loss < 1e-4
        alone = fit_ridge(design, y, penalty, family, w, strengths=(many.strength,))
        np.testing.assert_allclose(many.coefficients, alone.coefficients, atol=1e-6)


def test_separated_data_stay_finite() -> None:
    x = np.linspace(-1, 1, 40)[:, None]
    design, penalty = with_intercept(x)
    found = fit_ridge(design, (x[:, 0] > 0).astype(float), penalty, "binomial")
    assert np.isfinite(found.coefficients).all()
    assert found.coefficients[1] > 1
    x = np.linspace(-1, 1, 6_000)[:, None]
    many = fit_ridge(np.column_stack((np.ones(6_000), x)), (x[:, 0] > 0).astype(float), penalty, "binomial")
    assert np.isfinite(many.coefficients).all()
    assert many.coefficients[1] > 1


def test_noise_gets_a_stronger_penalty_than_signal() -> None:
    x, eta, rng = data(n=200, p=20)
    design, penalty = with_intercept(x)
    noise = fit_ridge(design, rng.normal(size=200), penalty, "gaussian").strength
    signal = fit_ridge(design, 5 * eta + 0.1 * rng.normal(size=200), penalty, "gaussian").strength
    assert noise > 10 * signal


def test_design_standardises_and_knows_missing_and_unseen_levels() -> None:
    frame = pd.DataFrame({"w0": [1.0, 2.0, 3.0, 4.0, 9.0, np.nan], "w1": pd.Categorical(["p", "p", "q", "q", None, "p"], ["p", "q", "r"])})
    design = fit_design(frame)
    x = design.matrix(frame)
    assert x.shape == (6, design.width) == (6, 6)
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(x[:, :2].std(axis=0), 1, atol=1e-12)
    unseen = design.matrix(pd.DataFrame({"w0": [1e12], "w1": pd.Categorical(["r"], ["p", "q", "r"])}))
    np.testing.assert_allclose(unseen[0, 3:], 0)
    assert unseen[0, 0] == pytest.approx(x[4, 0])


def test_design_ignores_the_order_of_levels() -> None:
    values = ["p", "q", "q", "s", "p", "s"]
    left = pd.DataFrame({"w0": pd.Categorical(values, ["p", "q", "s"])})
    right = pd.DataFrame({"w0": pd.Categorical(values, ["s", "q", "p"])})
    np.testing.assert_array_equal(fit_design(left).matrix(left), fit_design(right).matrix(right))
    np.testing.assert_array_equal(fit_design(left).matrix(right), fit_design(left).matrix(left))


def test_convex_weights_find_the_best_mixture() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0.1, 0.9, size=(4000, 2))
    y = (rng.random(4000) < 0.7 * p[:, 0] + 0.3 * p[:, 1]).astype(float)
    share = convex_weights(p, y, "binary")
    grid = np.linspace(0, 1, 1001)
    losses = [-np.mean(np.log(np.where(y > 0, m, 1 - m))) for m in (s * p[:, 0] + (1 - s) * p[:, 1] for s in grid)]
    assert share[0] == pytest.approx(grid[int(np.argmin(losses))], abs=2e-3)
    z = 100 + rng.normal(size=(500, 3))
    share = convex_weights(z, 0.6 * z[:, 0] + 0.4 * z[:, 2], "continuous")
    np.testing.assert_allclose(share, [0.6, 0, 0.4], atol=1e-4)
    assert convex_weights(z, -z[:, 1], "continuous").sum() == pytest.approx(1)


@pytest.mark.parametrize("interactions", [True, False])
@pytest.mark.parametrize("arms", [2, 3])
def test_regressors_of_many_rows_are_the_matrix_laid_out(arms: int, interactions: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, n = np.random.default_rng(3), 500
    frame = pd.DataFrame({"w0": rng.normal(size=n), "w1": pd.Categorical(rng.choice(["p", "q", "r"], n))})
    a, design = rng.integers(0, arms, n).astype(np.int8), fit_design(frame)
    wide = regressors(design, frame, a, interactions, arms)
    assert isinstance(wide, np.ndarray)
    monkeypatch.setattr("tasks.nuisance.regressors.MANY_ROWS", 400)
    narrow = regressors(design, frame, a, interactions, arms)
    assert narrow.shape == wide.shape
    assert narrow.columns.shape == (1 + design.width, n)
    b, r, info = rng.normal(size=wide.shape[1]), rng.normal(size=n), rng.exponential(size=n)
    np.testing.assert_allclose(narrow @ b, narrow.sorted(wide @ b), atol=1e-12)
    np.testing.assert_allclose(narrow.score(narrow.sorted(r)), wide.T @ r, atol=1e-10)
    gram = narrow.gram(narrow.sorted(info))
    np.testing.assert_allclose(gram, (wide * info[:, None]).T @ wide, atol=1e-10)
    np.testing.assert_array_equal(gram, gram.T)
    vectors, kept = rng.normal(size=gram.shape), rng.random((3, len(gram)))
    expected = np.square(wide @ vectors) @ kept.T
    np.testing.assert_allclose(narrow.squares(vectors, kept), expected[narrow.order], atol=1e-9)
    some, places = narrow.every(7)
    np.testing.assert_array_equal(np.sort(narrow.order[places]), np.arange(0, n, 7))
    np.testing.assert_allclose(some @ b, (narrow @ b)[places], atol=1e-12)


def test_a_fit_of_regressors_is_that_of_the_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, n = np.random.default_rng(5), 900
    frame = pd.DataFrame({"w0": rng.normal(size=n), "w1": rng.normal(size=n)})
    a, design, w = rng.integers(0, 2, n).astype(np.int8), fit_design(frame), rng.exponential(size=n)
    wide = regressors(design, frame, a)
    penalty = np.concatenate((np.zeros(2), np.ones(2 * design.width)))
    eta = 0.5 * frame["w0"].to_numpy() * a
    outcomes = {"gaussian": eta + rng.normal(size=n), "binomial": (rng.random(n) < 1 / (1 + np.exp(-eta))) * 1.0}
    monkeypatch.setattr("tasks.nuisance.regressors.MANY_ROWS", 400)
    for family, y in outcomes.items():
        one, other = (fit_ridge(x, y, penalty, family, w) for x in (wide, regressors(design, frame, a)))
        assert one.strength == other.strength
        np.testing.assert_allclose(one.coefficients, other.coefficients, atol=1e-7)
