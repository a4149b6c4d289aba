"""Estimators find the truth they were not told: worlds of known effect, and how often their intervals cover it."""

import numpy as np
import pytest

from benchmarks.worlds import LAWS, draw, snapshot, truth
from tasks.contract.frames import to_frame
from tasks.contract.nuisance import Nuisances
from tasks.contract.registry import resolve
from tasks.contract.results import Estimate
from tasks.estimation.evaluate import evaluate
from tasks.nuisance.crossfit import InMemory, Rows, cross_fit
from tasks.nuisance.plan import Plan
from tasks.targeting.fluctuation import truncation_bound
from tasks.targeting.truncation import choose_truncation

ALL = ("or", "ipw", "aipw", "tmle", "adaptive")


def nuisances(world: str, n: int, seed: int, learner: str = "glm") -> tuple[np.ndarray, np.ndarray, Nuisances]:
    rows, schema = snapshot(draw(world, n, np.random.default_rng([seed, 77])).frame(), kind=LAWS[world].kind)
    a, y, keys = (rows.column(name).to_numpy() for name in ("a", "y", "key"))
    a, y = a.astype(np.int8), y.astype(np.float64)
    frame = InMemory(to_frame(rows, schema.modelled))
    return a, y, cross_fit(Plan("world", seed, 5), resolve("learner", learner), Rows(keys, a, y, LAWS[world].kind), frame).nuisances


def estimates(world: str, n: int, seed: int, learner: str = "glm") -> dict[str, Estimate]:
    a, y, found = nuisances(world, n, seed, learner)
    return {one.estimator: one for one in evaluate(a, y, found, LAWS[world].kind, ALL)}


@pytest.mark.parametrize("world", list(LAWS))
def test_every_estimator_is_within_three_standard_errors_of_the_truth(world: str) -> None:
    """Binary, continuous and count outcomes; a trial, moderate and poor overlap; 6, 8 and 20 covariates; effect zero."""
    found = estimates(world, 4_000, 1, "stack")
    # confounding is real where there is any: a difference in means would be told apart from the truth by the best of them
    for name, one in found.items():
        assert abs(one.estimate - truth(world)) < 3.0 * one.se, name
        assert one.se < 0.25 * max(abs(truth(world)), 0.1 if LAWS[world].kind == "binary" else 1.0)


def test_where_overlap_suffices_the_adaptive_estimate_is_the_tmle() -> None:
    for seed in range(5):
        found = estimates("trial", 1_000, seed)
        assert found["adaptive"][2:6] == found["tmle"][2:6]


def test_poor_overlap_is_not_paid_in_full_and_a_biased_plug_in_is_noticed() -> None:
    """In the poor world targeting is weakened; spoil Q where overlap is poor, and it is not."""
    weakened, noticed = 0, 0
    for seed in range(20):
        a, y, found = nuisances("poor", 1_000, seed)
        full = truncation_bound(len(y), "auto")
        honest, _ = choose_truncation(a, y, found, "binary", full)
        weakened += honest.bound > 2.0 * full
        assert honest.price > 1.2
        spoilt = found._replace(q1=np.where(found.g < 0.2, 0.25 * found.q1, found.q1))
        told, _ = choose_truncation(a, y, spoilt, "binary", full)
        noticed += told.bound < honest.bound
    assert weakened >= 18
    assert noticed >= 15


def test_the_chosen_truncation_does_not_know_which_arm_is_which() -> None:
    a, y, found = nuisances("poor", 800, 3)
    full = truncation_bound(len(y), "auto")
    here, _ = choose_truncation(a, y, found, "binary", full)
    there, _ = choose_truncation(1 - a, y, Nuisances(1.0 - found.g, found.q1, found.q0), "binary", full)
    assert here.bound == there.bound
    assert here.change == -there.change
    assert (here.price, here.change_se) == (there.price, there.change_se)


@pytest.mark.slow
@pytest.mark.parametrize("world", ["moderate", "null", "continuous", "poor"])
def test_intervals_cover_the_truth(world: str) -> None:
    """400 draws of 1,000 rows: AIPW and TMLE cover 93 to 97 % under moderate overlap, the adaptive estimate under poor overlap too."""
    draws = 400
    hit = dict.fromkeys(ALL, 0)
    for seed in range(draws):
        for name, one in estimates(world, 1_000, seed).items():
            hit[name] += one.ci_low <= truth(world) <= one.ci_high
    rates = {name: count / draws for name, count in hit.items()}
    # two Monte-Carlo standard errors (0.011 each) around the range asked for
    if world == "poor":
        assert rates["adaptive"] >= 0.93, rates
    else:
        assert all(0.93 - 0.022 <= rates[name] <= 0.97 + 0.022 for name in ("aipw", "tmle", "adaptive")), rates
