"""Labels, keys and the order of rows, each against its plain definition cell by cell."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from tasks.estimation import analyse, estimate
from tasks.estimation.canonical import label_text, level_codes
from tasks.estimation.keys import BLOCK, row_keys
from tasks.estimation.table import read_roles, read_table
from tests.unit.test_estimation_estimate import MESSY, Means, Plain, messy

COLUMNS = {
    "mixed": pd.Series([1, True, 1.0, "1", None, "a", np.nan, pd.NA, False, 0], dtype=object),
    "booleans": pd.Series([True, False, None], dtype=object),
    "nullable": pd.Series([True, False, None], dtype="boolean"),
    "numpy booleans": pd.Series([np.bool_(True), False], dtype=object),
    "mixed levels": pd.Series(pd.Categorical([1, "1", None, True, 2.5])),
    "unused level": pd.Series(pd.Categorical(["z", "b"], categories=["q", "z", "b"])),
    "dates as levels": pd.Series(pd.Categorical(pd.to_datetime(["2020-01-01", None]))),
    "texts": pd.Series(["x", None, "y", "x"]),
    "text objects": pd.Series(["1", "1.0", "01", "1"], dtype=object),
    "numbers": pd.Series([1.5, -0.0, 0.0, np.nan, 3.0]),
    "single precision": pd.Series([0.1, 2.0], dtype="float32"),
    "whole numbers": pd.Series([3, 1, None], dtype="Int64"),
    "times": pd.Series([dt.time(1), dt.time(2), None], dtype=object),
    "tuples": pd.Series([(1, 2), (1, 2), None], dtype=object),
    "all missing": pd.Series([None, None], dtype=object),
    "empty": pd.Series([], dtype=object),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_levels_are_the_labels_of_the_cells(name):
    column = COLUMNS[name]
    expected = [None if missing else label_text(value) for value, missing in zip(column, column.isna())]
    codes, labels = level_codes(column)
    assert [labels[code] if code >= 0 else None for code in codes] == expected
    assert labels == sorted(set(expected) - {None})


def test_keys_are_a_function_of_the_row_alone_however_many_there_are():
    rng = np.random.default_rng(0)
    n = 2 * BLOCK + 17
    number = np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n).round(3))
    text = pd.Categorical.from_codes(rng.integers(-1, 3, n), categories=["a", "b", "c"])
    y = np.arange(n, dtype=float)
    keys = row_keys([pd.Series(number), pd.Series(text)], y)
    assert len(np.unique(keys)) == n
    # rows that share their covariates are told apart by the rank of y among them, so any rows up to some y keep their keys
    some = np.flatnonzero(y < BLOCK + 5)
    few = row_keys([pd.Series(number[some]), pd.Series(text[some])], y[some])
    assert np.array_equal(keys[some], few)
    order = rng.permutation(n)
    assert np.array_equal(row_keys([pd.Series(number[order]), pd.Series(text[order])], y[order]), keys[order])


def test_the_table_is_the_frame_in_the_order_of_the_keys():
    frame = messy()
    for columns in (["age", "visits"], ["age", "city", "smoker"]):  # numbers alone lie in one block, others column by column
        table = read_table(frame, read_roles(frame, {**MESSY, "covariates": columns}))
        assert np.all(np.diff(table.keys.astype(object)) > 0)
        assert table.covariates["w0"].tolist() == pytest.approx(frame["age"].to_numpy()[table.order].tolist(), nan_ok=True)
        assert table.y.tolist() == frame["score"].to_numpy()[table.order].tolist()
        assert table.a.tolist() == (frame["arm"] == "drug").astype(int).to_numpy()[table.order].tolist()
        assert list(table.covariates) == [f"w{j}" for j in range(len(columns))]


def test_columns_that_do_not_vary_are_left_out():
    frame = messy(100).assign(
        nothing=np.nan,
        one=3.0,
        known_or_not=[np.nan, 1.0] * 50,
        word="x",
        word_or_not=["x", None] * 50,
        no_word=pd.Series([None] * 100, dtype=object),
    )
    roles = {**MESSY, "covariates": ["nothing", "one", "known_or_not", "word", "word_or_not", "no_word", "age"]}
    assert set(read_table(frame, read_roles(frame, roles)).names.values()) == {"known_or_not", "word_or_not", "age"}


def test_estimates_are_those_of_the_analysis():
    assert estimate(messy(), MESSY, learner=Plain()) == analyse(messy(), MESSY, learner=Plain()).estimates
    assert estimate(messy(), MESSY, learner=Plain()) != estimate(messy(), MESSY, learner=Means())
