"""Measures of performance, their Monte-Carlo errors, ranking, stability and advice."""

import math

import numpy as np
import pytest

from tasks.simulation.advice import advice, rows_for_power
from tasks.simulation.performance import MEASURES, Answers, Tally, performance, tally
from tasks.simulation.ranking import ranking
from tasks.simulation.stability import same_winner, stability

Z95 = 1.959963984540054


def answers(estimate: np.ndarray, se: float | np.ndarray) -> Answers:
    errors = np.broadcast_to(np.asarray(se, dtype=np.float64), estimate.shape).copy()
    return Answers(estimate, errors, estimate - Z95 * errors, estimate + Z95 * errors)


def test_measures_of_five_answers_by_hand() -> None:
    found = performance(answers(np.array([1.0, 2.0, 4.0, 5.0, np.nan]), np.array([0.5, 0.5, 0.5, 2.0, np.nan])), truth=2.5)
    assert set(found) == set(MEASURES)
    assert found["bias"].value == pytest.approx(0.5)
    assert found["bias"].mcse == pytest.approx(math.sqrt(10 / 3 / 4))
    assert found["variance"].value == pytest.approx(10 / 3)
    assert found["variance"].mcse == pytest.approx(10 / 3 * math.sqrt(2 / 3))
    squares = np.array([2.25, 0.25, 2.25, 6.25])
    assert found["rmse"].value == pytest.approx(math.sqrt(2.75))
    assert found["rmse"].mcse == pytest.approx(squares.std(ddof=1) / 2 / (2 * math.sqrt(2.75)))
    assert found["coverage"] == (0.5, 0.25)
    assert found["power"] == pytest.approx((1.0, 0.0))
    assert found["ci_width"].value == pytest.approx(2 * Z95 * 0.875)
    assert found["se_ratio"].value == pytest.approx(0.875 / math.sqrt(10 / 3))
    assert found["failures"].value == pytest.approx(0.2)
    assert found["type1_error"] == (None, None)


def test_type_1_error_is_power_where_there_is_no_effect() -> None:
    found = performance(answers(np.array([-3.0, 0.1, 0.2, 0.3]), 1.0), truth=0.0)
    assert found["type1_error"] == found["power"]
    assert found["power"].value == 0.25


def test_too_few_answers_give_no_figure() -> None:
    found = performance(answers(np.array([1.0, np.nan]), 1.0), truth=0.0)
    assert {name for name, figure in found.items() if figure.value is not None} == {"failures"}
    nobody = performance(answers(np.full(3, np.nan), 1.0), None)
    assert nobody["failures"] == (1.0, 0.0)


def test_monte_carlo_errors_are_the_spread_between_simulations() -> None:
    """600 simulations of 300 replicates each: the errors told are the spread seen."""
    rng = np.random.default_rng(5)
    told: dict[str, list[tuple[float, float]]] = {name: [] for name in ("bias", "variance", "rmse", "coverage", "power", "se_ratio")}
    for _ in range(600):
        found = performance(answers(rng.normal(0.7, 0.5, 300), 0.4 * np.exp(rng.normal(0, 0.1, 300))), truth=0.5)
        for name, values in told.items():
            figure = found[name]
            assert figure.value is not None
            assert figure.mcse is not None
            values.append((figure.value, figure.mcse))
    for name, values in told.items():
        seen, expected = np.std([value for value, _ in values]), np.mean([error for _, error in values])
        assert seen / expected == pytest.approx(1.0, abs=0.1), name


def test_tallies_add_up_over_batches() -> None:
    rng = np.random.default_rng(1)
    every = answers(rng.normal(size=90), 1.0)
    every.estimate[7] = np.nan
    whole = tally(every, 0.3)
    pieces = Tally()
    for part in (slice(0, 20), slice(20, 21), slice(21, 90)):
        pieces = pieces.plus(tally(Answers(*(values[part] for values in every)), 0.3))
    assert pieces[:2] == whole[:2]
    assert pieces == pytest.approx(whole)
    assert whole.answered == 89


