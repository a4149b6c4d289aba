"""Where an arm is missing, in words."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from tasks.augmentation.regions import Region, lacking_rows, regions
from tasks.contract.disclosure import few
from tasks.contract.nuisance import Nuisances
from tasks.contract.roles import Column

FIELD = "unused"


def columns() -> tuple[Column, ...]:
    return (
        Column(id="w0", name="age", role="covariate", kind="continuous", field=FIELD),
        Column(id="w1", name="site", role="covariate", kind="categorical", field=FIELD, levels=("east", "north", "west")),
        Column(id="w2", name="smoker", role="covariate", kind="boolean", field=FIELD, levels=("false", "true")),
    )


def lacking(g: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the rows that lack control and treated, by P(A = 1 | W)."""
    return lacking_rows(Nuisances(g, g, g), 0.05)


def frame(n: int, rng: np.random.Generator) -> pd.DataFrame:
    site = rng.choice(["east", "north", "west"], n)
    smoker = np.where(rng.random(n) < 0.5, "true", "false")
    return pd.DataFrame(
        {
            "w0": rng.normal(50, 12, n),
            "w1": pd.Categorical(site, categories=["east", "north", "west"]),
            "w2": pd.Categorical(np.where(rng.random(n) < 0.1, None, smoker), categories=["false", "true"]),
        }
    )


def test_a_planted_region_is_found_and_its_rows_are_counted() -> None:
    rng = np.random.default_rng(1)
    table = frame(2_000, rng)
    inside = np.asarray((table["w0"] > 61) & (table["w1"] == "north"))
    a = (rng.random(2_000) < np.where(inside, 0.01, 0.5)).astype(np.int8)
    found = regions(table, columns(), a, lacking(np.where(inside, 0.01, 0.5)), 20)
    assert sum(region.lacking for region in found) > 0.9 * inside.sum()
    for region in found:
        assert region.arm == 1
        assert set(re.findall(r"age|site", region.words)) == {"age", "site"}
        assert "site = north" in region.words
        assert region.lacking / region.rows >= 0.5
        assert region.of_arm <= region.rows - region.lacking + 5
        assert region.sentence() == f"{region.words}: {few(region.of_arm)} treated of {region.rows}"


@pytest.mark.parametrize("count", range(6))
def test_a_region_shows_no_count_of_one_to_four(count: int) -> None:
    region = Region(1, "age > 61", 209, count, 150)
    shown = "fewer than 5" if 0 < count < 5 else str(count)
    assert region.sentence() == f"age > 61: {shown} treated of 209"
    assert region.record(("control", "treated"))["of_arm"] == (4 if 0 < count < 5 else count)


def test_both_arms_are_told_and_gaps_are_words() -> None:
    rng = np.random.default_rng(2)
    table = frame(1_500, rng)
    gone = np.asarray(table["w2"].isna())
    g = np.where(gone, 0.99, np.where(table["w0"] < 40, 0.01, 0.5))
    found = regions(table, columns(), (rng.random(1_500) < g).astype(np.int8), lacking(g), 20)
    assert {region.arm for region in found} == {0, 1}
    control = next(region for region in found if region.arm == 0)
    assert "smoker missing" in control.words
    assert "control of" in control.sentence()


def test_no_leaf_is_small_and_no_exact_value_shows() -> None:
    rng = np.random.default_rng(3)
    table = frame(300, rng)
    g = np.where(np.abs(table["w0"] - 50) > 20, 0.01, 0.5)
    found = regions(table, columns(), (rng.random(300) < g).astype(np.int8), lacking(g), 20)
    for region in found:
        assert region.rows >= 20
    shown = {float(text) for region in found for text in re.findall(r"-?\d+\.?\d*", region.words)}
    assert not shown & set(table["w0"].tolist())
    # multiples of a round step
    assert all(abs(value / 1.0 - round(value)) < 1e-9 for value in shown)


def test_full_support_has_no_region() -> None:
    rng = np.random.default_rng(4)
    table = frame(200, rng)
    assert regions(table, columns(), (rng.random(200) < 0.5).astype(np.int8), lacking(np.full(200, 0.5)), 20) == []


def test_where_everybody_lacks_an_arm_all_rows_are_the_region() -> None:
    rng = np.random.default_rng(5)
    table = frame(100, rng)
    found = regions(table, columns(), np.zeros(100, dtype=np.int8), lacking(np.full(100, 0.001)), 20)
    assert [(region.words, region.rows, region.of_arm) for region in found] == [("all rows", 100, 0)]
