"""Releases of more than two arms, and of effects that are not the ATE: targeted, drawn, judged and published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.check import check
from flows.estimate import estimate
from flows.release import describe
from flows.stages.arms import arm_notes
from flows.stages.page import release_page
from tasks.checks.evidence import OverlapEvidence
from tasks.checks.gathering import fidelity_evidence
from tasks.contract.errors import SpecError
from tasks.contract.nuisance import Nuisances
from tasks.contract.roles import Column, TableSchema, pack_field
from tasks.contract.spec import MechanismsSpec, Spec
from tasks.estimation.overlap import target_overlap
from tasks.mechanisms.balanced import balanced_treatment
from tasks.mechanisms.draw import designed, draw_treatment
from tasks.mechanisms.targeting import target
from tasks.mechanisms.targets import Targets, require_carried
from tasks.report.verdict import summary
from tests.arms import GATES_OFF, ROLES, published, trial
from tests.releasing import spec_of, write


def lopsided(rows: int = 2400, seed: int = 5) -> pd.DataFrame:
    """Draw few treated rows beside many controls, most of which are like none of the treated."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=rows).round(3), rng.normal(size=rows).round(3)
    a = (rng.random(rows) < 0.9 / (1.0 + np.exp(2.0 - 2.5 * x)) * (x > -0.6)).astype(int)
    y = (x + 0.5 * z + a * (1.0 + 0.5 * x) + rng.normal(size=rows)).round(3)
    return pd.DataFrame({"x": x, "z": z, "drug": a, "score": y})


def predictions(n: int = 4000, arms: int = 4, seed: int = 0) -> tuple[np.ndarray, Nuisances]:
    rng = np.random.default_rng(seed)
    raw = np.exp(0.7 * rng.normal(size=(n, arms)))
    q = rng.normal(size=(n, arms))
    return rng.normal(size=n), Nuisances(*(raw / raw.sum(axis=1, keepdims=True)).T[1:], *q.T)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """One release of three arms with given shares."""
    folder = tmp_path_factory.mktemp("arms")
    write(trial(), folder / "source.parquet")
    settings = {
        "roles": ROLES,
        "mechanisms__shares": {"none": 0.5, "low": 0.3, "high": 0.2},
        "mechanisms__repeats": 1,
        "release__rows": 1500,
        "release__part_rows": 1500,
        "release__include_nuisances": True,
        "gates": dict.fromkeys(GATES_OFF, False),
    }
    return folder, published(folder, **settings)


def test_a_release_of_three_arms_carries_every_effect(three: tuple[Path, dict[str, Any]]) -> None:
    _, reply = three
    manifest = reply["manifest"]
    assert reply["status"] == "published", [gate for gate in manifest["gates"] if gate["outcome"] != "pass"]
    assert manifest["schema"]["arms"] == ["none", "high", "low"]
    source = {(one["arm"], one["control"]): one for one in manifest["effects"]["source"]["all"] if one["estimand"] == "ate"}
    adaptive = {
        (one["arm"], one["control"]): one
        for one in manifest["effects"]["source"]["all"]
        if (one["estimand"], one["estimator"]) == ("ate", "adaptive")
    }
    built_in = {(one["arm"], one["control"]): one["value"] for one in manifest["effects"]["truth"]["others"] if one["estimand"] == "ate"}
    assert set(built_in) == set(adaptive) == set(source) == {("high", "none"), ("low", "none"), ("low", "high")}
    for pair, value in built_in.items():
        assert abs(value - adaptive[pair]["estimate"]) < 0.25 * adaptive[pair]["se"]
    assert built_in["low", "high"] == pytest.approx(built_in["low", "none"] - built_in["high", "none"], abs=1e-9)
    # old readers find the first arm against the control
    assert manifest["effects"]["truth"]["ate"] == built_in["high", "none"]
    assert manifest["effects"]["source"]["ate"]["estimate"] == adaptive["high", "none"]["estimate"]
    # and readers of today are told which pair it is
    assert "high against none: the first of the pairs" in "\n".join(describe(reply))
    assert "# Effect (ATE, high against none)" in release_page(reply)
    assert next(tile["label"] for tile in summary(manifest)) == "Effect in the real rows, high against none"
    gates = {gate["name"]: gate for gate in manifest["gates"]}
    assert "against" in gates["fidelity"]["detail"]
    assert "none " in gates["min_arm"]["detail"]


