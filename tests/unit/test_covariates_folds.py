"""Folds of a synthesizer's own choices."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tasks.covariates.folds import FOLDS, assign_folds


def test_copies_of_a_row_share_a_fold() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 500, 500)
    table = pd.DataFrame({"w0": rng.standard_normal(500)}).iloc[rows].reset_index(drop=True)
    fold = assign_folds(table, rng)
    assert pd.Series(fold).groupby(rows).nunique().max() == 1
    assert set(fold) == set(range(FOLDS))


def test_equal_rows_of_a_coarse_table_are_different_people() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"w0": pd.Categorical.from_codes(rng.integers(0, 2, 600), categories=["a", "b"])})
    fold = assign_folds(table, rng)
    assert pd.Series(fold).groupby(table["w0"].to_numpy()).nunique().min() == FOLDS
    assert np.bincount(fold).tolist() == [100] * FOLDS
