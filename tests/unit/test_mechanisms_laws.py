"""Outcome laws: support, means, distributions by arm, records, and the choice among them."""

from __future__ import annotations

import json
import pickle
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from benchmarks.outcome_worlds import WORLDS, Drawn, impossible
from tasks.checks.support import natural_support
from tasks.contract.errors import SpecError
from tasks.contract.nuisance import Float64, Nuisances
from tasks.contract.registry import names, resolve
from tasks.mechanisms.balanced import balanced_outcome
from tasks.mechanisms.draw import draw_outcome
from tasks.mechanisms.law_record import law_bytes, read_law
from tasks.mechanisms.laws.arms import centre_for, fit_arm
from tasks.mechanisms.laws.cells import build_cells
from tasks.mechanisms.laws.choice import attainable, choose_law, crps, fit_law
from tasks.mechanisms.laws.methods.scale import ScaleLaw
from tasks.mechanisms.laws.methods.tilt import TiltLaw
from tasks.mechanisms.laws.support import find_support, outward
from tasks.mechanisms.laws.tails import find_tails, mean_excess
from tasks.mechanisms.model import Mechanisms, assemble
from tasks.mechanisms.targeting import Targeting, target
from tasks.nuisance.crossfit import InMemory, Rows, cross_fit
from tasks.nuisance.fold_model import averaged
from tasks.nuisance.plan import Plan
from tasks.targeting.fluctuation import truncation_bound

ROWS = 2_000
SHAPED = ("cost", "score", "days", "shares", "change", "gamma", "heaped")


class Fitted(NamedTuple):
    source: Drawn
    mechanisms: Mechanisms
    targeting: Targeting
    record: dict[str, Any]


@lru_cache(maxsize=32)
def fitted(name: str, rows: int = ROWS, seed: int = 14) -> Fitted:
    source = WORLDS[name](rows, seed)
    w, a, y, kind = source
    found = cross_fit(Plan("table", 0, 5), resolve("learner", "glm"), Rows(np.arange(rows, dtype=np.uint64), a, y, kind), InMemory(w))
    support = find_support(y)
    moved = target(a, y, found.nuisances, kind, truncation_bound(rows, "auto"), bounds=attainable(y, support, kind))
    law, record = choose_law(a, y, np.where(a == 1, moved.q1, moved.q0), w, kind, np.random.default_rng(0), support=support)
    return Fitted(source, assemble(found.models, moved, averaged(found.models, w), law, kind), moved, record)


def released(name: str, times: int = 3) -> tuple[pd.DataFrame, Any, Nuisances, Float64]:
    """Draw outcomes for the source's rows, a few times over."""
    source, mechanisms, _, _ = fitted(name)
    rows = np.tile(np.arange(len(source.a)), times)
    w, a = source.covariates.iloc[rows].reset_index(drop=True), source.a[rows]
    predicted = mechanisms.predict(w)
    return w, a, predicted, draw_outcome(mechanisms.law, a, predicted, w, np.random.default_rng(2)).y


@pytest.mark.parametrize("name", list(WORLDS))
def test_released_outcomes_look_like_the_sources(name: str) -> None:
    source = fitted(name).source
    _, a, _, y = released(name)
    assert impossible(name, y) == 0
    for arm in (0, 1):
        own, drawn = source.y[source.a == arm], y[a == arm]
        # 1.36 sqrt(1 / n + 1 / m) is the 5 % point of two samples
        assert ks_2samp(own, drawn).statistic < 1.36 * np.sqrt(1 / len(own) + 1 / len(drawn)) + 0.01
        values, counts = np.unique(own, return_counts=True)
        for value in values[counts > 0.05 * len(own)]:
            assert abs(np.mean(drawn == value) - np.mean(own == value)) < 0.03


@pytest.mark.parametrize("name", list(WORLDS))
def test_the_built_in_effect_is_the_targeted_one_and_what_is_drawn(name: str) -> None:
    source, mechanisms, moved, _ = fitted(name)
    told = mechanisms.predict(source.covariates)
    assert np.mean(told.q1 - told.q0) == pytest.approx(moved.ate, abs=1e-8 * np.ptp(source.y))
    efficient = np.mean(moved.q1 - moved.q0)
    assert efficient == pytest.approx(moved.ate)
    law, few = mechanisms.law, np.arange(0, ROWS, 50)
    w = source.covariates.iloc[few].reset_index(drop=True)
    for arm, mean in ((0, told.q0[few]), (1, told.q1[few])):
        own = law.invert(np.full(len(few), arm, dtype=np.int8), mean, w, np.random.default_rng(3))
        if not (isinstance(law, ScaleLaw) and law.bounds is not None):
            assert own.partial(np.ones(len(few))) == pytest.approx(mean, rel=1e-9, abs=1e-9)
        grid = (np.arange(4_000) + 0.5) / 4_000
        drawn = np.array([own.quantile(np.full(len(few), u)) for u in grid])
        assert drawn.mean(axis=0) == pytest.approx(mean, abs=3e-3 * float(np.ptp(source.y)))


