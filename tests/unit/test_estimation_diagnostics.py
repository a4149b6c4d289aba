import json
import math

import numpy as np
import pandas as pd
import pytest

from tasks.contract.errors import EstimationError
from tasks.estimation.balance import balance
from tasks.estimation.overlap import overlap
from tasks.targeting.fluctuation import truncate


def draw(n: int = 4000, slope: float = 1.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    w = rng.normal(size=n)
    g = 1 / (1 + np.exp(-slope * w))
    return w, (rng.random(n) < g).astype(np.int8), g


def test_overlap_against_its_definitions():
    _, a, g = draw(slope=3.0)
    found = overlap(a, g, 0.05)
    assert found.below == np.mean(g < 0.05)
    assert found.above == pytest.approx(np.mean(g > 0.95))
    assert found.outside > 0.1
    w1 = 1 / np.clip(g[a == 1], 0.05, 0.95)
    assert found.ess1 == pytest.approx(w1.sum() ** 2 / (w1**2).sum() / (a == 1).sum())
    w0 = 1 / (1 - np.clip(g[a == 0], 0.05, 0.95))
    assert found.largest_weight == pytest.approx(max((w1 / w1.sum()).max(), (w0 / w0.sum()).max()))
    assert found.smallest_arm == min((a == 0).sum(), (a == 1).sum())
    assert found.quantiles1[2] == np.median(g[a == 1])
    assert json.loads(json.dumps(found.as_dict()))["smallest_arm"] == found.smallest_arm


def test_a_trial_has_full_overlap():
    a = draw(slope=0.0)[1]
    found = overlap(a, np.full(4000, 0.5), 0.05)
    assert (found.outside, found.ess0, found.ess1) == (0.0, 1.0, 1.0)
    assert math.isnan(found.calibration.slope)
    assert found.as_dict()["calibration"] == {"slope": None, "ci_low": None, "ci_high": None}


def test_calibration_slope_tells_calibrated_from_overconfident():
    covered = 0
    for seed in range(40):
        _, a, g = draw(1000, seed=seed)
        slope = overlap(a, g, 0.0).calibration
        covered += slope.ci_low <= 1 <= slope.ci_high
    assert covered >= 34
    eta = np.log(g) - np.log1p(-g)
    overconfident = overlap(a, 1 / (1 + np.exp(-3 * eta)), 0.0).calibration
    assert overconfident.ci_high < 0.6
    separated = overlap(a, np.where(a == 1, 0.9, 0.1) + 0.01 * (g - 0.5), 0.0).calibration
    assert math.isnan(separated.slope)


def test_small_cells_of_the_histogram_are_hidden():
    g = np.concatenate([np.full(50, 0.22), np.full(3, 0.91), np.full(30, 0.51), np.full(40, 0.32)])
    a = np.concatenate([np.zeros(83), np.ones(40)]).astype(np.int8)
    found = overlap(a, g, 0.01)
    assert found.histogram0[18] is None
    assert all(count % 5 == 0 for count in found.histogram0 if count is not None)  # or subtraction would tell
    assert found.histogram0[4] == 50
    assert found.histogram1[6] == 40


def test_one_arm_has_no_overlap_to_measure():
    with pytest.raises(EstimationError, match="at least 1 row each"):
        overlap(np.ones(10, dtype=np.int8), np.full(10, 0.5), 0.01)


def test_weighting_balances_what_was_confounded():
    w, a, g = draw(20_000)
    frame = pd.DataFrame(
        {
            "w0": np.where(np.arange(len(w)) % 10 == 0, np.nan, w),
            "w1": pd.Categorical(np.where(w > 0, "high", "low")),
        }
    )
    rows = {(one.covariate, one.level): one for one in balance(frame, a, truncate(g, 1e-6), {"w0": "age", "w1": "side"})}
    assert set(rows) == {("age", None), ("age", "(missing)"), ("side", "high"), ("side", "low")}
    assert rows["age", None].before > 0.5
    assert abs(rows["age", None].after) < 0.06
    assert rows["side", "high"].before == pytest.approx(-rows["side", "low"].before)
    assert abs(rows["side", "high"].after) < 0.06
    assert abs(rows["age", "(missing)"].before) < 0.06


def test_balance_against_its_definition():
    a = np.array([0, 0, 0, 1, 1, 1], dtype=np.int8)
    x = np.array([1.0, 2.0, 3.0, 2.0, 4.0, np.nan])
    (row, missing) = balance(pd.DataFrame({"w0": x}), a, truncate(np.full(6, 0.5), 0.0))
    scale = np.sqrt((np.var([1, 2, 3]) + np.var([2, 4])) / 2)
    assert row.before == pytest.approx((3 - 2) / scale)
    assert row.after == pytest.approx(row.before)
    assert missing.before == pytest.approx((1 / 3) / np.sqrt((2 / 9) / 2))


def test_a_covariate_that_is_the_treatment_keeps_a_finite_difference():
    a = np.array([0, 0, 1, 1], dtype=np.int8)
    (row,) = balance(pd.DataFrame({"w0": a.astype(float)}), a, truncate(np.full(4, 0.5), 0.0))
    assert row.before == pytest.approx(2.0)
    (constant,) = balance(pd.DataFrame({"w0": np.ones(4)}), a, truncate(np.full(4, 0.5), 0.0))
    assert constant.before == constant.after == 0.0
