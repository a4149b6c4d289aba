"""Reading ids, clusters, weights, strata and passengers: what is decided, what is refused, and who stands in which half."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from flows.stages.study import role_faults, study_notes
from tasks.contract.columns import clusters_of, decode, survey_weights, unit_keys
from tasks.contract.errors import WaymintError
from tasks.contract.rng import in_holdout
from tasks.contract.roles import TableSchema
from tasks.contract.spec import Purpose, RolesSpec, Spec
from tasks.nuisance.folds import training_rows
from tasks.nuisance.plan import Plan
from tasks.source.inspection import Inspection
from tasks.source.rows import bucket_of, canonical, content_hash, settle
from tests.villages import ROLES, villages


def described(frame: pd.DataFrame, **roles: Any) -> TableSchema:
    """Inspect a table."""
    inspection = Inspection(RolesSpec(**{**ROLES, **roles}))
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return inspection.finish(inspection.visit(inspection.start(), table), inspection.roles, folds=5, source_format="parquet").table


def settled(frame: pd.DataFrame, **roles: Any) -> pa.Table:
    """Bring a table into canonical form and hash order."""
    schema = described(frame, **roles)
    rows = canonical(pa.Table.from_pandas(frame, preserve_index=False), schema, "parquet")
    return settle(rows.append_column("hash", pa.array(content_hash(rows))))


def test_every_column_has_its_role_and_star_takes_the_rest() -> None:
    schema = described(villages())
    roles = {column.name: column.role for column in schema.columns}
    assert roles == {
        "person": "id",
        "village": "cluster",
        "region": "stratum",
        "remote": "covariate",
        "x": "covariate",
        "lab": "passenger",
        "event": "passenger",
        "weight": "weight",
        "drug": "treatment",
        "score": "outcome",
    }
    assert [column.name for column in schema.modelled] == ["region", "remote", "x"]
    assert schema.beside == ("c", "v")


def test_canonical_rows_give_the_source_back() -> None:
    frame = villages(count=30)
    schema = described(frame)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    assert decode(schema, canonical(table, schema, "parquet")).to_pandas().equals(frame)


CHANGES: list[tuple[Callable[[pd.DataFrame], pd.DataFrame], dict[str, Any], str]] = [
    (lambda t: t.assign(village=np.arange(len(t))), {}, "rows of clusters 'village' must be several in some cluster"),
    (lambda t: t.assign(village=1), {}, "clusters of 'village' must be at least 5, one for each fold; got 1"),
    (lambda t: t.assign(village=t["village"].astype(float).where(t.index > 3)), {}, "cluster 'village' must be of whole numbers or texts"),
    (
        lambda t: t.assign(village=t["village"].astype("Int64").where(t.index > 3)),
        {},
        "cluster 'village' must be known in every row; got fewer than 5",
    ),
    (lambda t: t.assign(weight=t["weight"].where(t.index > 0, -1.0)), {}, "cells of weight 'weight' must be at least 0; got negative"),
    (lambda t: t.assign(weight=0.0), {}, "sum of weight 'weight' must be above 0; got 0"),
    (lambda t: t.assign(weight=t["weight"].where(t.index > 1)), {}, "weight 'weight' must be known in every row; got fewer than 5"),
    (lambda t: t.assign(weight="heavy"), {}, "weight 'weight' must be of numbers"),
    (lambda t: t.assign(region="north"), {}, "levels of stratum 'region' must be at least 2; got 1"),
    (lambda t: t.assign(person="P-1"), {"cluster": None, "exclude": ["village"]}, "id 'person' must have another value in every row"),
    (
        lambda t: t.assign(drug=np.where(t["drug"] == 1, "Drug", np.where(t.index % 2, "none", "None "))),
        {"control": "none"},
        "labels of treatment 'drug' must differ in more than case and blanks; got 2 of one word",
    ),
    (
        lambda t: t.assign(drug=np.array(["none", "low", "high"])[t.index % 3]),
        {"control": "placebo"},
        "control of roles must be one of the labels of 'drug'",
    ),
    (lambda t: t.drop(columns="lab"), {}, "passengers of roles must name a column of the source; got 'lab', which is not there"),
    (lambda t: t.assign(lab=[f"text {row}" for row in range(len(t))]), {}, "passenger 'lab' must not be an identifier"),
]


@pytest.mark.parametrize(("change", "roles", "message"), CHANGES, ids=[message for _, _, message in CHANGES])
def test_everyday_wrong_inputs_are_refused(change: Callable[[pd.DataFrame], pd.DataFrame], roles: dict[str, Any], message: str) -> None:
    with pytest.raises(WaymintError) as caught:
        described(change(villages()), **roles)
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(("command", "name"), [("augment", "village"), ("augment", "weight")])
def test_commands_refuse_roles_that_they_are_not_built_for(command: Purpose, name: str) -> None:
    faults = role_faults(described(villages()), command)
    assert any(fault.message.endswith(f"must be left out of {command}; got '{name}'.") for fault in faults)
    assert all(fault.hint for fault in faults)
    assert role_faults(described(villages()), "release") == []


def test_full_mode_has_no_clusters() -> None:
    values = {"name": "trial", "source": {"uri": "x.csv"}, "roles": ROLES, "release": {"mode": "full"}, "store": {"uri": "file://x"}}
    with pytest.raises(ValidationError, match="cluster needs release"):
        Spec.model_validate(values)


def test_a_reader_is_told_what_a_release_of_a_study_is() -> None:
    weight, passengers = study_notes(described(villages()))
    assert "stands for the weighted population" in weight
    assert "passengers 'lab', 'event' are drawn" in passengers
    assert "not targeted" in passengers
    assert study_notes(described(villages(), weight=None, passengers=[], exclude=["weight", "lab", "event"])) == ()


def test_an_id_may_name_clusters() -> None:
    frame = villages().assign(house=lambda t: "H" + t["village"].astype(str))
    assert described(frame, id=["person", "house"]).ids[1].name == "house"


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(6, 40), st.integers(1, 9), st.floats(0.1, 0.5), st.integers(2, 5))
def test_a_cluster_is_in_one_half_and_one_fold(seed: int, count: int, size: int, share: float, folds: int) -> None:
    rng = np.random.default_rng(seed)
    place = np.repeat(np.arange(count, dtype=np.uint64), rng.integers(1, size + 1, count))
    order = rng.permutation(len(place))
    table = pa.table({"c": place[order] * np.uint64(0x9E3779B97F4A7C15), "key": rng.permutation(len(place)).astype(np.uint64)})
    clusters, a = unit_keys(table), rng.integers(0, 2, len(place)).astype(np.int8)
    halves = pd.DataFrame({"c": clusters, "held": in_holdout(clusters, seed, share)})
    assert halves.groupby("c")["held"].nunique().max() == 1
    plan = Plan("source", seed, folds, fit_rows=max(len(place) // 2, 1))
    fold_of = plan.assign(table["key"].to_numpy(), a, a.astype(float), "binary", 0, clusters)
    assert pd.DataFrame({"c": clusters, "fold": fold_of}).groupby("c")["fold"].nunique().max() == 1
    for fold in range(folds):
        chosen = plan.training(table["key"].to_numpy(), fold_of, fold, clusters)
        taken = pd.DataFrame({"c": clusters, "in": chosen}).groupby("c")["in"].nunique()
        assert taken.max() == 1
        assert not chosen[fold_of == fold].any()


def test_rows_of_a_cluster_stand_together_in_hash_order_and_in_one_bucket() -> None:
    rows = settled(villages(count=50))
    clusters = clusters_of(rows)
    assert clusters is not None
    borders = np.count_nonzero(clusters[1:] != clusters[:-1])
    assert borders == len(np.unique(clusters)) - 1
    plain = rows.drop_columns(["key"])
    buckets = pd.DataFrame({"c": clusters, "bucket": bucket_of(content_hash(plain), 7)})
    assert buckets.groupby("c")["bucket"].nunique().max() == 1
    assert len(np.unique(rows["key"].to_numpy())) == rows.num_rows


def test_a_hash_sample_is_of_whole_clusters_and_never_empty() -> None:
    clusters = np.repeat(np.arange(1, 11, dtype=np.uint64), 10)
    train = clusters <= 8
    chosen = training_rows(clusters, train, 35, seed=1)
    assert chosen.sum() == 30
    assert training_rows(clusters, train, 3, seed=1).sum() == 10
    assert training_rows(clusters, train, 1_000, seed=1).sum() == 80


def test_weights_are_read_as_they_are() -> None:
    frame = villages(count=30)
    weights = survey_weights(settled(frame))
    assert weights is not None
    assert np.sort(weights).tolist() == np.sort(frame["weight"].to_numpy()).tolist()
