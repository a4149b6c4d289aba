"""Trees by XGBoost: of a sample in memory, and of all rows from batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import xgboost

from tasks.contract.errors import SpecError
from tasks.contract.nuisance import StreamedLearner
from tasks.contract.registry import resolve
from tasks.nuisance.crossfit import InMemory, Rows, cross_fit
from tasks.nuisance.methods.xgboost import Ensemble, _booster
from tasks.nuisance.plan import Plan

N = 3_000


class Batched(NamedTuple):
    """Covariates of which 700 rows are at hand at a time."""

    frame: pd.DataFrame

    def batches(self) -> Iterator[tuple[slice, pd.DataFrame]]:
        for start in range(0, len(self.frame), 700):
            rows = slice(start, min(start + 700, len(self.frame)))
            yield rows, self.frame.iloc[rows]

    def take(self, mask: np.ndarray) -> pd.DataFrame:
        return self.frame.loc[mask]


def table(kind: str) -> tuple[pd.DataFrame, Rows, np.ndarray]:
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"x": rng.normal(size=N), "site": pd.Categorical.from_codes(rng.integers(-1, 4, N), categories=list("abcd"))})
    frame.loc[rng.random(N) < 0.1, "x"] = np.nan
    site = frame["site"].cat.codes.to_numpy()
    a = (rng.random(N) < 0.3 + 0.4 * (site == 1)).astype(np.int8)
    mean = np.nan_to_num(frame["x"].to_numpy()) + a * (1.0 + (site == 2))
    y = {"continuous": mean + rng.normal(size=N), "binary": (rng.random(N) < 1 / (1 + np.exp(-mean))).astype(float)}[kind]
    return frame, Rows(np.arange(N, dtype=np.uint64), a, y, kind, weights=rng.exponential(size=N)), mean


def rows_of_leaves(ensemble: Ensemble, frame: pd.DataFrame) -> int:
    """Return the fewest rows of any leaf."""
    matrix = xgboost.DMatrix(
        ensemble.columns.matrix(frame), enable_categorical=True, feature_types=["c" if c else "q" for c in ensemble.columns.categorical]
    )
    leaves = _booster(ensemble.trees).predict(matrix, pred_leaf=True)
    return min(int(np.unique(tree, return_counts=True)[1].min()) for tree in leaves.T)


@pytest.mark.parametrize("kind", ["continuous", "binary"])
def test_all_rows_of_a_table_beyond_fit_rows_grow_the_trees(kind: str) -> None:
    frame, rows, mean = table(kind)
    learner = resolve("learner", "xgboost", {"iterations": 30, "learning_rate": 0.2})
    assert isinstance(learner, StreamedLearner)
    whole = cross_fit(Plan("t", 1, 2), learner, rows, InMemory(frame))
    batched = cross_fit(Plan("t", 1, 2, fit_rows=400), learner, rows, Batched(frame))
    again = cross_fit(Plan("t", 1, 2, fit_rows=400), learner, rows, Batched(frame))
    assert (whole.rows, batched.rows) == (N, N)
    assert [model.rows for model in batched.models] == [int((folds(rows) != fold).sum()) for fold in (0, 1)]
    truth = mean if kind == "continuous" else 1 / (1 + np.exp(-mean))
    errors = []
    for fitted in (
        whole,
        batched,
        cross_fit(Plan("t", 1, 2, fit_rows=400), learner, rows, InMemory(frame)),
        sample_only(learner, rows, frame),
    ):
        errors.append(float(np.mean((fitted.nuisances.observed(rows.a) - truth) ** 2)))
    # the cut moves the bins' edges a little; a sample of 400 rows is much worse
    assert max(errors[1], errors[2]) < 1.15 * errors[0]
    assert errors[3] > 1.3 * errors[1]
    for one, other in zip(batched.nuisances, again.nuisances, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_stack_hands_all_rows_to_the_members_that_take_them() -> None:
    frame, rows, mean = table("continuous")
    waves = 1.5 * np.sin(3.0 * np.nan_to_num(frame["x"].to_numpy()))  # neither member alone is best
    rows, mean = rows._replace(y=rows.y + waves), mean + waves
    params = {"members": ["glm", "xgboost"], "params": {"xgboost": {"iterations": 30, "learning_rate": 0.2}}}
    learner = resolve("learner", "stack", params)
    assert isinstance(learner, StreamedLearner)
    assert not isinstance(resolve("learner", "stack"), StreamedLearner)
    plan = Plan("t", 1, 2, fit_rows=400)
    streamed, sampled = cross_fit(plan, learner, rows, Batched(frame)), sample_only(learner, rows, frame)
    assert [model.rows for model in streamed.models] == [int((folds(rows) != fold).sum()) for fold in (0, 1)]
    for whole, sample in zip(streamed.models, sampled.models, strict=True):
        assert whole.outcome.weights == sample.outcome.weights
        assert whole.outcome.places == (0, 1)
        ones = np.ones(N, dtype=np.int8)
        np.testing.assert_array_equal(*(model.outcome.members[0].predict(frame, ones) for model in (whole, sample)))
        treated = rows.a == 1
        errors = [np.mean((model.outcome.members[1].predict(frame, ones) - mean)[treated] ** 2) for model in (whole, sample)]
        assert errors[0] < 0.8 * errors[1]


def folds(rows: Rows) -> np.ndarray:
    return Plan("t", 1, 2).assign(rows.keys, rows.a, rows.y, rows.kind, 0)


def sample_only(learner: StreamedLearner, rows: Rows, frame: pd.DataFrame):  # type: ignore[no-untyped-def]
    """Cross-fit by a learner that has no batches."""

    class Sample:
        fit_propensity, fit_outcome = learner.fit_propensity, learner.fit_outcome

    return cross_fit(Plan("t", 1, 2, fit_rows=400), Sample(), rows, InMemory(frame))


def test_no_leaf_has_fewer_than_20_rows() -> None:
    for kind in ("continuous", "binary"):
        frame, rows, _ = table(kind)
        learner = resolve("learner", "xgboost")
        q = learner.fit_outcome(frame, rows.a, rows.y, kind, np.random.default_rng(0), rows.weights)
        assert min(rows_of_leaves(each, frame[rows.a == arm]) for arm, each in enumerate(q.arms)) >= 20
        fitted = cross_fit(Plan("t", 1, 2, fit_rows=400), learner, rows, Batched(frame)).models[0]
        assert rows_of_leaves(fitted.propensity, frame[folds(rows) != 0]) >= 20


def test_without_its_package_the_learner_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.contract.registry._importable", lambda package: False)
    with pytest.raises(SpecError, match="packages of learner 'xgboost' must be installed; got no xgboost"):
        resolve("learner", "xgboost")