def test_released_arms_have_the_shares_asked_for(three: tuple[Path, dict[str, Any]]) -> None:
    _folder, reply = three
    table = pq.read_table(next(Path(reply["uri"].removeprefix("file://")).rglob("*.parquet"))).to_pandas()
    shares = table["arm"].value_counts(normalize=True)
    for label, share in {"none": 0.5, "low": 0.3, "high": 0.2}.items():
        assert abs(shares[label] - share) < 0.04
    assert {"waymint_g1", "waymint_g2", "waymint_q0", "waymint_q1", "waymint_q2"} <= set(table.columns)
    assert (table["waymint_g1"] == 0.2).all()
    assert "high against none" in (Path(reply["uri"].removeprefix("file://")) / "report.html").read_text()


def test_a_release_of_three_arms_is_estimated(three: tuple[Path, dict[str, Any]]) -> None:
    folder, reply = three
    options = {"estimators": ("tmle",), "seed": 7, "learner": "glm", "folds": 2, "repeats": 1, "propensity": None}
    again, _ = estimate(str(folder / "store" / "trial"), {}, options)
    kept = {(one["arm"], one["control"]): one for one in reply["manifest"]["effects"]["release"]["all"] if one["estimator"] == "tmle"}
    combined = {(one.get("arm"), one.get("control")): one for one in again["combined"] if one["estimand"] == "ate"}
    for one in again["estimates"]:
        assert one["estimate"] == pytest.approx(kept[one["arm"], one["control"]]["estimate"], rel=1e-9)
        if one["control"] is not None:
            wider = combined[one["arm"], one["control"]]
            assert wider["se"] > one["se"]
            assert wider["joint_low"] < wider["ci_low"]


def test_the_treated_are_published_where_the_ate_is_refused(tmp_path: Path) -> None:
    write(lopsided(), tmp_path / "source.parquet")
    settings = {"mechanisms__treatment": "fitted", "mechanisms__repeats": 1, "release__rows": 2400, "release__part_rows": 2400}
    off = {"gates": dict.fromkeys(GATES_OFF, False)}
    refused = published(tmp_path, **settings, **off)
    assert refused["status"] == "rejected"
    assert {gate["name"] for gate in refused["manifest"]["gates"] if gate["passed"] is False} >= {"source_overlap"}
    reply = published(tmp_path, "again", mechanisms__targets=["att"], **settings, **off)
    manifest = reply["manifest"]
    assert reply["status"] == "published", [gate for gate in manifest["gates"] if gate["outcome"] != "pass"]
    (built_in,) = (one for one in manifest["effects"]["truth"]["others"] if one["estimand"] == "att")
    att = manifest["effects"]["source"]["att"]
    assert abs(built_in["value"] - att["estimate"]) < 0.5 * att["se"]
    gates = {gate["name"]: gate for gate in manifest["gates"]}
    assert gates["fidelity"]["detail"].startswith("ATT")
    assert "ATT" in gates["source_ess"]["detail"]
    assert any("made for the ATT" in line for line in manifest["warnings"])


