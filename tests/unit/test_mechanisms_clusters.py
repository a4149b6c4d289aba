"""Clusters of a release: sizes, constant columns, and rows that are as alike as the source's."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr
from scipy.stats import poisson

from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.mechanisms.cluster_fit import ClusteredRows, fit_clusters
from tasks.mechanisms.clusters import Alike, ClusterLaw, constant_within, draw_alike, fit_rho, intraclass, likeness_of, treat_clusters
from tasks.mechanisms.gathering import choose_clusters, cluster_means, form_clusters
from tasks.mechanisms.laws.counts import CountLaw
from tasks.mechanisms.laws.methods.binary import BinaryLaw
from tasks.mechanisms.laws.protocol import OutcomeLaw
from tasks.mechanisms.sampling import inclusion
from tests.unit.test_nuisance_crossfit import world

VILLAGES, PEOPLE = 300, 10


def law_of(**changes: object) -> ClusterLaw:
    plain = ClusterLaw(np.full(VILLAGES, PEOPLE), np.full(VILLAGES, 1 / VILLAGES), (), {}, False, 0.0, 0.0)
    return plain._replace(**changes)  # type: ignore[arg-type]


def place_of(villages: int = VILLAGES, people: int = PEOPLE) -> np.ndarray:
    return np.repeat(np.arange(villages), people)


def test_the_intraclass_correlation_is_that_of_the_analysis_of_variance() -> None:
    values, place = np.array([1.0, 2.0, 4.0, 5.0, 9.0, 9.5]), np.array([0, 0, 1, 1, 2, 2])
    between, within = 2 * np.var([1.5, 4.5, 9.25], ddof=1), (0.5 + 0.5 + 0.125) / 3
    assert intraclass(values, place) == pytest.approx((between - within) / (between + within))
    assert intraclass(values, np.arange(6)) == 0.0
    assert intraclass(np.ones(6), place) == 0.0


def test_constant_columns_are_recognised_with_missing_cells() -> None:
    place = np.array([0, 0, 1, 1])
    frame = pd.DataFrame(
        {"same": [1.0, 1.0, np.nan, np.nan], "other": [1.0, np.nan, 2.0, 2.0], "level": pd.Categorical(["a", "a", "b", "b"])}
    )
    assert constant_within(frame, place) == {"same", "level"}


def outcome(kind: str, rng: np.random.Generator) -> tuple[OutcomeLaw, Int8, Float64, Float64]:
    """Draw outcomes in villages that share a normal effect, and the law that each row has by itself."""
    place, n = place_of(), VILLAGES * PEOPLE
    a, mean = rng.integers(0, 2, n).astype(np.int8), rng.uniform(0.25, 0.75, n)
    rank = 0.5 * rng.normal(size=VILLAGES)[place] + np.sqrt(0.75) * rng.normal(size=n)
    if kind == "binary":
        return BinaryLaw(), a, (ndtr(rank) >= 1 - mean).astype(float), mean
    return CountLaw((0.0, 0.0)), a, poisson.ppf(ndtr(rank), 8 * mean), 8 * mean


@pytest.mark.parametrize("kind", ["binary", "count"])
@pytest.mark.parametrize("balanced", [False, True])
def test_drawn_outcomes_are_as_alike_as_the_sources_and_keep_their_means(kind: str, balanced: bool) -> None:
    rng = np.random.default_rng(1)
    law, a, y, mean = outcome(kind, rng)
    frame = pd.DataFrame(index=range(len(y)))
    rho, icc = fit_rho(law, a, y, mean, frame, place_of(), rng)[:2]
    assert icc == pytest.approx(intraclass(y - mean, place_of()))
    designed = Nuisances(np.full(len(y), 0.5), mean, mean)
    drawn = [draw_alike(law, a, designed, frame, place_of(), law_of(rho=rho, icc=icc), balanced, rng) for _ in range(5)]
    reached = [intraclass(each - mean, place_of()) for each in drawn]
    assert max(abs(each - icc) for each in reached) < (0.03 if balanced else 0.07)
    assert np.mean(reached) == pytest.approx(icc, abs=0.03)
    gaps = [abs(float(np.mean((each - mean)[a == 1]) - np.mean((each - mean)[a == 0]))) for each in drawn]
    assert max(gaps) < 0.15 * float(np.std(y))


def test_rows_without_likeness_are_drawn_independently() -> None:
    rng = np.random.default_rng(2)
    a, mean = np.zeros(1_000, dtype=np.int8), np.full(1_000, 0.5)
    y = (rng.random(1_000) < 0.5).astype(float)
    y[1::2] = 1 - y[::2]  # within a pair outcomes exclude one another
    rho, icc = fit_rho(BinaryLaw(), a, y, mean, pd.DataFrame(index=range(1_000)), np.repeat(np.arange(500), 2), rng)[:2]
    assert rho == 0.0
    assert icc == pytest.approx(-1.0)


def drawn_rows(n: int, rng: np.random.Generator) -> pd.DataFrame:
    region = pd.Categorical.from_codes(rng.integers(3, size=n).tolist(), categories=pd.Index(["east", "north", "south"]))
    return pd.DataFrame({"w0": region, "w1": rng.normal(size=n).round(3), "w2": rng.normal(size=n)})


def test_formed_clusters_are_constant_where_the_sources_are_and_keep_the_law() -> None:
    rng = np.random.default_rng(3)
    frame = drawn_rows(20_000, rng)
    rows, place = form_clusters(frame, law_of(constant=("w0", "w1"), likeness={"w2": 0.4}), rng)
    assert constant_within(rows, place) == {"w0", "w1"}
    assert np.bincount(place)[:-1].tolist() == [PEOPLE] * (len(np.bincount(place)) - 1)
    assert len(rows) == len(place) == 20_000
    assert sorted(rows["w2"]) == sorted(frame["w2"])
    assert rows["w1"].mean() == pytest.approx(0.0, abs=0.08)
    assert rows["w1"].std() == pytest.approx(1.0, abs=0.06)
    assert rows["w0"].value_counts(normalize=True).to_numpy() == pytest.approx(1 / 3, abs=0.04)
    assert likeness_of(rows[["w2"]], place)["w2"] == pytest.approx(0.4, abs=0.12)


def test_sizes_follow_the_sources_and_the_last_cluster_is_cut() -> None:
    rng = np.random.default_rng(4)
    law = law_of(sizes=np.array([1, 5]), shares=np.array([0.75, 0.25]))
    _, place = form_clusters(drawn_rows(10_001, rng), law, rng)
    sizes = np.bincount(place)
    assert sizes.sum() == 10_001
    assert np.mean(sizes[:-1] == 5) == pytest.approx(0.25, abs=0.03)


def test_whole_clusters_are_chosen_by_their_weights() -> None:
    rng = np.random.default_rng(5)
    place = place_of()
    x = rng.normal(size=VILLAGES)[place]
    weight = cluster_means(np.exp(0.5 * x)[:, None], place)[:, 0]
    probability = inclusion(weight, 1_000).probability
    means = []
    for _ in range(30):
        rows = choose_clusters(probability, place, 1_000, x, rng)
        assert len(np.unique(rows)) == 1_000
        sizes = np.bincount(place[rows])
        assert np.count_nonzero((sizes > 0) & (sizes < PEOPLE)) <= 1
        means.append(x[rows].mean())
    assert np.mean(means) == pytest.approx(float(np.average(x, weights=probability)), abs=0.03)


def test_a_cluster_has_one_treatment_and_arms_are_balanced() -> None:
    rng = np.random.default_rng(6)
    place, n = place_of(), VILLAGES * PEOPLE
    q0 = rng.normal(size=VILLAGES)[place]
    nuisances = Nuisances(np.full(n, 0.5), q0, q0 + 1.0)
    shares, gaps = [], []
    for _ in range(20):
        a = treat_clusters(nuisances, place, True, rng)
        assert constant_within(pd.DataFrame({"a": a.astype(float)}), place) == {"a"}
        shares.append(a.mean())
        gaps.append(q0[a == 1].mean() - q0[a == 0].mean())
    assert np.mean(shares) == pytest.approx(0.5, abs=0.02)
    assert max(abs(gap) for gap in gaps) < 0.05
    free = treat_clusters(nuisances, place, False, rng)
    assert constant_within(pd.DataFrame({"a": free.astype(float)}), place) == {"a"}


@pytest.mark.parametrize("balanced", [True, False])
def test_whole_clusters_get_one_of_three_arms(balanced: bool) -> None:
    """Each cluster has one arm, with the mean chance of its rows; a balanced draw brings every arm's size near what is expected."""
    rng = np.random.default_rng(4)
    place = np.repeat(np.arange(120), rng.integers(1, 9, 120))
    p = rng.dirichlet((2.0, 2.0, 2.0), 120)[place]
    nuisances = Nuisances(p[:, 1], p[:, 2], *rng.normal(size=(3, len(place))))
    draws = np.array([treat_clusters(nuisances, place, balanced, rng) for _ in range(400)])
    for number in range(120):
        rows = draws[:, place == number]
        assert np.all(rows == rows[:, :1])
    first = np.unique(place, return_index=True)[1]
    for arm in range(3):
        share = np.mean(draws[:, first] == arm, axis=0)
        assert np.abs(share - p[first, arm]).max() < 0.12
        size = np.sum(draws == arm, axis=1)
        assert size.mean() == pytest.approx(p[:, arm].sum(), rel=0.03)
        assert (size.std() < 6.0) == balanced


