"""One confounded table for all comparisons with other packages, with some propensities beyond the truncation bound."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression, LogisticRegression

from benchmarks.learners import Cuts, cuts, fold_numbers
from tasks.targeting.fluctuation import truncation_bound

ROLES: dict[str, Any] = {"treatment": "a", "outcome": "y"}
COVARIATES = ["w0", "w1", "w2", "w3"]
ROWS, FOLDS, SEED = 1500, 5, 4
#: auto truncation: packages have rules of their own, so each is told this one.
BOUND = truncation_bound(ROWS, "auto")


def expit(x):
    return 1 / (1 + np.exp(-x))


def logistic() -> LogisticRegression:
    return LogisticRegression(C=1e3, tol=1e-10, max_iter=2000)


def linear() -> LinearRegression:
    return LinearRegression()


def outcome_model(kind: str) -> LogisticRegression | LinearRegression:
    return logistic() if kind == "binary" else linear()


def draw(kind: str = "continuous", rows: int = ROWS, seed: int = 11) -> pd.DataFrame:
    """Rows of (W, A, Y): the effect varies with w0, which also decides the treatment."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(rows, 4))
    w[:, 3] = rng.integers(0, 2, rows)
    a = (rng.random(rows) < expit(1.3 * w[:, 0] - 0.6 * w[:, 1])).astype(int)
    eta = 0.4 * w[:, 1] + 0.3 * w[:, 3] + a * (0.5 + 0.4 * w[:, 0])
    y = {
        "continuous": 20 + 5 * eta + rng.normal(0, 3, rows),
        "binary": (rng.random(rows) < expit(eta)) * 1.0,
        "count": rng.poisson(np.exp(0.5 * eta)) * 1.0,
    }[kind]
    return pd.DataFrame(w, columns=COVARIATES).assign(a=a, y=y)


def cut(kind: str = "continuous") -> tuple[pd.DataFrame, Cuts]:
    """The table in the order that estimation puts it in, with the folds it gets there.

    Every package then fits the same rows in the same order, so that fits agree to the last bits.
    """
    frame = draw(kind)
    order, numbers = fold_numbers(frame, ROLES, FOLDS, SEED)
    return frame.iloc[order].reset_index(drop=True), cuts(numbers[order])
