"""Calibration: for any pool and any reachable target the means are met, and every draw is of different rows."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Nuisances
from tasks.contract.roles import Column, pack_field
from tasks.mechanisms.calibration import _dual, balance, weights
from tasks.mechanisms.moments import features, merge, moments
from tasks.mechanisms.sampling import inclusion, systematic_sample

SEEDS = st.integers(0, 2**32 - 1)


def pool_and_target(seed: int, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """A pool of mixed columns, one of them a copy, and means of a smoothly reweighted pool: reachable by construction."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2000, 4))
    pool = np.column_stack((x, x[:, :2] ** 2, x[:, 0] > 0.3, x[:, 1], np.ones(2000)))
    tilt = np.exp(strength * np.tanh(x @ rng.normal(size=4)))
    return pool, (tilt / tilt.sum()) @ pool


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, strength=st.floats(0.0, 0.5))
def test_reachable_means_are_met(seed: int, strength: float) -> None:
    pool, target = pool_and_target(seed, strength)
    found = balance(pool, target, 4.0)
    assert found.feasible
    assert found.relaxed == 0.0
    np.testing.assert_allclose(found.achieved, target, atol=1e-8)
    w = weights(pool, found.coefficients, 4.0)
    np.testing.assert_allclose(w @ pool, target, atol=1e-8)
    assert w.min() >= 0
    assert w.sum() == pytest.approx(1.0, abs=1e-12)
    assert w.max() <= 4.0 / len(pool)
    assert found.ess == pytest.approx(w.sum() ** 2 / (w @ w) / len(w))


@settings(max_examples=12, deadline=None)
@given(seed=SEEDS, shift=st.floats(3.0, 30.0))
def test_unreachable_means_are_reported(seed: int, shift: float) -> None:
    pool, target = pool_and_target(seed, 0.1)
    target = target.copy()
    target[2] += shift  # means of a column that is not squared, beyond what one in four rows can reach
    found = balance(pool, target, 4.0)
    assert not found.feasible
    assert 0.0 < found.relaxed <= 1.0
    # moved the right way all the same
    assert abs(target[2] - found.achieved[2]) < abs(target[2] - pool[:, 2].mean())


def test_level_the_pool_lacks_is_reported_and_the_rest_is_met() -> None:
    pool, target = pool_and_target(1, 0.3)
    target = target.copy()
    target[-1] = 0.98  # the pool is constant there
    found = balance(pool, target, 4.0)
    assert not found.feasible
    np.testing.assert_allclose(found.achieved[:-1], target[:-1], atol=1e-8)


def test_ceiling_binds_and_means_are_still_met() -> None:
    pool = np.random.default_rng(0).normal(size=(4000, 1))
    found = balance(pool, np.array([0.9]), 4.0)
    assert found.feasible
    assert found.capped > 0.01
    np.testing.assert_allclose(found.achieved, 0.9, atol=1e-8)
    free = balance(pool, np.array([0.9]), 400.0)
    assert free.capped == 0.0
    # without a ceiling that binds, weights of a normal pool are a shift: log-weights linear with slope mean / variance
    assert free.coefficients[0] == pytest.approx(0.9, abs=0.1)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_the_dual_has_the_gradient_and_curvature_it_claims(seed: int) -> None:
    rng = np.random.default_rng(seed)
    z, goal, b = rng.normal(size=(300, 3)), rng.normal(size=3) * 0.1, rng.normal(size=3) * 0.7
    _, gradient, hessian = _dual(z, goal, 3.0, 0.1 * np.eye(len(b)), b)
    step = 1e-6
    for at in range(3):
        e = np.eye(3)[at] * step
        up, down = _dual(z, goal, 3.0, 0.1 * np.eye(len(b)), b + e), _dual(z, goal, 3.0, 0.1 * np.eye(len(b)), b - e)
        assert (up[0] - down[0]) / (2 * step) == pytest.approx(gradient[at], abs=1e-6)
        # curvature jumps where a row reaches the ceiling: a mean over the two sides is compared
        np.testing.assert_allclose((up[1] - down[1]) / (2 * step), hessian[at], atol=0.02)


def test_lambda_carries_over_to_another_pool() -> None:
    pool, target = pool_and_target(3, 0.4)
    found = balance(pool, target, 4.0)
    rng = np.random.default_rng(77)
    x = rng.normal(size=(100_000, 4))
    other = np.column_stack((x, x[:, :2] ** 2, x[:, 0] > 0.3, x[:, 1], np.ones(100_000)))
    before = np.abs(other.mean(axis=0) - target).max()
    after = np.abs(weights(other, found.coefficients, 4.0) @ other - target).max()
    assert after < 0.5 * before


def test_bad_pools_are_refused() -> None:
    with pytest.raises(EstimationError, match="pool"):
        balance(np.empty((0, 2)), np.zeros(2))
    with pytest.raises(EstimationError, match="finite"):
        balance(np.full((5, 1), np.inf), np.zeros(1))
    with pytest.raises(EstimationError, match="ceiling"):
        balance(np.ones((5, 1)), np.zeros(1), 0.5)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, size=st.integers(1, 400), share=st.floats(0.01, 1.0), heavy=st.floats(0.0, 3.0), ordered=st.booleans())
def test_samples_have_their_size_and_no_row_twice(seed: int, size: int, share: float, heavy: float, ordered: bool) -> None:
    rng = np.random.default_rng(seed)
    w = np.exp(heavy * rng.normal(size=size))
    n = max(1, int(share * size))
    rows = systematic_sample(w, n, rng, rng.normal(size=size) if ordered else None)
    assert len(rows) == n == len(np.unique(rows))
    assert rows.min() >= 0
    assert rows.max() < size
    found = inclusion(w, n)
    assert found.probability.sum() == pytest.approx(n)
    assert found.probability.max() <= 1.0
    sure = np.flatnonzero(found.probability >= 1.0)
    assert np.isin(sure, rows).all()


