"""Augmentations of more than two arms: where either of two drugs is missing, and what that is worth for each effect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.augment import describe, enlarge
from tasks.augmentation.agreement import recalibrate
from tasks.augmentation.criterion import Inputs, choose, curve, fused
from tasks.augmentation.effects import Augmented, effects
from tasks.augmentation.ensemble import Ensemble
from tasks.augmentation.filling import fill, level_of
from tasks.augmentation.rivals import rivals
from tasks.augmentation.rows import choose_rows
from tasks.contract.nuisance import Nuisances
from tests.direct import directly, run_of
from tests.releasing import parts, spec_of, write


def inputs(seed: int, n: int = 500, error: float = 0.03, own: float = 0.2) -> Inputs:
    """Return a draw of three arms where hardly anybody with x < 0 gets arm 2; effects 0.2 and 0.4, models err by arm."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1.0, 1.0, n)
    p2 = np.where(x < 0.0, 0.002, 0.33)
    p = np.column_stack(((1.0 - p2) / 2, (1.0 - p2) / 2, p2))
    a = (rng.random((n, 1)) > p.cumsum(axis=1)).sum(axis=1).astype(np.int8)
    q = tuple(0.3 + 0.1 * x + effect for effect in (0.0, 0.2, 0.4))
    y = (rng.random(n) < np.column_stack(q)[np.arange(n), a]).astype(np.float64)

    def ensemble(size: float) -> Ensemble:
        misses = size * rng.normal(size=(40, 3))
        return Ensemble(*(np.clip(each + (misses - misses.mean(axis=0))[:, [arm]], 0.01, 0.99) for arm, each in enumerate(q)))

    return Inputs(a, y, Nuisances(p[:, 1], p[:, 2], *q), ensemble(own), ensemble(error), "binary", 0.02, True)


def test_every_arm_is_filled_to_one_level() -> None:
    chances = (np.array([0.9, 0.3]), np.array([0.1, 0.3]), np.array([0.0, 0.4]))
    found = fill(chances, 0.35)
    np.testing.assert_allclose(found.added, [[0.0, 0.05], [0.25, 0.05], [0.35, 0.0]])
    np.testing.assert_allclose(sum(found.arms), 1.0 + np.sum(found.added, axis=0))
    assert fill(chances, level_of(chances, 2.0)).rows == pytest.approx(2.0)
    # from level 1 on a balanced trial of the source's covariate law
    np.testing.assert_allclose(fill(chances, 1.2).design, np.full((2, 2), 1.0 / 3.0))


def test_the_criterion_is_the_mean_over_the_effects_and_the_missing_arm_gains_most() -> None:
    given = inputs(1)
    agreed = recalibrate(given.a, given.y, given.given, "binary")
    assert agreed.coefficients.shape == (4,)
    point = choose(curve(given, 0.9, "real", agreed))
    assert [each.arm for each in point.pairs] == [1, 2]
    assert point.error == pytest.approx(np.mean([each.error for each in point.pairs]))
    assert point.pairs[1].gain > point.pairs[0].gain
    ways = {each.name: each for each in rivals(given, point, agreed, None, 0.02)}
    assert list(ways) == ["augment", "nothing", "overlap", "trimming"]
    assert ways["augment"].error == pytest.approx(point.error)
    assert ways["augment"].error < ways["nothing"].error
    record = ways["nothing"].record(("none", "low", "high"))
    assert [(pair["arm"], pair["control"]) for pair in record["pairs"]] == [("low", "none"), ("high", "none")]


def test_arms_in_another_order_are_worth_the_same() -> None:
    given = inputs(2)
    turned = np.array([0, 2, 1], dtype=np.int8)
    swapped = given._replace(
        a=turned[given.a],
        nuisances=given.nuisances.rearranged([0, 2, 1]),
        observed=Ensemble(*(given.observed[arm] for arm in (0, 2, 1))),
        given=Ensemble(*(given.given[arm] for arm in (0, 2, 1))),
    )
    one, other = (choose(curve(each, 0.9, "pooled", recalibrate(each.a, each.y, each.given, "binary"))) for each in (given, swapped))
    assert one.rows == other.rows
    assert one.error == pytest.approx(other.error)
    assert one.pairs[0].error == pytest.approx(other.pairs[1].error)


@pytest.mark.slow
def test_the_expected_error_of_each_effect_is_about_the_actual_one() -> None:
    rng = np.random.default_rng(5)
    error: dict[int, list[float]] = {1: [], 2: []}
    expected: dict[int, list[float]] = {1: [], 2: []}
    for seed in range(150):
        given = inputs(seed, 300)
        off = Ensemble(*(q + miss for q, miss in zip(given.given, 0.03 * rng.normal(size=3))))
        given = given._replace(given=off)
        point = choose(curve(given, 0.9, "real", recalibrate(given.a, given.y, off, "binary")))
        for arm, truth in ((1, 0.2), (2, 0.4)):
            error[arm].append((fused(given, given.filling(point.level), off.mean, arm) - truth) ** 2)
            expected[arm].append(point.pairs[arm - 1].error - point.pairs[arm - 1].conflict)
    for arm in (1, 2):
        assert np.mean(expected[arm]) == pytest.approx(np.mean(error[arm]), rel=0.4)


