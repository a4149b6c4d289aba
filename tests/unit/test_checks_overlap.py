import numpy as np
import pytest
from scipy.special import ndtr

from tasks.checks.evidence import CalibrationEvidence, Evidence, FidelityEvidence, OverlapEvidence
from tasks.checks.methods.calibration import CalibrationCheck
from tasks.checks.methods.fidelity import FidelityCheck
from tasks.checks.methods.overlap import OverlapCheck
from tasks.contract.spec import GatesSpec
from tasks.estimation.overlap import overlap
from tasks.numerics.normal import Z95, largest_of


def draw(scale, n=4000, seed=0):
    rng = np.random.default_rng(seed)
    g = 1 / (1 + np.exp(-scale * rng.normal(size=n)))
    return g, (rng.random(n) < g).astype(np.int8)


def measure_overlap(g, a, bound):
    """The road of a run: the estimation step measures, the checks read its record."""
    return OverlapEvidence.of(overlap(a, g, bound).as_dict())


def by_name(metrics):
    return {metric.name: metric for metric in metrics}


def test_measures_by_hand():
    g = np.array([0.5, 0.2, 0.04, 0.96, 0.8])
    a = np.array([1, 1, 0, 1, 0], dtype=np.int8)
    found = measure_overlap(g, a, 0.05)
    assert found.outside == pytest.approx(2 / 5)
    assert (found.treated, found.control, found.rows) == (3, 2, 5)
    treated, control = np.array([2, 5, 1 / 0.95]), np.array([1 / 0.95, 5])
    assert found.ess_treated == pytest.approx(treated.sum() ** 2 / (3 * (treated**2).sum()))
    assert found.ess_control == pytest.approx(control.sum() ** 2 / (2 * (control**2).sum()))
    assert found.largest_weight == pytest.approx(5 / control.sum())


def test_randomised_arms_overlap_fully():
    g = np.full(500, 0.5)
    found = measure_overlap(g, (np.arange(500) % 2).astype(np.int8), 0.1)
    assert (found.outside, found.ess_treated, found.ess_control) == (0.0, 1.0, 1.0)
    assert found.slope is None  # g does not vary


def test_good_overlap_passes_and_poor_overlap_fails():
    gates = GatesSpec()
    good, poor = measure_overlap(*draw(0.5), 0.05), measure_overlap(*draw(6.0), 0.05)
    fine, bad = (by_name(OverlapCheck().measure(Evidence(source=part, release=part), gates)) for part in (good, poor))
    for name in ("source_overlap", "release_overlap"):
        assert fine[name].value <= fine[name].threshold < bad[name].value
    # truncation at 0.05 caps the weights at 20; where it is weaker, a few rows carry their arm
    sparse = by_name(OverlapCheck().measure(Evidence(source=measure_overlap(*draw(6.0), 0.001)), gates))
    assert fine["source_ess"].value >= fine["source_ess"].threshold > sparse["source_ess"].value
    assert fine["min_arm"].value >= 50


def test_only_what_was_measured_is_judged():
    found = measure_overlap(*draw(0.5), 0.05)
    assert "source_overlap" not in by_name(OverlapCheck().measure(Evidence(release=found), GatesSpec()))
    assert OverlapCheck().measure(Evidence(), GatesSpec()) == []


def fidelity(**changes):
    values = {"ate_source": 2.0, "se_source": 0.3, "ate_release": 2.1, "se_release": 0.4} | changes
    return FidelityCheck().measure(Evidence(fidelity=FidelityEvidence(**values)), GatesSpec())


def test_fidelity_is_the_gap_in_combined_errors():
    metrics = by_name(fidelity(truth=2.05, truth_se=0.01))
    assert metrics["fidelity"].value == pytest.approx(0.1 / 0.5)
    assert (metrics["effect_gap"].low, metrics["effect_gap"].high) == pytest.approx((0.1 - 0.5 * Z95, 0.1 + 0.5 * Z95))
    assert metrics["truth_gap"].value == pytest.approx(0.05)
    assert by_name(fidelity(ate_release=0.0))["fidelity"].value > 2.58


@pytest.mark.parametrize(
    "fault", [{"se_source": 0.0}, {"se_release": float("nan")}, {"ate_release": float("inf")}, {"ate_source": float("nan")}]
)
def test_fidelity_of_no_number_is_refused(fault):
    (metric,) = fidelity(**fault)
    assert metric.refused
    assert metric.value is None


def test_fidelity_rejects_at_the_nominal_rate():
    rng = np.random.default_rng(9)
    source, release = rng.normal(0, 0.3, 4000), rng.normal(0, 0.4, 4000)
    share = np.mean([fidelity(ate_source=s, ate_release=r)[0].value > 2.58 for s, r in zip(source, release)])
    assert share == pytest.approx(0.01, abs=0.006)


@pytest.mark.parametrize("arms", [3, 4, 8])
def test_fidelity_of_the_worst_pair_rejects_no_more_often(arms):
    rng = np.random.default_rng(arms)
    source, release = rng.normal(0, 0.3, (4000, arms)), rng.normal(0, 0.4, (4000, arms))
    gaps, pairs, root = np.ptp(release - source, axis=1), arms * (arms - 1) // 2, np.sqrt(2)
    values = [fidelity(ate_source=0.0, ate_release=gap, se_source=0.3 * root, se_release=0.4 * root, among=pairs)[0].value for gap in gaps]
    assert 0.003 < np.mean(np.array(values) > 2.58) < 0.012


def test_the_largest_of_one_is_itself_and_far_tails_stay_finite():
    assert largest_of(1.7, 1) == 1.7
    assert 1 - (1 - 2 * ndtr(-3.0)) ** 6 == pytest.approx(2 * ndtr(-largest_of(3.0, 6)))
    assert 37.9 < largest_of(38.0, 28) < 38.0
    assert largest_of(0.1, 28) == pytest.approx(0.0, abs=1e-6)


def calibration(relaxed):
    return by_name(CalibrationCheck().measure(Evidence(calibration=CalibrationEvidence(relaxed, 0.4, 0.01)), GatesSpec()))


def test_a_pool_that_could_not_be_balanced_fails():
    fine, bad = calibration(0.0)["calibration"], calibration(0.4)["calibration"]
    assert fine.value <= fine.threshold < bad.value
    assert CalibrationCheck().measure(Evidence(), GatesSpec()) == []


def test_what_is_shown_of_each_table_written_out():
    one = OverlapEvidence(100, 0.05, 0.1, 30, 70, 0.5, 0.4, 0.2, 0.9)
    other = OverlapEvidence(100, 0.05, 0.3, 60, 40, 0.6, 0.7, 0.1)
    found = [
        (metric.name, metric.value, metric.detail) for metric in OverlapCheck().measure(Evidence(source=one, release=other), GatesSpec())
    ]
    share, outside = "share of its arm's weights that one row carries", "share of 100 rows with g outside [0.05, 0.95]"
    assert found == [
        ("source_overlap", 0.1, outside),
        ("source_ess", 0.4, "effective share of the control arm; treated 0.500, control 0.400"),
        ("min_arm", 30.0, "30 treated and 70 control rows"),
        ("source_largest_weight", 0.2, share),
        ("source_calibration_slope", 0.9, "of g: 1 where calibrated, below 1 where too extreme"),
        ("release_overlap", 0.3, outside),
        ("release_largest_weight", 0.1, share),
        ("release_ess", 0.6, "smallest effective share of an arm"),
    ]
