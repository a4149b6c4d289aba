import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.contract.nuisance import Nuisances
from tasks.estimation.evaluate import evaluate
from tasks.estimation.overlap import overlap
from tasks.targeting.fluctuation import fluctuate, truncate

ATE = ("or", "ipw", "aipw", "tmle", "ato")


def draw(seed: int, kind: str, n: int = 120):
    rng = np.random.default_rng(seed)
    w = rng.normal(size=n)
    g = 1 / (1 + np.exp(-rng.uniform(0, 3) * w))
    a = (rng.random(n) < g).astype(np.int8)
    a[:2] = 0, 1
    q0, q1 = 1 / (1 + np.exp(-w)), 1 / (1 + np.exp(-2 * w - 0.5))
    mean = np.where(a == 1, q1, q0)
    y = {"binary": (rng.random(n) < mean) * 1.0, "count": rng.poisson(4 * mean) * 1.0, "continuous": mean + rng.normal(size=n)}[kind]
    return a, y, Nuisances(g, q0, q1)


seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(["binary", "continuous", "count"])
bounds = st.sampled_from([1e-6, 0.01, 0.1])


@given(seeds, kinds, bounds)
@settings(max_examples=60, deadline=None)
def test_swapping_the_arms_flips_the_sign_to_the_last_bit(seed, kind, bound):
    a, y, nuisances = draw(seed, kind)
    swapped = Nuisances(1.0 - nuisances.g, nuisances.q1, nuisances.q0)
    names = (*ATE, "att", "atc")
    here = evaluate(a, y, nuisances, kind, names, bound)
    there = evaluate((1 - a).astype(np.int8), y, swapped, kind, (*ATE, "atc", "att"), bound)
    for one, other in zip(here, there):
        assert one.estimate == -other.estimate, one
        assert (one.se, one.ci_low, one.ci_high) == (other.se, -other.ci_high, -other.ci_low)
        assert (one.ess, one.clipped, one.n) == (other.ess, other.clipped, other.n)


@given(seeds, st.floats(-1e3, 1e3), st.floats(1e-2, 1e3), st.booleans())
@settings(max_examples=60, deadline=None)
def test_moving_and_stretching_a_continuous_outcome_moves_and_stretches_the_effect(seed, shift, scale, mirrored):
    a, y, nuisances = draw(seed, "continuous")
    factor = -scale if mirrored else scale
    changed = Nuisances(nuisances.g, shift + factor * nuisances.q0, shift + factor * nuisances.q1)
    here = evaluate(a, y, nuisances, "continuous", (*ATE, "att", "atc"), 0.01)
    there = evaluate(a, shift + factor * y, changed, "continuous", (*ATE, "att", "atc"), 0.01)
    slack = 1e-8 * (1 + abs(shift) / scale)
    for one, other in zip(here, there):
        assert other.estimate / factor == pytest.approx(one.estimate, abs=slack), one.estimator
        assert other.se / scale == pytest.approx(one.se, abs=slack)


@given(seeds, kinds)
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_rows_does_not_matter(seed, kind):
    a, y, nuisances = draw(seed, kind)
    order = np.random.default_rng(seed + 1).permutation(len(y))
    here = evaluate(a, y, nuisances, kind, ATE, 0.01)
    there = evaluate(a[order], y[order], Nuisances(*(v[order] for v in nuisances)), kind, ATE, 0.01)
    for one, other in zip(here, there):
        assert one.estimate == pytest.approx(other.estimate, abs=1e-9)
        assert one.se == pytest.approx(other.se, rel=1e-9)


@given(seeds, kinds, st.sampled_from([0.0, 1e-6, 0.05]))
@settings(max_examples=80, deadline=None)
def test_targeting_solves_the_score_equations(seed, kind, bound):
    a, y, nuisances = draw(seed, kind)
    weights = np.random.default_rng(seed).exponential(size=len(y))
    fluctuation = fluctuate(a, y, nuisances, kind, bound, weights)
    star0, star1 = fluctuation.apply(nuisances)
    p0, p1 = truncate(nuisances.g, bound)
    width = fluctuation.high - fluctuation.low
    assert abs(np.sum(weights * a / p1 * (y - star1))) <= 1e-8 * width * np.sum(weights)
    assert abs(np.sum(weights * (1 - a) / p0 * (y - star0))) <= 1e-8 * width * np.sum(weights)
    assert fluctuation.low <= min(star0.min(), star1.min())
    assert max(star0.max(), star1.max()) <= fluctuation.high


@given(seeds, bounds)
@settings(max_examples=40, deadline=None)
def test_overlap_shares_are_shares_and_no_small_cell_is_shown(seed, bound):
    a, _, nuisances = draw(seed, "binary")
    found = overlap(a, nuisances.g, bound)
    assert found.outside == pytest.approx(found.below + found.above)
    assert 0 < found.ess0 <= 1 + 1e-12
    assert 0 < found.ess1 <= 1 + 1e-12
    assert found.arm0 + found.arm1 == found.n
    for cells, size in ((found.histogram0, found.arm0), (found.histogram1, found.arm1)):
        # rounded to fives: what is hidden can't be found by subtraction
        assert all(cell is None or cell % 5 == 0 for cell in cells)
        assert abs(sum(cell or 0 for cell in cells) - size) <= 4 * len(cells)
