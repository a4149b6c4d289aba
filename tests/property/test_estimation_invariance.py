"""What an effect must not depend on: the order of rows, units, names of arms, the scale of weights; in memory and out of it."""

import contextlib
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.estimate import estimate as estimate_table
from tasks.contract.nuisance import Nuisances
from tasks.estimation import analyse
from tasks.estimation.evaluate import evaluate
from tasks.estimation.overlap import overlap
from tests.property.test_estimation_properties import draw

NAMES = ("or", "ipw", "aipw", "tmle", "att", "atc", "ato")
ROLES = {"treatment": "a", "outcome": "y", "covariates": ("x", "z", "c")}
OPTIONS = {"estimators": NAMES, "seed": 1, "folds": 3, "repeats": 1, "learner": "glm", "propensity": None}
seeds = st.integers(0, 2**32 - 1)


def rows(seed: int, n: int = 240) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=(2, n))
    a = (rng.random(n) < 1 / (1 + np.exp(-x))).astype(int)
    y = 3 + x + a * (1 + 0.5 * z) + rng.normal(size=n)
    frame = pd.DataFrame({"x": x, "z": np.where(rng.random(n) < 0.1, np.nan, z), "c": rng.choice(["u", "v", "w"], n), "a": a, "y": y})
    return frame.assign(w=rng.integers(1, 5, n).astype(float))


def in_memory(frame: pd.DataFrame, weights: bool = False, treated: int = 1) -> list[dict]:
    own = frame["w"].to_numpy() if weights else None
    found = analyse(frame, ROLES | {"treated": treated}, NAMES, 1, "glm", 3, weights=own)
    return [one._asdict() for one in found.estimates]


@pytest.fixture(scope="module")
def out_of_core(tmp_path_factory):
    """Estimate from a file, with a third of the training rows as the sample, so that coefficients come from sums."""
    folder = tmp_path_factory.mktemp("tables")

    def call(frame: pd.DataFrame, weights: bool = False, treated: int = 1) -> list[dict]:
        path = folder / "rows.parquet"
        frame.to_parquet(path)
        asked = OPTIONS | {"memory_rows": 0, "fit_rows": 60, "weights": "w" if weights else None}
        with contextlib.redirect_stderr(io.StringIO()):
            reply, _ = estimate_table(str(path), ROLES | {"treated": treated}, asked)
        assert reply["fit"] == {"learner": "glm", "rows": len(frame), "out_of_core": True}
        return reply["estimates"]

    return call


@pytest.fixture(params=["memory", "disk"])
def estimates(request):
    return in_memory if request.param == "memory" else request.getfixturevalue("out_of_core")


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_order_of_the_rows(estimates, seed, weights):
    frame = rows(seed)
    frame = pd.concat([frame, frame.iloc[:20].assign(w=7.0), frame.iloc[:5]], ignore_index=True)  # equal rows of different weights too
    shuffled = frame.sample(frac=1.0, random_state=seed).reset_index(drop=True)
    for one, other in zip(estimates(frame, weights), estimates(shuffled, weights), strict=True):
        assert other["estimate"] == pytest.approx(one["estimate"], abs=1e-9)
        assert other["se"] == pytest.approx(one["se"], rel=1e-9)


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1000.0), (-40.0, 0.01), (1e3, 2.5)])
def test_units_of_the_outcome(estimates, shift, scale):
    frame = rows(3)
    for one, other in zip(estimates(frame), estimates(frame.assign(y=shift + scale * frame["y"])), strict=True):
        assert other["estimate"] / scale == pytest.approx(one["estimate"], abs=1e-7), one["estimator"]
        assert other["se"] / scale == pytest.approx(one["se"], abs=1e-7)


@pytest.mark.parametrize("weights", [False, True])
def test_calling_the_other_arm_treated_turns_the_sign_to_the_last_bit(estimates, weights):
    frame = rows(4)
    here = {(one["estimand"], one["estimator"]): one for one in estimates(frame, weights)}
    other = {"att": "atc", "atc": "att"}
    for one in estimates(frame, weights, treated=0):
        mirror = here[other.get(one["estimand"], one["estimand"]), one["estimator"]]
        assert one["estimate"] == -mirror["estimate"]
        assert (one["se"], one["ci_low"], one["ci_high"]) == (mirror["se"], -mirror["ci_high"], -mirror["ci_low"])


def test_only_proportions_of_weights_count(estimates):
    frame = rows(5)
    for one, other in zip(estimates(frame, True), estimates(frame.assign(w=1e-3 * frame["w"]), True), strict=True):
        assert other["estimate"] == pytest.approx(one["estimate"], abs=1e-9)
        assert other["se"] == pytest.approx(one["se"], rel=1e-9)
    for one, other in zip(estimates(frame), estimates(frame.assign(w=3.0), True), strict=True):
        assert other["estimate"] == pytest.approx(one["estimate"], abs=1e-9)
        assert other["se"] == pytest.approx(one["se"], rel=1e-9)
    changed = zip(estimates(frame), estimates(frame, True), strict=True)
    assert all(abs(one["estimate"] - other["estimate"]) > 1e-4 for one, other in changed)


def test_a_row_of_weight_zero_is_not_there():
    frame = rows(6).assign(w=lambda it: np.where(np.arange(len(it)) % 4 == 0, 0.0, it["w"]))
    kept = frame.loc[frame["w"] > 0].reset_index(drop=True)
    assert in_memory(frame, True) == in_memory(kept, True)


@given(seeds, st.sampled_from(["binary", "continuous", "count"]))
@settings(max_examples=40, deadline=None)
def test_whole_weights_are_repeated_rows(seed, kind):
    """Given the nuisances, points, shares and slopes agree. Standard errors don't: repeats are taken for independent rows."""
    a, y, nuisances = draw(seed, kind)
    times = np.random.default_rng(seed).integers(1, 4, len(y))
    repeated = Nuisances(*(np.repeat(values, times) for values in nuisances))
    here = evaluate(a, y, nuisances, kind, NAMES, 0.02, None, times.astype(float))
    there = evaluate(np.repeat(a, times), np.repeat(y, times), repeated, kind, NAMES, 0.02)
    for one, other in zip(here, there):
        assert one.estimate == pytest.approx(other.estimate, abs=1e-8), one.estimator
        assert one.se > other.se
        assert (one.n, other.n) == (len(y), int(times.sum()))
    weighted, whole = overlap(a, nuisances.g, 0.02, times.astype(float)), overlap(np.repeat(a, times), repeated.g, 0.02)
    assert (weighted.below, weighted.above) == pytest.approx((whole.below, whole.above))
    assert weighted.calibration.slope == pytest.approx(whole.calibration.slope, rel=1e-6)
