"""Mechanism leakage: coins that were planted come back from leaves of single rows, and from no others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from tasks.audit.canaries import isolated, plant
from tasks.audit.case import Case, Outcome, Rows
from tasks.audit.methods import mechanism
from tasks.contract.errors import SpecError
from tasks.contract.roles import ColumnRoles
from tests.leaky.deep_trees import numbers
from tests.leaky.world import SCORE, covariates, described


def source(n: int, binary: bool, rng: np.random.Generator) -> pd.DataFrame:
    table = covariates(n, rng)
    table["drug"] = np.where(rng.random(n) < 0.5, "new", "old")
    score = table["w0"] + (table["drug"] == "new") + rng.normal(size=n)
    return table.assign(score=(score > 0.5).astype(int) if binary else score.round(3))


def roles_of(table: pd.DataFrame) -> ColumnRoles:
    names = tuple(name for name in table if name not in ("drug", "score"))
    return ColumnRoles(treatment="drug", outcome="score", covariates=names, treated="new")


def rows(table: pd.DataFrame) -> Rows:
    names = list(roles_of(table).covariates)
    return Rows(
        table[names].reset_index(drop=True), (table["drug"] == "new").to_numpy().astype(np.int8), table["score"].to_numpy(dtype=float)
    )


def attacked(min_leaf: int, binary: bool, seed: int, copied: bool = False, n: int = 500, released: int = 1500, count: int = 50):
    """Treatment and outcome by forests fitted on all rows of a planted table; covariates fresh, or the table's own."""
    rng = np.random.default_rng([seed, int(binary)])
    table = source(n, binary, rng)
    planted = plant(table, roles_of(table), count, rng)
    own = rows(planted.table)
    w = own.take(rng.integers(n, size=released)).covariates if copied else covariates(released, rng)
    forest = {"n_estimators": 30, "min_samples_leaf": min_leaf, "random_state": 0}
    g = RandomForestRegressor(**forest).fit(numbers(own.covariates), own.treatment).predict(numbers(w))
    a = (rng.random(released) < g).astype(np.int8)
    x = np.column_stack([numbers(own.covariates), own.treatment])
    q = RandomForestRegressor(**forest).fit(x, own.outcome).predict(np.column_stack([numbers(w), a]))
    y = (rng.random(released) < q).astype(float) if binary else q + rng.normal(0, 0.5, released)
    held = np.arange(n) % 3 == 0
    canaries = rows(planted.canaries)
    outcomes = (Outcome("y", "score", "binary" if binary else "continuous"),)
    given = Case(described(w), outcomes, "hybrid", own.take(~held), own.take(held), Rows(w, a, y), n, "forest", {}, canaries)
    return {found.statistic: found for found in mechanism.build(mechanism.Params(trees=40)).run(given, rng)}


@pytest.mark.parametrize("binary", [False, True])
def test_single_row_leaves_give_coins_away_and_leaves_of_twenty_do_not(binary: bool) -> None:
    deep, shallow = attacked(1, binary, 0, copied=True), attacked(20, binary, 0, copied=True)
    for column in ("a", "y"):
        name = f"canary_{column}_forest"
        assert deep[name].verdict == "leak found"
        assert deep[name].value > 0.8
        assert shallow[name].value < 0.7
        assert shallow[name].verdict != "leak found"
        assert deep[name].baseline == 0.5


def test_fresh_covariates_alone_do_not_protect_the_coins() -> None:
    found = [attacked(1, False, seed) for seed in range(1, 4)]
    # 150 coins of either kind: a standard error of 0.041
    assert np.mean([each[f"canary_{column}_forest"].value for each in found for column in ("a", "y")]) > 0.58
    controls = [each[name].control for each in found for name in each if name.startswith("canary")]
    assert abs(np.mean(controls) - 0.5) < 0.08


def test_in_mode_hybrid_the_likelihood_alone_clears_nobody() -> None:
    found = attacked(20, False, 9)["auc_likelihood"]
    assert found.verdict == "inconclusive"
    assert "plant canaries" in found.detail


def test_one_released_arm_is_no_crash() -> None:
    rng = np.random.default_rng(0)
    own = rows(source(200, True, rng))
    one = Rows(own.covariates, np.ones(200, dtype=np.int8), np.zeros(200))
    given = Case(described(own.covariates), (Outcome("y", "score", "binary"),), "full", own, own, one, 200, "forest", {})
    assert len(mechanism.build(mechanism.Params(trees=10)).run(given, rng)) == 1


