"""Intervals of attack statistics: they hold at their level, and refuse where they can't."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from tasks.audit.intervals import auc, difference, hit_rate, share


@pytest.mark.parametrize(("hits", "n"), [(0, 20), (20, 20), (7, 20)])
def test_a_share_is_inside_its_exact_interval(hits: int, n: int) -> None:
    found = share(hits, n, 0.95)
    assert 0 <= found.low <= hits / n <= found.high <= 1
    assert found.high - found.low > 0.1
    # the limits are where the observed count becomes as rare as 2.5 %
    from scipy.stats import binom

    if 0 < hits < n:
        assert binom.sf(hits - 1, n, found.low) == pytest.approx(0.025)
        assert binom.cdf(hits, n, found.high) == pytest.approx(0.025)


def test_the_difference_covers_at_its_level() -> None:
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(400):
        found = difference(rng.binomial(80, 0.3), 80, rng.binomial(60, 0.2), 60, 0.95)
        inside.append(found.low <= 0.1 <= found.high)
    assert np.mean(inside) > 0.92


def test_the_auc_covers_the_truth_and_counts_ties_by_half() -> None:
    rng = np.random.default_rng(2)
    truth = norm.cdf(0.5 / np.sqrt(2))
    found = [auc(rng.normal(0.5, 1, 150), rng.normal(0, 1, 100), 0.95) for _ in range(400)]
    inside = np.mean([each.low <= truth <= each.high for each in found])
    assert 0.92 < inside < 0.98
    # against the definition, pair by pair
    left, right = rng.integers(0, 5, 40).astype(float), rng.integers(0, 4, 30).astype(float)
    pairs = (left[:, None] > right).mean() + 0.5 * (left[:, None] == right).mean()
    assert auc(left, right, 0.95).value == pytest.approx(pairs)


def test_perfect_order_is_no_certainty() -> None:
    found = auc(np.arange(10.0) + 100, np.arange(10.0), 0.95)
    assert found.value == 1
    assert 0.6 < found.low < 0.75
    constant = auc(np.zeros(30), np.zeros(20), 0.95)
    assert constant.value == 0.5
    assert constant.low < 0.4 < 0.6 < constant.high


def test_a_hit_rate_without_leak_is_seldom_an_excess() -> None:
    rng = np.random.default_rng(3)
    found = [hit_rate(rng.normal(size=400), rng.normal(size=300), 0.01, 0.95) for _ in range(400)]
    assert np.mean([each.excess.low > 0 for each in found]) < 0.025
    # the fourth largest of 300 is the first that at most 1 % pass
    assert np.mean([each.rate.value for each in found]) == pytest.approx(4 / 301, abs=0.002)


def test_a_hit_rate_finds_a_small_group_of_copies() -> None:
    rng = np.random.default_rng(4)
    members = np.concatenate([rng.normal(size=950), np.full(50, 10.0)])
    found = hit_rate(members, rng.normal(size=600), 0.01, 0.95)
    assert found is not None
    assert found.rate.value > 0.05
    assert found.excess.low > 0


def test_a_rate_that_nobody_can_see_is_refused() -> None:
    rng = np.random.default_rng(5)
    assert hit_rate(rng.normal(size=5000), rng.normal(size=999), 0.001, 0.95) is None
    assert hit_rate(rng.normal(size=50), rng.normal(size=1000), 0.001, 0.95) is not None


def test_ties_at_the_threshold_are_no_hits() -> None:
    found = hit_rate(np.zeros(200), np.zeros(200), 0.01, 0.95)
    assert found is not None
    assert found.rate.value == 0
