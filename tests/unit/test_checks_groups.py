"""Closeness in groups of columns: quiet where nothing leaks, loud where rows are copied in part."""

import itertools

import numpy as np
import pandas as pd
import pytest

from tasks.checks.evidence import DistanceEvidence, Evidence, GroupEvidence
from tasks.checks.groups import associations, column_groups
from tasks.checks.joint import RELABELLINGS, joint_closeness, single_counts
from tasks.checks.methods.audit import FIGURES, AuditCheck, attacks_of
from tasks.checks.methods.closeness import ClosenessCheck
from tasks.checks.pool import distinct
from tasks.checks.reuse import training_knowledge
from tasks.contract.errors import EstimationError
from tasks.contract.rng import rng_for
from tasks.contract.spec import GatesSpec
from tasks.distance import closest, fit_scale

LOADINGS = np.random.default_rng(99).normal(size=(4, 20))


def law(rng, n, columns=20):
    """Draw correlated rows: three fifths of the columns numeric, the others of two to five levels."""
    x = rng.normal(size=(n, 4)) @ LOADINGS[:, :columns] + rng.normal(size=(n, columns))
    cut = round(0.6 * columns)
    frame = pd.DataFrame(x[:, :cut], columns=[f"w{i}" for i in range(cut)])
    for i in range(cut, columns):
        levels = 2 + i % 4
        codes = np.clip(np.floor((x[:, i] / np.sqrt((LOADINGS[:, i] ** 2).sum() + 1) + 1.5) / 3 * levels), 0, levels - 1)
        frame[f"w{i}"] = pd.Categorical.from_codes(codes.astype(int), categories=[str(level) for level in range(levels)])
    return frame


def copied(rng, training, n, keep, fixed):
    """Draw rows that keep some columns of a training row: the same for all rows, or others for each."""
    rows, d = law(rng, n, training.shape[1]), training.shape[1]
    source = training.iloc[rng.integers(len(training), size=n)].reset_index(drop=True)
    mask = np.zeros((n, d), dtype=bool)
    if fixed:
        mask[:, rng.permutation(d)[:keep]] = True
    else:
        mask = np.argsort(rng.random((n, d)), axis=1) < keep
    for place, name in enumerate(rows.columns):
        rows[name] = rows[name].where(~mask[:, place], source[name])
    return rows


def evidence_of(training, holdout, release, state=1):
    both = pd.concat([training, holdout], ignore_index=True)
    groups, counts = column_groups(distinct(both)[0], rng_for(state, "column groups")), []
    for group in groups:
        names = list(group.columns)
        rows, of = distinct(both[names])
        near, at = closest(release[names], rows, k=min(4, len(rows)), scale=fit_scale([training[names], holdout[names]]))
        counts.append(single_counts(near, at, of))
    return GroupEvidence(
        tuple(group.name for group in groups),
        tuple(group.columns for group in groups),
        np.column_stack(counts),
        np.arange(len(both)) < len(training),
        state,
    )


def p_of(found, margin=0.05):
    return joint_closeness(found.counts, found.training, margin, np.random.default_rng(found.state)).p


def split(rng, n, columns=20):
    rows, cut = law(rng, n, columns), int(0.3 * n)
    return rows.iloc[cut:].reset_index(drop=True), rows.iloc[:cut].reset_index(drop=True)


def test_associations_are_those_of_the_columns():
    rng = np.random.default_rng(3)
    x = rng.normal(size=2000)
    frame = pd.DataFrame({"x": x, "same": -2 * x, "near": x + 0.5 * rng.normal(size=2000), "other": rng.normal(size=2000)})
    frame["sign"] = pd.Categorical(np.where(x > 0, "plus", "minus"), categories=["minus", "plus"])
    frame.loc[:99, "other"] = np.nan
    found = associations(frame)
    assert found.shape == (5, 5)
    assert np.allclose(found, found.T)
    assert found[0, 1] > 0.99
    assert 0.3 < found[0, 2] < 0.9
    assert found[0, 4] > 0.8
    assert found[3, [0, 1, 2, 4]].max() < 0.06


def test_cramers_v_is_the_one_of_the_contingency_table():
    rng = np.random.default_rng(4)
    left, right = rng.integers(0, 3, 500), rng.integers(0, 2, 500)
    right = np.where(rng.random(500) < 0.6, left % 2, right)
    frame = pd.DataFrame({"l": pd.Categorical(left.astype(str)), "r": pd.Categorical(right.astype(str))})
    table = pd.crosstab(left, right).to_numpy(dtype=float)
    expected = np.outer(table.sum(1), table.sum(0)) / 500
    phi = max(0.0, ((table - expected) ** 2 / expected).sum() / 500 - 2 * 1 / 499)
    corrected = min(3 - 4 / 499, 2 - 1 / 499)
    assert associations(frame)[0, 1] == pytest.approx(np.sqrt(phi / (corrected - 1)), abs=1e-5)