def test_laws_are_chosen_by_support_and_by_score() -> None:
    for name in SHAPED:
        assert fitted(name).record["name"] == "tilt", name
    for name in ("normal", "tails"):
        assert fitted(name).record["name"] == "scale", name
    for name, law in (("visits", "negative_binomial"), ("inflated", "zero_inflated")):
        record = fitted(name).record
        assert record["name"] == law
        assert record["chosen"] == "crps"
        assert record["crps"]["poisson"] > record["crps"][law]
    tilt = fitted("cost").record["tilt"]
    assert 0.0 < tilt["median"] < tilt["p90"] < tilt["p99"]
    assert max(tilt["far"], tilt["climbed"]) < 0.05


@pytest.mark.parametrize("name", ["cost", "visits", "normal", "inflated"])
def test_a_law_read_back_is_the_law(name: str) -> None:
    source, mechanisms, _, _ = fitted(name)
    raw = law_bytes(mechanisms.law)
    again = read_law(json.loads(raw), "trial v1")
    assert law_bytes(again) == raw
    q = mechanisms.predict(source.covariates).q1
    for law in (again, pickle.loads(pickle.dumps(mechanisms.law))):
        drawn = [each.draw(source.a, q, source.covariates, np.random.default_rng(5)).tobytes() for each in (mechanisms.law, law)]
        assert drawn[0] == drawn[1]


@pytest.mark.parametrize("name", ["cost", "days", "inflated"])
def test_balanced_draws_work_with_every_law(name: str) -> None:
    source, mechanisms, _, _ = fitted(name)
    w, a = source.covariates.iloc[:600].reset_index(drop=True), source.a[:600]
    told = mechanisms.predict(w)._replace(g=np.full(600, 0.5))
    rng = np.random.default_rng(6)
    mean = np.where(a == 1, told.q1, told.q0)
    balanced = [float((balanced_outcome(mechanisms.law, a, told, w, rng) - mean).mean()) for _ in range(12)]
    plain = [float((mechanisms.law.draw(a, mean, w, rng) - mean).mean()) for _ in range(40)]
    assert np.std(balanced) < 0.5 * np.std(plain)
    assert abs(np.mean(balanced)) < 4 * np.std(plain) / np.sqrt(12)
    assert impossible(name, balanced_outcome(mechanisms.law, a, told, w, rng)) == 0


def test_bootstrap_weights_reach_the_law() -> None:
    w, a, y, kind = WORLDS["cost"](1_500, 3)
    q = np.where(a == 1, y[a == 1].mean(), y[a == 0].mean())
    heavy = np.where(y == 0.0, 4.0, 1.0)
    shares = []
    for weights in (None, heavy):
        law = fit_law(a, y, q, q, w, kind, np.random.default_rng(0), weights, law="tilt")
        assert isinstance(law, TiltLaw)
        base = law.trees
        shares.append(float(base.weight[base.start[0]]))  # the first cell of the control arm's law is zero
    assert shares[1] > shares[0] + 0.1


@pytest.mark.parametrize("name", sorted(set(names("law")) - {"binary"}))
def test_a_law_that_is_asked_for_is_taken(name: str) -> None:
    w, a, y, kind = WORLDS["visits"](600, 4)
    q = np.full(600, y.mean())
    law = fit_law(a, y, q, q, w, kind, np.random.default_rng(0), law=name)
    assert law.key == name or (law.key, name) == ("poisson", "negative_binomial")
    drawn = law.draw(
        np.repeat(a, 20), np.full(12_000, 2.5), w.iloc[np.repeat(np.arange(600), 20)].reset_index(drop=True), np.random.default_rng(1)
    )
    assert drawn.mean() == pytest.approx(2.5, abs=4 * drawn.std() / np.sqrt(12_000))
    assert (drawn == np.rint(drawn)).all()
    assert drawn.min() >= 0.0
    with pytest.raises(SpecError, match="law of outcomes must be one for a count outcome; got 'binary'"):
        fit_law(a, y, q, q, w, kind, np.random.default_rng(0), law="binary")