def test_inclusion_frequencies_are_the_probabilities() -> None:
    rng = np.random.default_rng(0)
    w = rng.exponential(size=12)
    times = np.zeros(12)
    for _ in range(4000):
        times[systematic_sample(w, 5, rng)] += 1
    wanted = inclusion(w, 5).probability
    assert np.abs(times / 4000 - wanted).max() < 4 * 0.5 / np.sqrt(4000)


def test_capped_share_is_reported() -> None:
    found = inclusion(np.array([10.0, 1.0, 1.0, 1.0, 1.0]), 2)
    np.testing.assert_allclose(found.probability, [1.0, 0.25, 0.25, 0.25, 0.25])
    assert found.certain == pytest.approx(0.2)
    assert found.moved == pytest.approx(10 / 14 - 0.5)
    with pytest.raises(EstimationError, match="usable rows"):
        inclusion(np.array([1.0, 0.0]), 2)


def test_ordering_stratifies() -> None:
    tau = np.random.default_rng(1).normal(size=8000)
    spread = {}
    for name, order in (("random", None), ("ordered", tau)):
        means = [tau[systematic_sample(np.ones(8000), 2000, np.random.default_rng(s), order)].mean() for s in range(40)]
        spread[name] = np.std(means)
    assert spread["ordered"] < 0.15 * spread["random"]


def columns() -> tuple[Column, ...]:
    number, text = pack_field(pa.field("x", pa.float64())), pack_field(pa.field("x", pa.string()))
    return (
        Column(id="w0", name="x", role="covariate", kind="continuous", field=number, low=-2.0, high=6.0, missing=3),
        Column(id="w1", name="c", role="covariate", kind="categorical", field=text, levels=("p", "q", "r"), missing=2),
        Column(id="w2", name="d", role="covariate", kind="categorical", field=text, levels=tuple(f"{i:03d}" for i in range(60))),
    )


def test_features_by_hand() -> None:
    frame = pd.DataFrame(
        {
            "w0": [6.0, np.nan, 0.0],
            "w1": pd.Categorical(["q", None, "p"], ["p", "q", "r"]),
            "w2": pd.Categorical(["001", "002", "003"], list(columns()[2].levels)),
        }
    )
    told = Nuisances(np.array([0.1, 0.2, 0.3]), np.zeros(3), np.ones(3))
    # w0, its square, missing; levels 1 and 2 of w1, missing; g, q0, q1: w2 has too many levels
    np.testing.assert_allclose(
        features(frame, told, columns()),
        [[1, 1, 0, 1, 0, 0, 0.1, 0, 1], [0, 0, 1, 0, 0, 1, 0.2, 0, 1], [-0.5, 0.25, 0, 0, 0, 0, 0.3, 0, 1]],
    )


def test_cells_far_beyond_the_safe_bounds_count_no_further() -> None:
    frame = pd.DataFrame({"w0": [8.0, 1e9, -1e9], "w1": pd.Categorical([None] * 3, ["p", "q", "r"]), "w2": pd.Categorical([None] * 3)})
    told = Nuisances(np.full(3, 0.5), np.zeros(3), np.ones(3))
    np.testing.assert_array_equal(features(frame, told, columns())[:, :2], [[1.5, 2.25], [3, 9], [-3, 9]])


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, cuts=st.lists(st.integers(0, 50), max_size=4))
def test_moments_add_up_however_the_table_is_cut(seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    values, w = rng.normal(size=(50, 3)), rng.exponential(size=50)
    edges = [0, *sorted(cuts), 50]
    state = moments(values[:0], w[:0])
    for start, stop in pairwise(edges):
        state = merge(state, moments(values[start:stop], w[start:stop]))
    np.testing.assert_allclose(state.means, np.average(values, axis=0, weights=w), atol=1e-12)
    np.testing.assert_allclose(state.deviations, np.sqrt(np.cov(values.T, aweights=w, ddof=0).diagonal()), atol=1e-9)


def test_what_carries_the_effect_is_given_up_last() -> None:
    """A pool that is two standard deviations off in twelve covariates can't meet them; the last feature's mean it can."""
    rng = np.random.default_rng(4)
    pool = rng.normal(size=(4_000, 13))
    pool[:, 12] = 0.5 * pool[:, 0] + rng.normal(size=4_000)
    goal = np.append(np.full(12, 2.0), 0.4)
    plain, sparing = balance(pool, goal), balance(pool, goal, kept=1)
    assert not plain.feasible
    assert not sparing.feasible
    assert sparing.relaxed > 0.05
    assert abs(sparing.achieved[12] - 0.4) < 1e-8
    assert abs(plain.achieved[12] - 0.4) > 0.02
    # where everything can be met, nothing is different
    near = np.append(np.full(12, 0.05), 0.1)
    np.testing.assert_allclose(balance(pool, near, kept=1).achieved, balance(pool, near).achieved, atol=1e-8)


def test_distances_of_sampling_errors_are_no_relaxation() -> None:
    """A target as near the pool as two means of one law are: what is missed of that is not a generator's fault."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(4_000, 1))
    pool = np.column_stack((x, x + 1e-3 * rng.normal(size=(4_000, 1))))
    target = pool.mean(axis=0) + np.array([0.001, 0.002]) + np.array([0.0, 0.03])
    exact, sampled = balance(pool, target, 4.0), balance(pool, target, 4.0, rows=400.0)
    assert not exact.feasible
    assert 0.0 < sampled.relaxed < 0.4 * exact.relaxed
