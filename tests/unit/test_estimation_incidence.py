"""Incidence where causes compete: against derivatives, the survival estimators of one cause and a closed form; what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flows.estimate import estimate
from tasks.contract.errors import SourceError, SpecError
from tasks.contract.survival import event_grid, incidence_at, time_lost
from tasks.estimation.incidence.aalen_johansen import aalen_johansen, cause_influence
from tasks.estimation.incidence.methods import ipcw
from tasks.estimation.incidence.protocol import CauseCase
from tasks.estimation.survival.analysis import analyse_survival
from tasks.estimation.survival.table import read_survival
from tasks.source.event import cause_labels
from tasks.targeting.causes import CauseData, Curves, curves_of, gradients

ROLES = {"treatment": "a", "time": "t", "event": "e", "covariates": ("x", "z"), "cause": 1}


def confounded(n: int, seed: int) -> pd.DataFrame:
    """Two exponential causes; treatment, both hazards and censoring depend on x."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=(2, n))
    a = (rng.random(n) < 1 / (1 + np.exp(-0.8 * x))).astype(int)
    of_interest, other = 0.10 * np.exp(0.7 * x - 0.5 * a), 0.06 * np.exp(-0.4 * x + 0.3 * a)
    t = rng.exponential(1 / (of_interest + other))
    cause = np.where(rng.random(n) < of_interest / (of_interest + other), 1, 2)
    c = np.minimum(rng.exponential(1 / (0.05 * np.exp(0.6 * x - 0.3 * a))), 12.0)
    return pd.DataFrame({"x": x, "z": z, "a": a, "t": np.minimum(t, c), "e": np.where(t <= c, cause, 0)})


def truth(time: float, horizon: float) -> tuple[float, float]:
    """Return the differences of incidence and of time lost, from a million rows."""
    x = np.random.default_rng(9).normal(size=1_000_000)
    numbers = []
    for a in (0, 1):
        of_interest, other = 0.10 * np.exp(0.7 * x - 0.5 * a), 0.06 * np.exp(-0.4 * x + 0.3 * a)
        every = of_interest + other
        share = of_interest / every
        numbers.append((np.mean(share * -np.expm1(-every * time)), np.mean(share * (horizon + np.expm1(-every * horizon) / every))))
    (low, lost), (high, more) = numbers
    return float(high - low), float(more - lost)


