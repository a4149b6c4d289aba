"""Hazards on person-periods: predicted for all periods at once, fitted on a part of very many, counted apart from partitions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tasks.contract.survival import EventRows, Grid
from tasks.nuisance import hazards
from tasks.nuisance.hazards import ProductModel, fit_hazard, predict_hazard, thin, with_period
from tasks.nuisance.methods import boosted, glm

GRID = Grid(tuple(range(1, 16)))


def patients(n: int, seed: int) -> tuple[EventRows, pd.DataFrame]:
    """Draw times whose hazard depends on x before period 8 and on a level after it, with gaps in z."""
    rng = np.random.default_rng(seed)
    x, z, a, late = rng.normal(size=n), rng.normal(size=n), rng.integers(0, 2, n).astype(np.int8), rng.random(n) < 0.4
    early, later = rng.exponential(np.exp(3.2 - 0.8 * x)), 8.0 + rng.exponential(np.exp(2.2 - late + 0.5 * a))
    until, lost = np.where(early < 8.0, early, later), rng.exponential(25.0, n)
    frame = pd.DataFrame({"x": x, "z": np.where(rng.random(n) < 0.1, np.nan, z), "level": pd.Categorical(np.where(late, "late", "early"))})
    return EventRows(np.arange(n, dtype=np.uint64), a, np.minimum(until, lost), until <= lost), frame


@pytest.mark.parametrize("leaves", [3, 8, 20])
def test_trees_of_all_periods_at_once_are_those_of_each(leaves: int) -> None:
    """Trees of one byte of leaves, and of several."""
    rows, frame = patients(600, 1)
    model = fit_hazard(boosted.build(boosted.Params(leaves=leaves, iterations=80)), rows, frame, GRID, np.random.default_rng(0), False)
    assert isinstance(model, ProductModel)
    curves = predict_hazard(model, frame, GRID, 2)
    assert np.ptp(curves, axis=2).mean() > 0.01
    for arm in (0, 1):
        for period in (0, 7, 14):
            one = model.predict(with_period(frame, np.full(600, period), GRID), np.full(600, arm, dtype=np.int8))
            np.testing.assert_allclose(curves[arm, :, period], one, rtol=1e-12)
    of_own = predict_hazard(model, frame, GRID, 2, rows.a)
    np.testing.assert_array_equal(of_own[rows.a, np.arange(600)], curves[rows.a, np.arange(600)])
    assert not of_own[1 - rows.a, np.arange(600)].any()


def test_a_part_of_the_person_periods_stands_for_all() -> None:
    rng = np.random.default_rng(2)
    ends = rng.random(10_000) < 0.1
    for most in (4_000, 1_000):
        kept, copies = thin(ends, most, rng)
        assert len(np.unique(kept)) == most
        assert copies.min() >= 1.0
        for kind in (ends, ~ends):
            assert copies[kind[kept]].sum() == pytest.approx(kind.sum())
    kept, _ = thin(~ends, 4_000, rng)
    assert int(ends[kept].sum()) == int(ends.sum())  # few others: events fill what they leave
    assert thin(ends, 10_000, rng)[1].max() == 1.0


def test_a_hazard_of_a_part_is_near_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, frame = patients(4_000, 3)
    learner = glm.build(glm.Params())
    whole = predict_hazard(fit_hazard(learner, rows, frame, GRID, np.random.default_rng(0), False), frame, GRID, 2)
    monkeypatch.setattr(hazards, "MOST", 9_000)
    part = predict_hazard(fit_hazard(learner, rows, frame, GRID, np.random.default_rng(0), False), frame, GRID, 2)
    assert whole.mean() == pytest.approx(part.mean(), rel=0.03)
    assert np.corrcoef(np.log(whole).ravel(), np.log(part).ravel())[0, 1] > 0.97


def test_counts_of_some_rows_among_all() -> None:
    rows, _ = patients(500, 4)
    grid = Grid((2.0, 5.0, 9.0, 15.0))
    for censoring in (False, True):
        whole, here = grid.counts(rows.time, rows.event, censoring), np.arange(100)
        among = np.sort(rows.time[rows.event != censoring])
        some = grid.counts(rows.time[:100], rows.event[:100], censoring, here, among)
        np.testing.assert_array_equal(some.risk, whole.risk[:100])
        np.testing.assert_array_equal(some.ends, whole.ends[:100])