def test_effects_of_a_filled_table_are_those_of_the_law() -> None:
    """Averages over 60 tables filled with true outcomes, within four standard errors."""
    points: dict[tuple[str | None, str], list[float]] = {}
    for seed in range(60):
        given, pool = inputs(seed, 300), inputs(1_000 + seed, 3_000)
        chances, rng = pool.nuisances.propensities, np.random.default_rng(seed)
        own, filling = fill(given.nuisances.propensities, 0.6), fill(chances, 0.6)
        chosen = choose_rows(filling, round(own.rows * 300), pool.nuisances.outcomes, rng)
        mean = np.column_stack(pool.nuisances.outcomes)[chosen.rows, chosen.arm]
        y = np.concatenate((given.y, (rng.random(len(mean)) < mean).astype(np.float64)))
        design = (np.concatenate((mine, theirs[chosen.rows])) for mine, theirs in zip(own.design, filling.design))
        q = (np.concatenate((mine, theirs[chosen.rows])) for mine, theirs in zip(given.nuisances.outcomes, pool.nuisances.outcomes))
        tilt = np.concatenate((own.tilt, filling.tilt[chosen.rows]))
        table = Augmented(np.concatenate((given.a, chosen.arm)), y, Nuisances(*design, *q), tilt, 300, "binary", 1e-3)
        for each in effects(table, "real", (0.0, 0.0), ("none", "low", "high")):
            if each.estimand == "ate":
                points.setdefault((each.arm, each.estimator), []).append(each.estimate)
    for (arm, name), values in points.items():
        truth = {"low": 0.2, "high": 0.4}[str(arm)]
        assert abs(np.mean(values) - truth) < 4.0 * np.std(values) / np.sqrt(60) + 1e-9, (arm, name)


def _table(rows: int, seed: int, randomised: bool = False) -> pd.DataFrame:
    """Draw three arms: hardly anybody older than 60 gets the high dose, unless it is assigned by chance; effects 1 and 2."""
    rng = np.random.default_rng(seed)
    age, sex = rng.normal(55, 10, rows).round(3), rng.integers(0, 2, rows)
    high = np.full(rows, 1 / 3) if randomised else 0.5 / (1 + np.exp(0.8 * (age - 52)))
    arm = (rng.random((rows, 1)) > np.column_stack(((1 - high) / 2, 1 - high, np.ones(rows)))).sum(axis=1)
    score = 0.1 * age + arm + 0.5 * sex + rng.normal(0, 1, rows)
    return pd.DataFrame(
        {"age": age, "sex": np.where(sex, "f", "m"), "dose": np.array(["none", "low", "high"])[arm], "score": score.round(4)}
    )


def _asked(folder: Path, **settings: Any) -> dict[str, Any]:
    source = write(_table(500, 1), folder / "source.parquet")
    write(_table(700, 2, randomised=True), folder / "trial.csv")
    values = spec_of(source, folder / "store", augment__outcome=str(folder / "trial.csv"), augment__draws=10, **settings)
    values["roles"] = {"treatment": "dose", "control": "none", "outcome": "score"}
    values["name"] = "filled"
    values["mechanisms"] |= {"repeats": 1}
    return values


@pytest.mark.parametrize("averaging", ["real", "pooled"])
def test_rows_of_the_missing_dose_are_added_and_every_effect_is_told(averaging: str, tmp_path: Path) -> None:
    reply, _ = directly(enlarge, run_of(_asked(tmp_path, augment__averaging=averaging), tmp_path / "work"))
    assert reply["status"] == "published", [gate for gate in reply["manifest"]["gates"] if gate["passed"] is False]
    told = reply["manifest"]["augmentation"]
    assert told["arms"] == ["none", "high", "low"]
    assert sum(told["added"].values()) == told["rows"]
    assert told["lacking"]["arms"]["high"] > 100
    assert any("age >" in region["sentence"] and " high of " in region["sentence"] for region in told["regions"])
    after = {(each["arm"], each["estimator"]): each for each in told["estimates"]["after"] if each["estimand"] == "ate"}
    assert set(after) == {(arm, name) for arm in ("high", "low") for name in ("or", "ipw", "aipw", "tmle")}
    assert len(told["estimates"]["before"]) == len(told["estimates"]["after"]) == 10
    if averaging == "real":
        for arm, truth in (("high", 2.0), ("low", 1.0)):
            assert after[arm, "tmle"]["ci_low"] < truth < after[arm, "tmle"]["ci_high"]
        assert after["high", "aipw"]["se"] < next(
            each["se"] for each in told["estimates"]["before"] if (each["arm"], each["estimator"]) == ("high", "aipw")
        )
    added = pd.concat([pd.read_parquet(tmp_path / "store" / "filled" / "v000001" / path) for path in parts(tmp_path / "store", "filled")])
    assert added["dose"].value_counts().to_dict() == {label: rows for label, rows in told["added"].items() if rows}
    assert added.loc[added["dose"] == "high", "age"].mean() > added.loc[added["dose"] == "low", "age"].mean()
    page = (tmp_path / "store" / "filled" / "v000001" / "report.html").read_text()
    assert "TMLE high - none moves from" in page
    assert "'high'" in page.replace("&#39;", "'")
    assert any(line.startswith("tmle high - none") for line in describe(reply))
