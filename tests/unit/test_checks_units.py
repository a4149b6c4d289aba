"""Gates where rows come in clusters: a person counts once, however many rows there are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tasks.checks.evidence import DistanceEvidence, Evidence
from tasks.checks.gathering import unit_evidence
from tasks.checks.laws import Units, ordered_gap, unit_gap
from tasks.checks.methods.dcr import DistanceCheck
from tasks.checks.pool import first_of_units, gather_units
from tasks.contract.spec import GatesSpec
from tasks.distance import closest, fit_scale

PERSONS, VISITS, HELD = 200, 5, 100


def visits(persons: int, rng: np.random.Generator) -> pd.DataFrame:
    """Five visits of each person, alike in four measurements."""
    level = np.repeat(rng.normal(size=(persons, 4)), VISITS, axis=0)
    return pd.DataFrame(level + 0.3 * rng.normal(size=level.shape), columns=list("wxyz"))


def evidence(training: pd.DataFrame, holdout: pd.DataFrame, drawn: pd.DataFrame) -> DistanceEvidence:
    """Measure as a release does."""
    of_training = np.repeat(np.arange(PERSONS, dtype=np.uint64), VISITS)
    of_holdout = np.repeat(np.arange(HELD, dtype=np.uint64) + np.uint64(PERSONS), VISITS)
    pool = gather_units(training, holdout, of_training, of_holdout)
    scale = fit_scale([training, holdout], metric="l2")
    distances, rows = closest(drawn, pool.rows, k=4, scale=scale)
    one_each = holdout[first_of_units(of_holdout)].reset_index(drop=True)
    arrays = {
        "training": closest(drawn, training, scale=scale)[0][:, 0],
        "holdout_to_training": closest(one_each, training, scale=scale)[0][:, 0],
        "pool_distances": distances,
        "pool_rows": rows,
    }
    return unit_evidence({"pool_unit": pool.unit, "unit_training": pool.training}, arrays, HELD)


def values_of(distance: DistanceEvidence) -> dict[str, float]:
    """Return what the distance gates judge."""
    metrics = DistanceCheck().measure(Evidence(distance=distance), GatesSpec())
    return {metric.name: float(metric.value) for metric in metrics if metric.value is not None}


def test_the_pool_counts_persons() -> None:
    rng = np.random.default_rng(1)
    judged = evidence(visits(PERSONS, rng), visits(HELD, rng), visits(400, rng)[::VISITS].reset_index(drop=True))
    assert (judged.n_training, judged.n_holdout) == (PERSONS, HELD)
    assert judged.unit == "clusters"


@pytest.mark.parametrize("share", [1.0, 0.1])
def test_a_copy_of_one_row_per_person_is_caught(share: float) -> None:
    """One of each person's five visits is released as it is, among rows that are drawn afresh."""
    rng = np.random.default_rng(2)
    training, holdout = visits(PERSONS, rng), visits(HELD, rng)
    copied = training.iloc[np.arange(PERSONS) * VISITS + rng.integers(VISITS, size=PERSONS)]
    copied = copied.iloc[: int(share * PERSONS)]
    fresh = visits(400, rng)[::VISITS]
    values = values_of(evidence(training, holdout, pd.concat([copied, fresh], ignore_index=True)))
    assert values["exact_copies"] < 0.01


def test_a_faithful_release_passes_as_often_as_promised() -> None:
    """Of 60 releases drawn afresh at most 3 fall below 1 % in exact and near copies, or beyond 2.33 in closeness."""
    rng = np.random.default_rng(3)
    alarms = {"near_copies": 0, "exact_copies": 0, "closeness_z": 0}
    for _ in range(60):
        values = values_of(evidence(visits(PERSONS, rng), visits(HELD, rng), visits(300, rng)[::VISITS].reset_index(drop=True)))
        alarms["near_copies"] += values["near_copies"] < 0.01
        alarms["exact_copies"] += values["exact_copies"] < 0.01
        alarms["closeness_z"] += values["closeness_z"] > 2.33
    assert max(alarms.values()) <= 3


def test_rows_of_one_village_do_not_look_like_many() -> None:
    """A column that is constant in each of 40 villages: counted by rows its law seems to differ, counted by villages it does not."""
    rng = np.random.default_rng(4)
    by_row, by_unit = 0, 0
    for _ in range(40):
        places = [np.repeat(np.arange(count), 25) for count in (40, 200)]
        x, y = (rng.normal(size=place.max() + 1)[place] for place in places)
        units = [Units(np.ones(len(place)), place) for place in places]
        by_row += ordered_gap(x, y, rng).excess > 0
        by_unit += unit_gap(x, y, units[0], units[1], rng).excess > 0
    assert by_row >= 30
    assert by_unit <= 4


def test_weights_say_whom_rows_stand_for() -> None:
    """The source holds one half twice as often as its population does; weights set it right."""
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.normal(size=1_000), 2 + rng.normal(size=500)])
    weight = np.repeat([0.5, 1.0], [1_000, 500])
    y = np.concatenate([rng.normal(size=1_000), 2 + rng.normal(size=1_000)])
    each = Units(np.ones(len(y)), np.arange(len(y)))
    assert unit_gap(x, y, Units(weight, np.arange(len(x))), each, rng).excess == 0.0
    assert unit_gap(x, y, Units(np.ones(len(x)), np.arange(len(x))), each, rng).excess > 0.05


def test_levels_are_compared_by_their_shares() -> None:
    rng = np.random.default_rng(6)
    x, y = rng.integers(3, size=600).astype(float), np.zeros(600)
    units = Units(np.ones(600), np.arange(600))
    assert unit_gap(x, y, units, units, rng, ordered=False).distance == pytest.approx(2 / 3, abs=0.08)
