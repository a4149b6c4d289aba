"""Who can read a store can't compute a lone outlier from it: bounds, laws and blocks stay as they are when the outlier moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tasks.contract.disclosure import safe_bounds, tails
from tasks.contract.roles import Column
from tasks.contract.spec import RolesSpec
from tasks.covariates.traits.values import domain_of
from tasks.mechanisms.law_record import law_bytes
from tasks.mechanisms.laws.arms import fit_arm
from tasks.mechanisms.laws.choice import fit_law
from tasks.source.inspection import Inspection

ROWS = 600
OUTLIERS = (10_000.0, 870_000.0)


def table(outlier: float, column: str) -> pd.DataFrame:
    """A table whose one row is far from all others in a column; it is the same but for how far."""
    rng = np.random.default_rng(5)
    income, age = np.exp(rng.normal(size=ROWS)).round(2), rng.integers(18, 90, ROWS)
    a = rng.integers(0, 2, ROWS)
    y = (a + np.log(income) + rng.normal(size=ROWS)).round(2)
    frame = pd.DataFrame({"income": income, "age": age, "a": a, "y": y})
    frame.loc[17, column] = outlier
    return frame


def described(frame: pd.DataFrame) -> Any:
    inspection = Inspection(RolesSpec(treatment="a", outcome="y"))
    state = inspection.advance(inspection.visit(inspection.start(), pa.Table.from_pandas(frame, preserve_index=False)))
    return inspection.finish(state, inspection.roles, folds=5, source_format="parquet")


@pytest.mark.parametrize("column", ["income", "y"])
def test_schema_and_profile_stay_the_same_when_a_lone_outlier_moves(column: str) -> None:
    near, far = (described(table(outlier, column)) for outlier in OUTLIERS)
    assert near.table == far.table
    assert near.profile == far.profile


@pytest.mark.parametrize("column", ["income", "y"])
def test_no_bound_of_the_schema_leads_back_to_a_lone_outlier(column: str) -> None:
    """The attack on means of five: 5 * mean - 4 * guess, with the true mean of the other four for a guess."""
    frame = table(OUTLIERS[1], column)
    (found,) = (each for each in described(frame).table.columns if each.name == column)
    others = np.sort(frame[column])[-5:-1]
    guess = 5 * found.high - 4 * float(others.mean())
    assert abs(guess - OUTLIERS[1]) > 0.9 * OUTLIERS[1]
    # the same attack on what was published before
    old = float(np.sort(frame[column])[-5:].mean())
    assert 5 * old - 4 * float(others.mean()) == pytest.approx(OUTLIERS[1])


@pytest.mark.parametrize(("column", "name"), [("income", "scale"), ("y", "scale"), ("y", "tilt")])
def test_mechanisms_stay_the_same_when_a_lone_outlier_moves(column: str, name: str) -> None:
    """Q is a constant of each arm, so that only the rows' own values could move the law."""
    laws = []
    for outlier in OUTLIERS:
        frame = table(outlier, column)
        a, y, q = frame["a"].to_numpy().astype(np.int8), frame["y"].to_numpy(), np.full(ROWS, 0.5)
        covariates = frame[["income", "age"]].astype(np.float64)
        laws.append(law_bytes(fit_law(a, y, q, q, covariates, "continuous", np.random.default_rng(0), law=name)))
    assert laws[0] == laws[1]


def test_no_block_of_residuals_leads_to_a_lone_outlier() -> None:
    """A block of five with one outlier has mean m and spread s: the outlier is m + 2 s."""
    residual = np.random.default_rng(1).normal(size=400)
    for outlier in OUTLIERS:
        arm = fit_arm(np.append(residual, outlier), np.ones(401), np.ones(401))
        assert np.abs(arm.centres + 2 * arm.spreads).max() < 10
        assert np.abs(arm.centres - 2 * arm.spreads).max() < 10
    plain = np.append(residual, OUTLIERS[0])
    piece = np.sort(plain)[-5:]
    assert piece.mean() + 2 * piece.std() == pytest.approx(OUTLIERS[0], rel=1e-3)  # what an untrimmed block would give away


@pytest.mark.parametrize("grid", [0.0, 0.01, 1.0, 5.0])
@pytest.mark.parametrize("seed", range(5))
def test_five_rows_lie_at_or_beyond_every_bound(grid: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.exp(2 * rng.normal(size=200)) * 100
    values = values if grid == 0.0 else np.round(values / grid) * grid
    low, high = safe_bounds(*tails(values), grid)
    assert (values <= low + 1e-9).sum() >= 5
    assert (values >= high - 1e-9).sum() >= 5
    assert low <= high
    if grid:
        assert abs(high / grid - round(high / grid)) < 1e-6
    else:
        assert not np.isin([low, high], values).any()


def test_bounds_that_five_rows_share_stand_and_few_rows_give_one_value() -> None:
    values = np.concatenate([np.zeros(5), np.arange(1.0, 90.0), np.full(6, 100.0)])
    assert safe_bounds(*tails(values), 1.0) == (0.0, 100.0)
    assert safe_bounds(*tails(np.array([3.0])), 1.0) == (3.0, 3.0)


@pytest.mark.parametrize("grid", [0.0, 0.01])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_cap_that_few_rows_exceed_is_a_bound_as_it_is(grid: float, sign: float) -> None:
    """Rounded inwards, the bound would leave no place for the fifth of all rows that lie at the cap: CPS earnings of 25,862.32."""
    rng = np.random.default_rng(3)
    values = sign * np.concatenate([rng.uniform(0.0, 25_000.0, 400).round(2), np.full(100, 25_862.32), [26_000.11, 30_123.45, 35_040.07]])
    low, high = safe_bounds(*tails(values), grid)
    assert sign * (high if sign > 0 else low) == 25_862.32
    frame = pd.DataFrame({"income": values, "a": np.arange(len(values)) % 2, "y": rng.normal(size=len(values))})
    column = next(each for each in described(frame).table.columns if each.name == "income")
    assert sign * (column.high if sign > 0 else column.low) == 25_862.32


def test_columns_that_others_bound_are_held_by_the_same_rule() -> None:
    frame = table(OUTLIERS[1], "income")
    column = Column.model_validate(next(each for each in described(frame).table.columns if each.name == "income").model_dump())
    domain = domain_of(column, None)
    assert domain.high == column.high
