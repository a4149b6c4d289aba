"""Randomness is a function of names, and what is decided from keys ignores their order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.contract.rng import in_holdout, mix, rng_for, salt, unit
from tasks.nuisance.folds import assign_folds

KEYS = np.random.default_rng(1).integers(0, 2**64, 20_000, dtype=np.uint64)


def test_the_same_names_give_the_same_numbers_on_every_machine() -> None:
    # written down once: a change here changes every release ever minted
    assert rng_for(20260101, "draw", 3).integers(0, 2**32, 3).tolist() == [3492719648, 2981163886, 2556936998]
    assert salt(20260101, "holdout") == 2399060093129059015
    assert mix(np.arange(3, dtype=np.uint64), 7).tolist() == [7191089600892374487, 11409396526365357622, 12587370737594032228]


@pytest.mark.parametrize("other", [(1, "draw", 1), (2, "draw", 0), (1, "fit", 0), (1, "draw", "0 ")])
def test_another_name_is_another_stream(other: tuple[int, str, object]) -> None:
    assert not np.array_equal(rng_for(1, "draw", 0).random(4), rng_for(*other).random(4))


def test_names_do_not_run_into_each_other() -> None:
    assert salt("ab", "c") != salt("a", "bc")
    assert salt(1, 23) != salt(12, 3)


@given(st.integers(0, 2**64 - 1))
def test_mixing_is_a_bijection(by: int) -> None:
    keys = KEYS[:512]
    assert len(np.unique(mix(keys, by))) == len(np.unique(keys))


def test_unit_numbers_are_uniform() -> None:
    values = np.sort(unit(KEYS, 5))
    assert values[0] >= 0
    assert values[-1] < 1
    # Kolmogorov's distance: above 1.95 / sqrt(n) once in a thousand seeds
    n = len(values)
    assert np.max(np.abs(values - (np.arange(n) + 0.5) / n)) < 1.95 / np.sqrt(n)


def test_small_keys_in_a_row_are_spread_as_well() -> None:
    held = in_holdout(np.arange(20_000, dtype=np.uint64), seed=3, share=0.3)
    assert abs(held.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 20_000)


def test_purposes_are_independent() -> None:
    held = in_holdout(KEYS, seed=3, share=0.5)
    again = in_holdout(KEYS, seed=4, share=0.5)
    assert abs(np.corrcoef(held, again)[0, 1]) < 4 / np.sqrt(len(KEYS))


def test_a_row_is_held_out_wherever_it_stands() -> None:
    order = np.random.default_rng(2).permutation(len(KEYS))
    assert np.array_equal(in_holdout(KEYS, 3, 0.3)[order], in_holdout(KEYS[order], 3, 0.3))
    cut = np.concatenate([in_holdout(part, 3, 0.3) for part in np.array_split(KEYS, 7)])
    assert np.array_equal(cut, in_holdout(KEYS, 3, 0.3))


class TestFolds:
    def strata(self) -> np.ndarray:
        return np.random.default_rng(4).integers(0, 4, len(KEYS)) * 3 - 2

    def test_a_row_keeps_its_fold_wherever_it_stands(self) -> None:
        strata = self.strata()
        folds = assign_folds(KEYS, strata, 5, seed=1)
        order = np.random.default_rng(5).permutation(len(KEYS))
        assert np.array_equal(assign_folds(KEYS[order], strata[order], 5, seed=1), folds[order])

    @given(st.integers(1, 200), st.integers(2, 20), st.integers(0, 2**63 - 1))
    def test_sizes_within_a_stratum_differ_by_at_most_one(self, n: int, folds: int, seed: int) -> None:
        strata = np.arange(n) % 3
        assigned = assign_folds(KEYS[:n], strata, folds, seed)
        assert assigned.dtype == np.int8
        assert assigned.min() >= 0
        assert assigned.max() < folds
        for stratum in np.unique(strata):
            sizes = np.bincount(assigned[strata == stratum], minlength=folds)
            assert sizes.max() - sizes.min() <= 1

    def test_no_rows_are_no_folds(self) -> None:
        assert assign_folds(KEYS[:0], np.zeros(0, dtype=np.int64), 5, seed=1).shape == (0,)

    def test_seed_and_repeat_give_other_folds(self) -> None:
        strata = self.strata()
        folds = assign_folds(KEYS, strata, 5, seed=1)
        for other in (assign_folds(KEYS, strata, 5, seed=2), assign_folds(KEYS, strata, 5, seed=1, repeat=1)):
            # unrelated assignments agree on a fifth of the rows
            assert abs(np.mean(other == folds) - 0.2) < 0.02

    def test_the_fold_says_nothing_of_the_holdout(self) -> None:
        held = in_holdout(KEYS, 1, 0.3)
        folds = assign_folds(KEYS, np.zeros(len(KEYS), dtype=np.int64), 5, seed=1)
        shares = [held[folds == fold].mean() for fold in range(5)]
        assert max(shares) - min(shares) < 0.05
