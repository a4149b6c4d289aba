"""All models of a mean in one pass against the models one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.contract.registry import resolve
from tasks.nuisance.fold_model import FoldModel, KnownPropensity, averaged, fit_fold
from tasks.nuisance.scoring.sums import Scoring, join_all

SMALL = {"boosted": {"iterations": 6}}
LEARNERS: dict[str, dict[str, Any]] = {
    "glm": {},
    "boosted": SMALL["boosted"],
    "stack": {"params": SMALL, "inner_folds": 2, "fewest": 10},
}


def covariates(rows: int, seed: int, levels: str = "abc") -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=rows).round(2),
            "few": rng.integers(0, 3, rows).astype(float),
            "site": pd.Categorical.from_codes(rng.integers(0, len(levels), rows), categories=list(levels)),
            "lone": pd.Categorical.from_codes(np.zeros(rows, dtype=np.int8), categories=["only"]),
        }
    )
    for name in ("x", "site", "lone"):
        frame.loc[rng.random(rows) < 0.15, name] = np.nan
    return frame


def folds(learner: str, kind: str, arms: int = 2, given: float | None = None) -> list[FoldModel]:
    """Fit three folds whose training rows have other levels, medians and bins."""
    models = []
    for seed, levels in enumerate(("abc", "bcd", "ab")):
        frame = covariates(160, seed, levels)
        rng = np.random.default_rng(seed)
        a = rng.integers(0, arms, len(frame)).astype(np.int8)
        mean = np.nan_to_num(frame["x"].to_numpy()) + 0.5 * a + 0.4 * (frame["site"] == "b").to_numpy()
        y = {
            "binary": (rng.random(len(a)) < 1 / (1 + np.exp(-mean))).astype(float),
            "continuous": mean + rng.normal(size=len(a)),
            "count": rng.poisson(np.exp(mean / 3)).astype(float),
        }[kind]
        used = resolve("learner", learner, LEARNERS[learner])
        models.append(fit_fold(used, frame, a, y, kind, np.ones(len(a), bool), rng, given=given, arms=arms))
    return models


def one_by_one(models: list[FoldModel], frame: pd.DataFrame) -> list[np.ndarray]:
    return [np.mean(values, axis=0) for values in zip(*(model.one_by_one(frame) for model in models), strict=True)]


@pytest.mark.parametrize("kind", ["binary", "continuous", "count"])
@pytest.mark.parametrize("learner", list(LEARNERS))
def test_one_pass_predicts_what_the_models_predict_one_by_one(learner: str, kind: str) -> None:
    models, frame = folds(learner, kind), covariates(90, 7, "abxc")
    for mean, expected in zip(averaged(models, frame), one_by_one(models, frame), strict=True):
        np.testing.assert_allclose(mean, expected, rtol=1e-12)
    assert learner != "stack" or any(len(model.outcome.weights) > 1 for model in models)


def test_it_takes_more_arms_and_known_propensities() -> None:
    frame = covariates(60, 8, "abc")
    for learner in LEARNERS:
        models = folds(learner, "continuous", arms=3)
        for mean, expected in zip(averaged(models, frame), one_by_one(models, frame), strict=True):
            np.testing.assert_allclose(mean, expected, rtol=1e-12)
    trial = folds("glm", "binary", given=0.4)
    assert averaged(trial, frame).g == pytest.approx(0.4)
    assert trial[0].propensity == KnownPropensity(0.4)
    known = averaged([FoldModel(KnownPropensity((0.2, 0.3, 0.5)), models[0].outcome, 10, 3)], frame)
    assert [float(known[at][5]) for at in range(2)] == [0.3, 0.5]


def test_a_row_s_prediction_does_not_depend_on_the_rows_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    models, frame = folds("stack", "continuous"), covariates(90, 9)
    whole = averaged(models, frame)
    monkeypatch.setattr("tasks.nuisance.scoring.sums._BLOCK", 7)
    for at in (slice(0, 1), slice(13, 60), slice(0, 90)):
        for part, values in zip(averaged(models, frame.iloc[at]), whole, strict=True):
            np.testing.assert_array_equal(part, values[at])
    assert [len(values) for values in averaged(models, frame.iloc[:0])] == [0, 0, 0]


class Foreign:
    """A fitted model of somebody else's: predictions are all it has."""

    def predict(self, covariates: pd.DataFrame, treatment: np.ndarray | None = None) -> np.ndarray:
        return np.full(len(covariates), 0.25 if treatment is None else 0.5 + treatment[0])


def test_models_that_do_not_join_are_predicted_one_by_one() -> None:
    own, frame = folds("stack", "continuous")[0], covariates(20, 3)
    mixed = [own, FoldModel(Foreign(), Foreign(), 10)]
    for mean, mine, other in zip(averaged(mixed, frame), own.one_by_one(frame), (0.25, 0.5, 1.5), strict=True):
        np.testing.assert_allclose(mean, (mine + other) / 2)
    stack = type(own.outcome)((own.outcome.members[0], Foreign()), (0.5, 0.5), "continuous")
    assert stack.join_arm(Scoring(), 0) is None
    assert join_all((own.propensity, Foreign()), Scoring()) is None
