import numpy as np
import pytest

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.nuisance import Nuisances
from tasks.contract.registry import names, resolve
from tasks.estimation.evaluate import evaluate
from tasks.targeting.influence import pseudo_outcomes, standard_error
from tasks.targeting.sample import prepare_rows

ALL = ("or", "ipw", "aipw", "tmle", "att", "atc", "ato")


def draw(n: int, rng: np.random.Generator):
    """A world whose nuisances and effects are known: tau = 1 + w, so ATE = 1."""
    w = rng.normal(size=n)
    g = 1 / (1 + np.exp(-0.8 * w))
    a = (rng.random(n) < g).astype(np.int8)
    q0 = np.sin(w)
    q1 = q0 + 1 + w
    y = np.where(a == 1, q1, q0) + rng.normal(size=n) * (1 + 0.5 * a)
    return w, a, y, Nuisances(g, q0, q1)


def truths():
    """Effects of that world by quadrature."""
    w = np.linspace(-9, 9, 200_001)
    density = np.exp(-(w**2) / 2)
    g = 1 / (1 + np.exp(-0.8 * w))
    weigh = {"ate": density, "att": density * g, "atc": density * (1 - g), "ato": density * g * (1 - g)}
    return {name: float(np.sum(weight * (1 + w)) / np.sum(weight)) for name, weight in weigh.items()}


def test_every_file_is_an_estimator():
    a, y, nuisances = draw(300, np.random.default_rng(0))[1:]
    for name in names("estimator"):
        found = resolve("estimator", name).evaluate(a, y, nuisances, "continuous", 0.01)
        assert found.ci_low < found.estimate < found.ci_high
        assert 0 < found.ess <= found.n == 300


def test_known_nuisances_cover_in_nineteen_of_twenty():
    """1,000 draws: 95 % +- 3 Monte-Carlo errors (0.69 points each)."""
    truth, hits, errors = truths(), dict.fromkeys(ALL, 0), {name: [] for name in ALL}
    for seed in range(1000):
        _, a, y, nuisances = draw(400, np.random.default_rng(seed))
        for name, found in zip(ALL, evaluate(a, y, nuisances, "continuous", ALL, truncation=1e-6)):
            hits[name] += found.ci_low <= truth[found.estimand] <= found.ci_high
            errors[name].append((found.estimate - truth[found.estimand]) / found.se)
    for name in ("aipw", "tmle", "att", "atc", "ato"):
        assert 0.93 <= hits[name] / 1000 <= 0.97, name
        assert 0.9 < np.std(errors[name]) < 1.1, name
    assert hits["ipw"] / 1000 >= 0.92
    assert hits["or"] / 1000 >= 0.97  # with the true Q, AIPW's error is larger than the plug-in's


def test_against_formulas_written_out():
    _, a, y, nu = draw(500, np.random.default_rng(3))
    d = 0.1
    g = np.clip(nu.g, d, 1 - d)
    found = {one.estimator if one.estimand == "ate" else one.estimand: one for one in evaluate(a, y, nu, "continuous", ALL, truncation=d)}
    phi = nu.q1 - nu.q0 + a * (y - nu.q1) / g - (1 - a) * (y - nu.q0) / (1 - g)
    assert found["aipw"].estimate == pytest.approx(phi.mean(), rel=1e-12)
    assert found["aipw"].se == pytest.approx(phi.std(ddof=1) / np.sqrt(500), rel=1e-12)
    assert found["or"].estimate == pytest.approx(np.mean(nu.q1 - nu.q0), rel=1e-12)
    assert found["or"].se == pytest.approx(found["aipw"].se, rel=1e-12)
    mu1, mu0 = np.sum(a * y / g) / np.sum(a / g), np.sum((1 - a) * y / (1 - g)) / np.sum((1 - a) / (1 - g))
    assert found["ipw"].estimate == pytest.approx(mu1 - mu0, rel=1e-12)
    influence = a * (y - mu1) / g / np.mean(a / g) - (1 - a) * (y - mu0) / (1 - g) / np.mean((1 - a) / (1 - g))
    assert found["ipw"].se == pytest.approx(influence.std(ddof=1) / np.sqrt(500), rel=1e-10)
    att = np.sum(a * (y - nu.q0) - (1 - a) * g / (1 - g) * (y - nu.q0)) / a.sum()
    assert found["att"].estimate == pytest.approx(att, rel=1e-12)
    m = nu.g * nu.q1 + (1 - nu.g) * nu.q0
    assert found["ato"].estimate == pytest.approx(np.sum((a - nu.g) * (y - m)) / np.sum((a - nu.g) ** 2), rel=1e-12)
    weights = a / g + (1 - a) / (1 - g)
    assert found["aipw"].ess == pytest.approx(weights.sum() ** 2 / np.sum(weights**2), rel=1e-12)
    assert found["aipw"].clipped == pytest.approx(np.mean((nu.g < d) | (nu.g > 1 - d)))
    assert found["aipw"].clipped > 0
    assert found["ato"].clipped == 0


def test_in_a_trial_constant_nuisances_give_the_difference_in_means():
    rng = np.random.default_rng(5)
    a = (rng.random(200) < 0.5).astype(np.int8)
    y = rng.normal(size=200) + a
    one = np.ones(200)
    nuisances = Nuisances(a.mean() * one, y[a == 0].mean() * one, y[a == 1].mean() * one)
    for found in evaluate(a, y, nuisances, "continuous", ALL, truncation=0.0):
        assert found.estimate == pytest.approx(y[a == 1].mean() - y[a == 0].mean(), rel=1e-9), found
        assert found.se == pytest.approx(np.sqrt(y[a == 1].var() / a.sum() + y[a == 0].var() / (1 - a).sum()), rel=0.01)


