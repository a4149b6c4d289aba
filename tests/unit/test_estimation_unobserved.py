"""Missing outcomes: weighted by the chance to be observed, against closed forms and a world of known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tasks.contract.errors import EstimationError
from tasks.estimation.analysis import analyse

ROLES = {"treatment": "a", "outcome": "y", "missing_outcome": "ipcw"}


def dropout(n: int, seed: int, arms: int = 2) -> pd.DataFrame:
    """Means 0 and 1 (and 2) of the arms at x = 0; rows of high x drop out, most of all in the later arms."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    chances = np.exp(0.6 * np.outer(x, np.arange(arms)))
    chances /= chances.sum(axis=1, keepdims=True)
    a = (rng.random(n)[:, None] > np.cumsum(chances, axis=1)).sum(axis=1)
    y = 2.0 * x + a + rng.normal(size=n)
    seen = rng.random(n) < 1 / (1 + np.exp(-(1.2 - (0.5 + 0.7 * a) * x)))
    return pd.DataFrame({"x": x, "z": rng.normal(size=n), "a": a, "y": np.where(seen, y, np.nan)})


def test_rows_that_drop_out_are_weighted_for() -> None:
    frame = dropout(4_000, 1)
    kept = analyse(frame, ROLES, learner="glm", folds=3)
    dropped = analyse(frame.dropna(), {"treatment": "a", "outcome": "y"}, ("ipw",), learner="glm", folds=3)
    assert kept.overlap.n == 4_000
    assert [one.estimator for one in kept.estimates] == ["or", "ipw", "aipw", "tmle"]
    assert all(one.arm is None and one.joint_low is None for one in kept.estimates)
    for one in kept.estimates:
        assert abs(one.estimate - 1.0) < 3.5 * one.se
    # complete rows are other rows, arm by arm: the means that weights of g alone give are wrong
    means = frame.dropna().groupby("a").x.mean()
    assert means[0] > means[1] - 1.0
    assert dropped.overlap.n < 3_500


def test_an_estimate_without_covariates_that_matter_is_the_cell_means_closed_form() -> None:
    """One two-valued covariate: AIPW is the standardised mean of the observed rows of each cell and arm."""
    rng = np.random.default_rng(2)
    n = 6_000
    x, a = rng.integers(0, 2, n), rng.integers(0, 2, n)
    y = 1.0 * a + 2.0 * x + 1.5 * a * x + rng.normal(size=n)
    seen = rng.random(n) < np.where(x == 1, 0.4 + 0.3 * a, 0.9)
    frame = pd.DataFrame({"x": x.astype(str), "a": a, "y": np.where(seen, y, np.nan)})
    cells = frame.groupby(["a", "x"]).y.mean()
    shares = frame.x.value_counts(normalize=True)
    closed = sum(shares[level] * (cells[1, level] - cells[0, level]) for level in ("0", "1"))
    for one in analyse(frame, ROLES, ("aipw", "tmle"), learner="glm", folds=2).estimates:
        assert one.estimate == pytest.approx(closed, abs=0.25 * one.se)


def test_three_arms_with_dropout_are_compared_pair_by_pair() -> None:
    found = analyse(dropout(6_000, 3, arms=3), ROLES | {"control": 0}, ("tmle",), learner="glm", folds=3)
    pairs = {(one.arm, one.control): one for one in found.estimates if one.control is not None}
    assert set(pairs) == {("1", "0"), ("2", "0"), ("2", "1")}
    for (arm, control), one in pairs.items():
        assert abs(one.estimate - (int(arm) - int(control))) < 3.5 * one.se
    assert pairs["2", "0"].estimate == pytest.approx(pairs["2", "1"].estimate + pairs["1", "0"].estimate, abs=1e-9)
    assert len([one for one in found.estimates if one.estimand == "mean"]) == 3


def test_without_gaps_nothing_changes() -> None:
    frame = dropout(600, 4).assign(y=lambda table: table.y.fillna(0.0))
    declared = analyse(frame, ROLES, learner="glm", folds=2)
    plain = analyse(frame, {"treatment": "a", "outcome": "y"}, learner="glm", folds=2)
    assert declared.estimates == plain.estimates