@pytest.mark.parametrize("weighted", [False, True])
def test_a_law_of_clusters_does_not_depend_on_partitions_of_whole_ones(weighted: bool) -> None:
    rng, place = np.random.default_rng(8), place_of(40, 6)
    n, hashes = len(place), rng.permutation(40).astype(np.uint64)[place]
    frame = pd.DataFrame({"w0": rng.normal(size=40)[place], "w1": rng.normal(size=n) + rng.normal(size=40)[place]})
    a, weights = rng.integers(0, 2, 40)[place].astype(np.int8), rng.exponential(size=n) if weighted else None

    def law(cuts: tuple[int, ...]) -> ClusterLaw:
        edges = (0, *(6 * cut for cut in cuts), n)
        rows = [np.arange(*pair) for pair in pairwise(edges)]
        parts = (
            ClusteredRows(frame.iloc[at].reset_index(drop=True), hashes[at], a[at], None if weights is None else weights[at]) for at in rows
        )
        return fit_clusters(world().schema, parts, (), lambda first, of: Alike(float(len(first)), intraclass(first["w1"].to_numpy(), of)))

    whole = law(())
    assert (whole.constant, whole.treated_whole, whole.rho) == (("w0",), True, 240.0)
    for cuts in ((1,), (7, 20, 33)):
        for one, other in zip(law(cuts), whole, strict=True):
            np.testing.assert_equal(one, other)
