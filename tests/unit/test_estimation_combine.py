import numpy as np
import pytest

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.results import Estimate
from tasks.estimation.combine import combine, combine_estimates

DRAWS = 1500


def study(m: int, k: int, rule: str, proper: bool = True, n: int = 200, ease: float = 1.0):
    """Coverage in the Gaussian toy: a mean of n unit normals, m copies of k rows; ``ease``: variance of a released row."""
    rng = np.random.default_rng([m, k, n, int(proper)])
    hits, rules = 0, set()
    for _ in range(DRAWS):
        source = rng.normal(0, n**-0.5)
        centre = rng.normal(source, n**-0.5, m) if proper else np.full(m, source)
        q = rng.normal(centre, (ease / k) ** 0.5)
        u = ease * rng.chisquare(k - 1, m) / (k - 1) / k
        found = combine(q, u, k, n, rule, 1 / n if rule == "source" else None, proper)
        hits += found.ci_low <= 0 <= found.ci_high
        rules.add(found.rule)
    return hits / DRAWS, rules


@pytest.mark.parametrize("m", [1, 2, 5, 20])
@pytest.mark.parametrize("proper", [True, False])
@pytest.mark.parametrize("k", [50, 200, 1000])
def test_the_source_rule_covers_everywhere(m, k, proper):
    assert 0.93 <= study(m, k, "source", proper)[0] <= 0.97


@pytest.mark.parametrize(("m", "k", "proper"), [(1, 200, True), (5, 1000, True), (1, 200, False), (10, 50, False)])
def test_the_raab_rule_covers_where_the_design_is_the_same(m, k, proper):
    assert 0.93 <= study(m, k, "raab", proper)[0] <= 0.97


def test_the_raab_rule_fails_where_released_rows_tell_more_and_the_others_do_not():
    """Released rows with a quarter of the variance: what a randomised release of a badly confounded source looks like."""
    assert study(5, 200, "raab", ease=0.25)[0] < 0.85
    assert 0.93 <= study(5, 200, "source", ease=0.25)[0] <= 0.97
    assert study(10, 200, "raghunathan", ease=0.25)[0] >= 0.93


@pytest.mark.parametrize(("m", "k"), [(3, 200), (5, 200), (10, 200), (20, 200), (10, 1000), (10, 50)])
def test_the_raghunathan_rule_never_covers_too_little(m, k):
    assert study(m, k, "raghunathan")[0] >= 0.93


def test_naive_intervals_cover_too_little():
    rng = np.random.default_rng(0)
    q = rng.normal(0, (1 / 200 + 1 / 200) ** 0.5, 4000)
    assert np.mean(np.abs(q) < 1.96 * 200**-0.5) < 0.88


def test_formulas():
    q, u = [1.0, 2.0, 6.0], [0.5, 0.5, 2.0]
    found = combine(q, u, 100, 50, "raghunathan")
    assert found.estimate == 3.0
    assert found.between == 7.0
    assert found.se**2 == pytest.approx(4 / 3 * 7 - 1)
    assert found.df == pytest.approx(2 * (1 - 1 / (4 / 3 * 7)) ** 2)
    assert combine(q, u, 100, 50, "raab").se ** 2 == pytest.approx(2 + 3 / 3)
    assert combine(q, u, 100, 50, "raab", proper=False).se ** 2 == pytest.approx(2 + 1 / 3)
    assert combine(q, u, 100, 50, source_variance=0.1).se ** 2 == pytest.approx(0.1 + 1.1 / 3)


def test_a_negative_variance_falls_back():
    found = combine([1.0, 1.01, 0.99], [1.0, 1.0, 1.0], 100, 50, "raghunathan")
    assert found.rule == "raghunathan-fallback"
    assert found.se**2 == pytest.approx(2.0)


def test_auto_takes_the_best_rule_there_is():
    assert combine([1.0, 2.0], [0.1, 0.1], 10, 10, source_variance=0.1).rule == "source"
    assert combine([1.0, 2.0], [0.1, 0.1], 10, 10, same_design=True).rule == "raab"
    assert combine([1.0, 2.0], [0.1, 0.1], 10, 10).rule == "raghunathan"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (([1.0], [0.1], 10, 10), SpecError),
        (([1.0, 2.0], [0.1, 0.1], 10, 10, "raghunathan", None, False), SpecError),
        (([1.0], [0.1], 10, 10, "source"), SpecError),
        (([1.0], [0.1], 10, 10, "median"), SpecError),
        (([], [], 10, 10), EstimationError),
        (([1.0], [np.nan], 10, 10, "raab"), EstimationError),
        (([1.0], [0.1], 0, 10, "raab"), EstimationError),
        (([1.0], [0.1], 10, 10, "source", -1.0), EstimationError),
    ],
)
def test_a_rule_without_its_means_is_refused(arguments, error):
    with pytest.raises(error):
        combine(*arguments)


def test_lists_of_estimates_combine_by_name():
    def copy(shift):
        return [Estimate("ate", name, 1.0 + shift, 0.1, 0.8, 1.2, 100, 80.0, 0.1) for name in ("aipw", "tmle")]

    source = [Estimate("ate", "tmle", 1.0, 0.3, 0.4, 1.6, 50, 40.0, 0.0)]
    aipw, tmle = combine_estimates([copy(0.0), copy(0.3), copy(-0.3)], 50, "auto", source, same_design=True)
    assert (aipw.estimator, tmle.estimator) == ("aipw", "tmle")
    assert tmle.estimate == pytest.approx(1.0)
    assert tmle.se**2 == pytest.approx(0.09 + (0.09 + 0.01) / 3)
    assert aipw.se**2 == pytest.approx(0.02 + (0.02 + 0.01) / 3)
    with pytest.raises(EstimationError, match="different ones"):
        combine_estimates([copy(0.0), copy(0.3)[:1]], 50)
