"""Conditions on covariates: a fixed grammar, checked against the table, never evaluated as code."""

from __future__ import annotations

import re

import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError

from tasks.contract.conditions import check_condition, parse_condition
from tasks.contract.errors import SpecError
from tasks.contract.roles import Column, TableSchema, pack_field
from tasks.contract.spec.release import ReleaseSpec


def column(key: str, name: str, role: str, kind: str, type_: pa.DataType, **more: object) -> Column:
    return Column.model_validate({"id": key, "name": name, "role": role, "kind": kind, "field": pack_field(pa.field(name, type_)), **more})


COLUMNS = (
    column("w0", "age", "covariate", "continuous", pa.float64(), low=20.0, high=80.0),
    column("w1", "home town", "covariate", "categorical", pa.string(), levels=("a", "b")),
    column("w2", "seen", "covariate", "datetime", pa.timestamp("us"), low=0.0, high=9e15),
    column("a", "drug", "treatment", "integer", pa.int64()),
    column("y", "score", "outcome", "continuous", pa.float64()),
)
SCHEMA = TableSchema(columns=COLUMNS, treated="1", control="0", arms=("0", "1"), outcome_kind="continuous", rows=4)
DAY = 86_400e6
ROWS = pd.DataFrame(
    {
        "w0": [30.0, 60.0, 61.0, None],
        "w1": pd.Categorical(["a", "b", None, "b"], categories=["a", "b"]),
        "w2": [0.0, DAY, 2 * DAY, None],
    }
)


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("age > 60", [False, False, True, False]),
        ("age >= 60", [False, True, True, False]),
        ("age < 6e1", [True, False, False, False]),
        ("age <= 60", [True, True, False, False]),
        ("age == 60.0", [False, True, False, False]),
        ("age != 60", [True, False, True, False]),
        ("`home town` == 'b'", [False, True, False, True]),
        ("`home town` != b", [True, False, False, False]),
        ('`home town` in ["a", b]', [True, True, False, True]),
        ("seen >= '1970-01-02'", [False, True, True, False]),
        ("seen < '1970-01-02T00:00:00+01:00'", [True, False, False, False]),
        ("age > 20 and `home town` == 'b' and seen > '1969-12-31'", [False, True, False, False]),
    ],
)
def test_a_condition_holds_where_every_clause_does_and_never_for_missing_cells(text: str, met: list[bool]) -> None:
    condition = parse_condition(text)
    check_condition(condition, SCHEMA)
    assert condition.holds(ROWS, SCHEMA.modelled).tolist() == met


@pytest.mark.parametrize(
    "text",
    [
        "",
        "age",
        "age >",
        "> 60",
        "age = 60",
        "age > 60 or age < 20",
        "age > 60 and",
        "age in []",
        "age in [1, ",
        "age in [1 2]",
        "a > 'x",
        "__import__('os').system('true')",
        "'age' > 60",
    ],
)
def test_what_is_no_condition_is_refused_with_the_grammar(text: str) -> None:
    with pytest.raises(ValueError, match="must be like"):
        parse_condition(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("drug == 1", "must be covariates that vary; got 'drug'.*would change the effect itself"),
        ("score > 0", "got 'score'.*would change the effect itself"),
        ("ago > 60", "got 'ago'. Did you mean 'age'"),
        ("age > old", "must be compared with a number; got 'old'"),
        ("age > (60)", "must be compared with a number"),
        ("age > inf", "must be compared with a number; got 'inf'"),
        ("age in [60]", "must be a category for 'in'"),
        ("seen > 60", "must be compared with a date like '2020-01-31'; got '60'"),
        ("`home town` > 'a'", "must be compared by ==, != or in"),
        ("`home town` == 'c'", "must be levels of 'home town'; got 'c'"),
    ],
)
def test_a_condition_that_the_table_can_not_be_asked_is_refused(text: str, words: str) -> None:
    with pytest.raises(SpecError) as fault:
        check_condition(parse_condition(text), SCHEMA)
    assert re.search(words, f"{fault.value.message} {fault.value.hint}")


def test_the_spec_refuses_it_early() -> None:
    assert ReleaseSpec(where="age > 60").condition == parse_condition("age > 60")
    assert ReleaseSpec().condition is None
    with pytest.raises(ValidationError, match="must be like"):
        ReleaseSpec(where="age over 60")
    with pytest.raises(ValidationError, match='where needs mode "hybrid"'):
        ReleaseSpec(where="age > 60", mode="full")
