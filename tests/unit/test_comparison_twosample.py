"""Telling drawn rows from real ones: chance where there is nothing to tell, certainty where there is, and a refusal for want of rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tasks.comparison.closeness import closer_share
from tasks.comparison.twosample import FEWEST, area, two_sample
from tasks.contract.errors import EstimationError


def table(n: int, seed: int, shift: float = 0.0, linked: bool = True) -> pd.DataFrame:
    """Two numbers and a category, linked; some cells missing."""
    rng = np.random.default_rng(seed)
    x = rng.normal(shift, 1, n)
    y = (x if linked else rng.normal(shift, 1, n)) + 0.3 * rng.normal(size=n)
    code = (x + rng.normal(size=n) > 0).astype(int)
    code[rng.random(n) < 0.1] = -1
    y[rng.random(n) < 0.1] = np.nan
    return pd.DataFrame({"w0": x, "w1": y, "w2": pd.Categorical.from_codes(code, categories=["a", "b"])})


def test_two_samples_of_one_law_are_not_told_apart() -> None:
    found = [two_sample(table(300, seed), table(500, 100 + seed), np.random.default_rng(seed)) for seed in range(3)]
    assert all(each.rows == 300 for each in found)
    # three independent AUCs of standard error 0.036: their mean has one of 0.02
    assert abs(np.mean([each.auc for each in found]) - 0.5) < 0.05
    assert sum(each.ci_low <= 0.5 <= each.ci_high for each in found) >= 2
    # one and a half times what five independent folds would have
    assert all(0.028 < each.se < 0.045 for each in found)


def test_a_broken_link_is_found_although_every_margin_is_right() -> None:
    real, drawn = table(400, 1), table(400, 2, linked=False)
    found = two_sample(real, drawn, np.random.default_rng(0))
    assert found.ci_low > 0.7
    assert found == two_sample(real, drawn, np.random.default_rng(0))


def test_a_column_that_only_drawn_rows_lack_gives_them_away() -> None:
    drawn = table(200, 3).assign(w1=np.nan)
    assert two_sample(table(200, 4), drawn, np.random.default_rng(0)).auc > 0.9


def test_too_few_rows_are_a_refusal() -> None:
    with pytest.raises(EstimationError, match=f"at least {FEWEST} on either side; got 30"):
        two_sample(table(30, 0), table(500, 1), np.random.default_rng(0))


def test_the_area_is_the_share_of_pairs_and_its_variance_that_of_delong() -> None:
    rng = np.random.default_rng(0)
    ones, zeros = rng.integers(0, 9, 40).astype(float) + 1, rng.integers(0, 9, 60).astype(float)
    wins = np.sign(ones[:, None] - zeros[None, :]) / 2 + 0.5
    auc, variance = area(ones, zeros)
    assert auc == pytest.approx(wins.mean())
    assert variance == pytest.approx(wins.mean(1).var(ddof=1) / 40 + wins.mean(0).var(ddof=1) / 60)


def test_rows_of_the_same_law_are_as_close_to_seed_as_to_holdout() -> None:
    """A seed of more than twice the holdout's size is no nearer for that."""
    shares = [
        closer_share(table(500, seed), table(200, 10 + seed), table(600, 20 + seed), np.random.default_rng(seed)) for seed in range(4)
    ]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.04)


def test_copies_of_the_seed_are_closer_to_it() -> None:
    seed, holdout = table(500, 0), table(200, 1)
    drawn = seed.iloc[np.random.default_rng(2).integers(500, size=600)].reset_index(drop=True)
    share = closer_share(seed, holdout, drawn, np.random.default_rng(0))
    # two of five training rows stand in each subsample: those rows meet themselves, the others are undecided
    assert 0.62 < share < 0.8
    assert closer_share(seed.iloc[:200].reset_index(drop=True), holdout, seed.iloc[:200], np.random.default_rng(0)) > 0.97
    assert closer_share(holdout, seed.iloc[:200].reset_index(drop=True), seed.iloc[:200], np.random.default_rng(0)) < 0.03


def test_a_reference_of_a_few_rows_is_refused() -> None:
    with pytest.raises(EstimationError, match="at least 20 in training rows and holdout"):
        closer_share(table(100, 0), table(10, 1), table(50, 2), np.random.default_rng(0))
