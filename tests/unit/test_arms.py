"""More than two arms: nuisances, estimators on every pair, intervals that hold together, and what is refused."""

from __future__ import annotations

import math
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
from scipy.stats import studentized_range

from flows.estimate import estimate as estimate_flow
from tasks.contract.errors import EstimationError, SourceError, SpecError
from tasks.contract.nuisance import Nuisances, nuisance_names
from tasks.contract.registry import resolve
from tasks.contract.results import Estimate
from tasks.estimation.analysis import analyse
from tasks.estimation.contrasts import contrasts_of
from tasks.estimation.evaluate import evaluate
from tasks.estimation.joint import joint_quantile
from tasks.nuisance.fold_model import FoldModel
from tasks.nuisance.multinomial import fit_multinomial, probabilities
from tasks.nuisance.ridge import fit_ridge
from tasks.targeting.fluctuation import truncate_arms, truncation_bound
from tasks.targeting.sample import prepare

ACTG = Path(__file__).parents[1] / "data" / "actg175.csv"
NAMES = ("or", "ipw", "aipw", "tmle", "adaptive", "ato")
K, N = 4, 600


def world(n: int = N, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, Nuisances]:
    """Draw covariates, arms, an outcome, and nuisances that are near the truth."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    logits = np.column_stack((np.zeros(n), 0.6 * x[:, 0], 0.5 * x[:, 1] - 0.3, -0.5 * x[:, 0]))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    a = (rng.random((n, 1)) > np.cumsum(p, axis=1)).sum(axis=1).astype(np.int8)
    q = x[:, :1] + np.array([0.0, 1.0, 2.0, 0.5]) * (1.0 + 0.3 * x[:, 1:])
    y = q[np.arange(n), a] + rng.normal(size=n)
    frame = pd.DataFrame({"x": x[:, 0], "z": x[:, 1]})
    return frame, a, y, Nuisances(*p.T[1:], *(q + 0.3 * x[:, 1:] ** 2).T)


def by_pair(estimates: list[Estimate], estimator: str, estimand: str = "ate") -> dict[tuple[str | None, str | None], Estimate]:
    return {(one.arm, one.control): one for one in estimates if (one.estimator, one.estimand) == (estimator, estimand)}


def test_nuisances_are_named_by_their_arms() -> None:
    assert nuisance_names(2) == ("g", "q0", "q1")
    assert nuisance_names(3) == ("g1", "g2", "q0", "q1", "q2")
    *_, nuisances = world(50)
    assert nuisances.arms == K
    assert np.allclose(sum(nuisances.propensities), 1.0, atol=1e-15)
    again = pickle.loads(pickle.dumps(nuisances))
    assert isinstance(again, Nuisances)
    assert list(again._asdict()) == list(nuisance_names(K))
    other = nuisances.rearranged((2, 0, 1, 3))
    assert np.array_equal(other.outcomes[0], nuisances.outcomes[2])
    assert np.allclose(other.propensities[1], nuisances.propensities[0], atol=1e-15)
    for name in ("g", "q0", "q1"):
        with pytest.raises(ValueError, match="must be 2"):
            getattr(nuisances, name)
    with pytest.raises(ValueError, match="2 K - 1"):
        Nuisances(*nuisances[:4])


def test_aipw_of_every_pair_is_the_closed_form() -> None:
    _, a, y, nuisances = world()
    found = evaluate(a, y, nuisances, "continuous", ("aipw",), 0.02, labels="cdef")
    hit = np.eye(K)[a]
    phi = np.column_stack(nuisances.outcomes) + hit * (y[:, None] - np.column_stack(nuisances.outcomes)) / np.column_stack(
        truncate_arms(nuisances, 0.02)
    )
    means, pairs = by_pair(found, "aipw", "mean"), by_pair(found, "aipw")
    for arm, label in enumerate("cdef"):
        assert means[label, None].estimate == pytest.approx(phi[:, arm].mean(), abs=1e-12)
        assert means[label, None].se == pytest.approx(phi[:, arm].std(ddof=1) / math.sqrt(N), rel=1e-12)
    assert list(pairs) == [("cdef"[arm], "cdef"[reference]) for arm, reference in contrasts_of(K)]
    for (arm, reference), one in pairs.items():
        value = phi[:, "cdef".index(str(arm))] - phi[:, "cdef".index(str(reference))]
        assert one.estimate == pytest.approx(value.mean(), abs=1e-12)
        assert one.se == pytest.approx(value.std(ddof=1) / math.sqrt(N), rel=1e-12)


@pytest.mark.parametrize("estimator", NAMES)
def test_contrasts_are_transitive_and_do_not_depend_on_the_numbering(estimator: str) -> None:
    _, a, y, nuisances = world()
    shown = "aipw" if estimator == "ato" else estimator
    pairs = by_pair(evaluate(a, y, nuisances, "continuous", (estimator,)), shown, "ato" if estimator == "ato" else "ate")
    for arm in ("2", "3"):
        assert pairs[arm, "1"].estimate == pytest.approx(pairs[arm, "0"].estimate - pairs["1", "0"].estimate, abs=1e-9)
    order = (2, 3, 1, 0)
    place = np.argsort(order).astype(np.int8)
    labels = [str(arm) for arm in order]
    other = evaluate(place[a], y, nuisances.rearranged(order), "continuous", (estimator,), labels=labels)
    again = by_pair(other, shown, "ato" if estimator == "ato" else "ate")
    assert again["3", "2"].estimate == pytest.approx(pairs["3", "2"].estimate, abs=1e-9)
    assert again["0", "2"].estimate == pytest.approx(-pairs["2", "0"].estimate, abs=1e-9)
    assert again["0", "2"].se == pytest.approx(pairs["2", "0"].se, rel=1e-9)


def test_targeting_solves_the_score_of_every_arm() -> None:
    _, a, y, nuisances = world()
    sample = prepare(a, y, nuisances, "continuous", 0.01)
    for arm, star in enumerate(sample.targeted):
        assert abs(np.mean((a == arm) / sample.p[arm] * (y - star))) < 1e-8


def test_effects_among_one_arm_and_in_the_overlap() -> None:
    _, a, y, nuisances = world()
    found = evaluate(a, y, nuisances, "continuous", ("att", "ato"), 0.0)
    p, q = np.column_stack(nuisances.propensities), np.column_stack(nuisances.outcomes)
    att = by_pair(found, "aipw", "att")
    assert list(att) == [("1", "0"), ("2", "0"), ("3", "0")]
    for arm in (1, 2, 3):
        value = ((a == arm) - (a == 0) * p[:, arm] / p[:, 0]) * (y - q[:, 0])
        assert att[str(arm), "0"].estimate == pytest.approx(value.mean() / np.mean(a == arm), abs=1e-12)
    h = 1.0 / np.sum(1.0 / p, axis=1)
    # with the truth for Q the residual terms vanish, and what is left is the average over the overlap population
    true = Nuisances(*nuisances[:3], *(q - 0.0).T)
    exact = evaluate(a, q[np.arange(N), a], true, "continuous", ("ato",), 0.0)
    share = (h / p[np.arange(N), a]) ** 2
    assert by_pair(exact, "aipw", "ato")["2", "1"].estimate == pytest.approx(np.average(q[:, 2] - q[:, 1], weights=share), abs=1e-12)


def test_overlap_weights_of_two_arms_are_those_of_more() -> None:
    _, a, y, nuisances = world()
    kept = a < 2
    g = nuisances.propensities[1][kept] / (nuisances.propensities[0] + nuisances.propensities[1])[kept]
    two = Nuisances(g, *(q[kept] for q in nuisances.outcomes[:2]))
    (one,) = evaluate(a[kept], y[kept], two, "continuous", ("ato",))
    # an arm that never occurs makes three of two: h is the same in the limit
    spare = np.full(int(kept.sum()), 1e9)
    p0, p1 = 1.0 - g, g
    h = 1.0 / (1.0 / p0 + 1.0 / p1 + 1.0 / spare)
    s = np.where(a[kept] == 1, h / p1, h / p0)
    q = np.column_stack(two.outcomes)
    numerator = np.where(a[kept] == 1, s, -s) * (y[kept] - q[np.arange(len(s)), a[kept]]) + s**2 * (q[:, 1] - q[:, 0])
    assert one.estimate == pytest.approx(numerator.sum() / np.sum(s**2), abs=1e-6)


def test_joint_intervals_are_tukeys_where_arms_are_independent_and_alike() -> None:
    rng = np.random.default_rng(3)
    a = np.repeat(np.arange(K, dtype=np.int8), 2000)
    noise = rng.normal(size=len(a))
    nuisances = Nuisances(*(np.full(len(a), 1 / K) for _ in range(K - 1)), *(np.zeros(len(a)) for _ in range(K)))
    sample = prepare(a, noise, nuisances, "continuous", 0.0)
    values = [K * ((a == arm) * 1.0 - (a == reference)) * noise for arm, reference in contrasts_of(K)]
    quantile = joint_quantile(np.column_stack(values), sample.weights)
    assert quantile == pytest.approx(studentized_range.ppf(0.95, K, np.inf) / math.sqrt(2), abs=0.03)
    found = by_pair(evaluate(a, noise, nuisances, "continuous", ("aipw",)), "aipw")
    for one in found.values():
        assert one.joint_low is not None
        assert one.joint_high is not None
        assert one.joint_low < one.ci_low < one.ci_high < one.joint_high


def test_a_multinomial_fit_of_two_arms_is_the_binomial_one() -> None:
    frame, a, *_ = world()
    x = np.column_stack((np.ones(N), frame.to_numpy()))
    two, penalty = (a > 1).astype(np.int8), np.array([0.0, 1.0, 1.0])
    one, other = fit_multinomial(x, two, 2, penalty), fit_ridge(x, two.astype(float), penalty, "binomial")
    assert one.strength == other.strength
    assert one.coefficients[:, 0] == pytest.approx(other.coefficients, abs=1e-6)


def test_a_multinomial_fit_is_the_minimum_of_its_loss() -> None:
    frame, a, *_ = world()
    x = np.column_stack((np.ones(N), frame.to_numpy()))
    w = np.random.default_rng(1).exponential(size=N)
    penalty, strength = np.array([0.0, 1.0, 2.0]), 0.3
    found = fit_multinomial(x, a, K, penalty, w, (strength,))
    assert probabilities(x, found.coefficients).sum(axis=1) == pytest.approx(np.ones(N))
    w = w / w.mean()
    share = np.average(np.eye(K)[a], axis=0, weights=w)
    unit = (1.0 - float(share @ share)) / 2.0 / (K - 1)

    def objective(flat: np.ndarray) -> float:
        theta = flat.reshape(3, K - 1)
        chosen = probabilities(x, theta)[np.arange(N), a]
        return float(-w @ np.log(chosen) + 0.5 * N * strength * unit * np.sum(penalty[:, None] * theta**2))

    best = scipy.optimize.minimize(objective, np.zeros(3 * (K - 1)), tol=1e-12)
    assert found.coefficients.ravel() == pytest.approx(best.x, abs=2e-4)


def test_the_left_out_loss_is_near_that_of_leaving_each_row_out() -> None:
    frame, a, *_ = world(60, seed=5)
    x, penalty = np.column_stack((np.ones(60), frame.to_numpy())), np.array([0.0, 1.0, 1.0])
    found = fit_multinomial(x, a, K, penalty, strengths=(0.3,))
    losses = []
    for row in range(60):
        kept = np.arange(60) != row
        # the penalty of all 60 rows
        fit = fit_multinomial(x[kept], a[kept], K, penalty * 60 / 59, strengths=(0.3,))
        losses.append(-math.log(probabilities(x[[row]], fit.coefficients)[0, a[row]]))
    assert found.loss == pytest.approx(np.mean(losses), rel=0.01)


@pytest.mark.parametrize("learner", ["glm", "boosted", "stack"])
def test_learners_of_several_arms(learner: str) -> None:
    frame, a, y, truth = world(900)
    fit = resolve("learner", learner)
    g = fit.fit_propensity(frame, a, np.random.default_rng(0))
    q = fit.fit_outcome(frame, a, y, "continuous", np.random.default_rng(0))
    predicted = FoldModel(g, q, 900, K).predict(frame)
    assert np.allclose(sum(predicted.propensities), 1.0)
    assert min(p.min() for p in predicted.propensities) > 0.0
    follows = [np.corrcoef(one, other)[0, 1] for one, other in zip(predicted.propensities, truth.propensities, strict=True)]
    assert np.mean(follows) > 0.6
    assert min(np.corrcoef(one, other)[0, 1] for one, other in zip(predicted.outcomes, truth.outcomes, strict=True)) > 0.8


def test_another_control_renames_arms_and_changes_nothing_else() -> None:
    frame, a, y, _ = world()
    table = frame.assign(arm=np.array(["c", "d", "e", "f"])[a], y=y)
    one, other = (analyse(table, {"treatment": "arm", "outcome": "y", "control": control}, ("aipw",), learner="glm") for control in "ce")
    means, same = by_pair(one.estimates, "aipw", "mean"), by_pair(other.estimates, "aipw", "mean")
    for arm, mean in means.items():
        assert same[arm].estimate == pytest.approx(mean.estimate, abs=1e-12)
        assert same[arm].se == pytest.approx(mean.se, rel=1e-12)
    swapped = by_pair(other.estimates, "aipw")["c", "e"].estimate
    assert swapped == pytest.approx(-by_pair(one.estimates, "aipw")["e", "c"].estimate, abs=1e-12)
    assert one.overlap.smallest_arm == int(np.bincount(a).min())
    assert {row.arm for row in one.balance} == {"d", "e", "f"}
    assert one.as_dict()["overlap"]["arms"][0]["arm"] == "c"  # type: ignore[index]


def test_what_several_arms_do_not_allow() -> None:
    frame, a, y, nuisances = world(200)
    table, roles = frame.assign(arm=a, y=y), {"treatment": "arm", "outcome": "y", "control": 0}
    with pytest.raises(SpecError, match="propensity of estimate must be left out of 4 arms"):
        analyse(table, roles, ("aipw",), propensity=0.5)
    with pytest.raises(SpecError, match=r"control of roles must be one of the labels of 'arm' .*got 9"):
        analyse(table, roles | {"control": 9}, ("aipw",))
    with pytest.raises(EstimationError, match=r"must be two; got 4.*Name the reference arm as control"):
        analyse(table, {"treatment": "arm", "outcome": "y"}, ("aipw",))
    with pytest.raises(EstimationError, match="two to 8; got 9"):
        analyse(table.assign(arm=np.arange(200) % 9), roles, ("aipw",))
    with pytest.raises(EstimationError, match="at least 1 row each"):
        evaluate(np.minimum(a, 2).astype(np.int8), y, nuisances, "continuous", ("aipw",))
    with pytest.raises(SpecError, match=r"in \[0, 0.25\); got 0.3"):
        truncation_bound(100, 0.3, 4)
    assert truncation_bound(2, "auto", 4) == 0.125


def of_actg(**options: Any) -> tuple[dict[str, Any], list[str]]:
    roles = {"treatment": "arms", "outcome": "cd420", "covariates": ("age", "wtkg", "karnof", "cd40", "cd80", "symptom"), "control": 0}
    given = {"estimators": ("aipw", "tmle"), "seed": 1, "learner": "glm", "folds": 5, "repeats": 1, "propensity": None}
    return estimate_flow(str(ACTG), roles | options.pop("roles", {}), given | options)


def test_a_trial_of_four_arms() -> None:
    reply, lines = of_actg()
    means = {one["arm"]: one for one in reply["estimates"] if (one["estimand"], one["estimator"]) == ("mean", "tmle")}
    # the arms' raw means; adjusted ones differ by little more than chance
    for arm, raw in zip("0123", (336, 403, 372, 374), strict=True):
        assert abs(means[arm]["estimate"] - raw) < 2.0 * means[arm]["se"]
    pairs = {(one["arm"], one["control"]): one for one in reply["estimates"] if (one["estimand"], one["estimator"]) == ("ate", "tmle")}
    assert len(pairs) == 6
    assert pairs["2", "1"]["estimate"] == pytest.approx(pairs["2", "0"]["estimate"] - pairs["1", "0"]["estimate"], abs=1e-9)
    assert pairs["1", "0"]["joint_low"] > 40
    assert any("1 - 0" in line for line in lines)
    assert any("arm 3" in line for line in lines)
    out_of_core, _ = of_actg(memory_rows=0)
    assert out_of_core["fit"]["out_of_core"]
    for one, other in zip(reply["estimates"], out_of_core["estimates"], strict=True):
        assert (one["arm"], one["control"]) == (other["arm"], other["control"])
        assert one["estimate"] == pytest.approx(other["estimate"], rel=1e-9)
    assert [row["arm"] for row in out_of_core["balance"]] == [row["arm"] for row in reply["balance"]]


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"control": None}, "exactly two labels; got 4"),
        ({"control": 7}, "--control must be one of the labels of 'arms' ('3': 561 rows"),
        ({"treated": 1}, "--treated must be left out where 'arms' has more than two labels"),
    ],
)
def test_arms_that_estimate_refuses(roles: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError) as fault:
        of_actg(roles=roles)
    assert message in str(fault.value)


def test_contrasts_come_with_the_control_first() -> None:
    assert contrasts_of(2) == [(1, 0)]
    assert contrasts_of(4) == [(1, 0), (2, 0), (3, 0), (2, 1), (3, 1), (3, 2)]
    assert contrasts_of(4, pairs=False) == [(1, 0), (2, 0), (3, 0)]
    assert all(one != other for one, other in pairwise(contrasts_of(8)))
