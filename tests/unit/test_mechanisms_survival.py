"""Times drawn from hazards: on the source's grid, ties kept, nothing beyond the follow-up; shifts that meet targeted curves."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.contract.errors import EstimationError
from tasks.contract.survival import Grid, TimesToEvent
from tasks.mechanisms.clusters import ClusterLaw, intraclass
from tasks.mechanisms.survival_clusters import OwnHazards, draw_alike_times, fit_alike, rest
from tasks.mechanisms.survival_law import learn_times, spread_evenly
from tasks.mechanisms.survival_model import directions, shifted, solve_shifts
from tasks.nuisance.survival_fold import residuals
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


def test_times_of_a_cluster_are_drawn_as_alike_as_they_were() -> None:
    """Drawn with correlations of ranks of 0.4 and 0.2, of the event and of censoring: both are recovered, and marginals stay."""
    rng, people, count = np.random.default_rng(7), 8, 600
    place, n = np.repeat(np.arange(count), people), people * count
    until, lost = rng.exponential(8.0, 4_000), rng.exponential(12.0, 4_000)
    law = learn_times(np.minimum(until, lost), until <= lost, OUTCOME)
    hazards = OwnHazards(np.full((n, 6), 0.2), np.tile([0.12, 0.12, 0.12, 0.12, 0.12, 0.999], (n, 1)), np.zeros((0, n, 6)))
    alike = ClusterLaw(np.full(count, people), np.full(count, 1 / count), (), {}, False, 0.4, 0.1, 0.2)
    time, came = draw_alike_times(law, hazards, np.ones((n, 1)), place, alike, False, rng)
    alone = draw_alike_times(law, hazards, np.ones((n, 1)), place, alike._replace(rho=0.0, lost=0.0), False, rng)
    assert abs(came.mean() - alone[1].mean()) < 0.03
    assert abs(time.mean() - alone[0].mean()) < 0.4
    counts = (OUTCOME.grid.counts(time, came, censoring) for censoring in (False, True))
    wanted = intraclass(rest(law, hazards, next(counts)), place), intraclass(residuals(hazards.censoring, next(counts)), place)
    fitted = fit_alike(law, hazards, wanted, place, rng)
    assert abs(fitted.rho - 0.4) < 0.08
    assert abs(fitted.lost - 0.2) < 0.1
    balanced = draw_alike_times(law, hazards, np.ones((n, 1)), place, alike._replace(icc=fitted.icc), True, rng)
    left = rest(law, hazards, OUTCOME.grid.counts(*balanced))
    assert abs(intraclass(left, place) - fitted.icc) < 0.02
    assert abs(left.mean()) < 0.5 * left.std() / np.sqrt(count)
