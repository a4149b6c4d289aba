"""Times drawn from hazards: on the source's grid, ties kept, nothing beyond the follow-up; shifts that meet targeted curves."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.contract.errors import EstimationError
from tasks.contract.survival import Grid, TimesToEvent
from tasks.mechanisms.survival_law import learn_times, spread_evenly
from tasks.mechanisms.survival_model import directions, shifted, solve_shifts
from tasks.targeting.survival import survival

EDGES = (2.0, 4.0, 6.0, 8.0, 10.0, 15.0)
OUTCOME = TimesToEvent(horizon=10.0, times=(4.0,), edges=EDGES, centres=(0.5,) * 5)


def drawn(time: np.ndarray, event: np.ndarray, rows: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows from the hazards that a sample has."""
    rng, law = np.random.default_rng(1), learn_times(time, event, OUTCOME)
    hazards = []
    for censoring in (False, True):
        periods = OUTCOME.grid.counts(time, event, censoring)
        share = periods.ends.sum(axis=0) / np.maximum(periods.risk.sum(axis=0), 1.0)
        hazards.append(np.tile(share, (rows, 1)))
    return law.draw(hazards[0], hazards[1], (rng.random(rows), rng.random(rows)))


@pytest.mark.parametrize("unit", [0.0, 0.5, 1.0])
def test_times_have_the_law_and_the_grid_of_the_source(unit: float) -> None:
    rng = np.random.default_rng(2)
    until, lost = rng.exponential(8.0, 4_000), rng.exponential(12.0, 4_000)
    if unit:
        until, lost = (np.ceil(each / unit) * unit for each in (until, lost))
    time, event = np.minimum(np.minimum(until, lost), 15.0), (until <= lost) & (until <= 15.0)
    new, came = drawn(time, event)
    assert new.min() > 0.0
    assert new.max() <= 15.0
    if unit:
        assert np.abs(new / unit - np.rint(new / unit)).max() < 1e-9
    assert abs(came.mean() - event.mean()) < 0.02
    for at in (2.0, 4.0, 7.0, 10.0):
        assert abs((new <= at).mean() - (time <= at).mean()) < 0.03


def test_ties_come_as_often_as_in_the_source() -> None:
    """A third of all events is recorded at one visit."""
    rng = np.random.default_rng(3)
    time = np.where(rng.random(3_000) < 1 / 3, 7.0, rng.uniform(0.0, 15.0, 3_000))
    new, came = drawn(time, np.ones(3_000, dtype=bool))
    assert came.mean() > 0.99
    assert abs((new == 7.0).mean() - 1 / 3) < 0.02


def test_quantiles_are_uniform_row_by_row_and_spread_among_neighbours() -> None:
    rng = np.random.default_rng(4)
    order = rng.normal(size=64_000)
    first, second = spread_evenly(order, rng)
    for each in (first, second):
        assert abs(each.mean() - 0.5) < 0.01
        assert abs(np.mean(each < 0.1) - 0.1) < 0.01
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05
    places = np.argsort(order)[:6_400].reshape(100, 64)
    # 64 independent numbers have means that scatter by 0.036
    assert first[places].mean(axis=1).std() < 0.02


def test_shifted_hazards_meet_their_targets() -> None:
    rng = np.random.default_rng(5)
    hazard = rng.uniform(0.05, 0.2, size=(500, len(EDGES)))
    share = np.full(500, 1 / 500)
    now = np.array([float(share @ each.value(survival(hazard))) for each in OUTCOME.functionals])
    goal = now + np.array([0.4, 0.02])
    moved = shifted(hazard, directions(OUTCOME), np.array(solve_shifts(hazard, OUTCOME, goal, share)))
    reached = [float(share @ each.value(survival(moved))) for each in OUTCOME.functionals]
    assert reached == pytest.approx(goal, abs=1e-8)
    with pytest.raises(EstimationError, match="means of the survival curve must be met"):
        solve_shifts(hazard, OUTCOME, np.array([11.0, 0.9]), share)


def test_restricted_means_count_where_events_come() -> None:
    """With all events at the ends of periods the area is that of the steps."""
    time, event = np.repeat(EDGES[:5], 10), np.ones(50, dtype=bool)
    grid = Grid(EDGES[:5])
    assert grid.centres(time, event) == (1.0,) * 5
    steps = TimesToEvent(horizon=10.0, times=(), edges=EDGES, centres=grid.centres(time, event))
    curve = np.array([[0.8, 0.6, 0.4, 0.2, 0.0, 0.0]])
    assert steps.functionals[0].value(curve)[0] == pytest.approx(2.0 * (1.0 + 0.8 + 0.6 + 0.4 + 0.2))
    assert OUTCOME.functionals[0].value(curve)[0] == pytest.approx(2.0 * (0.5 + 0.8 + 0.6 + 0.4 + 0.2))