def test_binary_outcomes_and_another_name_of_the_control() -> None:
    frame = dropout(1_500, 5)
    frame["y"] = (frame.y > 0.5).astype(float).where(frame.y.notna())
    first = analyse(frame, ROLES, ("aipw",), learner="glm", folds=2).estimates[0]
    other = analyse(frame, ROLES | {"treated": 0}, ("aipw",), learner="glm", folds=2).estimates[0]
    assert first.estimate == pytest.approx(-other.estimate, abs=1e-12)
    assert first.se == pytest.approx(other.se, rel=1e-9)


@pytest.mark.parametrize("arms", [2, 3])
def test_effects_among_arms_and_in_the_overlap_are_of_all_rows(arms: int) -> None:
    """One two-valued covariate that decides arm and dropout: the cells' means, weighted by all rows of the arm, are the closed form."""
    rng = np.random.default_rng(8)
    n = 9_000
    x = rng.integers(0, 2, n)
    a = np.where(rng.random(n) < 0.35 + 0.3 * x, rng.integers(1, arms, n), 0)
    y = 1.0 * a + 2.0 * x + 1.5 * a * x + 0.5 * rng.normal(size=n)
    seen = rng.random(n) < np.where(x == 1, 0.35 + 0.2 * a, 0.9)
    frame = pd.DataFrame({"x": x.astype(str), "a": a, "y": np.where(seen, y, np.nan)})
    cells = frame.groupby(["a", "x"]).y.mean()
    shares = frame.groupby("x").a.value_counts(normalize=True)
    sizes = {
        "att": {level: float(np.mean((a == 1) & (x == int(level)))) for level in "01"},
        "atc": {level: float(np.mean((a == 0) & (x == int(level)))) for level in "01"},
        "ato": {level: np.mean(x == int(level)) / sum(1.0 / shares[level, arm] for arm in range(arms)) for level in "01"},
    }
    found = analyse(frame, ROLES | {"control": 0}, ("att", "atc", "ato"), learner="glm", folds=2).estimates
    first = {one.estimand: one for one in found if one.arm in (None, "1") and one.control in (None, "0")}
    of_seen = frame.dropna()
    for estimand, weights in sizes.items():
        closed = sum(weights[level] * (cells[1, level] - cells[0, level]) for level in "01") / sum(weights.values())
        assert first[estimand].estimate == pytest.approx(closed, abs=0.25 * first[estimand].se), estimand
    among_seen = of_seen[of_seen.a == 1].groupby("x").size() / np.sum(of_seen.a == 1)
    wrong = sum(among_seen[level] * (cells[1, level] - cells[0, level]) for level in "01")
    assert abs(first["att"].estimate - wrong) > 4.0 * first["att"].se  # those without outcome are of another kind


def test_effects_among_arms_have_honest_errors() -> None:
    """Over draws the ATT's errors are as large as its standard error says."""
    gaps = []
    for seed in range(30):
        frame = dropout(700, 100 + seed)
        frame["y"] += 0.8 * frame.a * frame.x
        one = analyse(frame, ROLES, ("att",), learner="glm", folds=2).estimates[0]
        gaps.append((one.estimate - 1.0 - 0.8 * _MEAN_OF_TREATED) / one.se)
    assert np.std(gaps) == pytest.approx(1.0, abs=0.4)
    assert abs(np.mean(gaps)) < 0.75


#: E[x | a = 1] in :func:`dropout`: of x standard normal with P(a = 1 | x) = expit(0.6 x), by quadrature.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
_MEAN_OF_TREATED = float(np.sum(_WEIGHTS * _NODES / (1 + np.exp(-0.6 * _NODES))) / np.sum(_WEIGHTS / (1 + np.exp(-0.6 * _NODES))))


def test_effects_of_subgroups_are_of_all_their_rows() -> None:
    frame = dropout(4_000, 9)
    frame["y"] += 1.0 * (frame.z > 0.0) * frame.a
    frame["group"] = np.where(frame.z > 0.0, "high", "low")
    found = analyse(frame, ROLES | {"subgroups": ("group",)}, ("aipw",), learner="glm", folds=2).estimates
    gates = {one.estimand: one for one in found if one.estimand.startswith("gate")}
    for level, truth in (("high", 2.0), ("low", 1.0)):
        one = gates[f"gate[group={level}]"]
        assert abs(one.estimate - truth) < 3.5 * one.se


def test_missing_outcomes_need_leave() -> None:
    with pytest.raises(EstimationError, match="must be known in every row"):
        analyse(dropout(400, 6), {"treatment": "a", "outcome": "y"}, learner="glm")
