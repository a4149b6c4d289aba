"""Copies of isolated rows: ten of them in a release fail its gate, fresh draws pass it, and however a table is cut the answer stays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.audit.case import Case, Rows
from tasks.audit.methods import isolation as attack
from tasks.checks.evidence import DistanceEvidence, Evidence, IsolationEvidence
from tasks.checks.gathering import isolation_evidence
from tasks.checks.methods.isolation import Params, build, number_p, side_p
from tasks.checks.pool import gather
from tasks.checks.verdict import outcome
from tasks.contract.spec import GatesSpec
from tasks.distance import fit_scale
from tasks.distance.isolation import LEAST, NEAREST, approaches, is_tracked, merge, most_isolated
from tests.leaky.world import SCORE, described

ENOUGH = DistanceEvidence(
    np.zeros(1), np.zeros(600), np.ones(1400, dtype=np.int64), np.repeat([1, 0], [600, 800]), np.zeros((1, 1)), np.zeros((1, 1), int), 0
)


def draw(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Numbers that are correlated, one with a heavy tail, and a category."""
    common = rng.normal(size=(rows, 1))
    frame = pd.DataFrame(0.5 * common + rng.normal(size=(rows, 4)), columns=list("abcd")).round(2)
    kinds = pd.Categorical.from_codes(rng.choice(3, rows, p=[0.6, 0.3, 0.1]), ["x", "y", "z"])
    return frame.assign(cost=np.exp(1.5 * rng.normal(size=rows)).round(1), kind=kinds)


def jittered(rows: pd.DataFrame, spread: pd.Series, share: float, rng: np.random.Generator) -> pd.DataFrame:
    numbers = list(spread.index)
    return rows.assign(**{name: rows[name] + share * spread[name] * rng.normal(size=len(rows)) for name in numbers})


