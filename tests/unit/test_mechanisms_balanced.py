"""Balanced draws: the law of every row is kept, and the luck of all rows together is gone."""

import pickle
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tasks.contract.nuisance import Float64, Nuisances
from tasks.estimation.evaluate import evaluate
from tasks.mechanisms.balanced import balanced_outcome, balanced_treatment
from tasks.mechanisms.cube import cube
from tasks.mechanisms.laws.choice import fit_law
from tasks.mechanisms.laws.counts import CountLaw
from tasks.mechanisms.laws.methods.binary import BinaryLaw
from tasks.mechanisms.laws.protocol import OutcomeLaw

KINDS = ("binary", "continuous", "count")
DESIGNS = ("randomized", "fitted")
ROWS = 500


class Case(NamedTuple):
    nuisances: Nuisances
    law: OutcomeLaw
    covariates: pd.DataFrame


def expit(x: Float64) -> Float64:
    return 1.0 / (1.0 + np.exp(-x))


def skewed_law() -> OutcomeLaw:
    """Heteroscedastic, skewed, wider in the treated arm."""
    rng = np.random.default_rng(1)
    w = pd.DataFrame({"w0": rng.normal(size=4000)})
    a = rng.integers(0, 2, 4000).astype(np.int8)
    y = np.exp(0.4 * w["w0"].to_numpy()) * (rng.gamma(4.0, 1.0, 4000) - 4.0) * (1.0 + a)
    law = fit_law(a, y, np.zeros(4000), np.zeros(4000), w, "continuous", rng)
    assert law.scale is not None
    return law


def case(kind: str, design: str, rows: int = ROWS) -> Case:
    w = np.random.default_rng(2).normal(size=(rows, 4))
    g = np.full(rows, 0.5) if design == "randomized" else np.clip(expit(0.6 * w[:, 0] - 0.6 * w[:, 1] + 0.5 * w[:, 3]), 0.03, 0.97)
    law: OutcomeLaw
    if kind == "binary":
        q0, q1, law = expit(w[:, 0] + 0.5 * w[:, 1] - 0.5), expit(0.5 + w[:, 0] - 0.5 * w[:, 2]), BinaryLaw()
    elif kind == "count":
        q0, q1, law = np.exp(0.3 + 0.4 * w[:, 0]), np.exp(0.6 + 0.4 * w[:, 0] + 0.2 * w[:, 2]), CountLaw((0.0, 0.5))
    else:
        q0, q1, law = 10.0 + 2.0 * w[:, 0] + w[:, 1] ** 2, 11.0 + 2.5 * w[:, 0] + w[:, 1] ** 2 + w[:, 2], skewed_law()
    return Case(Nuisances(g, q0, q1), law, pd.DataFrame({"w0": w[:, 0]}))


def estimates(given: Case, kind: str, balanced: bool, replicates: int) -> Float64:
    """IPW, AIPW, TMLE with the true nuisances, and the difference in means; shape (replicates, 4)."""
    rng, found = np.random.default_rng(7), []
    nuisances = given.nuisances
    for _ in range(replicates):
        if balanced:
            a = balanced_treatment(nuisances, rng)
            y = balanced_outcome(given.law, a, nuisances, given.covariates, rng)
        else:
            a = (rng.random(len(nuisances.g)) < nuisances.g).astype(np.int8)
            y = given.law.draw(a, np.where(a == 1, nuisances.q1, nuisances.q0), given.covariates, rng)
        rows = [each.estimate for each in evaluate(a, y, nuisances, kind, ("ipw", "aipw", "tmle"))]
        found.append([*rows, float(y[a == 1].mean() - y[a == 0].mean())])
    return np.array(found)


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_balanced_release_carries_the_estimate(kind: str, design: str) -> None:
    given = case(kind, design)
    replicates = 200 if kind == "binary" else 50
    luck = estimates(given, kind, False, 150).std(axis=0)
    found = estimates(given, kind, True, replicates)
    ipw, aipw, tmle, difference = found.std(axis=0) / luck
    assert max(ipw, aipw, tmle) < 0.2
    if design == "randomized":
        assert difference < 0.2
    # and it is no other estimate than before
    truth = float(np.mean(given.nuisances.q1 - given.nuisances.q0))
    bias = np.abs(found.mean(axis=0) - truth)[:3] / (found.std(axis=0)[:3] / np.sqrt(replicates))
    assert bias.max() < 4.0


