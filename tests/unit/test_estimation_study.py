"""Strata, survey weights and clusters where effects are estimated and errors are listed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flows.estimate import estimate
from tasks.estimation.fidelity import Counting, effect_identity, error_ledger
from tasks.estimation.overlap import weighted_shares
from tasks.estimation.transfer import transfer_scores
from tasks.nuisance.folds import fold_strata
from tasks.nuisance.plan import Plan
from tests.releasing import write


def trial(rows: int = 400) -> pd.DataFrame:
    """Draw a trial that was randomised within sites, by other shares in each."""
    rng = np.random.default_rng(1)
    site, x = rng.integers(1, 5, rows), rng.normal(size=rows).round(3)
    drug = (rng.random(rows) < np.array([0.3, 0.5, 0.6, 0.7])[site - 1]).astype(int)
    level = np.array([0.0, 3.0, -2.0, 1.0])[site - 1]
    return pd.DataFrame({"site": site, "x": x, "drug": drug, "score": (drug + level + x + rng.normal(size=rows)).round(3)})


def test_strata_of_whole_numbers_are_levels(tmp_path: Path) -> None:
    data = str(write(trial(), tmp_path / "trial.parquet"))
    options = {"estimators": ("aipw",), "learner": "glm", "folds": 5, "repeats": 1, "seed": 1, "propensity": None}
    roles = {"treatment": "drug", "outcome": "score", "covariates": "*"}
    with_strata, _ = estimate(data, {**roles, "strata": ("site",)}, options)
    without, _ = estimate(data, roles, options)
    (one,), (other,) = with_strata["estimates"], without["estimates"]
    assert one["estimate"] == pytest.approx(1.0, abs=3.5 * one["se"])
    assert one["se"] < 0.8 * other["se"]
    assert {row["level"] for row in with_strata["balance"] if row["covariate"] == "site"} == {"1", "2", "3", "4"}


def test_folds_have_every_stratum_in_even_shares() -> None:
    frame = trial()
    keys, a = np.arange(len(frame), dtype=np.uint64), frame["drug"].to_numpy().astype(np.int8)
    strata = frame["site"].to_numpy().astype(np.int64) - 1
    fold_of = Plan("source", 3, 4).assign(keys, a, frame["score"].to_numpy(), "continuous", 0, strata=strata)
    counts = pd.crosstab([strata, a], fold_of)
    assert (counts.max(axis=1) - counts.min(axis=1)).max() <= 1


def test_strata_and_arms_make_cells_of_their_own() -> None:
    a, y = np.array([0, 1, 0, 1], dtype=np.int8), np.array([0.0, 1.0, 1.0, 0.0])
    cells = fold_strata(a, y, "binary", np.array([0, 0, 1, 1], dtype=np.int64))
    assert len(set(cells.tolist())) == 4
    assert fold_strata(a, y, "continuous").tolist() == [0, 1, 0, 1]


def test_a_weighted_ledger_is_that_of_repeated_rows() -> None:
    rng = np.random.default_rng(2)
    phi, tau, released = rng.normal(1.0, 2.0, 50), rng.normal(1.0, 0.5, 50), rng.normal(1.2, 0.5, 80)
    times = rng.integers(1, 4, 50)
    weighted = effect_identity(phi, tau, released, Counting(weights=times.astype(float)))
    repeated = effect_identity(np.repeat(phi, times), np.repeat(tau, times), released)
    for one, other in zip(weighted, repeated, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-12)


def test_a_ledger_counts_clusters() -> None:
    rng = np.random.default_rng(3)
    place = np.repeat(np.arange(40, dtype=np.uint64), 10)
    phi, tau = rng.normal(size=40)[place] + 0.1 * rng.normal(size=400), np.zeros(400)
    by_row, by_cluster = (
        error_ledger(phi, tau, np.zeros(400) + rng.normal(size=400) * 1e-3, counting=each)[0].se
        for each in (Counting(), Counting(clusters=place))
    )
    assert by_cluster == pytest.approx(1 / np.sqrt(40), rel=0.3)
    assert by_row < 0.5 * by_cluster


def test_the_release_of_a_ledger_counts_clusters() -> None:
    """Rows that are each there four times as one cluster say no more than once."""
    rng = np.random.default_rng(6)
    phi, tau, released = rng.normal(1.0, 1.0, 300), np.ones(300), rng.normal(1.0, 0.5, 200)
    once = {entry.name: entry for entry in error_ledger(phi, tau, released)}
    four, clusters = np.repeat(released, 4), np.repeat(np.arange(200, dtype=np.uint64), 4)
    alike = {entry.name: entry for entry in error_ledger(phi, tau, four, drawn=Counting(clusters=clusters))}
    naive = {entry.name: entry for entry in error_ledger(phi, tau, four)}
    for name in ("covariate_law", "monte_carlo", "gap"):
        assert alike[name].se == pytest.approx(once[name].se)
        assert naive[name].se < alike[name].se


@pytest.mark.parametrize("kind", ["binary", "continuous"])
def test_transfer_scores_of_a_weighted_source_are_those_of_repeated_rows(kind: str) -> None:
    rng = np.random.default_rng(7)
    times = rng.integers(1, 5, 250)
    x = rng.normal(size=250).round(1)
    y = (rng.random(250) < 1 / (1 + np.exp(-x))).astype(float) if kind == "binary" else x + rng.normal(size=250)
    by_release, by_source = ((1 / (1 + np.exp(-slope * x)) if kind == "binary" else slope * x).round(2) for slope in (0.4, 1.0))
    weighted = transfer_scores(y, by_release, by_source, kind, Counting(weights=times.astype(float)))
    repeated = transfer_scores(*(np.repeat(values, times) for values in (y, by_release, by_source)), kind)
    plain = transfer_scores(y, by_release, by_source, kind)
    for one, other, bare in zip(weighted, repeated, plain, strict=True):
        assert one.tstr.value == pytest.approx(other.tstr.value)
        assert one.trtr.value == pytest.approx(other.trtr.value)
        assert one.difference.value == pytest.approx(other.difference.value, abs=1e-12)
        # repeated rows are not new ones: weights leave the error above theirs
        assert one.tstr.se > other.tstr.se
        assert one.tstr.value != bare.tstr.value


def test_the_picture_of_overlap_is_of_the_weighted_population() -> None:
    """Shares of the weight by bin and arm; a bin of one to four rows stays unsaid whatever they weigh."""
    g = np.concatenate((np.full(50, 0.22), np.full(30, 0.61), np.full(3, 0.97)))
    a = np.concatenate((np.zeros(50), np.ones(33))).astype(np.int8)
    weights = np.concatenate((np.full(50, 1.0), np.full(30, 3.0), np.full(3, 100.0)))
    shares = weighted_shares(a, g, weights, (0, 1))
    said = [[share for share in shares[name] if share != 0.0] for name in ("share0", "share1")]
    assert said == [[round(50 / 440, 3)], [round(90 / 440, 3), None]]