def test_a_declared_range_holds_and_keeps_the_mean() -> None:
    w, a, y, kind = WORLDS["normal"](1_500, 5)
    support = find_support(y, (-2.0, 2.5))
    mean = np.clip(y.mean() + 0.8 * w["w0"].to_numpy(), -1.9, 2.4)
    for name in ("auto", "scale"):
        law = fit_law(a, y, mean, mean, w, kind, np.random.default_rng(0), support=support, law=name)
        assert law.key == ("tilt" if name == "auto" else "scale")
        low, high = law.reach or (-np.inf, np.inf)
        rows = np.tile(np.arange(200), 400)
        held = np.clip(mean[rows], low, high)
        drawn = law.draw(a[rows], held, w.iloc[rows].reset_index(drop=True), np.random.default_rng(1))
        assert drawn.min() >= -2.0
        assert drawn.max() <= 2.5
        miss = (drawn - held).reshape(400, 200).mean(axis=0)
        assert np.abs(miss).max() < 5 * drawn.std() / 20.0
        assert abs((drawn - held).mean()) < 4 * drawn.std() / np.sqrt(len(drawn))


def test_clipping_is_made_good_to_rounding() -> None:
    rng = np.random.default_rng(0)
    law = fit_arm(rng.gamma(2.0, 1.0, 800) - 2.0, np.ones(800), np.ones(800))
    mean = np.linspace(0.01, 4.99, 60)
    centre = centre_for(law, mean, np.full(60, 1.5), 0.0, 5.0)
    share = np.diff(law.edges, prepend=0.0)
    place = (np.arange(2_000) + 0.5) / 1_000 - 1.0
    errors = law.centres[:, None] + np.sqrt(3.0) * law.spreads[:, None] * place
    for c, m in zip(centre, mean):
        assert share @ np.clip(c + 1.5 * errors, 0.0, 5.0).mean(axis=1) == pytest.approx(m, abs=1e-6)


@pytest.mark.parametrize(
    ("values", "step", "bounded", "atoms"),
    [
        (np.tile(np.arange(0.0, 101.0, 5.0), 40), 5.0, (True, True), False),
        (np.random.default_rng(0).normal(size=900).round(5), 1e-5, (False, False), False),
        (np.random.default_rng(0).normal(size=900), 0.0, (False, False), False),
        (np.maximum(np.random.default_rng(0).normal(size=900), 0.0), 0.0, (True, False), True),
        (np.random.default_rng(0).gamma(2.0, 1.0, 900), 0.0, (True, False), False),
        (np.random.default_rng(0).normal(100, 15, 900), 0.0, (False, False), False),
    ],
)
def test_support_is_seen(values: Float64, step: float, bounded: tuple[bool, bool], atoms: bool) -> None:
    support = find_support(values)
    assert support.step == pytest.approx(step)
    assert support.bounded == bounded
    assert support.atoms == atoms


def test_no_single_row_shows_in_a_law() -> None:
    """A lone outlier changes no number of the law; bounds are round and have five rows at or beyond them."""
    w, a, y, kind = WORLDS["cost"](1_500, 6)
    q = np.full(1_500, y.mean())
    far, further = y.copy(), y.copy()
    top = int(np.argmax(y))
    far[top], further[top] = 1e6, 7e8
    laws = [law_bytes(fit_law(a, each, q, q, w, kind, np.random.default_rng(0), law="tilt")) for each in (far, further)]
    assert laws[0] == laws[1]
    support = find_support(far)
    fifth = float(np.sort(far)[-5])
    assert fifth <= support.high == outward(fifth, up=True)
    cells, cell = build_cells(far, support)
    assert np.bincount(cell).min() >= 5
    tail = find_tails(far, support)[1]
    assert tail == find_tails(further, support)[1]
    ends = cells.low + cells.width + cells.step * np.maximum(cells.points - 1, 0)
    assert ends.max() <= tail.end + 1e-9
    residual = np.random.default_rng(1).normal(size=400)
    lone = [np.append(residual, value) for value in (50.0, 9_000.0)]
    arms = [fit_arm(each, np.ones(401), np.ones(401)) for each in lone]
    assert arms[0].centres.tobytes() == arms[1].centres.tobytes()


def test_rounding_outward_keeps_two_digits() -> None:
    assert [outward(value, up=True) for value in (365.0, 0.0123, -4.27, 0.0, 98.1)] == [370.0, 0.013, -4.2, 0.0, 99.0]
    assert [outward(value, up=False) for value in (365.0, 0.0123, -4.27, 21.9)] == [360.0, 0.012, -4.3, 21.0]


def test_scores_are_proper() -> None:
    rng = np.random.default_rng(2)
    y = rng.normal(size=4_000)
    right, wide, off = (
        crps(y, each) for each in (rng.normal(size=(32, 4_000)), 2 * rng.normal(size=(32, 4_000)), 0.5 + rng.normal(size=(32, 4_000)))
    )
    assert right.mean() == pytest.approx(1 / np.sqrt(np.pi), abs=0.02)
    assert right.mean() < min(wide.mean(), off.mean())