@pytest.mark.parametrize("design", DESIGNS)
def test_every_row_is_treated_with_its_own_chance(design: str) -> None:
    nuisances = case("continuous", design, 300).nuisances
    rng = np.random.default_rng(3)
    replicates = 2000
    share = np.mean([balanced_treatment(nuisances, rng) for _ in range(replicates)], axis=0)
    z = (share - nuisances.g) / np.sqrt(nuisances.g * (1.0 - nuisances.g) / replicates)
    assert np.abs(z).max() < 4.5
    assert abs(np.mean(z**2) - 1.0) < 0.4


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_has_its_own_law_of_outcomes(kind: str) -> None:
    given = case(kind, "fitted", 100)
    rng = np.random.default_rng(4)
    a = (rng.random(100) < given.nuisances.g).astype(np.int8)
    mean = np.where(a == 1, given.nuisances.q1, given.nuisances.q0)
    replicates = {"binary": 1500, "continuous": 250, "count": 120}[kind]
    drawn = np.array([balanced_outcome(given.law, a, given.nuisances, given.covariates, rng) for _ in range(replicates)])
    plain = np.array([given.law.draw(a, mean, given.covariates, rng) for _ in range(2000)])
    sd = plain.std(axis=0)
    z = (drawn.mean(axis=0) - mean) / (sd / np.sqrt(replicates))
    assert np.abs(z).max() < 4.5
    # neighbours are dependent: about 85 of the 100 rows' worth of freedom, four standard deviations
    assert abs(np.mean(z**2) - 1.0) < 4.0 * np.sqrt(2.0 / 85.0)
    assert np.mean(drawn.var(axis=0) / sd**2) == pytest.approx(1.0, abs=0.08)
    # whole laws, not moments alone: no row's p-values are smaller than chance has them
    p = np.array([stats.ks_2samp(drawn[:, row], plain[:, row]).pvalue for row in range(0, 100, 5)])
    assert p.min() > 1e-4


@pytest.mark.parametrize("width", [3, 40])
def test_arms_are_matched_in_the_covariates_given(width: int) -> None:
    """Of many columns the leading components count: here three factors and a little noise."""
    rng = np.random.default_rng(6)
    nuisances, factors = case("binary", "randomized", 400).nuisances, rng.normal(size=(400, 3))
    given = factors if width == 3 else factors @ rng.normal(size=(3, 38)) + 0.1 * rng.normal(size=(400, 38))
    given = np.column_stack((given, np.ones(400)))  # a constant column says nothing
    without, within = [], []
    for _ in range(60):
        without.append((balanced_treatment(nuisances, rng) - 0.5) @ factors)
        a = balanced_treatment(nuisances, rng, given)
        within.append((a - 0.5) @ factors)
        assert abs(int(a.sum()) - 200) <= 2
    assert np.std(without, axis=0).min() > 5.0
    assert np.std(within, axis=0).max() < 2.0


