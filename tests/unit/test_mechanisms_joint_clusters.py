"""Several outcomes of rows in clusters: as alike within clusters, and as joint within a row, as the source's; each with its own law."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import ndtr

from tasks.contract.nuisance import Float64, Int8
from tasks.mechanisms.cluster_fit import fit_outcomes, shared_correlations
from tasks.mechanisms.clusters import ClusterLaw, Intp, intraclass
from tasks.mechanisms.joint import OutcomeDesign
from tasks.mechanisms.joint_clusters import draw_in_clusters, loads_of
from tasks.mechanisms.laws.counts import CountLaw
from tasks.mechanisms.laws.methods.binary import BinaryLaw
from tasks.mechanisms.laws.protocol import OutcomeLaw
from tasks.mechanisms.ranks import RankLaw, fit_ranks
from tasks.numerics.correlation import spearman

VILLAGES, PEOPLE, RHO = 250, 8, (0.35, 0.2)


class Villages(NamedTuple):
    """Two outcomes, a count and an answer, of people in villages; the second is missing in a fifth."""

    a: Int8
    y: Float64
    mean: Float64
    place: Intp
    frame: pd.DataFrame
    laws: list[OutcomeLaw]
    alike: ClusterLaw
    ranks: RankLaw


@pytest.fixture(scope="module")
def villages() -> Villages:
    rng = np.random.default_rng(7)
    place, n = np.repeat(np.arange(VILLAGES), PEOPLE), VILLAGES * PEOPLE
    a = rng.integers(0, 2, n).astype(np.int8)
    shared = rng.normal(size=(VILLAGES, 2)) @ np.linalg.cholesky([[1.0, 0.7], [0.7, 1.0]]).T
    own = rng.normal(size=(n, 2)) @ np.linalg.cholesky([[1.0, 0.4], [0.4, 1.0]]).T
    z = np.sqrt(RHO) * shared[place] + np.sqrt(1.0 - np.array(RHO)) * own
    mean = np.column_stack((rng.uniform(2.0, 9.0, n), rng.uniform(0.3, 0.7, n)))
    y = np.column_stack((stats.poisson.ppf(ndtr(z[:, 0]), mean[:, 0]), (ndtr(z[:, 1]) >= 1.0 - mean[:, 1]).astype(float)))
    y[rng.random(n) < 0.2, 1] = np.nan
    laws: list[OutcomeLaw] = [CountLaw((0.0, 0.0)), BinaryLaw()]
    frame = pd.DataFrame(index=range(n))
    alike = ClusterLaw(
        np.full(VILLAGES, PEOPLE), np.full(VILLAGES, 1 / VILLAGES), (), {}, False, *fit_outcomes(laws, a, y, mean, frame, place, rng)
    )
    return Villages(a, y, mean, place, frame, laws, alike, fit_ranks(laws, a, y, mean, frame, 2, False, rng))


def draw(villages: Villages, balanced: bool, rng: np.random.Generator) -> Float64:
    known = ~np.isnan(villages.y)
    designs = [
        OutcomeDesign(law, villages.mean[:, number], np.where(known[:, number], 2.5 if number else 2.0, 0.0))
        for number, law in enumerate(villages.laws)
    ]
    y = draw_in_clusters(designs, villages.a, villages.frame, villages.ranks, villages.place, villages.alike, balanced, rng)
    return np.where(known, y, np.nan)


def likeness(villages: Villages, y: Float64) -> list[float]:
    """Intraclass correlation of each outcome's known residuals."""
    found = []
    for rest in (y - villages.mean).T:
        known = ~np.isnan(rest)
        found.append(intraclass(rest[known], np.unique(villages.place[known], return_inverse=True)[1]))
    return found


def test_what_a_cluster_shares_of_two_outcomes_is_found(villages: Villages) -> None:
    assert [each.rho for each in villages.alike.every] == pytest.approx(RHO, abs=0.08)
    assert villages.alike.between[0][1] == pytest.approx(0.7, abs=0.15)


@pytest.mark.parametrize("balanced", [False, True])
def test_outcomes_are_as_alike_and_as_joint_as_the_sources(villages: Villages, balanced: bool) -> None:
    rng = np.random.default_rng(8)
    draws = [draw(villages, balanced, rng) for _ in range(3)]
    wanted = [each.icc for each in villages.alike.every]
    reached = np.array([likeness(villages, y) for y in draws])
    assert np.abs(reached.mean(axis=0) - wanted).max() < 0.03
    if balanced:
        assert np.abs(reached - wanted).max() < 0.03
    crossed = np.mean([shared_correlations(y - villages.mean, villages.place)[0, 1] for y in draws])
    assert crossed == pytest.approx(villages.alike.between[0][1], abs=0.12)
    for arm in (0, 1):
        here = (villages.a == arm) & ~np.isnan(villages.y[:, 1])
        source = spearman(*(villages.y - villages.mean)[here].T)
        assert np.mean([spearman(*(y - villages.mean)[here].T) for y in draws]) == pytest.approx(source, abs=0.05)


def test_each_outcome_of_each_row_keeps_its_law(villages: Villages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.mechanisms.joint_clusters._CANDIDATES", 1)
    rng = np.random.default_rng(9)
    draws = np.array([draw(villages, True, rng) for _ in range(16)])
    rows = np.flatnonzero(~np.isnan(villages.y[:, 1]))
    mean, spread = draws[:, rows, 0].mean(axis=0), np.sqrt(villages.mean[rows, 0])
    assert np.abs((mean - villages.mean[rows, 0]) / spread * np.sqrt(16)).mean() == pytest.approx(np.sqrt(2 / np.pi), abs=0.15)
    assert np.corrcoef(draws[:, rows, 1].mean(axis=0), villages.mean[rows, 1])[0, 1] > 0.6


def test_balanced_draws_carry_both_effects(villages: Villages, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weighted sums of residuals, by arm and outcome, vary far less than independent clusters have them."""
    monkeypatch.setattr("tasks.mechanisms.joint_clusters._CANDIDATES", 1)
    sums: dict[bool, Float64] = {}
    for balanced in (False, True):
        rng, found = np.random.default_rng(10), []
        for _ in range(15):
            rest = np.nan_to_num(draw(villages, balanced, rng) - villages.mean)
            found.append([rest[villages.a == arm].sum(axis=0) for arm in (0, 1)])
        sums[balanced] = np.std(found, axis=0)
    assert (sums[True] / sums[False]).max() < 0.5


def test_loads_give_rows_and_clusters_their_correlations(villages: Villages) -> None:
    loads = loads_of(villages.alike, villages.ranks)
    for own, wanted in zip(loads.by_row, villages.ranks.correlations, strict=True):
        assert loads.shared @ loads.shared.T + own @ own.T == pytest.approx(wanted, abs=1e-9)
    assert np.diag(loads.shared @ loads.shared.T) == pytest.approx([each.rho for each in villages.alike.every])