def test_the_best_has_the_least_rmse_and_chance_is_told() -> None:
    rng = np.random.default_rng(2)
    errors = {"poor": 3.0 * rng.normal(size=400), "good": rng.normal(size=400)}
    first, second = ranking(errors, np.random.default_rng(0))
    assert (first.estimator, first.rank, second.rank) == ("good", 1, 2)
    assert first.probability_best > 0.99
    assert first.probability_best + second.probability_best == pytest.approx(1.0)
    # the same law for both: nobody knows which is best
    close = ranking({"one": rng.normal(size=400), "two": rng.normal(size=400)}, np.random.default_rng(0))
    assert 0.02 < close[0].probability_best < 0.98


def test_equal_estimates_share_their_place_and_failures_are_left_out() -> None:
    own = np.random.default_rng(3).normal(size=50)
    gaps = own.copy()
    gaps[:10] = np.nan
    found = ranking({"tmle": own, "adaptive": gaps, "never": np.full(50, np.nan)}, np.random.default_rng(0))
    assert [place.rank for place in found] == [1, 1]
    assert [place.probability_best for place in found] == [0.5, 0.5]
    assert found[0].rmse == pytest.approx(math.sqrt(float(np.mean(own[10:] ** 2))))
    assert ranking({"never": np.full(3, np.nan)}, np.random.default_rng(0)) == []


def row(estimator: str, **more: object) -> dict[str, object]:
    plain = {
        "cell": "c", "title": "n = 100", "n": 100, "design": "fitted", "estimator": estimator, "estimand": "ate", "truth": 1.0,
        "replicates": 1_000, "failures": 0.0, "bias": 0.0, "bias_mcse": 0.01, "variance": 0.25, "rmse": 0.5, "coverage": 0.95,
        "coverage_mcse": 0.007, "power": 0.5, "power_mcse": 0.01, "type1_error": None, "se_ratio": 1.0, "rmse_mcse": 0.01,
    }  # fmt: skip
    return plain | more


def test_advice_takes_the_least_rmse_that_covers() -> None:
    rows = [
        row("or", rmse=0.3, coverage=0.7),
        row("ipw", rmse=0.6),
        row("tmle"),
        row("brittle", rmse=0.2, failures=0.4),
        row("att", estimand="att"),
    ]
    (found,) = advice(rows, 0.8)
    assert (found["estimator"], found["sound"]) == ("tmle", True)
    (none,) = advice([row("or", rmse=0.3, coverage=0.7), row("ipw", rmse=0.6, coverage=0.8)], 0.8)
    assert (none["estimator"], none["sound"]) == ("ipw", False)
    assert advice([row("or", rmse=None)], 0.8) == []


def test_rows_for_power_are_those_of_the_textbook() -> None:
    needed = rows_for_power(row("tmle"), 0.8)
    assert needed is not None
    assert needed.rows == math.ceil(100 * ((1.959964 + 0.841621) * 0.5) ** 2)
    assert needed.low < needed.rows < needed.high
    assert rows_for_power(row("tmle", truth=0.0), 0.8) is None
    assert rows_for_power(row("tmle", truth=0.01, bias_mcse=0.02), 0.8) is None


def test_rows_for_power_give_that_power() -> None:
    needed = rows_for_power(row("tmle", variance=0.25, truth=0.7), 0.9)
    assert needed is not None
    rng = np.random.default_rng(0)
    sd = 0.5 * math.sqrt(100 / needed.rows)
    assert np.mean(np.abs(rng.normal(0.7, sd, 20_000)) > Z95 * sd) == pytest.approx(0.9, abs=0.01)


def test_movement_beyond_monte_carlo_error() -> None:
    own = [row("tmle", coverage=0.95)]
    refits = [[row("tmle", coverage=value)] for value in (0.85, 0.95, 0.90)]
    (found,) = stability(own, refits)
    assert (found["coverage"]["low"], found["coverage"]["high"]) == (0.85, 0.95)
    assert found["coverage"]["sd"] == pytest.approx(math.sqrt(0.05**2 - 0.007**2))
    assert found["bias"]["sd"] == 0.0
    assert stability(own, refits[:1])[0]["coverage"]["sd"] is None
    assert same_winner({"c": "tmle"}, [{"c": "tmle"}, {"c": "ipw"}, {}]) == {"c": pytest.approx(1 / 3)}
    assert same_winner({"c": "tmle"}, []) == {"c": None}