def test_groups_hold_what_hangs_together_and_what_chance_brings():
    rng = np.random.default_rng(5)
    block = [rng.normal(size=(1500, 1)) + 0.3 * rng.normal(size=(1500, 4)) for _ in range(3)]
    frame = pd.DataFrame(np.hstack(block), columns=[f"w{i}" for i in range(12)])
    groups = column_groups(frame, np.random.default_rng(1))
    assert groups[0] == ("all", tuple(frame.columns))
    together = {group.columns for group in groups if group.name.startswith("correlated")}
    assert together == {tuple(f"w{i}" for i in range(start, start + 4)) for start in (0, 4, 8)}
    assert [len(group.columns) for group in groups if group.name.startswith("random")] == [4, 4, 4]
    assert column_groups(frame, np.random.default_rng(1)) == groups
    assert [group.name for group in column_groups(frame[["w0", "w1", "w2"]], rng)] == ["all"]


def test_rows_that_are_alike_are_not_counted():
    near, at = np.array([[0.1, 0.4], [0.2, 0.2], [0.3, 0.9]]), np.array([[0, 1], [1, 2], [2, 0]])
    # distinct rows 0 and 2 are one pool row each, distinct row 1 is two
    assert single_counts(near, at, np.array([0, 1, 1, 2])).tolist() == pytest.approx([1.0, 0.0, 0.0, 1 / 3 + 1])


def test_p_is_that_of_all_relabellings():
    counts, training = np.array([[5.0, 0], [0, 1], [1, 3], [2, 2], [0, 0], [3, 1], [1, 6]]), np.array([1, 1, 0, 1, 0, 1, 0], dtype=bool)

    def largest(chosen):
        label = np.isin(np.arange(7), chosen)
        centred = counts - counts.mean(axis=0)
        sd = np.sqrt(4 * 3 / (7 * 6) * (centred**2).sum(axis=0))
        return (centred[label].sum(axis=0) / sd).max()

    every = [largest(chosen) for chosen in itertools.combinations(range(7), 4)]
    exact = np.mean(np.array(every) >= largest(np.flatnonzero(training)) - 1e-12)
    found = joint_closeness(counts, training, 0.0, np.random.default_rng(1))
    assert found.p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / RELABELLINGS) + 0.002)
    assert found.z[found.worst] == pytest.approx(largest(np.flatnonzero(training)))
    # labels the other way round: the smaller side is that of the training rows
    assert joint_closeness(counts, ~training, 0.0, np.random.default_rng(1)).z == pytest.approx([-z for z in found.z])


def test_no_single_row_is_nothing_to_judge_on():
    found = joint_closeness(np.zeros((10, 2)), np.arange(10) < 6, 0.05, np.random.default_rng(1))
    assert (found.p, found.z) == (1.0, (0.0, 0.0))


def test_null_is_uniform_under_any_release_law():
    """Counts that know nothing of the labels, however uneven: p is uniform."""
    rng, p = np.random.default_rng(8), []
    for _ in range(100):
        counts = rng.pareto(1.5, size=(60, 3)) * (rng.random((60, 3)) < 0.5)
        p.append(joint_closeness(counts, rng.permutation(60) < 42, 0.0, rng).p)
    # of 100, 13 or more have probability 0.001 at a nominal 5 %
    assert np.sum(np.array(p) <= 0.05) <= 12
    assert np.mean(p) == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize("fixed", [True, False])
def test_copying_14_of_20_columns_is_caught_and_fresh_rows_are_not(fixed):
    rng = np.random.default_rng(11)
    training, holdout = split(rng, 900)
    assert p_of(evidence_of(training, holdout, copied(rng, training, 1200, 14, fixed))) <= 0.01
    assert p_of(evidence_of(training, holdout, law(rng, 1200))) > 0.01


@pytest.mark.slow
def test_false_alarms_are_near_nominal():
    found = []
    for rep in range(200):
        rng = np.random.default_rng([31, rep])
        training, holdout = split(rng, 600, 12)
        found.append(p_of(evidence_of(training, holdout, law(rng, 1000, 12), rep), 0.0))
    print(f"\np <= 0.01 in {np.mean(np.array(found) <= 0.01):.1%}, p <= 0.05 in {np.mean(np.array(found) <= 0.05):.1%}", end="")
    # nominal 1 %: 7 or more of 200 have probability 0.004; nominal 5 %: 20 or more 0.002
    assert np.sum(np.array(found) <= 0.01) <= 6
    assert np.sum(np.array(found) <= 0.05) <= 19


@pytest.mark.slow
@pytest.mark.parametrize(("keep", "fixed"), [(14, True), (14, False), (10, True), (10, False)])
def test_power_against_rows_copied_in_part(keep, fixed):
    found, whole = [], []
    for rep in range(20):
        rng = np.random.default_rng([32, rep])
        training, holdout = split(rng, 1000)
        evidence = evidence_of(training, holdout, copied(rng, training, 2000, keep, fixed), rep)
        found.append(p_of(evidence) <= 0.01)
        alone = joint_closeness(evidence.counts[:, :1], evidence.training, 0.05, rng).z[0]
        whole.append(alone > 2.33)
    print(f"\nkeep {keep} of 20, {'the same' if fixed else 'others'} in each row:", end=" ")
    print(f"{np.mean(found):.0%}; all columns alone {np.mean(whole):.0%}", end="")
    if keep == 14:
        assert all(found)


