import itertools
import math

import numpy as np
import pytest
from scipy import stats

from tasks.checks.null import closeness, coincidence_p, exceedance_p, hit, quantile_ratio, tally, training_side_p


def test_tally_splits_ties_by_pool_rows_and_sums_to_the_released_rows():
    distances = np.array([[0.5, 0.5, 0.9], [0.1, 0.2, 0.3], [0.0, 0.0, 0.0]])
    rows = np.array([[0, 3, 1], [3, 0, 1], [1, 2, 3]])
    counts = tally(distances, rows, np.array([1, 1, 2, 3, 1]))
    assert counts == pytest.approx([1 / 4, 1 / 6, 2 / 6, 3 / 4 + 1 + 3 / 6, 0])
    assert counts.sum() == pytest.approx(3)


def test_hit_marks_closest_rows_within_the_radius_only():
    distances = np.array([[0.0, 0.5], [0.2, 0.2], [0.4, 0.9]])
    rows = np.array([[0, 1], [1, 2], [3, 0]])
    assert hit(distances, rows, 5, 0.4, strict=True).tolist() == [True, True, True, False, False]
    assert hit(distances, rows, 5, 0.4).tolist() == [True, True, True, True, False]


def test_closeness_sd_is_that_of_all_relabellings():
    # six distinct rows, one of them there twice: once in the training, once in the holdout
    each = np.array([5.0, 0, 1, 2.5, 0.5, 3, 3])
    sums = [sum(each[list(chosen)]) for chosen in itertools.combinations(range(7), 4)]
    found = closeness(np.array([5.0, 0, 1, 2.5, 0.5, 6]), np.array([1, 0, 1, 1, 0, 1]), np.array([0, 1, 0, 0, 1, 1]))
    assert found.share == pytest.approx(11.5 / 15)
    assert found.sd == pytest.approx(np.std(sums) / 15)
    assert found.null == pytest.approx(np.mean(sums) / 15)
    assert found.z == pytest.approx((11.5 - np.mean(sums)) / np.std(sums))


def test_closeness_of_equal_counts_is_nothing_to_see():
    labels = np.array([1, 0, 1, 0, 1])
    assert closeness(np.full(5, 2.0), labels, 1 - labels).z == 0.0


def test_training_side_p_is_that_of_all_relabellings():
    marked = np.array([1, 1, 0, 1, 0, 0, 1], dtype=bool)
    sums = [sum(marked[list(chosen)]) for chosen in itertools.combinations(range(7), 4)]
    training = np.array([1, 1, 1, 1, 0, 0, 0])
    assert training_side_p(marked, training, 1 - training) == pytest.approx(np.mean(np.array(sums) >= 3))


def test_exceedance_p_knows_the_uncertainty_of_the_percentile():
    rng = np.random.default_rng(3)
    p = []
    for _ in range(4000):
        radius = np.sort(rng.random(150))[1]
        p.append(exceedance_p(int((rng.random(3000) < radius).sum()), 3000, 2, 150))
    shares = [np.mean(np.array(p) <= level) for level in (0.01, 0.05, 0.2)]
    assert shares == pytest.approx([0.01, 0.05, 0.2], abs=0.012)
    # a binomial test against 2/151 takes the percentile for known, and rejects far too often
    assert stats.binom.sf(70, 3000, 2 / 151) < 1e-4 < 0.05 < exceedance_p(71, 3000, 2, 150)


def test_exceedance_of_none_is_certain():
    assert exceedance_p(0, 100, 1, 100) == 1.0


def test_ten_copies_in_a_continuous_release_are_caught_although_the_holdout_is_small():
    assert stats.hypergeom.sf(9, 1000, 700, 10) > 0.01  # the holdout alone can't tell
    assert coincidence_p(10, 0, 0, 10_000, 700, 300) < 1e-6


def test_coincidences_that_released_rows_show_among_themselves_are_explained():
    assert coincidence_p(7, 3, 50, 10_000, 700, 300) > 0.2


def test_witness_from_the_release_is_not_heard_against_the_holdout():
    # the source has an atom that the release draws less often
    assert coincidence_p(70, 30, 10, 10_000, 700, 300) is None


def test_quantile_ratio_limits_cover():
    rng = np.random.default_rng(5)
    above = below = 0
    for _ in range(1500):
        found = quantile_ratio(rng.gamma(3, size=1500), rng.gamma(3, size=300), 0.05, level=0.95)
        assert found.low <= found.ratio <= found.high
        above += found.low > 1
        below += found.high < 1
    assert above / 1500 < 0.075
    assert below / 1500 < 0.075


def test_quantile_ratio_without_a_positive_reference_says_nothing():
    found = quantile_ratio(np.zeros(100), np.zeros(100), 0.05)
    assert (found.ratio, found.low, found.high) == (1.0, 0.0, math.inf)


def test_quantile_ratio_of_copies_is_zero_with_a_limit_of_zero():
    found = quantile_ratio(np.zeros(1000), np.linspace(1, 2, 300), 0.05)
    assert found.ratio == 0
    assert found.high == 0