@pytest.mark.parametrize("estimand", ["att", "ato"])
def test_targeting_without_the_ate_solves_its_own_score(estimand: str) -> None:
    _, nuisances = predictions(arms=3)
    rng = np.random.default_rng(1)
    edges = np.cumsum(nuisances.propensities, axis=0)
    a = (rng.random(4000) >= edges[:-1]).sum(axis=0).astype(np.int8)
    y = nuisances.observed(a) + 0.5 * (a == 1) + rng.normal(size=4000)
    targets = Targets(att=estimand == "att", ato=estimand == "ato", ate=False, arms=3)
    frame = pd.DataFrame(index=range(4000))
    directions = targets.directions(targets.members(frame), nuisances, 0.01)
    assert directions is not None
    assert directions.shape == (4000, targets.count)
    moved = target(a, y, nuisances, "continuous", 0.01, None, "adaptive", directions, None, main=False)
    p = nuisances.propensities
    for arm, star in enumerate(moved.outcomes):
        for direction in directions.T:
            # H of an arm is b / g of that arm
            assert abs(np.mean((a == arm) * direction / p[arm] * (y - star))) < 1e-6
    # no direction is the plain mean's: that score is not solved
    assert abs(np.mean((a == 1) / p[1] * (y - moved.outcomes[1]))) > 1e-4


def test_a_draw_of_several_arms_has_the_designs_chances() -> None:
    _, nuisances = predictions()
    rng = np.random.default_rng(2)
    labels = ("c", "d", "e", "f")
    trial_ = designed(nuisances, MechanismsSpec(shares={"c": 0.4, "d": 0.3, "e": 0.2, "f": 0.1}), labels)
    assert np.bincount(draw_treatment(trial_, rng)) / 4000 == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.03)
    equal = designed(nuisances, MechanismsSpec(), labels)
    assert [float(p[0]) for p in equal.propensities] == pytest.approx([0.25] * 4)
    assert designed(nuisances, MechanismsSpec(treatment="fitted"), labels) is nuisances
    relieved = designed(nuisances, MechanismsSpec(treatment="tilted", tilt=0.0), labels)
    assert np.column_stack(relieved.propensities) == pytest.approx(np.full((4000, 4), 0.25))
    same = designed(nuisances, MechanismsSpec(treatment="tilted", tilt=1.0), labels)
    assert np.column_stack(same.propensities) == pytest.approx(np.column_stack(nuisances.propensities))


