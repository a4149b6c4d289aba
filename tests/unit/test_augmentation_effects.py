"""Effects of augmented tables: the same as any table's where nothing is added, unbiased where rows are."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.augmentation.effects import Augmented, effects
from tasks.augmentation.filling import fill
from tasks.augmentation.rows import choose_rows
from tasks.contract.nuisance import Nuisances
from tasks.estimation.evaluate import evaluate
from tests.augmenting import TRUE_EFFECT, small


def test_without_added_rows_estimates_are_those_of_the_table() -> None:
    rng = np.random.default_rng(1)
    world = small(500, rng, randomised=True)
    nuisances = Nuisances(np.clip(world.g + 0.1 * world.x, 0.05, 0.95), world.q0, world.q1)
    table = Augmented(world.a, world.y, nuisances, np.full(500, 0.5), 500, "binary", 0.02)
    plain = {
        (each.estimand, each.estimator): each
        for each in evaluate(world.a, world.y, nuisances, "binary", ("or", "ipw", "aipw", "tmle", "ato"), 0.02)
    }
    for each in effects(table, "real"):
        same = plain[each.estimand, each.estimator]
        assert each.estimate == pytest.approx(same.estimate, abs=1e-9)
        assert each.se == pytest.approx(same.se, rel=0.02)
        assert (each.ci_high - each.ci_low) == pytest.approx(2 * 1.959964 * each.se)


def test_borrowed_error_widens_every_interval() -> None:
    rng = np.random.default_rng(2)
    world = small(300, rng, randomised=True)
    table = Augmented(world.a, world.y, Nuisances(world.g, world.q0, world.q1), np.full(300, 0.5), 300, "binary", 0.02)
    for averaging in ("real", "pooled"):
        for narrow, wide in zip(effects(table, averaging), effects(table, averaging, 0.01)):
            assert wide.se**2 == pytest.approx(narrow.se**2 + 0.01)


def augmented(rng: np.random.Generator, level: float, wrong: float = 0.0) -> tuple[Augmented, float]:
    """Fill up a draw by true outcomes; ``wrong`` is the error of the Q1 that estimators use. Also return the effect over the real rows."""
    world, candidates = small(300, rng), small(3_000, rng)
    filling = fill(candidates.chances, level)
    own = fill(world.chances, level)
    chosen = choose_rows(filling, round(own.rows * 300), (candidates.x, candidates.x), rng)
    rows = chosen.rows
    mean = np.where(chosen.arm == 1, candidates.q1[rows], candidates.q0[rows])
    g = np.concatenate((own.arms[1] * own.tilt, (filling.arms[1] * filling.tilt)[rows]))
    q0, q1 = (np.concatenate((one, other[rows])) for one, other in ((world.q0, candidates.q0), (world.q1, candidates.q1)))
    a = np.concatenate((world.a, chosen.arm)).astype(np.int8)
    y = np.concatenate((world.y, (rng.random(len(rows)) < mean).astype(np.float64)))
    tilt = np.concatenate((own.tilt, filling.tilt[rows]))
    return Augmented(a, y, Nuisances(g, q0, q1 + wrong), tilt, 300, "binary", 1e-3), float(np.mean(world.q1 - world.q0))


@pytest.mark.parametrize("level", [pytest.param(0.3, marks=pytest.mark.slow), 2.0])
def test_averaging_over_real_rows_is_unbiased_and_its_standard_errors_are_right(level: float) -> None:
    rng = np.random.default_rng(3)
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(100):
        table, _ = augmented(rng, level)
        for each in effects(table, "real"):
            if each.estimand == "ate":
                found.setdefault(each.estimator, []).append((each.estimate, each.se))
    for name, pairs in found.items():
        points, errors = np.array(pairs).T
        assert abs(points.mean() - TRUE_EFFECT) < 4.0 * points.std() / np.sqrt(100), name
        if name != "or":  # with Q known its own error is smaller than the one it is given
            assert np.mean(errors) == pytest.approx(points.std(), rel=0.25), name


def test_a_wrong_outcome_model_is_put_right_by_the_rows_but_for_the_plug_in() -> None:
    rng = np.random.default_rng(4)
    errors = {name: [] for name in ("or", "aipw", "tmle")}
    for _ in range(30):
        table, own = augmented(rng, 2.0, wrong=0.1)
        for each in effects(table, "real"):
            if each.estimator in errors and each.estimand == "ate":
                errors[each.estimator].append(each.estimate - own)
    assert np.mean(errors["or"]) == pytest.approx(0.1, abs=1e-9)
    assert abs(np.mean(errors["aipw"])) < 0.02
    assert abs(np.mean(errors["tmle"])) < 0.02


def test_averaging_over_all_rows_moves_with_their_law() -> None:
    rng = np.random.default_rng(5)
    table, own = augmented(rng, 0.5)
    real, pooled = ({each.estimator: each.estimate for each in effects(table, of) if each.estimand == "ate"} for of in ("real", "pooled"))
    # treated rows were added where x < 0, and there effects are smaller
    assert real["or"] == pytest.approx(own)
    assert pooled["or"] < own - 0.005