def test_canaries_are_the_most_isolated_rows_and_nothing_else_changes() -> None:
    rng = np.random.default_rng(1)
    table = source(300, False, rng).set_axis(np.repeat(np.arange(150), 2))
    table = table.assign(drug=table["drug"].astype("category"), score=table["score"].astype("float32"))
    table.iloc[7, 0] = 50.0
    planted = plant(table, roles_of(table), 30, rng)
    names = list(roles_of(table).covariates)
    pd.testing.assert_frame_equal(planted.table[names], table[names])
    assert planted.table.dtypes.equals(table.dtypes)
    changed = np.flatnonzero(((planted.table["drug"] != table["drug"]) | (planted.table["score"] != table["score"])).to_numpy())
    assert len(changed) > 15
    where = isolated(table[names], 30)
    assert 7 in where
    assert set(changed) <= set(where.tolist())
    pd.testing.assert_frame_equal(planted.canaries, planted.table.iloc[where].reset_index(drop=True))
    # the two sides are values of the column, and fair
    assert planted.canaries["score"].nunique() == 2
    assert set(planted.canaries["score"]) <= set(table["score"])
    many = [plant(table, roles_of(table), 30, np.random.default_rng(seed)).canaries for seed in range(40)]
    for column, side in (("drug", "new"), ("score", planted.canaries["score"].max())):
        # 1,200 coins: four standard errors of 0.0144
        assert abs(np.mean([(each[column] == side).mean() for each in many]) - 0.5) < 0.06


@pytest.mark.parametrize(
    ("count", "roles", "message"),
    [
        (0, {}, "from 1 to a tenth of the 100 rows; got 0"),
        (11, {}, "got 11"),
        (5, {"treated": "newest"}, "one of them the treated"),
        (5, {"covariates": ("w0", "w99")}, "it lacks w99"),
    ],
)
def test_canaries_that_can_not_be_planted(count: int, roles: dict[str, object], message: str) -> None:
    rng = np.random.default_rng(2)
    table = source(100, False, rng)
    with pytest.raises(SpecError, match=message):
        plant(table, roles_of(table).model_copy(update=roles), count, rng)


@pytest.mark.parametrize("min_leaf", [1, 40])
def test_the_arm_of_a_planted_row_is_one_of_three(min_leaf: int) -> None:
    """Chance is a third; arms drawn from leaves of single rows are guessed far above it, those of large leaves are not."""
    rng = np.random.default_rng(min_leaf)
    n, released, names = 500, 1500, ("old", "new", "newest")
    table = source(n, False, rng)
    table["drug"] = rng.choice(names, n)
    roles = roles_of(table).model_copy(update={"control": "old"})
    planted = plant(table, roles, 50, rng)
    assert set(planted.canaries["drug"]) == set(names)

    def numbered(frame: pd.DataFrame) -> Rows:
        w = frame[list(roles.covariates)].reset_index(drop=True)
        return Rows(w, frame["drug"].map(names.index).to_numpy().astype(np.int8), frame["score"].to_numpy(dtype=float), 3)

    own = numbered(planted.table)
    w = own.take(rng.integers(n, size=released)).covariates
    forest = RandomForestClassifier(n_estimators=30, min_samples_leaf=min_leaf, random_state=0).fit(numbers(own.covariates), own.treatment)
    a = (rng.random((released, 1)) > forest.predict_proba(numbers(w)).cumsum(axis=1)).sum(axis=1).astype(np.int8)
    release = Rows(w, a, rng.normal(size=released), 3)
    held = np.arange(n) % 3 == 0
    canaries = numbered(planted.canaries)
    given = Case(described(w), SCORE, "hybrid", own.take(~held), own.take(held), release, n, "forest", {}, canaries)
    findings = {found.statistic: found for found in mechanism.build(mechanism.Params(trees=40)).run(given, rng)}
    for attacker in ("forest", "nearest"):
        arm = findings[f"canary_a_{attacker}"]
        assert arm.baseline == pytest.approx(1 / 3)
        assert (arm.value > 0.6) == (min_leaf == 1)
        assert (arm.verdict == "leak found") == (min_leaf == 1)
    assert findings["canary_y_forest"].baseline == 0.5
    assert list(given.release.joint()["a"].cat.categories) == ["0", "1", "2"]
