"""The distance gates on real closest-record searches: quiet where nothing leaks, loud where rows are copied."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import cKDTree

from tasks.checks.evidence import DistanceEvidence, Evidence
from tasks.checks.methods.closeness import ClosenessCheck
from tasks.checks.methods.dcr import DistanceCheck
from tasks.checks.pool import gather, identical_pairs
from tasks.checks.reuse import training_knowledge
from tasks.contract.budget import Query, Terms, answer
from tasks.contract.errors import EstimationError
from tasks.contract.registry import resolve
from tasks.contract.spec import GatesSpec

GATES = ("near_copies", "exact_copies", "closeness_z", "dcr_margin")


def search(training, holdout, release, k=8):
    pool = gather(pd.DataFrame(training), pd.DataFrame(holdout))
    distances, rows = cKDTree(pool.rows.to_numpy()).query(release, k=min(k, len(pool.rows)))
    to_training = cKDTree(training)
    return DistanceEvidence(
        training=to_training.query(release)[0],
        holdout_to_training=to_training.query(holdout)[0],
        pool_training=pool.training,
        pool_holdout=pool.holdout,
        pool_distances=distances,
        pool_rows=rows,
        release_pairs=identical_pairs(pd.DataFrame(release)),
    )


def failures(evidence, gates=None):
    bad = set()
    for metric in DistanceCheck().measure(Evidence(distance=evidence), gates or GatesSpec()):
        if metric.rule is None:
            continue
        if metric.name == "dcr_margin":
            good = metric.value >= metric.threshold or metric.high is None or metric.high >= 1
        else:
            good = metric.value >= metric.threshold if metric.rule == "at least" else metric.value <= metric.threshold
        bad |= set() if good else {metric.name}
    return bad


def normal(rng, n):
    return rng.normal(size=(n, 4))


def discrete(rng, n):
    return np.column_stack([rng.integers(0, levels, n) for levels in (2, 3, 4, 3)]).astype(float)


def mixed(rng, n):
    return np.column_stack([discrete(rng, n), rng.normal(size=(n, 2))])


def atoms(rng, n):
    earnings = rng.lognormal(size=(n, 2)) * (rng.random((n, 1)) < 0.5)
    return np.column_stack([rng.integers(18, 60, n), rng.integers(0, 2, n), earnings])


def rounded(rng, n):
    return np.round(rng.normal(size=(n, 3)), 1)


def outlier(rng, n):
    values = normal(rng, n)
    values[rng.integers(n)] += 30
    return values


LAWS = (normal, discrete, mixed, atoms, rounded, outlier)


def alarms(law, reps, n_release=2000):
    """Count failures per gate, and of any gate, over fresh tables of 300 and 600 rows, holdouts of 40 and 50 %."""
    counts = dict.fromkeys((*GATES, "any"), 0)
    for rep in range(reps):
        rng = np.random.default_rng([7, rep])
        n = (300, 600)[rep % 2]
        rows = law(rng, n)
        cut = int(n * (0.4, 0.5)[rep // 2 % 2])
        bad = failures(search(rows[cut:], rows[:cut], law(rng, n_release)))
        for name in bad | ({"any"} if bad else set()):
            counts[name] += 1
    return counts


@pytest.mark.parametrize("law", LAWS)
def test_fresh_rows_of_the_same_law_rarely_fail(law):
    counts = alarms(law, 60)
    # nominal 1 % each: 5 or more of 60 has probability 0.0004 for one gate, 8 or more for four gates together 0.004
    assert max(counts[name] for name in GATES) <= 4, counts
    assert counts["any"] <= 7, counts


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
def test_false_alarm_rates_are_near_nominal(law):
    reps = 400
    counts = alarms(law, reps)
    print(f"\n{law.__name__:9}", *(f"{name} {count / reps:.2%}" for name, count in counts.items()))
    # nominal 1 % each: more than 11 of 400 has probability 0.001 for one gate, more than 28 for four together 0.002
    assert max(counts[name] for name in GATES) <= 11
    assert counts["any"] <= 28


def asked(law, reps):
    """Count fresh releases that Thresholdout finds above, that fail on the size of the excess, and that it can't certify."""
    counts = {"above": 0, "failed": 0, "inconclusive": 0}
    for rep in range(reps):
        rng = np.random.default_rng([77, rep])
        n = (400, 600, 2000)[rep % 3]
        rows, cut = law(rng, n), int(n * (0.3, 0.5)[rep // 3 % 2])
        evidence = Evidence(distance=search(rows[cut:], rows[:cut], law(rng, 2000 if n < 2000 else 4000)))
        value = training_knowledge(evidence, GatesSpec())
        counts["above"] += answer(f"{law.__name__}{rep}", [], Query(f"q{rep}", value), Terms(4.0, 0.1, 10)).above
        excess = ClosenessCheck().measure(evidence, GatesSpec())[0]
        counts["failed"] += excess.low > excess.threshold
        counts["inconclusive"] += excess.low <= excess.threshold < excess.high
    return counts


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
def test_an_honest_release_rarely_costs_the_holdout_anything(law):
    counts = asked(law, 200)
    print(f"\n{law.__name__:9}", counts, end="")
    assert counts["above"] <= 4
    assert counts["failed"] <= 2


@pytest.mark.parametrize("n", [400, 1046])
def test_a_copy_is_found_by_thresholdout_and_by_the_size_of_its_excess(n):
    rng = np.random.default_rng([78, n])
    rows, cut = normal(rng, n), int(0.3 * n)
    evidence = Evidence(distance=search(rows[cut:], rows[:cut], half_verbatim(rng, rows[cut:], 4000, normal)))
    assert training_knowledge(evidence, GatesSpec()) > 6
    excess = ClosenessCheck().measure(evidence, GatesSpec())[0]
    assert excess.low > excess.threshold


def bootstrap(rng, training, n, law):
    return training[rng.integers(len(training), size=n)]


def noisy_bootstrap(rng, training, n, law):
    return bootstrap(rng, training, n, law) + 0.01 * rng.normal(size=(n, training.shape[1]))


def half_verbatim(rng, training, n, law):
    rows = law(rng, n)
    rows[: n // 2] = bootstrap(rng, training, n // 2, law)
    return rng.permutation(rows)


def one_in_a_thousand(rng, training, n, law):
    rows = law(rng, n)
    rows[: n // 1000] = training[rng.choice(len(training), n // 1000, replace=False)]
    return rng.permutation(rows)


def sprinkle(share, noise):
    def leak(rng, training, n, law):
        rows, some = law(rng, n), int(share * n)
        rows[:some] = training[rng.integers(len(training), size=some)] + noise * rng.normal(size=(some, training.shape[1]))
        return rows

    leak.__name__ = f"{share:.1%} of rows, noise {noise:g}"
    return leak


@pytest.mark.slow
@pytest.mark.parametrize("n", [350, 1046, 2800])
@pytest.mark.parametrize("law", [normal, mixed, discrete])
def test_power_over_leaks(law, n):
    leaks = (bootstrap, noisy_bootstrap, half_verbatim, one_in_a_thousand, sprinkle(0.01, 0.01), sprinkle(0.05, 0.01), sprinkle(0.05, 0.3))
    for leak in leaks:
        caught = dict.fromkeys((*GATES, "any"), 0)
        for rep in range(20):
            rng = np.random.default_rng([23, rep])
            rows = law(rng, n)
            cut = int(0.3 * n)
            bad = failures(search(rows[cut:], rows[:cut], leak(rng, rows[cut:], 10_000, law)))
            for name in bad | ({"any"} if bad else set()):
                caught[name] += 1
        print(f"\n{law.__name__:9} {n:5} {leak.__name__:26}", *(f"{name} {count / 20:.0%}" for name, count in caught.items()), end="")
        if law is not discrete and leak in (bootstrap, noisy_bootstrap, half_verbatim, one_in_a_thousand):
            assert caught["any"] == 20
        if law is discrete and leak in (bootstrap, noisy_bootstrap, half_verbatim):
            assert caught["any"] >= 16


@pytest.mark.parametrize(
    ("law", "leak", "gates"),
    [
        (normal, bootstrap, {"exact_copies", "closeness_z", "dcr_margin"}),
        (normal, noisy_bootstrap, {"near_copies", "closeness_z", "dcr_margin"}),
        (normal, half_verbatim, {"exact_copies", "closeness_z", "dcr_margin"}),
        (normal, one_in_a_thousand, {"exact_copies"}),
        (mixed, bootstrap, {"exact_copies", "closeness_z"}),
        (mixed, one_in_a_thousand, {"exact_copies"}),
        (atoms, bootstrap, {"exact_copies", "closeness_z"}),
        (discrete, bootstrap, {"closeness_z"}),
        (discrete, half_verbatim, {"closeness_z"}),
    ],
)
@pytest.mark.parametrize("n", [400, 1046])
def test_copies_fail(law, leak, gates, n):
    for rep in range(3):
        rng = np.random.default_rng([11, rep])
        rows = law(rng, n)
        cut = int(0.3 * n)
        training, holdout = rows[cut:], rows[:cut]
        assert gates <= failures(search(training, holdout, leak(rng, training, 10_000, law)))


def test_one_percent_of_rows_with_a_little_noise_are_near_copies():
    caught = 0
    for rep in range(10):
        rng = np.random.default_rng([13, rep])
        rows, release = normal(rng, 1046), normal(rng, 10_000)
        training = rows[314:]
        release[:100] = training[rng.choice(len(training), 100, replace=False)] + 0.01 * rng.normal(size=(100, 4))
        caught += "near_copies" in failures(search(training, rows[:314], release))
    assert caught >= 8


def test_copying_seed_and_holdout_alike_shows_in_number():
    rng = np.random.default_rng(17)
    rows = normal(rng, 1000)
    release = rows[rng.integers(1000, size=5000)] + 0.001 * rng.normal(size=(5000, 4))
    assert {"near_copies", "dcr_margin"} <= failures(search(rows[300:], rows[:300], release))


def test_a_faithful_law_that_is_too_narrow_is_no_copy():
    for rep in range(5):
        rng = np.random.default_rng([19, rep])
        rows = normal(rng, 3000)
        bad = failures(search(rows[900:], rows[:900], 0.93 * normal(rng, 10_000)))
        assert not bad & {"near_copies", "exact_copies"}


@pytest.mark.parametrize(("n_training", "n_holdout"), [(500, 99), (99, 500), (10, 10)])
def test_too_small_a_reference_is_refused_without_a_number(n_training, n_holdout):
    rng = np.random.default_rng(1)
    found = search(normal(rng, n_training), normal(rng, n_holdout), normal(rng, 200))
    metrics = DistanceCheck().measure(Evidence(distance=found), GatesSpec())
    assert [metric.name for metric in metrics] == list(GATES)
    assert all(metric.refused and metric.value is None for metric in metrics)
    assert all("min_reference_rows" in metric.detail for metric in metrics)
    assert (
        not any(metric.refused for metric in DistanceCheck().measure(Evidence(distance=found), GatesSpec(min_reference_rows=20)))
        or n_training == 10
    )


def test_a_gate_switched_off_is_measured_all_the_same():
    rng = np.random.default_rng(2)
    gates = GatesSpec(near_copies=False, exact_copies=False, closeness_z=False, dcr_margin=False)
    metrics = DistanceCheck().measure(Evidence(distance=search(normal(rng, 300), normal(rng, 200), normal(rng, 500))), gates)
    gated = [metric for metric in metrics if metric.rule is not None]
    assert [metric.name for metric in gated] == list(GATES)
    assert all(metric.threshold is None and metric.value is not None for metric in gated)


def test_order_of_released_rows_does_not_matter():
    rng = np.random.default_rng(4)
    rows, release = atoms(rng, 500), atoms(rng, 1000)
    found = search(rows[200:], rows[:200], release)
    turned = rng.permutation(1000)
    other = DistanceEvidence(
        found.training[turned],
        found.holdout_to_training[::-1],
        found.pool_training,
        found.pool_holdout,
        found.pool_distances[turned],
        found.pool_rows[turned],
        found.release_pairs,
    )
    here, there = (DistanceCheck().measure(Evidence(distance=part), GatesSpec()) for part in (found, other))
    assert [m.value for m in here] == pytest.approx([m.value for m in there], rel=1e-9)


def test_evidence_of_the_wrong_shape_is_refused():
    ones, rows = np.array([1, 1, 1, 0, 0]), np.zeros((4, 1), dtype=np.int64)
    distances = np.zeros((4, 1))
    with pytest.raises(EstimationError, match="shape"):
        DistanceEvidence(np.zeros(4), np.zeros(2), ones, 1 - ones, np.zeros((4, 2)), rows, 0)
    with pytest.raises(EstimationError, match="length 2"):
        DistanceEvidence(np.zeros(4), np.zeros(3), ones, 1 - ones, distances, rows, 0)
    with pytest.raises(EstimationError, match="below 5"):
        DistanceEvidence(np.zeros(4), np.zeros(2), ones, 1 - ones, distances, rows + 5, 0)
    with pytest.raises(EstimationError, match="must count at least one row each"):
        DistanceEvidence(np.zeros(4), np.zeros(0), ones, 0 * ones, distances, rows, 0)


def test_pool_counts_rows_with_missing_cells():
    def frame(rows):
        values = pd.DataFrame(rows, columns=["w0", "w1"])
        values["w1"] = pd.Categorical(values["w1"], categories=["a", "b"])
        return values

    pool = gather(frame([[1.0, "a"], [np.nan, None], [1.0, "a"], [-0.0, "b"]]), frame([[np.nan, None], [2.0, None], [0.0, "b"]]))
    assert dict(zip(pool.rows["w0"].fillna(-9), zip(pool.training, pool.holdout))) == {-9: (1, 1), 0: (1, 1), 1: (2, 0), 2: (0, 1)}
    assert pool.rows["w1"].dtype == "category"
    assert identical_pairs(frame([[1.0, "a"], [np.nan, None], [1.0, "a"], [np.nan, None], [1.0, "a"]])) == 4


def test_pool_order_is_blind_to_who_is_seed():
    rng = np.random.default_rng(6)
    left, right = (pd.DataFrame(rounded(rng, 50)) for _ in range(2))
    one, other = gather(left, right), gather(right, left)
    pd.testing.assert_frame_equal(one.rows, other.rows)
    assert (one.training == other.holdout).all()


def test_the_check_is_found_by_its_file_name():
    assert isinstance(resolve("check", "dcr"), DistanceCheck)