def test_a_wrong_outcome_model_is_repaired_by_the_propensity():
    """Q is zero: OR sees no effect, the others find it within 4 standard errors."""
    _, a, y, nuisances = draw(20_000, np.random.default_rng(9))
    zero = np.zeros(len(y))
    found = {
        one.estimator: one for one in evaluate(a, y, Nuisances(nuisances.g, zero, zero), "continuous", ("or", "ipw", "aipw", "tmle"), 1e-6)
    }
    assert found["or"].estimate == 0
    for name in ("ipw", "aipw", "tmle"):
        assert abs(found[name].estimate - 1) < 4 * found[name].se, name


def test_integer_weights_count_rows_twice():
    _, a, y, nuisances = draw(300, np.random.default_rng(11))
    times = np.random.default_rng(1).integers(0, 4, 300)
    repeated = np.repeat(np.arange(300), times)
    weighted = evaluate(a, y, nuisances, "continuous", ALL, 0.02, weights=times.astype(float))
    copied = evaluate(a[repeated], y[repeated], Nuisances(*(v[repeated] for v in nuisances)), "continuous", ALL, 0.02)
    for one, other in zip(weighted, copied):
        assert one.estimate == pytest.approx(other.estimate, rel=1e-8), one.estimator
        assert one.clipped == pytest.approx(other.clipped)
        assert one.n == np.count_nonzero(times)


def test_gates_average_to_the_ate_and_find_their_own_effects():
    w, a, y, nuisances = draw(20_000, np.random.default_rng(13))
    groups = np.where(w > 0, "high", "low").astype(object)
    ate, high, low = evaluate(a, y, nuisances, "continuous", ("aipw",), 1e-6, {"side": groups})
    assert (high.estimand, low.estimand) == ("gate[side=high]", "gate[side=low]")
    share = np.mean(w > 0)
    assert share * high.estimate + (1 - share) * low.estimate == pytest.approx(ate.estimate, rel=1e-10)
    for one, truth in ((high, 1 + np.sqrt(2 / np.pi)), (low, 1 - np.sqrt(2 / np.pi))):
        assert abs(one.estimate - truth) < 4 * one.se
    assert high.n + low.n == ate.n


def test_rows_of_unknown_subgroup_are_in_none():
    w, a, y, nuisances = draw(400, np.random.default_rng(13))
    groups = np.where(w > 0, "high", None).astype(object)
    assert [one.estimand for one in evaluate(a, y, nuisances, "continuous", (), 0.01, {"side": groups})] == ["gate[side=high]"]


def test_a_subgroup_with_too_few_rows_is_refused():
    w, a, y, nuisances = draw(400, np.random.default_rng(13))
    groups = np.where(w > 1.9, "rare", "usual").astype(object)
    with pytest.raises(EstimationError, match="every level of subgroup 'side' must be at least 10"):
        evaluate(a, y, nuisances, "continuous", ("aipw",), 0.01, {"side": groups})


def test_names_are_checked():
    _, a, y, nuisances = draw(100, np.random.default_rng(0))
    with pytest.raises(SpecError, match="tmle"):
        evaluate(a, y, nuisances, "continuous", ("tmel",))
    with pytest.raises(SpecError, match="must be a list"):
        evaluate(a, y, nuisances, "continuous", "tmle")
    with pytest.raises(SpecError, match="subgroups of roles"):
        evaluate(a, y, nuisances, "continuous", ("gate",))


def test_arrays_are_checked():
    _, a, y, nuisances = draw(100, np.random.default_rng(0))
    spoilt = y.copy()
    spoilt[3] = np.inf
    for case, match in (
        ((a, spoilt, nuisances), "outcome of the rows must be finite; got 1"),
        ((a[:50], y, nuisances), "treatment of the rows must be of shape"),
        ((a + 1, y, nuisances), "must be 0 or 1"),
        ((np.ones_like(a), y, nuisances), "at least 1 row each; got 0 and 100"),
        ((a, y, nuisances._replace(g=nuisances.g + 1)), r"g of the rows must be in \[0, 1\]"),
        ((a, y, nuisances._replace(g=-nuisances.g)), r"g of the rows must be in \[0, 1\]"),
    ):
        with pytest.raises(EstimationError, match=match):
            evaluate(*case, "continuous", ("aipw",), 0.01)
    with pytest.raises(EstimationError, match="weights of the rows must be at least 0"):
        evaluate(a, y, nuisances, "continuous", ("aipw",), 0.01, weights=-np.ones(100))
    for arm in (0, 1):
        with pytest.raises(EstimationError, match=f"at least 1 row each; got {'0 and' if arm == 0 else '.* and 0'}"):
            prepare_rows(a, y, nuisances, "continuous", 0.01, np.where(a == arm, 0.0, 1.0))
    with pytest.raises(EstimationError, match="at least 2"):
        standard_error(np.ones(3), np.array([0.0, 1.0, 0.0]))


def test_pseudo_outcomes_average_to_the_conditional_effect():
    w, a, y, nuisances = draw(50_000, np.random.default_rng(2))
    phi = pseudo_outcomes(prepare_rows(a, y, nuisances, "continuous", 1e-6))
    slope, level = np.polyfit(w, phi, 1)
    assert slope == pytest.approx(1, abs=0.1)
    assert level == pytest.approx(1, abs=0.1)
