"""The choice of the truncation against its definition written out, and fluctuations with directions, weights and ranges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Nuisances
from tasks.targeting.fluctuation import Fluctuation, fluctuate, truncate, truncation_bound
from tasks.targeting.influence import cluster_error
from tasks.targeting.truncation import choose_truncation

N = 400


def expit(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def world(kind: str, steep: float = 2.5, wrong: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Nuisances]:
    """Poor overlap; Q1 is wrong by so much where the treated are few."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=N)
    g = expit(steep * w)
    a = (rng.random(N) < g).astype(np.int8)
    q0, q1 = expit(w), expit(w + 0.7)
    mean = np.where(a == 1, q1, q0)
    if kind == "binary":
        y = (rng.random(N) < mean).astype(float)
        return a, y, Nuisances(g, q0, np.clip(q1 + wrong * (g < 0.2), 0.01, 0.99))
    scale = 4.0 if kind == "count" else 10.0
    y = rng.poisson(scale * mean).astype(float) if kind == "count" else scale * mean + rng.normal(size=N)
    return a, y, Nuisances(g, scale * q0, scale * (q1 + wrong * (g < 0.2)))


def by_definition(a, y, nuisances, kind, full, weights=None, bounds=None):
    """Lepski's choice as the docstring of ``choose_truncation`` defines it."""
    share = np.full(N, 1 / N) if weights is None else weights / weights.sum()
    cautious = min(share[a == 0].sum(), share[a == 1].sum()) / 1.5

    def candidate(bound):
        q0, q1 = fluctuate(a, y, nuisances, kind, bound, weights, None, bounds).apply(nuisances)
        g = np.clip(nuisances.g, bound, 1 - bound)
        ate = share @ (q1 - q0)
        values = q1 - q0 - ate + a * (y - q1) / g - (1 - a) * (y - q0) / (1 - g)
        return bound, ate, share**2 @ values**2, 1 / (1 - g), 1 / g, (q0, q1)

    least = candidate(full)
    if cautious <= full:
        return full, 1.0, 0.0, 0.0, 0.0, "overlap suffices"
    start = max(full, 1e-3)
    every = [least, *(candidate(start * (cautious / start) ** (step / 3)) for step in (1, 2, 3))]
    price = least[2] / every[-1][2]
    if price < 1.5:
        return full, price, 0.0, 0.0, 0.0, "overlap suffices"
    spread = []
    for arm, p in ((0, 1 - nuisances.g), (1, nuisances.g)):
        star = every[-1][5][arm]
        law = {"binary": star * (1 - star), "count": star, "continuous": np.ones(N)}[kind]
        rows = (a == arm) & (p >= cautious) & (share > 0)
        rows = rows if rows.sum() >= 20 else (a == arm) & (share > 0)
        spread.append(law * (share[rows] @ (y[rows] - star[rows]) ** 2) / (share[rows] @ law[rows]))

    def se(one, other):
        variance = (1 - nuisances.g) * (one[3] - other[3]) ** 2 * spread[0] + nuisances.g * (one[4] - other[4]) ** 2 * spread[1]
        return np.sqrt(share**2 @ variance)

    at = max(at for at in range(4) if all(abs(every[at][1] - one[1]) <= 3 * se(every[at], one) for one in every[:at]))
    change, error = every[at][1] - least[1], se(every[at], least)
    reason = "no bias seen" if at == 3 else "bias of stronger truncation seen"
    return every[at][0], price, change, error, max(0.0, change**2 - error**2), reason


CASES = [
    ("binary", 2.5, 0.0, 0, False, "no bias seen"),
    ("binary", 2.5, 0.0, 1, True, None),
    ("continuous", 2.5, 0.0, 0, False, "no bias seen"),
    ("continuous", 2.5, -0.6, 3, False, "bias of stronger truncation seen"),
    ("continuous", 2.5, 0.4, 4, True, None),
    ("count", 2.5, 0.0, 2, True, None),
    ("count", 3.0, -0.3, 5, False, None),
    ("continuous", 5.0, 0.0, 6, False, None),
    ("binary", 0.3, 0.0, 0, False, "overlap suffices"),
]