@pytest.mark.parametrize("rows", [30, 60, 150])
@pytest.mark.parametrize("name", ["cost", "visits", "score", "normal"])
def test_small_tables_have_laws_too(name: str, rows: int) -> None:
    w, a, y, kind = WORLDS[name](rows, 8)
    q = np.full(rows, y.mean())
    law = fit_law(a, y, q, q, w, kind, np.random.default_rng(0))
    drawn = law.draw(
        np.repeat(a, 50),
        np.full(50 * rows, y.mean()),
        w.iloc[np.repeat(np.arange(rows), 50)].reset_index(drop=True),
        np.random.default_rng(1),
    )
    assert impossible(name, drawn) == 0
    assert drawn.mean() == pytest.approx(y.mean(), abs=5 * drawn.std() / np.sqrt(len(drawn)))


@pytest.mark.parametrize(
    ("draw", "shape"),
    [
        (lambda rng: rng.exponential(size=400_000), 0.0),
        (lambda rng: rng.pareto(4.0, 400_000), 0.125),  # of shape 1 / 4, shrunk by half
        (lambda rng: rng.uniform(size=400_000) ** 2, -0.25),  # a finite end: the largest shape
    ],
)
def test_the_mean_excess_is_that_of_a_generalised_pareto_law(draw: Any, shape: float) -> None:
    """Of ranks in the thousands, where order statistics have hardly an error."""
    y = np.sort(draw(np.random.default_rng(3)))
    first, second, third = y[-4_000], y[-20_000], y[-100_000]
    growth = np.log(5.0) if shape == 0.0 else (5.0**shape - 1.0) / shape
    expected = (first - second) / growth * 5.0**shape / (1.0 - shape)
    assert mean_excess(first, second, third) == pytest.approx(expected, rel=0.1)
    if shape == 0.0:
        assert mean_excess(first, second, third) == pytest.approx(1.0, rel=0.1)


def test_a_tail_is_where_no_bound_and_no_atom_is() -> None:
    rng = np.random.default_rng(4)
    y = np.where(rng.random(2_000) < 0.4, 0.0, np.exp(rng.normal(5, 1, 2_000)).round(2))
    below, above = find_tails(y, find_support(y))
    assert below is None
    assert above is not None
    assert int((y >= above.edge).sum()) == 5
    assert above.start <= above.edge < above.end
    cells, cell = build_cells(y, find_support(y))
    assert set(cell[y >= above.edge]) == {len(cells.low) - 1}
    mirrored = find_tails(-y, find_support(-y))
    assert mirrored == (above._replace(edge=-above.edge, start=-above.start, end=-above.end), None)
    assert find_tails(y[:499], find_support(y[:499])) == (None, None)  # too few rows
    censored = np.minimum(y, 300.0)
    assert find_tails(censored, find_support(censored)) == (None, None)
    high = above.start + 1.0
    declared = find_tails(y, find_support(y, (0.0, high)))[1]
    assert declared is not None
    assert declared.end == high
    assert find_tails(y, find_support(y, (0.0, above.start - 1.0)))[1] is None


def test_tails_bring_back_the_spread_of_costs() -> None:
    """The rows beyond the safe range hold a tenth of the standard deviation; a law cut there lacks it."""
    w, a, y, kind = WORLDS["cost"](4_000, 9)
    near = pd.qcut(w["w0"], 20, labels=False) + 100 * a
    q = pd.Series(y).groupby(near).transform("mean").to_numpy()
    law = fit_law(a, y, q, q, w, kind, np.random.default_rng(0), law="tilt")
    drawn = np.concatenate([law.draw(a, q, w, np.random.default_rng(seed)) for seed in range(5)])
    assert np.quantile(drawn, 0.999) > 0.9 * np.quantile(y, 0.999)
    assert drawn.std() > 0.9 * y.std()
    assert drawn.max() > find_support(y).high


def test_a_count_that_is_cut_off_is_bounded_where_the_gate_says_so() -> None:
    """Counts up to eight, where some are cut off: no family draws a nine."""
    rng = np.random.default_rng(5)
    x, a = rng.normal(size=2_000), rng.integers(0, 2, 2_000).astype(np.int8)
    mean = np.exp(1.2 + 0.3 * a + 0.4 * x)
    y = np.minimum(rng.poisson(mean), 8).astype(np.float64)
    assert natural_support(y).high == 8.0
    support = find_support(y)
    assert support.bounded[1]
    q = np.minimum(mean, 7.5)
    law = fit_law(a, y, q, q, pd.DataFrame({"w0": x}), "count", np.random.default_rng(0))
    assert law.key == "tilt"
    assert natural_support(y).violations(law.draw(a, q, pd.DataFrame({"w0": x}), np.random.default_rng(1))) == {}
    assert not find_support(rng.poisson(3.0, 2_000).astype(np.float64)).bounded[1]
