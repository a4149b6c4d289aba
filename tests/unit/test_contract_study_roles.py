"""Roles of columns that are neither covariate, treatment nor outcome: each column has one."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tasks.contract.spec import RolesSpec


def roles(**values: Any) -> RolesSpec:
    return RolesSpec(treatment="drug", outcome="score", **values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"passengers": ("score",)}, "passengers must not name a column of outcome; got 'score'"),
        ({"id": ("drug",)}, "id must not name a column of treatment; got 'drug'"),
        ({"covariates": ("age",), "id": ("age",)}, "id must not name a column of covariates; got 'age'"),
        ({"covariates": ("age", "site"), "strata": ("site",)}, "strata must not name a column of covariates; got 'site'"),
        ({"id": ("person",), "cluster": "person"}, "cluster must not name a column of id; got 'person'"),
        ({"cluster": "village", "weight": "village"}, "weight must not name a column of cluster; got 'village'"),
        ({"passengers": ("event", "event")}, "passengers must not name a column twice; got 'event'"),
        ({"weight": "w", "exclude": ("w",)}, "exclude must not name a column of weight; got 'w'"),
        ({"weight": "w", "kinds": {"w": "integer"}}, "kinds must name covariates or passengers; got the weight 'w'"),
        ({"strata": ("site",), "kinds": {"site": "integer"}}, "kinds.site must be 'categorical' or 'boolean' for a column of strata"),
        ({"passengers": ("event",), "relations": ("event <= age",)}, "must name covariates; got 'event', which is none"),
    ],
)
def test_a_column_has_one_role(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match="1 validation error") as caught:
        roles(**values)
    assert message in str(caught.value)


def test_a_stratum_may_stand_in_a_relation_as_a_covariate_does() -> None:
    assert roles(covariates=("town",), strata=("region",), relations=("within(town, region)",)).declared_relations


def test_columns_are_listed_by_their_role() -> None:
    declared = roles(id=("person",), cluster="village", weight="w", strata=("site",), passengers=("event",)).columns_by_role
    assert declared["id"] == ("person",)
    assert declared["cluster"] == ("village",)
    assert declared["weight"] == ("w",)
    assert declared["covariates"] == ()
