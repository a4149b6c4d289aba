"""How many rows, and whether they are worth it: criterion, agreement, rivals."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.augmentation.agreement import conflict, recalibrate
from tasks.augmentation.criterion import Inputs, choose, curve, fused, nothing_of, spread
from tasks.augmentation.ensemble import Ensemble, redrawn
from tasks.augmentation.filling import fill
from tasks.augmentation.rivals import Pooled, Rival, rivals, tolerance, worth
from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Nuisances
from tasks.contract.registry import resolve
from tests.augmenting import Small, known, small


def weighed(seed: int, external: bool, n: int = 400, **of: float) -> list[Rival]:
    """Weigh one draw of the small world; the other table has 1,000 randomised rows."""
    rng = np.random.default_rng(seed)
    world, other = small(n, rng), small(1_000, rng, randomised=True)
    found = known(world, rng, external, **of)
    agreed = recalibrate(world.a, world.y, found.given, "binary") if external else None
    chosen = choose(curve(found, 0.9, "real", agreed))
    return rivals(found, chosen, agreed, both(world, other) if external else None, 0.01)


def both(world: Small, other: Small) -> Pooled:
    joined = [np.concatenate(pair) for pair in zip(world, other)]
    share = (len(world.y) * joined[3][: len(world.y)] + 0.5 * len(other.y)) / (len(world.y) + len(other.y))
    g = np.concatenate((share, np.full(len(other.y), float(share.mean()))))
    return Pooled(joined[1].astype(np.int8), joined[2], Nuisances(g, joined[4], joined[5]), (other.q0, other.q1))


def test_a_good_other_table_is_worth_its_rows() -> None:
    for seed in range(3):
        found = weighed(seed, external=True)
        assert [each.name for each in found] == ["augment", "nothing", "overlap", "trimming", "pooling"]
        assert worth(found) < tolerance(1.1, external=True)
        assert found[0].error is not None
        assert found[1].error is not None
        assert found[0].error < 0.7 * found[1].error


def test_outcomes_of_one_s_own_are_never_worth_it() -> None:
    for seed in range(8):
        assert worth(weighed(seed, external=False)) > tolerance(1.1, external=False)


def test_a_table_that_disagrees_is_not_worth_it() -> None:
    refused = [worth(weighed(seed, external=True, n=3_000, bias=-0.25)) > tolerance(1.1, external=True) for seed in range(3)]
    assert all(refused)


@pytest.mark.slow
def test_expected_error_is_about_the_actual_one() -> None:
    rng = np.random.default_rng(11)
    error, expected = [], []
    for _ in range(150):
        world = small(300, rng)
        miss = 0.03 * rng.normal(size=2)
        found = known(world, rng, external=True)
        off = Ensemble(found.given[0] + miss[0], found.given[1] + miss[1])
        chosen = choose(curve(found._replace(given=off), 0.9, "real", recalibrate(world.a, world.y, off, "binary")))
        error.append((fused(found, fill(world.chances, chosen.level), off.mean) - 0.4) ** 2)
        expected.append(chosen.error - chosen.conflict)
    assert np.mean(expected) == pytest.approx(np.mean(error), rel=0.4)


def test_the_curve_trades_noise_against_borrowed_error() -> None:
    rng = np.random.default_rng(2)
    world = small(500, rng)
    found = known(world, rng, external=True)
    points = curve(found, 0.9, "real", None if not found.external else recalibrate(world.a, world.y, found.given, "binary"))
    assert np.all(np.diff([point.rows for point in points]) > 0)
    assert np.all(np.diff([point.noise for point in points]) < 0)
    assert points[-1].borrowed > points[0].borrowed
    assert all(point.share <= 0.9 + 1e-9 for point in points)
    # from level 1 on added and real rows together have the source's covariate law
    assert all(abs(point.shift) < 1e-12 for point in points if point.level >= 1.0)
    assert any(abs(point.shift) > 1e-3 for point in points if point.level < 1.0)


def test_averaging_over_all_rows_pays_the_shift() -> None:
    rng = np.random.default_rng(3)
    found = known(small(500, rng), rng, external=False)
    for real, pooled in zip(curve(found, 0.5, "real", None), curve(found, 0.5, "pooled", None)):
        assert pooled.error == pytest.approx(real.error + real.shift**2)


def test_doing_nothing_is_a_filling_with_one_s_own_predictions() -> None:
    rng = np.random.default_rng(4)
    found = known(small(400, rng), rng, external=False)
    least = choose(curve(found, 0.9, "real", None))
    assert least.error >= nothing_of(found) + least.covariates


def test_pooling_a_table_of_another_law_is_charged_its_shift() -> None:
    rng = np.random.default_rng(5)
    world = small(400, rng)
    found = known(world, rng, external=True)
    agreed = recalibrate(world.a, world.y, found.given, "binary")
    chosen = choose(curve(found, 0.9, "real", agreed))
    alike, apart = (both(world, small(1_000, rng, randomised=True, shift=by)) for by in (0.0, 1.0))
    near, far = (rivals(found, chosen, agreed, each, 0.01)[-1] for each in (alike, apart))
    assert near.error is not None
    assert far.error is not None
    assert far.error > 3.0 * near.error


def test_trimming_refuses_where_nothing_is_left() -> None:
    rng = np.random.default_rng(6)
    world = small(200, rng)
    found = known(world._replace(g=np.full(200, 0.05)), rng, external=False)
    ways = rivals(found, choose(curve(found, 0.9, "real", None)), None, None, 0.01)
    trimming = next(each for each in ways if each.name == "trimming")
    assert trimming.error is None
    assert "would be left" in trimming.detail


def exactly(world: Small, by: float = 0.0) -> Ensemble:
    """Return predictions that are right (in arm 1 up to ``by``) and sure of it."""
    return Ensemble(np.tile(world.q0, (2, 1)), np.tile(world.q1 + by, (2, 1)))


@pytest.mark.parametrize("kind", ["binary", "continuous"])
@pytest.mark.parametrize("rows", [60, 300])
def test_agreement_is_doubted_about_as_often_as_chance_says(kind: str, rows: int) -> None:
    rng = np.random.default_rng(7)
    doubted = []
    for _ in range(300):
        world = small(rows, rng)
        y = world.y if kind == "binary" else np.where(world.a == 1, world.q1, world.q0) + 0.2 * rng.normal(size=rows)
        found = recalibrate(world.a, y, exactly(world), kind)
        doubted.append(conflict(found, (world.q0, world.q1), fill(world.chances, 0.5).borrowed, 0.0).squared > 0.0)
    assert 0.01 <= np.mean(doubted) <= 0.09


def test_predictions_off_by_no_more_than_their_own_error_agree() -> None:
    rng = np.random.default_rng(12)
    doubted, sure = [], []
    for _ in range(100):
        world = small(2_000, rng)
        miss, draws = 0.05 * rng.normal(size=2), 0.05 * rng.normal(size=(40, 2))
        off = Ensemble(world.q0 + miss[0] + draws[:, :1], world.q1 + miss[1] + draws[:, 1:])
        doubted.append(recalibrate(world.a, world.y, off, "binary").chance < 0.05)
        alike = Ensemble(np.tile(off[0].mean(axis=0), (2, 1)), np.tile(off[1].mean(axis=0), (2, 1)))
        sure.append(recalibrate(world.a, world.y, alike, "binary").chance < 0.05)
    assert np.mean(doubted) <= 0.12
    assert np.mean(sure) >= 0.4


def test_noise_in_the_other_tables_labels_is_seen() -> None:
    rng = np.random.default_rng(13)
    seen = []
    for _ in range(50):
        world = small(1_000, rng)
        mixed = Ensemble(*(np.tile(0.6 * q + 0.2, (2, 1)) for q in (world.q0, world.q1)))
        seen.append(recalibrate(world.a, world.y, mixed, "binary").chance < 0.05)
    assert np.mean(seen) >= 0.9


def test_a_difference_of_effects_shows_in_the_intercepts() -> None:
    rng = np.random.default_rng(8)
    world = small(20_000, rng, randomised=True)
    found = recalibrate(world.a, world.y, exactly(world, -0.2), "binary")
    seen = conflict(found, (world.q0, world.q1 - 0.2), (np.ones(20_000), np.ones(20_000)), 0.0)
    assert seen.chance < 1e-6
    assert seen.change == pytest.approx(0.2, abs=0.03)
    assert seen.squared == pytest.approx(0.04, rel=0.3)


@pytest.mark.slow
def test_the_ensemble_knows_how_far_an_average_effect_is_off() -> None:
    rng = np.random.default_rng(9)
    learner = resolve("learner", "glm")
    at = _frame(np.linspace(-1.0, 1.0, 50))
    ones = np.ones(50)
    means, variances = [], []
    for number in range(24):
        other = small(300, rng, randomised=True)
        table = (_frame(other.x), other.a, other.y)
        found = redrawn(learner, table, "binary", at, 12 if number < 8 else 2, rng)
        q0, q1 = found.mean
        means.append(float(np.mean(q1 - q0)))
        if number < 8:
            variances.append(found.variance(ones, ones))
    assert np.mean(variances) == pytest.approx(np.var(means, ddof=1), rel=0.75)


def _frame(x: np.ndarray) -> object:
    import pandas as pd

    return pd.DataFrame({"w0": x})


def test_too_few_rows_of_an_arm_are_refused() -> None:
    rng = np.random.default_rng(10)
    world = small(100, rng)
    a = np.zeros(100, dtype=np.int8)
    a[:3] = 1
    found: Inputs = known(world._replace(a=a), rng, external=False)
    with pytest.raises(EstimationError, match="rows of arm 1 must be at least 5"):
        spread(found)
