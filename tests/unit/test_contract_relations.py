"""The grammar of ``roles.relations``."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tasks.contract.relations import parse_relation
from tasks.contract.spec import RolesSpec


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("start <= end", ["start <= end"]),
        ("a<=b <= c", ["a <= b", "b <= c"]),
        ("copy(x, x_again)", ["copy(x, x_again)"]),
        ("within( town,region )", ["within(town, region)"]),
        ("total=a+b - c", ["total = a + b - c"]),
        ("`net pay` = gross-pay - `tax, all`", ["`net pay` = gross-pay - `tax, all`"]),
        ("copy(copy, within)", ["copy(copy, within)"]),
        ("größe <= höhe", ["größe <= höhe"]),
    ],
)
def test_a_relation_is_read_and_written(text: str, written: list[str]) -> None:
    relations = parse_relation(text)
    assert [str(relation) for relation in relations] == written
    for relation in relations:
        assert parse_relation(str(relation)) == (relation,)


@pytest.mark.parametrize("text", ["", "x", "x = y", "a < b", "a >= b", "copy(a)", "other(a, b)", "a <= ", "<= a", "a <= `b", "t = a + b c"])
def test_anything_else_is_refused_with_the_grammar(text: str) -> None:
    with pytest.raises(ValueError, match=r'must be like "start <= end"'):
        parse_relation(text)


@pytest.mark.parametrize("text", ["a <= a", "copy(x, x)", "t = a + a", "t = t + a", "a <= b <= a"])
def test_a_column_is_named_once(text: str) -> None:
    with pytest.raises(ValueError, match=r"'[atx]' twice|two different columns"):
        parse_relation(text)


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"relations": ["a <= x"]}, "relation 'a <= x' must name covariates; got the treatment 'a'"),
        ({"relations": ["y = x + z"]}, "relation 'y = x \\+ z' must name covariates; got the outcome 'y'"),
        ({"relations": ["x <= z"], "exclude": ["z"]}, "relation 'x <= z' must name covariates; got 'z', which is none"),
        ({"relations": ["x <= z"], "covariates": ["x"]}, "relation 'x <= z' must name covariates; got 'z', which is none"),
        ({"relations": ["x >= z"]}, "relation 'x >= z' must be like"),
    ],
)
def test_roles_refuse_relations_of_other_columns(roles: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RolesSpec(treatment="a", outcome="y", **roles)


def test_relations_are_optional() -> None:
    assert RolesSpec(treatment="a", outcome="y").declared_relations == ()
