"""Alpha-precision and beta-recall: what each of them sees, and what neither rewards."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from tasks.contract.errors import SourceError
from tasks.contract.rng import rng_for
from tasks.distance.coverage import coverage


def table(n, seed, shift=0.0, spread=1.0, rare=0.1):
    """Draw numbers (one with gaps, one rounded) and two categories."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({f"w{at}": column for at, column in enumerate(rng.normal(shift, spread, size=(4, n)))})
    frame["w4"] = np.round(2 * frame["w0"])
    frame["w5"] = pd.Categorical(rng.choice(["a", "b", "c"], n, p=[0.9 - rare, 0.1, rare]), categories=["a", "b", "c"])
    frame["w6"] = pd.Categorical(rng.choice(["false", "true"], n), categories=["false", "true"])
    return frame.mask(rng.random(frame.shape) < 0.03)


def flags(n, seed):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({f"w{at}": pd.Categorical(rng.choice(["false", "true"], n, p=[0.7, 0.3])) for at in range(3)})


SEED, HOLDOUT = table(1800, 1), table(800, 2)


def score(drawn, seed=SEED, holdout=HOLDOUT, **more):
    return coverage(seed, holdout, drawn, rng_for(0, "coverage"), **more)


def test_a_new_sample_scores_as_the_seed_does():
    """Against four standard errors of the difference, over several samples."""
    for part in range(4):
        found = score(table(1500, 10 + part))
        for new, own in ((found.precision, found.precision_reference), (found.recall, found.recall_reference)):
            assert abs(new.value - own.value) < 4 * np.hypot(new.se, own.se)
        assert found.precision.value > 0.92
        assert found.rows == 800


@pytest.mark.parametrize(
    ("drawn", "precision", "recall"),
    [
        (table(1500, 3, shift=0.7), True, True),
        (table(1500, 4, spread=0.4), True, True),
        (table(1500, 5, spread=2.0), True, True),
        (table(1500, 6).query("w1 > 0").reset_index(drop=True), False, True),
        (pd.concat([table(20, 7)] * 60, ignore_index=True), False, True),
    ],
    ids=["shifted", "too typical", "too wide", "a half missing", "few rows repeated"],
)
def test_what_differs_is_seen(drawn, precision, recall):
    found = score(drawn)
    assert (found.precision.value < found.precision_reference.value - 0.1) >= precision
    assert (found.recall.value < found.recall_reference.value - 0.08) == recall


def test_copies_of_seed_rows_earn_nothing():
    found = score(SEED.sample(800, random_state=1))
    assert abs(found.precision.value - found.precision_reference.value) < 4 * found.precision.se
    assert abs(found.recall.value - found.recall_reference.value) < 4 * found.recall.se


def test_rows_that_are_few_levels_are_not_mistaken_for_a_fault():
    """With 8 different rows every ball's edge is a tie; scores stay near 1 for one law and fall for another."""
    found = score(flags(2000, 3), flags(2000, 1), flags(1000, 2))
    assert min(found.precision.value, found.recall.value, found.precision_reference.value) > 0.94
    only = flags(2000, 3).query("w0 == 'true'").reset_index(drop=True)
    assert score(pd.concat([only] * 3), flags(2000, 1), flags(1000, 2)).recall.value < 0.8
    one = pd.DataFrame({"w0": np.ones(200)})
    assert score(one, one, one).precision.value == pytest.approx(1.0)


def test_columns_may_come_in_another_order_and_rows_are_capped():
    drawn = table(1500, 8)
    assert score(drawn) == score(drawn[drawn.columns[::-1]])
    assert score(drawn) == score(drawn, threads=2)
    assert score(drawn, rows=200).rows == 200


def test_standard_errors_are_about_right():
    """Over samples the release's precision moves as its standard error says, where the law is wrong and the score smooth."""
    found = [score(table(400, 100 + part, shift=0.7), holdout=HOLDOUT[:400]).precision for part in range(40)]
    assert np.std([each.value for each in found], ddof=1) == pytest.approx(np.mean([each.se for each in found]), rel=0.35)


def test_too_few_rows_are_refused():
    with pytest.raises(SourceError, match="at least 50 in each table; got 30"):
        score(table(30, 1))
    with pytest.raises(SourceError, match="columns of"):
        score(HOLDOUT.drop(columns="w1"))


def test_the_record_is_plain():
    record = json.loads(json.dumps(score(table(300, 1)).as_dict(), allow_nan=False))
    assert set(record) == {"precision", "recall", "precision_reference", "recall_reference", "rows"}
    assert set(record["recall"]) == {"value", "se"}
