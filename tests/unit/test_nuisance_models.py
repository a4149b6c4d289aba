"""Designs, GLMs and stacks of small tables against their definitions written out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from tasks.contract.errors import EstimationError
from tasks.contract.registry import resolve
from tasks.nuisance.cells import cells_of
from tasks.nuisance.crossfit import InMemory, Rows, cross_fit, cross_fit_small
from tasks.nuisance.design import CategoryTerm, fit_design, with_treatment
from tasks.nuisance.folded import standard
from tasks.nuisance.folds import assign_folds
from tasks.nuisance.methods.glm import GlmLearner, Params
from tasks.nuisance.methods.stack import Params as StackParams
from tasks.nuisance.methods.stack import StackedOutcome, StackedPropensity, StackLearner
from tasks.nuisance.plan import Plan
from tasks.nuisance.ridge import fit_ridge, loss_of, mean_of, unit_of, variance_of
from tasks.nuisance.simplex import convex_weights

KINDS = ("binary", "continuous", "count")
N = 240


def table(kind: str, seed: int = 0, n: int = N) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    w = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "w0": np.where(rng.random(n) < 0.1, np.nan, w.round(2)),
            "w1": rng.integers(0, 3, n).astype(float),
            "w2": pd.Categorical.from_codes(rng.integers(-1, 3, n), categories=["u", "v", "z"]),
        }
    )
    a = (rng.random(n) < 1 / (1 + np.exp(-w))).astype(np.int8)
    eta = 0.4 * w + 0.5 * a * (1 + 0.5 * w) + 0.3 * (frame["w2"] == "v").to_numpy()
    y = {
        "binary": (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(float),
        "count": rng.poisson(np.exp(eta)).astype(float),
        "continuous": 30 + 5 * (eta + rng.normal(size=n)),
    }[kind]
    return frame, a, y


# -- the design --------------------------------------------------------------------------------------------------------
def test_the_design_written_out() -> None:
    frame = pd.DataFrame(
        {
            "five": [1.0, 2, 3, 4, 5, 5],
            "four": [1.0, 2, 3, 4, 4, 4],
            "gaps": [2.0, np.nan, 4, 7, 9, 11],
            "same": [3.0] * 6,
            "empty": [np.nan] * 6,
            "flat": [3.0, 3, np.nan, 3, 3, 3],
            "level": pd.Categorical(["q", "p", "q", None, "p", "q"], categories=["r", "q", "p"]),
            "single": pd.Categorical(["q"] * 6, categories=["q", "p"]),
        }
    )
    design = fit_design(frame)
    assert [term.name for term in design.numeric] == ["five", "four", "gaps", "flat"]
    assert [term.square is not None for term in design.numeric] == [True, False, True, False]
    assert design.category == (CategoryTerm("level", ("p", "q", None), (2 / 6, 3 / 6, 1 / 6)),)
    columns = []
    for name in ("five", "four", "gaps"):
        x = frame[name].fillna(7.0).to_numpy()  # the median of the cells that are there
        z = (x - x.mean()) / x.std()
        columns.append(z)
        if name != "four":
            columns.append((z**2 - np.mean(z**2)) / np.std(z**2))
        if name == "gaps":
            columns.append(2 * (frame[name].isna() - 1 / 6))
    columns += [np.zeros(6), 2 * (frame["flat"].isna() - 1 / 6)]
    columns += [2 * ((frame["level"] == "p") - 2 / 6), 2 * ((frame["level"] == "q") - 3 / 6), 2 * (frame["level"].isna() - 1 / 6)]
    x = design.matrix(frame)
    assert design.width == len(columns) == 11
    np.testing.assert_allclose(x, np.column_stack(columns), atol=1e-12)
    beyond = frame.iloc[[0, 5]].assign(five=[-1e9, 1e9])
    np.testing.assert_allclose(design.matrix(beyond)[:, :2], x[[0, 5], :2])
    plain = fit_design(frame, squares=False, max_levels=1)
    assert all(term.square is None for term in plain.numeric)
    assert plain.category == (CategoryTerm("level", ("q", None), (3 / 6, 1 / 6)),)
    assert fit_design(frame[["level"]].iloc[[0, 1]], max_levels=1).category == ()


def test_levels_of_one_frequency_are_kept_by_name() -> None:
    frame = pd.DataFrame({"w": pd.Categorical(["b", "a", "c", "c", "d"], categories=["d", "c", "b", "a"])})
    assert fit_design(frame, max_levels=3).category[0].levels == ("a", "b", "c")
    names = [f"{at:02}" for at in range(51)]
    many = pd.DataFrame({"w": pd.Categorical(names, categories=names)})
    assert len(fit_design(many).category[0].levels) == Params().max_levels == 50


# -- ridge GLMs --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("family", ["gaussian", "binomial", "poisson"])
def test_a_ridge_minimises_the_penalised_loss_and_its_path_the_left_out_one(family: str) -> None:
    rng = np.random.default_rng(3)
    x = np.column_stack((np.ones(60), rng.normal(size=(60, 3))))
    eta = x @ [0.2, 0.6, -0.4, 0.0]
    y = {
        "gaussian": eta + rng.normal(size=60),
        "binomial": (rng.random(60) < 1 / (1 + np.exp(-eta))) * 1.0,
        "poisson": rng.poisson(np.exp(eta)) * 1.0,
    }
    y, w, penalty = y[family], rng.exponential(size=60), np.array([0.0, 1.0, 2.0, 1.0])
    w = w / w.mean()
    mean = np.average(y, weights=w)
    unit = {"gaussian": 1.0, "binomial": mean * (1 - mean), "poisson": mean}[family]
    assert unit_of(family, mean) == pytest.approx(unit)
    strengths = (0.8, 0.1, 0.003)
    found = [fit_ridge(x, y, penalty, family, 3 * w, (strength,)) for strength in strengths]
    for fit, strength in zip(found, strengths):
        diagonal = penalty * strength * unit * 60
        best = minimize(lambda b, diagonal=diagonal: w @ loss_of(family, y, x @ b) + 0.5 * diagonal @ b**2, np.zeros(4), tol=1e-12)
        np.testing.assert_allclose(fit.coefficients, best.x, atol=2e-5)
        mu = mean_of(family, x @ fit.coefficients)
        information = w * variance_of(family, mu)
        hessian = (x * information[:, None]).T @ x + np.diag(diagonal)
        leverage = np.einsum("ij,jk,ik->i", x, np.linalg.inv(hessian), x)
        moved = x @ fit.coefficients + w * (mu - y) * leverage / (1 - information * leverage)
        assert fit.loss == pytest.approx(np.average(loss_of(family, y, moved), weights=w), rel=1e-6)
        assert fit.strength == strength
    path = fit_ridge(x, y, penalty, family, w, strengths)
    least = min(found, key=lambda fit: fit.loss)
    assert path.strength == least.strength
    np.testing.assert_allclose(path.coefficients, least.coefficients, atol=1e-6)
    with pytest.raises(ValueError, match="at least one; got none"):
        fit_ridge(x, y, penalty, family, w, ())


def test_means_losses_variances_and_units() -> None:
    eta, y = np.array([-50.0, 0.0, 1.0, 50.0]), np.array([0.0, 1.0, 2.0, 3.0])
    held = np.array([-30.0, 0.0, 1.0, 30.0])
    np.testing.assert_array_equal(mean_of("gaussian", eta), eta)
    np.testing.assert_allclose(mean_of("poisson", eta), np.exp(held))
    np.testing.assert_allclose(mean_of("binomial", eta), 1 / (1 + np.exp(-held)))
    np.testing.assert_allclose(loss_of("gaussian", y, eta), (y - eta) ** 2 / 2)
    np.testing.assert_allclose(loss_of("poisson", y, eta), np.exp(held) - y * held)
    np.testing.assert_allclose(loss_of("binomial", y, eta), np.log1p(np.exp(held)) - y * held)
    mu = np.array([0.0, 0.3, 1.0])
    np.testing.assert_array_equal(variance_of("gaussian", mu), np.ones(3))
    np.testing.assert_allclose(variance_of("poisson", mu), [1e-10, 0.3, 1])
    np.testing.assert_allclose(variance_of("binomial", mu), [1e-10, 0.21, 1e-10])
    assert (unit_of("binomial", 0.0), unit_of("poisson", 0.0), unit_of("gaussian", 0.0)) == (1e-3, 1e-3, 1.0)


@pytest.mark.parametrize("interactions", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_glm_is_a_ridge_on_its_design(kind: str, interactions: bool) -> None:
    frame, a, y = table(kind)
    w = np.random.default_rng(1).exponential(size=N)
    learner, rng = GlmLearner(Params(interactions=interactions, interaction_penalty=3.0)), np.random.default_rng(0)
    g, q = learner.fit_propensity(frame, a, rng, w), learner.fit_outcome(frame, a, y, kind, rng, w)
    x = fit_design(frame).matrix(frame)
    width = x.shape[1]
    fit = fit_ridge(np.column_stack((np.ones(N), x)), a.astype(float), np.r_[0.0, np.ones(width)], "binomial", w)
    np.testing.assert_allclose(g.predict(frame), mean_of("binomial", fit.coefficients[0] + x @ fit.coefficients[1:]), rtol=1e-10)
    centre, scale = (np.average(y, weights=w), np.sqrt(np.cov(y, aweights=w, ddof=0))) if kind == "continuous" else (0.0, 1.0)
    assert standard(y, w) == pytest.approx((np.average(y, weights=w), np.sqrt(np.cov(y, aweights=w, ddof=0))))
    family = {"binary": "binomial", "continuous": "gaussian", "count": "poisson"}[kind]
    penalty = np.r_[0.0, 0.0, np.ones(width), np.full(width, 3.0)] if interactions else np.r_[0.0, 0.0, np.ones(width)]
    wide = with_treatment(x, a, interactions)
    assert wide.shape == (N, len(penalty))
    fit = fit_ridge(wide, (y - centre) / scale, penalty, family, w)
    assert (q.strength, q.centre, q.scale) == pytest.approx((fit.strength, centre, scale))
    eta = wide @ fit.coefficients
    assert (q.low, q.high) == pytest.approx((eta.min() - np.log(2), eta.max() + np.log(2)))
    np.testing.assert_allclose(q.predict(frame, a), centre + scale * mean_of(family, eta), rtol=1e-9)
    ones = np.ones(N, dtype=np.int8)
    far = with_treatment(x, ones, interactions) @ fit.coefficients
    far = np.clip(far, q.low, q.high) if kind == "count" else far
    np.testing.assert_allclose(q.predict(frame, ones), centre + scale * mean_of(family, far), rtol=1e-9)
    g_penalty, q_penalty = learner.penalties(fit_design(frame))
    np.testing.assert_array_equal(g_penalty, np.r_[0.0, np.ones(width)])
    np.testing.assert_array_equal(q_penalty, penalty)
    np.testing.assert_array_equal(wide[:, : 2 + width], np.column_stack((np.ones(N), a - 0.5, x)))
    np.testing.assert_array_equal(wide[:, 2 + width :], (a - 0.5)[:, None] * x if interactions else np.empty((N, 0)))
    for fit_arm in (learner.fit_propensity, lambda *given: learner.fit_outcome(given[0], given[1], y, kind, given[2])):
        with pytest.raises(EstimationError, match="smallest arm"):
            fit_arm(frame, 0 * a, rng)


def test_counts_are_not_extrapolated_beyond_twice_the_training_range() -> None:
    frame, a, y = table("count")
    q = resolve("learner", "glm").fit_outcome(frame, a, y, "count", np.random.default_rng(0))
    steep = type(q)(q.design, 50 * q.coefficients, q.interactions, q.kind, 0.0, 1.0, -1.0, 2.0, q.strength)
    found = steep.predict(frame, a)
    assert (found.min(), found.max()) == pytest.approx((np.exp(-1), np.exp(2)))
    assert standard(np.full(5, 2.0)) == (2.0, 1.0)


@pytest.mark.parametrize("interactions", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_all_folds_at_once_give_what_fold_by_fold_gives(kind: str, interactions: bool) -> None:
    frame, a, y = table(kind, 4, 90)
    learner, plan = GlmLearner(Params(interactions=interactions, squares=False)), Plan("trial", 1, 2)
    rows = Rows(np.arange(90, dtype=np.uint64), a, y, kind)
    small, whole = cross_fit_small(plan, learner, rows, frame).first, cross_fit(plan, learner, rows, InMemory(frame)).nuisances
    for one, other in zip(small, whole):
        np.testing.assert_allclose(one, other, rtol=2e-6)
    with pytest.raises(EstimationError, match="smallest arm"):
        learner.predict_folds(frame, (np.arange(90) == 0).astype(np.int8), y, kind, plan.assign(rows.keys, a, y, kind, 0))


# -- the stack ---------------------------------------------------------------------------------------------------------
class Scaled:
    """A learner whose predictions are a fixed share of a column, whatever it is trained on; it counts its fits."""

    def __init__(self, name: str) -> None:
        self.name, self.sizes = name, []

    def fit_propensity(self, covariates, treatment, rng, weights=None):
        self.sizes.append((len(treatment), None if weights is None else len(weights)))
        name = self.name

        class Model:
            def predict(self, covariates, treatment=None):
                return covariates[name].to_numpy()

        return Model()

    def fit_outcome(self, covariates, treatment, outcome, kind, rng, weights=None):
        return self.fit_propensity(covariates, treatment, rng, weights)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_weighs_predictions_of_rows_its_members_have_not_seen(kind: str, weighted: bool) -> None:
    rng = np.random.default_rng(2)
    n = 90
    frame = pd.DataFrame({name: rng.uniform(0.1, 0.9, n) for name in "uvz"})
    a = (np.arange(n) < 30).astype(np.int8)
    y = (rng.random(n) < frame["u"].to_numpy()).astype(float) if kind == "binary" else (0.7 * frame["u"] + 0.3 * frame["z"]).to_numpy()
    w = rng.exponential(size=n) if weighted else None
    members = tuple(Scaled(name) for name in "uvz")
    stack = StackLearner(StackParams(members=("glm", "boosted"), inner_folds=3, fewest=30), members)
    q = stack.fit_outcome(frame, a, y, kind, np.random.default_rng(0), w)
    share = convex_weights(frame.to_numpy(), y, kind, w)
    used = share >= 1e-3
    np.testing.assert_allclose(q.weights, share[used] / share[used].sum())
    np.testing.assert_allclose(q.predict(frame, a), frame.to_numpy() @ np.where(used, share, 0) / share[used].sum(), rtol=1e-9)
    for at, member in enumerate(members):
        sizes = [60, 60, 60, n] if used[at] else [60, 60, 60]
        assert [size for size, _ in member.sizes] == sizes
        assert [own for _, own in member.sizes] == (sizes if weighted else [None] * len(sizes))
    g = stack.fit_propensity(frame, a, np.random.default_rng(0), w)
    share = convex_weights(frame.to_numpy(), a.astype(float), "binary", w)
    np.testing.assert_allclose(g.weights, share[share >= 1e-3] / share[share >= 1e-3].sum())
    np.testing.assert_allclose(g.predict(frame), frame.to_numpy()[:, share >= 1e-3] @ np.array(g.weights))
    for treated in (29, n - 29):  # few rows in an arm, whichever it is: the first member alone
        few = (np.arange(n) < treated).astype(np.int8)
        assert stack.fit_outcome(frame, few, y, kind, np.random.default_rng(0)).weights == (1.0,)
        assert stack.fit_propensity(frame, few, np.random.default_rng(0)).weights == (1.0,)
    for fit_arm in (stack.fit_propensity, lambda *given: stack.fit_outcome(given[0], given[1], y, kind, given[2])):
        with pytest.raises(EstimationError, match="smallest arm"):
            fit_arm(frame, 0 * a, np.random.default_rng(0))
    alone = StackLearner(StackParams(members=("glm",)), members[:1])
    assert alone.fit_outcome(frame, a, y, kind, np.random.default_rng(0)).weights == (1.0,)


def test_a_stack_of_many_rows_is_weighed_on_one_inner_fold() -> None:
    rng = np.random.default_rng(5)
    n = 1_200
    frame = pd.DataFrame({name: rng.uniform(0.1, 0.9, n) for name in "uvz"})
    a = (np.arange(n) < 600).astype(np.int8)
    y, w = (0.6 * frame["u"] + 0.4 * frame["z"] + 0.1 * rng.normal(size=n)).to_numpy(), rng.exponential(size=n)
    for most, sizes in ((1_201, [800] * 3), (1_200, [800])):
        members = tuple(Scaled(name) for name in "uvz")
        stack = StackLearner(StackParams(members=("glm", "boosted"), most=most), members)
        q = stack.fit_outcome(frame, a, y, "continuous", np.random.default_rng(0), w)
        assert [size for size, _ in members[1].sizes][: len(sizes)] == sizes
        assert len(members[0].sizes) == len(sizes) + 1
        positions = np.arange(n, dtype=np.uint64)
        seed = int(np.random.default_rng(0).integers(2**62))
        held = assign_folds(positions, a.astype(np.int64), 3, seed) < len(sizes)
        share = convex_weights(frame.to_numpy()[held], y[held], "continuous", w[held])
        np.testing.assert_allclose(q.weights, share[share >= 1e-3] / share[share >= 1e-3].sum())


def test_predictions_of_a_stack_stay_in_range_and_its_members_differ() -> None:
    frame = pd.DataFrame({"u": [-1.0, 0.5, 3.0]})
    member = Scaled("u").fit_propensity(frame, np.zeros(3), None)
    np.testing.assert_allclose(StackedPropensity((member,), (1.0,)).predict(frame), [1e-6, 0.5, 1 - 1e-6])
    np.testing.assert_allclose(StackedOutcome((member, member), (0.5, 1.0), "count").predict(frame, np.zeros(3)), [1e-6, 0.75, 4.5])
    built = resolve("learner", "stack", {"members": ["glm", "boosted"], "params": {"boosted": {"iterations": 7}}})
    assert (type(built.members[0]).__name__, built.members[1].params.iterations) == ("GlmLearner", 7)
    for members in (("glm", "stack"), ("glm", "glm"), ()):
        with pytest.raises(ValueError, match="members"):
            StackParams(members=members)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["binary", "continuous"])
def test_weights_of_a_stack_are_the_best_convex_ones(kind: str, weighted: bool) -> None:
    rng = np.random.default_rng(7)
    p = rng.uniform(0.05, 0.95, size=(150, 3))
    y = (rng.random(150) < 0.6 * p[:, 0] + 0.4 * p[:, 1]).astype(float)
    y = y if kind == "binary" else 50 + 10 * y
    p = p if kind == "binary" else 50 + 10 * p
    w = rng.exponential(size=150) if weighted else None
    own = np.ones(150) if w is None else w

    def loss(z):
        share = np.exp(z) / np.exp(z).sum()
        mean = p @ share
        each = -(y * np.log(mean) + (1 - y) * np.log1p(-mean)) if kind == "binary" else (y - mean) ** 2
        return np.average(each, weights=own)

    best = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-14, "maxiter": 4000}).x
    share = convex_weights(p, y, kind, w)
    np.testing.assert_allclose(share, np.exp(best) / np.exp(best).sum(), atol=2e-4)
    assert share.sum() == pytest.approx(1.0, abs=1e-12)


def test_a_design_of_cells_is_that_of_their_frame_and_its_moments_are_numpy_s() -> None:
    rng = np.random.default_rng(12)
    frame = pd.DataFrame({"u": rng.lognormal(size=61), "v": rng.integers(0, 3, 61).astype(float)})
    frame["w"] = pd.Categorical.from_codes(rng.integers(-1, 3, 61), categories=list("abc"))
    frame.loc[::7, "u"] = np.nan
    rows = np.flatnonzero(rng.random(61) < 0.7)
    cells = cells_of(frame).take(rows)
    assert cells_of(cells) is cells
    design = fit_design(cells)
    assert design == fit_design(frame.iloc[rows])
    np.testing.assert_array_equal(design.matrix(cells_of(frame)), design.matrix(frame))
    for size in (1, 2, 3, 60, 801):
        values = rng.lognormal(size=size) * 10.0 ** rng.integers(-5, 5)
        term = fit_design(pd.DataFrame({"x": np.append(values, np.nan)}), squares=False).numeric[0]
        filled = np.append(values, np.median(values))
        assert (term.fill, term.centre) == (np.median(values), filled.mean())
        assert term.scale == (filled.std() if size > 1 else 1.0)
