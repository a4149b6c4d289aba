"""Can a classifier tell drawn rows from real rows that no model was fitted on? The classifier two-sample test."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier

from tasks.contract.errors import EstimationError
from tasks.numerics.normal import Z95

Float64 = npt.NDArray[np.float64]

FOLDS = 5
#: Most rows of a side, and fewest that a verdict is given on.
MOST, FEWEST = 5_000, 50
#: Categories of more levels are handed to the trees as numbers: the histogram has 255 bins.
MOST_LEVELS = 250


class TwoSample(NamedTuple):
    """How well a classifier separates the two samples.

    Attributes
    ----------
    auc : float
        Mean over folds of the area under the ROC curve; 0.5 where the samples are indistinguishable, 1 where they are separated.
    se : float
        Standard error; see :func:`two_sample`.
    ci_low, ci_high : float
        Normal 95 % interval, in [0, 1].
    rows : int
        Rows of each side.
    """

    auc: float
    se: float
    ci_low: float
    ci_high: float
    rows: int


def two_sample(real: pd.DataFrame, drawn: pd.DataFrame, rng: np.random.Generator, most: int = MOST) -> TwoSample:
    """Cross-validate boosted trees that separate drawn from real rows.

    As many rows of either side, at most ``most``; five folds, each as balanced as the whole. The AUC of each fold has DeLong's variance v
    (DeLong, DeLong, Clarke-Pearson 1988, DOI 10.2307/2531595). Folds share training rows, so the variance of their mean is not v / K but
    (1/K + 1/(K-1)) v (Nadeau, Bengio 2003, DOI 10.1023/A:1024068626366): with 240 rows a side and one half as the truth, 47 of 60
    simulated intervals covered it without that correction and 60 of 60 with it. The test itself: Lopez-Paz, Oquab 2017 (arXiv 1610.06545).

    Parameters
    ----------
    real, drawn : DataFrame, shapes (n, d), (m, d)
        Canonical columns: float64 or categories, missing cells allowed. The real rows must not have been seen by what drew the others.
    rng : numpy.random.Generator
        Picks rows and folds.
    most : int
        Most rows of a side.

    Returns
    -------
    TwoSample

    Raises
    ------
    EstimationError
        If a side has fewer than ``FEWEST`` rows.
    """
    n = min(len(real), len(drawn), most)
    if n < FEWEST:
        raise EstimationError(f"rows of a two-sample test must be at least {FEWEST} on either side; got {n}.", "Raise source.holdout.")
    sides = [frame.iloc[np.sort(rng.choice(len(frame), n, replace=False))] for frame in (real, drawn)]
    columns = [(name, real[name].dtype) for name in real.columns]
    x = np.concatenate([np.column_stack([_numbers(side[name]) for name, _ in columns]) for side in sides])
    label = np.repeat([0, 1], n)
    fold = np.concatenate([rng.permutation(n) % FOLDS for _ in sides])
    coded = [isinstance(kind, pd.CategoricalDtype) and len(kind.categories) <= MOST_LEVELS for _, kind in columns]
    state = int(rng.integers(2**31))
    votes = []
    for held in range(FOLDS):
        train = fold != held
        model = HistGradientBoostingClassifier(
            max_iter=100,
            max_leaf_nodes=8,
            min_samples_leaf=min(20, n // 10),
            categorical_features=coded,
            early_stopping=False,
            random_state=state,
        ).fit(x[train], label[train])
        score = np.asarray(model.predict_proba(x[~train])[:, 1], dtype=np.float64)
        votes.append(area(score[label[~train] == 1], score[label[~train] == 0]))
    auc = float(np.mean([each[0] for each in votes]))
    se = math.sqrt((1 / FOLDS + 1 / (FOLDS - 1)) * float(np.mean([each[1] for each in votes])))
    return TwoSample(auc, se, max(0.0, auc - Z95 * se), min(1.0, auc + Z95 * se), n)


def area(ones: Float64, zeros: Float64) -> tuple[float, float]:
    """Return the area under the ROC curve of two groups' scores, ties halved, and DeLong's variance of it.

    Parameters
    ----------
    ones, zeros : ndarray of float64, shapes (n,), (m,)
        At least two each.
    """
    ranks = np.asarray(rankdata(np.concatenate((ones, zeros))), dtype=np.float64)
    above = (ranks[: len(ones)] - rankdata(ones)) / len(zeros)
    below = 1.0 - (ranks[len(ones) :] - rankdata(zeros)) / len(ones)
    return float(np.mean(above)), float(np.var(above, ddof=1) / len(ones) + np.var(below, ddof=1) / len(zeros))


def _numbers(column: pd.Series) -> Float64:
    """Return a column as numbers, missing as NaN; categories by their place."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes = column.cat.codes.to_numpy().astype(np.float64)
        return np.asarray(np.where(codes < 0, np.nan, codes), dtype=np.float64)
    return np.asarray(column.to_numpy(), dtype=np.float64)