def test_arms_are_as_large_as_the_design_has_them() -> None:
    nuisances = case("binary", "randomized").nuisances
    rng = np.random.default_rng(8)
    for _ in range(20):
        assert abs(int(balanced_treatment(nuisances, rng).sum()) - ROWS // 2) <= 2


def test_the_cube_keeps_chances_and_sums() -> None:
    rng = np.random.default_rng(9)
    z = np.column_stack((np.ones(60), rng.normal(size=60)))
    chance = rng.uniform(0.05, 0.95, 60)
    chance[:2] = 0.0, 1.0
    order = np.argsort(-np.abs(z[:, 1]))
    drawn = np.array([cube(chance, z, order, rng) for _ in range(4000)])
    assert (drawn[:, 0] == 0).all()
    assert (drawn[:, 1] == 1).all()
    free = slice(2, None)
    score = (drawn.mean(axis=0) - chance)[free] / np.sqrt(chance * (1.0 - chance) / 4000)[free]
    assert np.abs(score).max() < 4.5
    missed = (drawn - chance) @ z
    assert np.abs(missed[:, 0]).max() <= 2.0
    assert np.std(missed[:, 1]) < 0.15 * np.sqrt(np.sum(chance * (1.0 - chance) * z[:, 1] ** 2))


@pytest.mark.parametrize("width", [0, 1, 5])
def test_the_cube_takes_degenerate_directions(width: int) -> None:
    """None at all, one that is zero, and many that say the same."""
    rng = np.random.default_rng(10)
    z = np.zeros((50, 1)) if width == 1 else np.repeat(np.arange(1.0, 51.0)[:, None], width, axis=1)
    drawn = np.array([cube(np.full(50, 0.3), z, np.arange(50), rng) for _ in range(2000)])
    assert set(np.unique(drawn)) == {0, 1}
    assert np.abs(drawn.mean(axis=0) - 0.3).max() < 4.5 * np.sqrt(0.21 / 2000)
    missed = np.std((drawn - 0.3) @ np.arange(1.0, 51.0))
    luck = np.sqrt(0.21 * np.sum(np.arange(1.0, 51.0) ** 2))
    assert missed < 0.3 * luck if width == 5 else missed > 0.8 * luck


@pytest.mark.parametrize("kind", KINDS)
def test_an_inverted_law_is_the_law(kind: str) -> None:
    given = case(kind, "fitted", 20)
    a = np.arange(20, dtype=np.int8) % 2
    mean, rng = np.where(a == 1, given.nuisances.q1, given.nuisances.q0), np.random.default_rng(5)
    law = given.law.invert(a, mean, given.covariates, rng)
    assert law.partial(np.ones(20)) == pytest.approx(mean, rel=1e-9)
    assert law.partial(np.zeros(20)) == pytest.approx(np.zeros(20), abs=1e-12)
    # the partial expectation is the integral of the quantile function: midpoint rule on a fine grid
    grid = (np.arange(10_000) + 0.5) / 10_000
    rows = np.tile(np.arange(20), len(grid))
    wide = given.law.invert(a[rows], mean[rows], given.covariates.iloc[rows].reset_index(drop=True), rng)
    values = wide.quantile(np.repeat(grid, 20)).reshape(len(grid), 20)
    for upto in (0.2, 0.5, 0.9):
        expected = values[grid < upto].sum(axis=0) / 10_000
        assert law.partial(np.full(20, upto)) == pytest.approx(expected, abs=2e-3 * max(1.0, float(np.abs(mean).max())))
    plain = np.random.default_rng(11)
    for row in range(0, 20, 3):
        drawn = given.law.draw(
            np.repeat(a[row], 3000), np.repeat(mean[row], 3000), given.covariates.iloc[[row] * 3000].reset_index(drop=True), plain
        )
        assert stats.ks_2samp(values[:, row], drawn).pvalue > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_bytes(kind: str) -> None:
    given = case(kind, "fitted", 200)
    again = pickle.loads(pickle.dumps(given))
    drawn = []
    for each in (given, again):
        rng = np.random.default_rng(12)
        a = balanced_treatment(each.nuisances, rng)
        drawn.append((a.tobytes(), balanced_outcome(each.law, a, each.nuisances, each.covariates, rng).tobytes()))
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [0, 1, 2, 3])
def test_tables_of_few_rows_and_empty_arms(kind: str, rows: int) -> None:
    given = case(kind, "fitted", 5)
    few = Nuisances(*(values[:rows] for values in given.nuisances))
    rng = np.random.default_rng(13)
    assert balanced_treatment(few, rng).shape == (rows,)
    a = np.zeros(rows, dtype=np.int8)
    y = balanced_outcome(given.law, a, few, given.covariates.iloc[:rows], rng)
    assert y.shape == (rows,)
    assert np.isfinite(y).all()
