"""How close a drawn table is to rows outside training: the figure for early stopping."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from tasks.contract.roles import Column
from tasks.numerics.threads import one_thread

Float64 = npt.NDArray[np.float64]

MOST_ROWS = 2_000
"""Most rows kept for validation, and most rows of a table that a figure looks at, where not said otherwise."""
_FEWEST_ROWS = 200
_SHARE = 0.1
_FOLDS = 3
_MOST_LEVELS = 250
_FEWEST_KNOWN = 40


def held_out(table: pd.DataFrame, rng: np.random.Generator, most: int = MOST_ROWS) -> npt.NDArray[np.bool_]:
    """Choose the validation rows, which are not trained on.

    A tenth of the rows validates, at least 200 and at most ``most`` of them, and never more than about a quarter of the table. Copies of
    one row stay on one side, where copies are not the table's nature: a bootstrap sample holds many rows twice.

    Parameters
    ----------
    table : pandas.DataFrame, shape (n, d)
        At least 20 rows.
    rng : numpy.random.Generator
    most : int

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    n = len(table)
    wanted = min(max(int(_SHARE * n), _FEWEST_ROWS), most, n // 4)
    codes = np.asarray(pd.util.hash_pandas_object(table, index=False), dtype=np.uint64)
    group = np.unique(codes, return_inverse=True)[1]
    if int(group.max()) + 1 < n / 2:
        group = np.arange(n)
    place = rng.permutation(int(group.max()) + 1)[group]
    return np.asarray(place <= np.sort(place)[wanted - 1])


def hold_out(table: pd.DataFrame, rng: np.random.Generator, most: int = MOST_ROWS) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cut a table into training and validation rows, each in the table's order with an index from 0; see :func:`held_out`."""
    held = held_out(table, rng, most)
    return table[~held].reset_index(drop=True), table[held].reset_index(drop=True)


def two_sample(
    validation: pd.DataFrame, drawn: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator, most: int = MOST_ROWS
) -> float:
    """Return how well a classifier separates drawn rows from real ones.

    The classifier two-sample test (Lopez-Paz, Oquab 2017, arXiv 1610.06545): boosted trees on mixed types with missing cells,
    cross-validated in three folds; on at most ``most`` rows of each table. More drawn rows than
    validation rows make the figure less noisy.

    Parameters
    ----------
    validation, drawn : pandas.DataFrame
        Canonical tables with the same columns, at least 6 rows each.
    columns : tuple of Column
        Their descriptions.
    rng : numpy.random.Generator
        Chooses rows and folds.
    most : int
        Rows of each table that are looked at.

    Returns
    -------
    float
        Area under the ROC curve, the mean over folds, in [0.5, 1]: 0.5 where the two are indistinguishable.
    """
    one, two = (table.iloc[np.sort(rng.permutation(len(table))[:most])] for table in (validation, drawn))
    features = np.column_stack([_feature(one[column.id], two[column.id]) for column in columns])
    real = np.repeat([1, 0], [len(one), len(two)])
    fold = np.concatenate([rng.permutation(len(one)) % _FOLDS, rng.permutation(len(two)) % _FOLDS])
    seed = int(rng.integers(2**31))
    areas = []
    with one_thread():
        for k in range(_FOLDS):
            held = fold == k
            model = HistGradientBoostingClassifier(
                max_iter=40,
                learning_rate=0.15,
                max_leaf_nodes=12,
                min_samples_leaf=max(2, min(20, len(one) // 10)),
                categorical_features=[column.is_category for column in columns],
                early_stopping=False,
                random_state=seed,
            )
            model.fit(features[~held], real[~held])
            areas.append(roc_auc_score(real[held], model.decision_function(features[held])))
    return max(0.5, float(np.mean(areas)))


def _feature(one: pd.Series, two: pd.Series) -> Float64:
    """Stack the cells of two tables as numbers with NaN; levels are numbered by their frequency, the rarest together."""
    if not isinstance(one.dtype, pd.CategoricalDtype):
        values = np.concatenate([one.to_numpy(), two.to_numpy()]).astype(np.float64)
        return _or_missing(values)
    codes = np.concatenate([np.asarray(one.cat.codes), np.asarray(two.cat.codes)]).astype(np.intp)
    counts = np.bincount(codes[codes >= 0], minlength=len(one.cat.categories))
    place = np.empty(len(counts) + 1)
    place[np.argsort(-counts, kind="stable")] = np.minimum(np.arange(len(counts)), _MOST_LEVELS)
    place[-1] = np.nan  # -1 is the last
    numbered = place[codes]
    return _or_missing(numbered)


def _or_missing(values: Float64) -> Float64:
    """Return the values, or which are missing where nearly all are: a fold without any value can't be cut into bins."""
    missing = np.isnan(values)
    return values if np.count_nonzero(~missing) >= _FEWEST_KNOWN else missing.astype(np.float64)
