"""Power and sample size of tests and restricted means: against Schoenfeld's formula, the analysis of a table, and by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.contract.errors import SpecError
from tasks.contract.spec import Spec
from tasks.contract.spec.simulate import SimulateSpec
from tasks.contract.survival import TimesToEvent
from tasks.estimation.survival.analysis import analyse_survival
from tasks.estimation.survival.table import read_survival
from tasks.numerics.normal import Z95, quantile
from tasks.simulation.answers import tallies, to_table
from tasks.simulation.batches import estimators_of, unadjusted_of
from tasks.simulation.contrasts import ONLY
from tasks.simulation.replicate import Outcome, Replicate
from tasks.simulation.sizes import rows_from_power, sizes
from tasks.simulation.sizes_page import power_lines, power_tables
from tasks.simulation.survival import TimesData
from tasks.simulation.task import check
from tasks.simulation.unadjusted import unadjusted

HORIZON = 8.0


def data(n: int, seed: int, ratio: float = 0.6, arms: int = 2, strata: bool = False) -> TimesData:
    """Exponential times whose hazards are in a fixed ratio from arm to arm; follow-up ends at 12."""
    rng = np.random.default_rng(seed)
    a = (np.arange(n) % arms).astype(np.int8)
    until, lost = rng.exponential(10.0 / ratio**a), np.minimum(rng.exponential(25.0, n), 12.0)
    outcome = TimesToEvent(horizon=HORIZON, edges=(4.0, HORIZON, 12.0), centres=(0.5, 0.5))
    numbers = rng.integers(0, 3, n) if strata else None
    return TimesData(
        pd.DataFrame({"w0": rng.normal(size=n)}), a, np.minimum(until, lost), arms, event=until <= lost, outcome=outcome, strata=numbers
    )


def test_power_of_the_test_is_that_of_schoenfeld_s_formula() -> None:
    """Schoenfeld (1981), DOI 10.1093/biomet/68.1.316: the statistic has mean sqrt(events / 4) log ratio."""
    runs = [(one, draw.event.sum()) for seed in range(400) for draw in [data(150, seed)] for one in unadjusted("logrank", draw, "01")]
    rejected = np.mean([abs(one.estimate / one.se) > Z95 for one, _ in runs])
    mean = math.sqrt(np.mean([events for _, events in runs]) / 4.0) * abs(math.log(0.6))
    expected = 0.5 * (1.0 + math.erf((mean - Z95) / math.sqrt(2.0)))
    assert 0.4 < expected < 0.8
    assert abs(rejected - expected) < 3.5 * math.sqrt(0.25 / 400) + 0.02
    level = np.mean([abs(one.estimate / one.se) > Z95 for seed in range(400) for one in unadjusted("logrank", data(150, seed, 1.0), "01")])
    assert abs(level - 0.05) < 3.5 * math.sqrt(0.05 * 0.95 / 400)


def test_restricted_means_are_those_of_estimate() -> None:
    draw = data(240, 1, arms=3)
    frame = pd.DataFrame({"a": draw.a, "t": draw.y, "e": draw.event.astype(int), "x": 0.0})
    table = read_survival(frame, {"treatment": "a", "time": "t", "event": "e", "covariates": ("x",)})
    analysis = analyse_survival(table, HORIZON, (), ("km",))
    peers = {(one.arm, one.control): one for one in analysis.estimates if one.estimand == "rmst_difference"}
    for one in unadjusted("km", draw, "012"):
        peer = peers[one.arm, one.control]
        for ours, theirs in zip(one[2:6], peer[5:9], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-9)
        assert one.joint_low == pytest.approx(peer.joint_low, rel=0.02)


def test_strata_are_kept_apart_and_curves_that_end_too_soon_have_no_mean() -> None:
    plain, apart = (unadjusted("logrank", data(200, 2, strata=strata), "01")[0] for strata in (False, True))
    assert plain.se < apart.se
    draw = data(60, 3)
    short = TimesData(draw.covariates, draw.a, np.minimum(draw.y, 5.0), 2, event=draw.event & (draw.y <= 5.0), outcome=draw.outcome)
    assert unadjusted("km", short, "01") == (None,)


def test_a_test_decides_no_number_of_replicates() -> None:
    estimates = unadjusted("logrank", data(80, 4), "01")
    table = to_table("cell", 0, [Replicate(0, 0.0, 0.0, (Outcome("logrank", (ONLY,), estimates, 0.0),))])
    assert tallies(table, {}) == {}


def figure(n: int, power: float, scale: float = 1.0, estimator: str = "km") -> dict[str, Any]:
    error = math.sqrt(power * (1.0 - power) / 1_000)
    row = {"n": n, "design": "randomized", "tilt": None, "withheld": None, "noise": 1.0, "learner": "glm", "estimand": "ate"}
    row |= {"effect_scale": scale, "estimator": estimator, "power": power, "power_mcse": error}
    return row | {"type1_error": power if scale == 0.0 else None, "type1_error_mcse": error if scale == 0.0 else None}


def test_the_smallest_size_and_the_rows_needed_follow_from_the_figures() -> None:
    powers = {n: 0.5 * (1.0 + math.erf((0.1 * math.sqrt(n) - Z95) / math.sqrt(2.0))) for n in (200, 400, 800, 1_600)}
    rows = [figure(n, power) for n, power in powers.items()] + [figure(n, 0.05, 0.0) for n in powers]
    (entry,) = sizes(rows, 0.8)
    assert entry["smallest"] == min(n for n, power in powers.items() if power >= 0.8) == 800
    exact = ((Z95 + quantile(0.8)) / 0.1) ** 2
    assert entry["rows_needed"]["rows"] == math.ceil(exact - 1e-6)
    assert entry["rows_needed"]["low"] < exact < entry["rows_needed"]["high"]
    assert [each["type1_error"] for each in entry["sizes"]] == [0.05] * 4
    assert sizes(rows[:1], 0.8)[0]["smallest"] is None
    assert sizes([figure(100, 1.0)], 0.8)[0]["rows_needed"] is None
    assert rows_from_power(figure(400, powers[400]), powers[400]).rows == 400
    (table,) = power_tables([entry])
    assert table["rows"][0]["smallest"] == "800"
    assert any("97.7%" in line or "80.7%" in line for line in power_lines([entry]))


def test_the_interval_of_rows_needed_holds_the_exact_size() -> None:
    rng, inside, exact = np.random.default_rng(5), 0, ((Z95 + quantile(0.8)) / 0.1) ** 2
    power = 0.5 * (1.0 + math.erf((0.1 * math.sqrt(500) - Z95) / math.sqrt(2.0)))
    for _ in range(1_000):
        needed = rows_from_power(figure(500, rng.binomial(1_000, power) / 1_000), 0.8)
        inside += needed.low <= exact <= needed.high
    assert 0.93 < inside / 1_000 < 0.98


def test_only_a_time_to_event_has_them(tmp_path: Any) -> None:
    assert unadjusted_of(SimulateSpec(), "survival") == ("km", "logrank")
    assert unadjusted_of(SimulateSpec(), "binary") == ()
    assert estimators_of(SimulateSpec(estimators=("tmle", "logrank"))) == ("tmle",)
    values = {"name": "t", "source": {"uri": "t.csv"}, "roles": {"treatment": "a", "outcome": "y"}, "simulate": {"estimators": ["km"]}}
    with pytest.raises(SpecError, match="got 'km', which is for a time to event"):
        check(Spec.model_validate(values))
