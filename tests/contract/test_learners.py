"""What every learner promises: found by listing the folder, so a new file is tested by being there."""

import pickle

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.registry import names, resolve
from tasks.nuisance.fold_model import fit_fold

LEARNERS = names("learner")
KINDS = ("binary", "continuous", "count")


def world(n: int, kind: str, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """Mixed covariates with missing cells; a treatment and an outcome that depend on them; true P(A = 1 | W)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    level = rng.integers(0, 3, n)
    frame = pd.DataFrame({"w0": x, "w1": np.round(rng.normal(size=n) * 3), "w2": pd.Categorical(np.array(["u", "v", "z"])[level])})
    frame.loc[rng.random(n) < 0.1, "w1"] = np.nan
    frame.loc[rng.random(n) < 0.05, "w2"] = np.nan
    g = 1 / (1 + np.exp(-(0.8 * x - 0.5 * (level == 1))))
    a = (rng.random(n) < g).astype(np.int8)
    eta = 0.3 + 0.6 * x + 0.7 * a * (1 + 0.5 * x)
    if kind == "binary":
        y = (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(float)
    elif kind == "count":
        y = rng.poisson(np.exp(0.7 * eta)).astype(float)
    else:
        y = 50 + 4 * eta + rng.normal(size=n)
    return frame, a, y, g


def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def test_there_are_learners() -> None:
    assert {"glm", "boosted", "stack"} <= set(LEARNERS)


@pytest.mark.parametrize("name", LEARNERS)
def test_propensity_is_inside_and_follows_the_truth(name: str) -> None:
    frame, a, _, _ = world(800, "binary")
    fresh, _, _, truth = world(2000, "binary", seed=1)
    g = resolve("learner", name).fit_propensity(frame, a, rng()).predict(fresh)
    assert g.shape == (2000,)
    assert g.dtype == np.float64
    assert g.min() >= 1e-6
    assert g.max() <= 1 - 1e-6
    assert np.sqrt(np.mean((g - truth) ** 2)) < 0.6 * truth.std()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LEARNERS)
def test_outcome_is_in_range_and_beats_the_mean(name: str, kind: str) -> None:
    frame, a, y, _ = world(800, kind)
    fresh, b, z, _ = world(2000, kind, seed=2)
    q = resolve("learner", name).fit_outcome(frame, a, y, kind, rng()).predict(fresh, b)
    assert np.isfinite(q).all()
    if kind == "binary":
        assert 0 < q.min() <= q.max() < 1
    if kind == "count":
        assert q.min() > 0
    assert np.mean((z - q) ** 2) < 0.95 * np.mean((z - y.mean()) ** 2)


@pytest.mark.parametrize("name", LEARNERS)
def test_same_seed_same_bytes_whatever_the_threads(name: str) -> None:
    frame, a, y, _ = world(400, "continuous")
    learner, train = resolve("learner", name), np.ones(400, dtype=bool)
    found = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            model = fit_fold(learner, frame, a, y, "continuous", train, rng())
            found.append(model.predict(frame))
    for left, right in zip(*found):
        assert left.tobytes() == right.tobytes()


@pytest.mark.parametrize("name", LEARNERS)
def test_fitted_models_pickle(name: str) -> None:
    frame, a, y, _ = world(300, "binary")
    learner = resolve("learner", name)
    g, q = learner.fit_propensity(frame, a, rng()), learner.fit_outcome(frame, a, y, "binary", rng())
    again_g, again_q = pickle.loads(pickle.dumps((g, q)))
    np.testing.assert_array_equal(again_g.predict(frame), g.predict(frame))
    np.testing.assert_array_equal(again_q.predict(frame, a), q.predict(frame, a))


@pytest.mark.parametrize("name", LEARNERS)
def test_outcome_of_a_row_of_weight_zero_does_not_matter(name: str) -> None:
    frame, a, y, _ = world(400, "continuous")
    weights = np.random.default_rng(5).exponential(size=400)
    weights[:40] = 0.0
    spoilt = y.copy()
    spoilt[:40] = -1e6
    learner = resolve("learner", name, {"members": ("glm",)} if name == "stack" else None)
    clean = learner.fit_outcome(frame, a, np.where(np.arange(400) < 40, y.mean(), y), "continuous", rng(), weights).predict(frame, a)
    dirty = learner.fit_outcome(frame, a, spoilt, "continuous", rng(), weights).predict(frame, a)
    assert np.abs(clean - dirty).max() < 1e-6 * np.ptp(y)


@pytest.mark.parametrize("name", LEARNERS)
def test_awkward_training_rows(name: str) -> None:
    """Constant, all-missing and duplicated columns, more columns than rows, few treated rows, unseen levels."""
    rows = np.random.default_rng(3)
    n = 60
    wide = pd.DataFrame(rows.normal(size=(n, 80)), columns=[f"w{i}" for i in range(80)])
    wide["w80"] = 1.0
    wide["w81"] = np.nan
    wide["w82"] = wide["w0"]
    wide["w83"] = pd.Categorical(["p"] * n, categories=["p", "q"])
    a = np.zeros(n, dtype=np.int8)
    a[:4] = 1
    y = rows.normal(size=n)
    learner = resolve("learner", name)
    g, q = learner.fit_propensity(wide, a, rng()), learner.fit_outcome(wide, a, y, "continuous", rng())
    fresh = wide.assign(w83=pd.Categorical(["q"] * n, categories=["p", "q"]), w0=1e9)
    assert np.isfinite(g.predict(fresh)).all()
    assert np.isfinite(q.predict(fresh, 1 - a)).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LEARNERS)
def test_outcomes_all_alike(name: str, kind: str) -> None:
    frame, a, _, _ = world(120, kind)
    model = resolve("learner", name).fit_outcome(frame, a, np.ones(120), kind, rng())
    q = model.predict(frame, a)
    assert np.abs(q - 1.0).max() < 0.1


@pytest.mark.parametrize("name", LEARNERS)
def test_one_arm_is_refused(name: str) -> None:
    frame, a, y, _ = world(50, "binary")
    with pytest.raises(EstimationError, match="smallest arm"):
        resolve("learner", name).fit_propensity(frame, np.zeros_like(a), rng())
    with pytest.raises(EstimationError, match="smallest arm"):
        resolve("learner", name).fit_outcome(frame, np.ones_like(a), y, "binary", rng())


def test_leaves_below_20_rows_are_refused() -> None:
    with pytest.raises(SpecError, match="min_samples_leaf"):
        resolve("learner", "boosted", {"min_samples_leaf": 5})


def test_a_stack_of_stacks_is_refused() -> None:
    with pytest.raises(SpecError, match="members"):
        resolve("learner", "stack", {"members": ["glm", "stack"]})