def planted(release: pd.DataFrame, training: pd.DataFrame, count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Replace released rows by the most isolated training rows, moved by 2 % of each column's spread."""
    pool = gather(training, training.iloc[:0])
    alone = most_isolated(pool.rows, pool.training, fit_scale([training], metric="l2")).rows[:count]
    copies = jittered(pool.rows.iloc[alone], training.std(numeric_only=True), 0.02, rng)
    return pd.concat([release.iloc[count:], copies], ignore_index=True)


def evidence(training: pd.DataFrame, holdout: pd.DataFrame, release: pd.DataFrame, parts: int = 1) -> IsolationEvidence:
    pool, scale = gather(training, holdout), fit_scale([training, holdout], metric="l2")
    alone = most_isolated(pool.rows, pool.training + pool.holdout, scale).rows
    others = np.flatnonzero((pool.holdout == 1) & (pool.training == 0))
    rows = np.concatenate([alone, others])
    cuts = np.array_split(np.arange(len(release)), parts)
    near = [approaches(pool.rows.iloc[rows], release.iloc[cut], scale) for cut in cuts]
    return isolation_evidence({"isolated": np.arange(len(rows)) < len(alone), "training": pool.training[rows] > 0}, near)


def answer(seen: IsolationEvidence, **gates: Any) -> str:
    (metric,) = build(Params()).measure(Evidence(distance=ENOUGH, isolation=seen), GatesSpec(**gates))
    return outcome(metric)


def world(seed: int, rows: int = 2_000) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return draw(800, rng), draw(350, rng), draw(rows, rng), rng


@pytest.mark.parametrize("seed", range(4))
def test_ten_copies_of_isolated_rows_fail_and_fresh_draws_pass(seed: int) -> None:
    training, holdout, release, rng = world(seed)
    assert answer(evidence(training, holdout, release)) == "pass"
    copied = planted(release, training, 10, rng)
    assert answer(evidence(training, holdout, copied)) == "fail"
    # the same ten rows of the holdout tell nothing of the training rows
    assert answer(evidence(training, holdout, planted(release, holdout, 10, rng))) == "pass"


def test_the_answer_does_not_depend_on_how_a_release_is_cut() -> None:
    training, holdout, release, rng = world(7, 500)
    copied = planted(release, training, 10, rng)
    whole = evidence(training, holdout, copied)
    for parts in (2, 5, 100):  # of 100 parts most have fewer rows than are looked at
        cut = evidence(training, holdout, copied, parts)
        np.testing.assert_array_equal(cut.tracked, whole.tracked)
        assert cut.others_tracked == whole.others_tracked


def test_isolated_rows_are_the_farthest_from_all_others_and_have_no_copy() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": np.concatenate([rng.normal(size=300), [50.0, 90.0, 130.0]])})
    copies = np.ones(303, dtype=np.int64)
    copies[302] = 2  # the farthest, and there twice
    scale = fit_scale([frame])
    found = most_isolated(frame, copies, scale)
    # 90 is as far from 130 as from 50: the first of equals comes first
    assert found.rows[:2].tolist() == [300, 301]
    assert 302 not in found.rows
    assert len(found.rows) == LEAST
    assert np.all(np.diff(found.radius) <= 0)
    assert len(most_isolated(frame, copies, scale, 0.5).rows) == 152
    assert len(most_isolated(frame.iloc[:1], copies[:1], scale).rows) == 0


def test_near_is_a_tenth_of_the_distance_of_the_last() -> None:
    distances = np.linspace(1, 10, NEAREST)[None, :].repeat(5, axis=0)
    distances[1, 0], distances[2, 0], distances[3], distances[4, -1] = 1.0001, 0.0, 0.0, np.inf
    assert is_tracked(distances).tolist() == [True, False, True, True, False]
    assert merge([distances, distances / 2])[0, 0] == 0.5


def test_the_p_values_are_those_of_the_hypergeometric_law() -> None:
    """Ten of 35 isolated training rows, none of 15 holdout rows, none of 480 others."""
    seen = IsolationEvidence(np.arange(50) < 10, np.arange(50) < 35, 480, 0)
    assert side_p(seen) == pytest.approx(math.comb(35, 10) / math.comb(50, 10))
    # with one hit more for the holdout: 11 hits among 35 + 481 rows, at least 10 of them among the 35
    ways = sum(math.comb(11, hits) * math.comb(516 - 11, 35 - hits) for hits in (10, 11))
    assert number_p(seen) == pytest.approx(ways / math.comb(516, 35))
    assert answer(seen) == "fail"
    two = IsolationEvidence(np.arange(50) < 2, np.arange(50) < 35, 480, 0)
    assert answer(two) == "pass"
    none = IsolationEvidence(np.zeros(0, bool), np.zeros(0, bool), 0, 0)
    assert answer(none) == "pass"


def test_too_few_rows_are_refused_and_nothing_measured_is_no_gate() -> None:
    seen = IsolationEvidence(np.zeros(50, bool), np.arange(50) < 35, 480, 0)
    assert answer(seen, min_reference_rows=900) == "fail"
    assert build(Params()).measure(Evidence(distance=ENOUGH), GatesSpec()) == []


def test_the_attack_finds_ten_copies_and_none_in_fresh_draws() -> None:
    verdicts = []
    for count in (0, 30):
        training, holdout, release, rng = world(3)
        release = planted(release, training, count, rng) if count else release
        rows = [Rows(frame, np.zeros(len(frame), dtype=np.int8), np.zeros(len(frame))) for frame in (training, holdout, release)]
        case = Case(described(training), SCORE, "hybrid", *rows, len(training), "fresh", {})
        found = attack.build(attack.Params()).run(case, rng)
        assert [each.statistic for each in found] == ["rate", "rate_over_other_rows"]
        assert found[1].controls > found[0].controls
        verdicts.append({each.verdict for each in found})
    assert "leak found" not in verdicts[0]
    assert verdicts[1] == {"leak found"}