def test_a_balanced_draw_of_several_arms_has_less_variance() -> None:
    x, nuisances = predictions(600)
    p = np.column_stack(nuisances.propensities)
    sums, plain, hits = [], [], np.zeros((600, 4))
    for seed in range(40):
        a = balanced_treatment(nuisances, np.random.default_rng(seed), x[:, None])
        b = draw_treatment(nuisances, np.random.default_rng(seed))
        hits += np.eye(4)[a]
        for draw, found in ((a, sums), (b, plain)):
            found.append([np.sum((draw == arm) - p[:, arm]) for arm in range(4)])
    assert np.std(sums) < 0.3 * np.std(plain)
    # each row alone has the design's chances
    assert abs(np.mean(hits / 40 - p)) < 1e-6
    assert np.mean((hits / 40 - p) ** 2) == pytest.approx(np.mean(p * (1 - p)) / 40, rel=0.15)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mechanisms__probability": 0.3}, "probability of mechanisms must be left out where the treatment has 3 arms"),
        ({"mechanisms__propensity": 0.5}, "propensity of mechanisms must be a chance for each arm"),
        ({"mechanisms__propensity": {"none": 0.5, "some": 0.5}}, "propensity of mechanisms must name every label of 'arm'"),
        ({"mechanisms__shares": {"none": 0.5, "some": 0.5}}, "shares of mechanisms must name every label of 'arm'"),
        ({"mechanisms__targets": ["att"]}, "targets of mechanisms must be 'ate' where the design is randomized; got 'att'"),
    ],
)
def test_a_check_names_what_several_arms_do_not_allow(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    source = write(trial(200), tmp_path / "source.parquet")
    reply, _ = check(Spec.model_validate(spec_of(source, tmp_path / "store", roles=ROLES, **settings)))
    assert reply["code"] == 2
    assert any(message in finding["message"] for finding in reply["findings"]), reply["findings"]


def test_two_arms_of_several_are_kept_by_naming_the_others_as_missing(tmp_path: Path) -> None:
    source = write(trial(900), tmp_path / "source.parquet")
    two = {"roles": ROLES | {"missing_treatment": "drop"}, "source__missing_values": {"arm": ["high"]}}
    for settings in ({"roles": ROLES}, two):
        reply, _ = check(Spec.model_validate(spec_of(source, tmp_path / "store", **settings)), "augment")
        assert reply["code"] == 0, reply["findings"]


def test_a_sample_that_models_of_several_arms_are_fitted_on_is_named() -> None:
    arms = [Column(id="a", name="arm", role="treatment", kind="categorical", field=pack_field(pa.field("arm", pa.string())))]
    values = {"columns": arms, "treated": "b", "control": "a", "arms": ("a", "b", "c"), "outcome_kind": "continuous"}
    spec = Spec.model_validate(spec_of("table.csv", "store", mechanisms__fit_rows=1000))
    assert arm_notes(TableSchema(**values, rows=2000), spec) == ()
    (line,) = arm_notes(TableSchema(**values, rows=2001), spec)
    assert "hash samples of 1,000 rows" in line
    assert arm_notes(TableSchema(**{**values, "arms": ("a", "b")}, rows=2001), spec) == ()


def test_subgroups_need_the_ate() -> None:
    values = spec_of("table.csv", "store", mechanisms__treatment="fitted", mechanisms__targets=["att"])
    require_carried(Spec.model_validate(values))
    values["roles"]["subgroups"] = ["sex"]
    with pytest.raises(SpecError, match="must hold 'ate'"):
        require_carried(Spec.model_validate(values))


def test_overlap_that_the_treated_need() -> None:
    g = np.array([0.5, 0.2, 0.001, 0.001, 0.999, 0.5])
    a = np.array([1, 1, 0, 0, 1, 0], dtype=np.int8)
    nuisances = Nuisances(g, np.zeros(6), np.zeros(6))
    found = target_overlap(a, nuisances, 0.01, "att")
    # one of three treated rows has no like among controls; controls without a like among the treated don't count
    assert found.outside == pytest.approx(1 / 3)
    odds = np.array([0.001 / 0.999, 0.001 / 0.999, 1.0])
    assert found.ess == pytest.approx(odds.sum() ** 2 / np.sum(odds**2) / 3)
    assert target_overlap(a, nuisances, 0.01, "ato").outside == 0.0


def test_the_worst_pair_is_judged() -> None:
    def record(shift: float) -> dict[str, Any]:
        pairs = [("b", "a", 1.0), ("c", "a", 2.0 + shift), ("c", "b", 1.0)]
        return {
            "estimates": [
                {"estimand": "ate", "estimator": "tmle", "arm": arm, "control": control, "estimate": value, "se": 0.1}
                for arm, control, value in pairs
            ]
        }

    found = fidelity_evidence(record(0.0), record(0.5), {None: {}}, "tmle")
    assert found.name == "ATE of 'c' against 'a'"
    assert found.z == pytest.approx(0.5 / np.hypot(0.1, 0.1))
    assert found.among == 3


def test_evidence_of_overlap_by_arm() -> None:
    arms = [{"arm": "a", "rows": 50, "ess": 0.9}, {"arm": "b", "rows": 20, "ess": 0.3}, {"arm": "c", "rows": 30, "ess": 0.8}]
    record = {"n": 100, "bound": 0.05, "outside": 0.02, "largest_weight": 0.1, "arms": arms}
    found = OverlapEvidence.of(record)
    assert (found.treated, found.control, found.ess_treated) == (20, 50, 0.3)
    of_target = OverlapEvidence.of(record | {"of_target": {"estimand": "att", "outside": 0.01, "ess": 0.5}})
    assert (of_target.outside, of_target.ess, of_target.estimand) == (0.01, 0.5, "att")