@pytest.mark.parametrize(("kind", "steep", "wrong", "seed", "weighted", "reason"), CASES)
@pytest.mark.parametrize("full", [0.0, 0.01])
def test_the_choice_is_the_defined_one(kind, steep, wrong, seed, weighted, reason, full) -> None:
    a, y, nuisances = world(kind, steep, wrong, seed)
    weights = np.random.default_rng(seed).integers(0, 3, N).astype(float) if weighted else None
    bounds = (-20.0, 40.0) if kind == "continuous" else None
    found, step = choose_truncation(a, y, nuisances, kind, full, weights, bounds)
    expected = by_definition(a, y, nuisances, kind, full, weights, bounds)
    assert found.full == full
    assert found.reason == expected[-1]
    assert reason is None or found.reason == reason
    assert (found.bound, found.price, found.change, found.change_se, found.excess) == pytest.approx(expected[:5], rel=1e-7, abs=1e-12)
    assert step == fluctuate(a, y, nuisances, kind, found.bound, weights, None, bounds)


def test_where_full_truncation_is_more_cautious_than_the_cautious_one_it_stays() -> None:
    a, y, nuisances = world("binary")
    found, step = choose_truncation(a, y, nuisances, "binary", 0.4)
    assert found == (0.4, 0.4, 1.0, 0.0, 0.0, 0.0, "overlap suffices")
    assert step.truncation == 0.4


@pytest.mark.parametrize("supported", [19, 20])
def test_the_spread_of_an_arm_with_few_supported_rows_is_learnt_from_all_of_them(supported: int) -> None:
    a, y, nuisances = world("continuous", 4.0, seed=7)
    p0 = 1 - nuisances.g
    kept = [*np.flatnonzero((a == 0) & (p0 >= 0.2))[:supported], *np.flatnonzero((a == 0) & (p0 < 0.2))[:8], *np.flatnonzero(a == 1)]
    weights = np.isin(np.arange(N), kept).astype(float)
    found, _ = choose_truncation(a, y, nuisances, "continuous", 0.001, weights)
    expected = by_definition(a, y, nuisances, "continuous", 0.001, weights)
    assert found.price > 1.5
    assert (found.bound, found.price, found.change, found.change_se, found.excess) == pytest.approx(expected[:5], rel=1e-7, abs=1e-12)


# -- fluctuations ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["binary", "continuous", "count"])
def test_epsilon_is_the_root_of_the_score(kind: str) -> None:
    a, y, nuisances = world(kind, 1.0, 0.1, 3)
    weights = np.random.default_rng(1).exponential(size=N)
    step = fluctuate(a, y, nuisances, kind, 0.05, weights)
    low, high = step.low, step.high
    for arm, epsilon in enumerate(step.epsilons):
        rows = a == arm
        clever = 1 / np.clip(np.where(arm, nuisances.g, 1 - nuisances.g), 0.05, 0.95)[rows]
        unit = (nuisances[1 + arm][rows] - low) / (high - low)
        offset, scaled = np.log(unit / (1 - unit)), (y[rows] - low) / (high - low)

        def score(e, rows=rows, clever=clever, offset=offset, scaled=scaled):
            return weights[rows] @ (clever * (scaled - expit(offset + e * clever)))

        assert epsilon == (pytest.approx(brentq(score, -5, 5, xtol=1e-14), abs=1e-9),)


def test_the_range_of_each_kind() -> None:
    a, y, q = np.resize([0, 1], 8).astype(np.int8), np.array([1.0, 2, 3, 4, 5, 6, 7, 9]), np.full(8, 4.0)
    g = np.full(8, 0.5)

    def ends(kind, q0=q, q1=q, y=y):
        step = fluctuate(a, y, Nuisances(g, q0, q1), kind, 0.1)
        return step.low, step.high

    def only(value, at):
        return np.where(np.arange(8) == at, value, 4.0)

    assert ends("binary", q / 8, q / 8, (y > 4).astype(float)) == (0.0, 1.0)
    assert ends("continuous") == pytest.approx((1 - 0.08, 9 + 0.08))
    assert ends("continuous", only(-3.0, 2), only(12.0, 3)) == pytest.approx((-3 - 0.15, 12 + 0.15))
    assert ends("continuous", only(12.0, 2), only(-3.0, 3)) == pytest.approx((-3 - 0.15, 12 + 0.15))
    assert ends("continuous", only(-99.0, 2), only(99.0, 3)) == pytest.approx((-7 - 0.24, 17 + 0.24))
    assert ends("count") == pytest.approx((0.0, 9.09))
    assert ends("count", q, only(11.0, 0)) == pytest.approx((0.0, 11.11))
    assert ends("continuous", q, q, np.full(8, 4.0)) == (3.5, 4.5)
    assert ends("count", 0 * q, 0 * q, 0 * y) == pytest.approx((0.0, 1.01))
    assert fluctuate(a, y, Nuisances(g, q, q), "continuous", 0.1, None, None, (-5.0, 50.0))[1:3] == (-5.0, 50.0)