def distance_evidence(training, holdout, release):
    both = pd.concat([training, holdout], ignore_index=True)
    scale = fit_scale([training, holdout])
    rows, of = distinct(both)
    near, at = closest(release, rows, k=4, scale=scale)
    return DistanceEvidence(
        closest(release, training, scale=scale)[0][:, 0],
        closest(holdout, training, scale=scale)[0][:, 0],
        np.bincount(of[: len(training)], minlength=len(rows)),
        np.bincount(of[len(training) :], minlength=len(rows)),
        near,
        at,
        0,
    )


def test_the_check_names_the_columns_and_the_holdout_is_asked_by_the_largest_z():
    rng = np.random.default_rng(12)
    training, holdout = split(rng, 900, 8)
    release = law(rng, 1000, 8)
    some = training.iloc[rng.integers(len(training), size=1000)].reset_index(drop=True)
    for name in ("w0", "w1", "w2"):
        release[name] = some[name]
    near, groups = distance_evidence(training, holdout, release), evidence_of(training, holdout, release)
    odd = GroupEvidence(("all", "mine"), (tuple(training.columns), ("w0", "w1", "w2")), np.empty((900, 2)), groups.training, 1)
    names = ["w0", "w1", "w2"]
    rows, of = distinct(pd.concat([training, holdout], ignore_index=True)[names])
    found = closest(release[names], rows, k=4, scale=fit_scale([training[names], holdout[names]]))
    odd.counts[:] = np.column_stack([groups.counts[:, 0], single_counts(*found, of)])
    metrics = {metric.name: metric for metric in ClosenessCheck().measure(Evidence(distance=near, groups=odd), GatesSpec())}
    assert metrics["closeness_groups"].value < 0.01
    assert "'mine' (w0, w1, w2)" in metrics["closeness_groups"].detail
    excess = metrics["closeness_excess"]
    assert excess.decision == "interval"
    assert excess.low < excess.value < excess.high
    whole = training_knowledge(Evidence(distance=near), GatesSpec())
    parts = training_knowledge(Evidence(distance=near, groups=odd), GatesSpec())
    assert parts > 4 > whole
    assert training_knowledge(Evidence(distance=near), GatesSpec(min_reference_rows=1000)) is None


def test_group_evidence_of_the_wrong_shape_is_refused():
    with pytest.raises(EstimationError, match="shape"):
        GroupEvidence(("all",), (("w0",),), np.zeros((5, 2)), np.ones(5, dtype=bool), 1)


def finding(attack, statistic, value, low, high):
    numbers = {"value": value, "ci_low": low, "ci_high": high, "excess": value, "excess_low": low, "excess_high": high}
    return {"attack": attack, "statistic": statistic, "control": 0.01, "baseline": 0.01, **numbers}


def test_gates_on_attacks_judge_the_loudest_statistic():
    findings = [
        finding("membership", "tpr_at_0.01_fpr_distance", 0.01, 0.005, 0.02),
        finding("membership", "tpr_at_0.01_fpr_density_ratio", 0.3, 0.25, 0.35),
        finding("membership", "tpr_at_0.001_fpr_density_ratio", 0.9, 0.8, 1.0),
        finding("membership", "auc_distance", 0.5, 0.45, 0.55),
        finding("reconstruction", "accuracy_program", 0.02, -0.03, 0.08),
        finding("reconstruction", "accuracy_forest", None, None, None),
    ]
    gates = GatesSpec(membership_tpr=0.05, membership_auc=0.6, attribute_advantage=0.1)
    assert attacks_of(gates) == ("membership", "reconstruction")
    assert attacks_of(GatesSpec()) == ()
    metrics = {metric.name: metric for metric in AuditCheck().measure(Evidence(audit=tuple(findings)), gates)}
    assert list(metrics) == ["membership_tpr", "membership_auc", "attribute_advantage"]
    assert (metrics["membership_tpr"].value, metrics["membership_tpr"].low) == (0.3, 0.25)
    assert metrics["membership_auc"].high == 0.55
    # one statistic has no interval: none can be certified
    assert metrics["attribute_advantage"].high is None
    assert all(metric.decision == "interval" for metric in metrics.values())
    assert AuditCheck().measure(Evidence(), gates) == []
    nothing = AuditCheck().measure(Evidence(audit=()), gates)
    assert all(metric.value is None and not metric.refused for metric in nothing)


def test_every_gate_on_an_attack_is_off_by_default_and_in_the_spec():
    assert all(getattr(GatesSpec(), name) is False for name in FIGURES)
