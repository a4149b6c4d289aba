"""Filling arms to a level, and choosing the rows that do it."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.augmentation.filling import fill, level_of
from tasks.augmentation.rows import choose_rows, flipped
from tasks.contract.rng import mix


def both(g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the chances of control and treated."""
    return 1.0 - g, g


def test_a_filling_brings_both_arms_to_the_level_and_adds_nothing_where_there_is_enough() -> None:
    found = fill(both(np.array([0.0, 0.2, 0.9])), 0.3)
    np.testing.assert_allclose(found.added[1], [0.3, 0.1, 0.0])
    np.testing.assert_allclose(found.added[0], [0.0, 0.0, 0.2])
    np.testing.assert_allclose(found.arms[1], [0.3, 0.3, 0.9])
    assert found.rows == pytest.approx(0.2)
    assert found.share == pytest.approx(0.2 / 1.2)
    np.testing.assert_allclose(found.borrowed[1], [1.0, 1.0 / 3.0, 0.0])


def test_the_level_of_a_number_of_rows_adds_that_number() -> None:
    g = np.random.default_rng(1).beta(0.3, 0.6, 500)
    for rows in (1e-3, 0.1, 1.0, 9.0):
        assert fill(both(g), level_of(both(g), rows)).rows == pytest.approx(rows, rel=1e-6)


def test_from_level_one_on_the_table_is_a_balanced_trial_of_the_source_law() -> None:
    found = fill(both(np.random.default_rng(2).random(100)), 1.5)
    np.testing.assert_allclose(found.arms[0], found.arms[1])
    np.testing.assert_allclose(found.tilt, 1.0 / 3.0)


def test_no_other_way_to_spend_the_rows_leaves_less_variance() -> None:
    rng = np.random.default_rng(3)
    g = rng.beta(0.5, 0.5, 200)
    best = fill(both(g), 0.6)
    least = np.mean(1.0 / best.arms[0] + 1.0 / best.arms[1])
    for _ in range(50):
        weights = rng.dirichlet(np.ones(400)) * best.rows * 200
        assert np.mean(1.0 / (1.0 - g + weights[:200]) + 1.0 / (g + weights[200:])) > least


def test_rows_are_taken_in_proportion_to_what_is_missing() -> None:
    rng = np.random.default_rng(4)
    g = np.where(np.arange(20_000) % 2, 0.1, 0.5)
    found = choose_rows(fill(both(g), 0.7), 4_000, (rng.random(20_000),) * 2, rng)
    assert len(found.rows) == pytest.approx(4_000, abs=2)
    # treated: 0.6 where g is 0.1, 0.2 where it is 0.5; control: nothing and 0.2
    lacking = g[found.rows] == 0.1
    assert np.mean(lacking[found.arm == 1]) == pytest.approx(0.75, abs=0.02)
    assert not lacking[found.arm == 0].any()
    for arm in (0, 1):
        assert len(np.unique(found.rows[found.arm == arm])) == np.sum(found.arm == arm)


def test_rows_are_taken_evenly_along_the_order() -> None:
    rng = np.random.default_rng(5)
    order = rng.normal(size=5_000)
    found = choose_rows(fill(both(np.full(5_000, 0.1)), 0.5), 500, (order, order), rng)
    # a plain random sample of 500 would miss the mean by 0.045 on average
    assert abs(order[found.rows].mean() - order.mean()) < 0.01


def test_nothing_is_taken_where_nothing_is_missing() -> None:
    rng = np.random.default_rng(6)
    assert len(choose_rows(fill(both(np.full(50, 0.5)), 0.3), 10, (rng.random(50),) * 2, rng).rows) == 0


def test_labels_are_flipped_by_key_not_by_place() -> None:
    keys = mix(np.arange(4_000, dtype=np.uint64), 1)
    y = np.zeros(4_000)
    found = flipped(y, keys, 0.2, 7)
    assert found.mean() == pytest.approx(0.2, abs=0.02)
    np.testing.assert_array_equal(flipped(y, keys[::-1], 0.2, 7), found[::-1])
    np.testing.assert_array_equal(flipped(y, keys, 0.0, 7), y)