@pytest.mark.parametrize("kind", ["binary", "continuous"])
def test_directions_solve_a_score_each_and_dependent_ones_do_no_harm(kind: str) -> None:
    a, y, nuisances = world(kind, 1.0, 0.2, 9)
    groups = np.random.default_rng(2).integers(0, 2, N).astype(float)
    weights = np.random.default_rng(3).exponential(size=N)
    directions = np.column_stack((groups, 1 - groups, nuisances.g))
    step = fluctuate(a, y, nuisances, kind, 0.02, weights, directions)
    assert [len(each) for each in step.epsilons] == [4, 4]
    stars, width = step.apply(nuisances, directions), step.high - step.low
    for arm, (star, p) in enumerate(zip(stars, truncate(nuisances.g, 0.02))):
        for direction in (np.ones(N), *directions.T):
            score = weights @ ((a == arm) / p * direction * (y - star)) / width / weights.sum()
            assert abs(score) < 1e-10
    same = fluctuate(a, y, nuisances, kind, 0.02, 5 * weights, directions)
    for one, other in zip(stars, same.apply(nuisances, directions)):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9)


def test_directions_without_a_maximum_end() -> None:
    """All outcomes of a subgroup's arm alike: its epsilon has no root, and the score is negligible where the steps end."""
    a, y, nuisances = world("binary", 1.0, 0.0, 9)
    group = (np.arange(N) % 4 == 0).astype(float)
    y = np.where((group > 0) & (a == 1), 1.0, y)
    step = fluctuate(a, y, nuisances, "binary", 0.05, None, group[:, None])
    assert np.isfinite(step.epsilons[1]).all()
    star = step.apply(nuisances, group[:, None])[1]
    assert star[(group > 0) & (a == 1)].min() > 1 - 1e-6


def test_applied_to_other_rows_each_arm_moves_by_its_own_epsilon() -> None:
    g, q = np.array([0.001, 0.4, 0.9]), np.array([0.3, 0.5, 0.8])
    step = Fluctuation(((0.1, -0.2), (0.3, 0.4)), 0.0, 2.0, 0.05)
    b = np.array([[1.0], [0.0], [2.0]])
    zero, one = step.apply(Nuisances(g, q, q / 2), b)
    held = np.clip(g, 0.05, 0.95)

    def moved(q, epsilon):
        return 2 * expit(np.log(q / 2) - np.log(1 - q / 2) + epsilon)

    np.testing.assert_allclose(zero, moved(q, (0.1 - 0.2 * b[:, 0]) / (1 - held)), rtol=1e-12)
    np.testing.assert_allclose(one, moved(q / 2, (0.3 + 0.4 * b[:, 0]) / held), rtol=1e-12)
    alone = Fluctuation(((0.1,), (0.3,)), 0.0, 2.0, 0.05).apply(Nuisances(g, q, q))
    np.testing.assert_allclose(alone[1], moved(q, 0.3 / held), rtol=1e-12)


def test_truncation_off_keeps_propensities_from_the_ends_all_the_same() -> None:
    p0, p1 = truncate(np.array([0.0, 1.0, 0.5]), 0.0)
    assert p1 == pytest.approx([1e-9, 1 - 1e-9, 0.5], rel=1e-6)
    assert p0 == pytest.approx([1 - 1e-9, 1e-9, 0.5], rel=1e-6)
    assert truncation_bound(2, "auto") == 0.25
    assert truncation_bound(400, "auto") == pytest.approx(5 / (20 * np.log(400)))
    assert truncation_bound(5, 0.0) == 0.0


# -- standard errors ---------------------------------------------------------------------------------------------------
def test_the_standard_error_over_clusters_written_out() -> None:
    rng = np.random.default_rng(4)
    values, weights, clusters = rng.normal(size=40), rng.integers(0, 3, 40) * 1.0, rng.integers(3, 9, 40).astype(np.uint64)
    weights[clusters == 8] = 0.0  # a cluster without weight is none
    sums = [float(np.sum((weights * values)[clusters == cluster])) for cluster in range(3, 8)]
    se, quantile = cluster_error(values, weights, clusters)
    assert se == pytest.approx(np.sqrt(5 / 4 * np.sum(np.square(sums))) / weights.sum())
    assert quantile == pytest.approx(stats.t.ppf(0.975, 4))
    one = np.where(clusters < 8, np.uint64(1), clusters)
    with pytest.raises(EstimationError, match="clusters of an estimate must be at least 2; got 1"):
        cluster_error(values, weights, one)