def days(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole days with ties, and causes."""
    rng = np.random.default_rng(seed)
    return rng.integers(1, 15, n).astype(float), rng.choice(np.array([0, 1, 2], dtype=np.int8), n, p=[0.3, 0.4, 0.3])


@pytest.mark.parametrize("area", [False, True])
def test_influence_values_are_derivatives_by_the_weights_of_rows(area: bool) -> None:
    time, cause = days(60, 1)
    rng = np.random.default_rng(2)
    w = rng.uniform(0.5, 2.0, 60)

    def number(weights: np.ndarray) -> float:
        steps = aalen_johansen(time, cause, weights)
        return float(steps.area(0.0, 9.0)) if area else steps.at(9.0)

    values = cause_influence(aalen_johansen(time, cause, w), time, cause, 9.0, area)
    step = 1e-6
    for row in range(0, 60, 7):
        moved = w.copy()
        moved[row] += step
        assert values[row] == pytest.approx((number(moved) - number(w)) / step, abs=1e-6)
    assert abs(np.sum(w * values)) < 1e-10


def test_incidences_of_all_causes_and_those_free_of_events_add_up_to_one() -> None:
    time, cause = days(200, 3)
    steps = aalen_johansen(time, cause, np.ones(200))
    swapped = np.where(cause > 0, 3 - cause, 0).astype(np.int8)
    other = aalen_johansen(time, swapped, np.ones(200))
    np.testing.assert_allclose(steps.incidence + other.incidence + steps.free, 1.0, atol=1e-12)


def test_gradients_are_derivatives_by_the_hazards() -> None:
    rng = np.random.default_rng(4)
    hazards = rng.uniform(0.02, 0.2, (2, 3, 6))
    grid = event_grid(np.arange(1.0, 7.0), np.ones(6, dtype=bool), 6.0)
    for functional in (incidence_at(grid, 4.0), time_lost(grid)):
        curves = curves_of(hazards)
        before = np.column_stack((np.ones(3), curves.free[:, :-1]))
        for cause in (0, 1):
            for period in range(6):
                moved = hazards.copy()
                moved[cause, :, period] += 1e-7
                slope = (functional.value(curves_of(moved).incidence) - functional.value(curves.incidence)) / 1e-7
                np.testing.assert_allclose(before[:, period] * gradients(curves, functional)[cause, :, period], slope, atol=1e-5)


def test_one_cause_alone_gives_what_the_survival_estimators_give() -> None:
    frame = confounded(500, 5).assign(e=lambda table: np.minimum(table.e, 1))
    of_cause = analyse_survival(read_survival(frame, ROLES), 9.0, (4.0,), learner="glm")
    alone = analyse_survival(read_survival(frame, {**ROLES, "cause": None}), 9.0, (4.0,), learner="glm")
    for one, other in zip(of_cause.estimates, alone.estimates, strict=True):
        assert (one.arm, one.control, one.time) == (other.arm, other.control, other.time)
        sign, shift = {"incidence": (-1.0, 1.0), "time_lost": (-1.0, 9.0), "incidence_difference": (1.0, 0.0)}.get(
            one.estimand, (-1.0, 0.0)
        )
        assert one.estimate == pytest.approx(sign * other.estimate + shift, abs=2e-4)
        assert one.se == pytest.approx(other.se, rel=5e-3)


def test_ipcw_without_covariates_is_weighted_aalen_johansen() -> None:
    time, cause = days(400, 6)
    rng = np.random.default_rng(0)
    share, here = rng.uniform(0.3, 0.9, 400), rng.random(400) < 0.5
    grid = event_grid(time, cause > 0, 12.0, (), most=50)
    counts = grid.counts(time, cause > 0)
    hazards = np.full((2, 400, len(grid.edges)), 0.1)
    data = CauseData(
        here, (counts.of_cause(cause, 1), counts.of_cause(cause, 2)), share, hazards, np.ones((400, len(grid.edges))), np.ones(400)
    )
    fit = ipcw.build(ipcw.Params()).estimate(CauseCase(time, cause, grid, data), [incidence_at(grid, 5.0), incidence_at(grid, 12.0)])
    peer = aalen_johansen(time[here], cause[here], 1.0 / share[here])
    np.testing.assert_allclose(fit.points, [peer.at(5.0), peer.at(12.0)], rtol=1e-9)
    values = np.zeros(400)
    values[here] = cause_influence(peer, time[here], cause[here], 12.0, False) * 400 / share[here]
    np.testing.assert_allclose(fit.values[:, 1], values, atol=1e-8)


def test_adjusted_estimators_find_a_known_effect_and_the_raw_one_does_not() -> None:
    exact = dict(zip(("incidence_difference", "time_lost_difference"), truth(5.0, 10.0)))
    analysis = analyse_survival(read_survival(confounded(3000, 7), ROLES), 10.0, (5.0,), learner="glm")
    found = {(one.estimator, one.estimand): one for one in analysis.estimates if one.control is not None}
    for estimand, value in exact.items():
        for name in ("aipw", "tmle"):
            one = found[name, estimand]
            assert abs(one.estimate - value) < 3.5 * one.se
        raw = found["aj", estimand]
        assert abs(raw.estimate - value) > 4 * raw.se
    assert analysis.unsolved <= 0.01
    for curve in analysis.curves:
        if curve.estimator in ("aj", "tmle"):
            assert np.all(np.diff(curve.curve) >= -1e-12)
            assert np.all((curve.curve >= 0.0) & (curve.curve < 1.0))


def test_curves_of_certain_events_stay_inside() -> None:
    curves: Curves = curves_of(np.array([[[0.5, 0.999]], [[0.4, 0.0009]]]))
    assert curves.free[0, -1] == pytest.approx(0.1 * 0.0001)
    assert curves.incidence[0, -1] <= 1.0


@pytest.mark.parametrize(
    ("labels", "cause", "fault", "said"),
    [
        (("0", "1", "2"), 3, SpecError, "cause of the outcome must be one of the labels of event 'e' ('0', '1', '2'); got 3"),
        (("0", "1", "2"), 0, SpecError, "cause of the outcome must be an event; got 0, which is censoring"),
        (("1", "2"), 1, SourceError, "event 'e' must have one label of censored rows"),
        (tuple(f"{n}" for n in range(30)), 1, SourceError, "labels of event 'e' must be at most 20; got 30"),
        (("alive", "death", "relapse"), "death", SourceError, "event 'e' must have one label of censored rows"),
    ],
)
def test_what_is_no_column_of_causes_is_refused(labels: tuple[str, ...], cause: int | str, fault: type[Exception], said: str) -> None:
    with pytest.raises(fault) as caught:
        cause_labels(labels, cause, "e")
    assert said in str(caught.value)


def test_labels_of_causes_are_read_as_texts_and_numbers() -> None:
    assert cause_labels(("0", "1", "2"), 2, "e") == (2, 0)
    assert cause_labels(("Censored", "death", "relapse"), "relapse", "e") == (2, 0)
    assert cause_labels(("0", "1"), 1, "e") == (1, 0)


def test_the_command_names_the_cause(tmp_path: Path) -> None:
    frame = confounded(600, 8)
    frame.assign(e=frame.e.map({0: "censored", 1: "death", 2: "relapse"})).to_csv(tmp_path / "t.csv", index=False)
    roles = {"treatment": "a", "outcome": "t", "outcome_kind": "survival", "event": "e"}
    options = {"learner": "glm", "folds": 2, "repeats": 1, "seed": 0, "propensity": None, "horizon": 9.0, "times": (4.0,), "reading": {}}
    reply, lines = estimate(str(tmp_path / "t.csv"), roles, options | {"cause": "death", "estimators": ("aj", "aipw")})
    assert {one["estimand"] for one in reply["estimates"]} >= {"incidence", "time_lost", "incidence_difference", "time_lost_difference"}
    assert all(0.0 <= point["incidence"] <= 1.0 for point in reply["curves"] if point["estimator"] == "aj")
    assert any("time lost to it" in line for line in lines)
    with pytest.raises(SourceError, match="--cause"):
        estimate(str(tmp_path / "t.csv"), dict(roles), options)
    with pytest.raises(SpecError, match="--cause of estimate must be left out"):
        estimate(str(tmp_path / "t.csv"), {"treatment": "a", "outcome": "t"}, options | {"cause": 1})
