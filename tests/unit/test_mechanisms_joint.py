"""Outcomes drawn together hang together as the source's do, and each alone has its own law."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tasks.contract.nuisance import Float64, Int8
from tasks.mechanisms.joint import OutcomeDesign, draw_together
from tasks.mechanisms.laws.choice import choose_law
from tasks.mechanisms.laws.protocol import OutcomeLaw
from tasks.mechanisms.ranks import RankLaw, fit_ranks
from tasks.numerics.correlation import spearman

ARMS, ROWS = 3, 1800


class World:
    """Three arms; a score, a cost with many zeros and an answer, which share a latent number more or less by arm."""

    def __init__(self) -> None:
        rng = np.random.default_rng(5)
        self.a: Int8 = rng.integers(0, ARMS, ROWS).astype(np.int8)
        w = rng.normal(size=ROWS)
        self.covariates = pd.DataFrame({"w0": w})
        shared = np.array([0.8, 0.3, -0.6])[self.a] * rng.normal(size=ROWS)
        noise = rng.normal(size=(3, ROWS))
        chance = 1.0 / (1.0 + np.exp(-0.5 * w))
        latent = stats.norm.cdf((np.array([0.8, 0.3, -0.6])[self.a] * shared + noise[2]) / np.sqrt(1.0 + 0.64))
        cost = np.maximum(np.rint(40.0 * (1.0 + 0.3 * w + shared + 0.5 * noise[1])), 0.0)
        self.y = np.column_stack((10.0 + 2.0 * w + self.a + shared + 0.6 * noise[0], cost, (latent > 1.0 - chance).astype(float)))
        costs = np.array([cost[self.a == arm].mean() for arm in range(ARMS)])[self.a]
        self.mean = np.column_stack((10.0 + 2.0 * w + self.a, np.clip(costs * (1.0 + 0.3 * w), 1.0, 120.0), chance))
        self.laws: list[OutcomeLaw] = [
            choose_law(self.a, self.y[:, at], self.mean[:, at], self.covariates, kind, np.random.default_rng(at)).law
            for at, kind in enumerate(("continuous", "count", "binary"))
        ]

    def designs(self, weight: Float64 | None = None) -> list[OutcomeDesign]:
        ones = np.full(ROWS, float(ARMS)) if weight is None else weight
        return [OutcomeDesign(law, self.mean[:, at], ones) for at, law in enumerate(self.laws)]


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def ranks(world: World) -> RankLaw:
    return fit_ranks(world.laws, world.a, world.y, world.mean, world.covariates, ARMS, False, np.random.default_rng(1))


@pytest.mark.parametrize("balanced", [False, True])
def test_residuals_have_the_rank_correlations_of_the_source(world: World, ranks: RankLaw, balanced: bool) -> None:
    rng = np.random.default_rng(2)
    draws = [draw_together(world.designs(), world.a, world.covariates, ranks, balanced, rng) for _ in range(12)]
    for arm in range(ARMS):
        rows = world.a == arm
        for first, second in ((0, 1), (0, 2), (1, 2)):
            rest = world.y[rows] - world.mean[rows]
            wanted = spearman(rest[:, first], rest[:, second])
            reached = [spearman(*(y[rows] - world.mean[rows])[:, [first, second]].T) for y in draws]
            assert abs(float(np.mean(reached)) - wanted) < 0.03, (arm, first, second)
    assert max(abs(matrix[0, 1]) for matrix in ranks.correlations) > 0.3  # or there was nothing to keep


@pytest.mark.parametrize("balanced", [False, True])
def test_each_outcome_alone_keeps_its_law(world: World, ranks: RankLaw, balanced: bool) -> None:
    rng = np.random.default_rng(3)
    together = np.array([draw_together(world.designs(), world.a, world.covariates, ranks, balanced, rng) for _ in range(30)])
    for at, law in enumerate(world.laws):
        alone = np.array([law.draw(world.a, world.mean[:, at], world.covariates, rng) for _ in range(30)])
        assert np.abs((together[:, :, at].mean(axis=0) - world.mean[:, at]) / np.maximum(alone.std(axis=0), 0.1)).mean() < 0.2
        for arm in range(ARMS):
            rows = world.a == arm
            assert stats.ks_2samp(together[:, rows, at].ravel(), alone[:, rows].ravel()).statistic < 0.016


def test_balanced_draws_carry_every_outcome(world: World, ranks: RankLaw) -> None:
    """The weighted sums of residuals vary far less than independent draws have them; rows whose cell is missing weigh nothing."""
    rng = np.random.default_rng(4)
    weight = np.where(rng.random(ROWS) < 0.7, float(ARMS) / 0.7, 0.0)
    sums: dict[bool, list[Float64]] = {False: [], True: []}
    for balanced, found in sums.items():
        for _ in range(20):
            y = draw_together(world.designs(weight), world.a, world.covariates, ranks, balanced, rng)
            found.append(np.array([((y - world.mean) * weight[:, None])[world.a == arm].sum(axis=0) for arm in range(ARMS)]))
    luck, rest = (np.std(found, axis=0) for found in (sums[False], sums[True]))
    assert (rest / luck)[:, :2].max() < 0.35
    assert (rest / luck)[:, 2].max() < 0.5


def test_visits_in_order_are_autoregressive(world: World) -> None:
    given = (world.laws, world.a, world.y, world.mean, world.covariates, ARMS)
    matrices = fit_ranks(*given, True, np.random.default_rng(1)).correlations
    for matrix in matrices:
        assert matrix[0, 2] == pytest.approx(matrix[0, 1] * matrix[1, 2])


def test_pairs_that_do_not_fit_together_give_a_law_nevertheless(world: World) -> None:
    """Outcomes seen in different rows have correlations that no three numbers have: the nearest law is taken."""
    rng = np.random.default_rng(6)
    y, mean = rng.normal(size=(600, 3)), np.zeros((600, 3))
    for start, (first, second, sign) in zip((0, 200, 400), ((0, 1, 1.0), (0, 2, 1.0), (1, 2, -1.0)), strict=True):
        rows = slice(start, start + 200)
        y[rows, second] = sign * y[rows, first]
        y[rows, 3 - first - second] = np.nan
    frame, a = pd.DataFrame({"w0": rng.normal(size=600)}), (np.arange(600) % 2).astype(np.int8)
    law = choose_law(a, rng.normal(size=600), mean[:, 0], frame, "continuous", rng).law
    matrix = fit_ranks([law] * 3, np.zeros(600, dtype=np.int8), y, mean, frame, 1, False, rng).correlations[0]
    assert np.linalg.eigvalsh(matrix).min() > 0.0
    assert np.diag(matrix) == pytest.approx(np.ones(3))


def test_rank_correlations_of_weighted_rows_are_those_of_the_rows_repeated(world: World) -> None:
    """Weights 0, 1, 2: the law is that of a table with rows left out or doubled."""
    rng = np.random.default_rng(8)
    x, y, weights = rng.normal(size=500).round(1), rng.normal(size=500), rng.integers(0, 3, 500)
    y += 0.6 * x
    assert spearman(x, y, weights.astype(float)) == pytest.approx(spearman(np.repeat(x, weights), np.repeat(y, weights)), abs=1e-12)
    heavy = np.where(world.y[:, 0] - world.mean[:, 0] > 0.0, 3.0, 1.0)
    given = (world.laws[:2], world.a, world.y[:, :2], world.mean[:, :2], world.covariates, ARMS, False)
    plain, equal, other = (fit_ranks(*given, np.random.default_rng(1), w) for w in (None, np.full(ROWS, 2.0), heavy))
    assert equal.correlations[0][0, 1] == pytest.approx(plain.correlations[0][0, 1], abs=1e-3)
    assert abs(other.correlations[0][0, 1] - plain.correlations[0][0, 1]) > 0.005
