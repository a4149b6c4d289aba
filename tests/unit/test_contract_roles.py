"""Columns and their source types: what is packed comes back, what is decoded is what the source had."""

from __future__ import annotations

import datetime
import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks.contract.columns import canonical_type, conform, decode
from tasks.contract.roles import Column, Kind, TableSchema, pack_field

FIELDS = [
    pa.field("plain", pa.float64()),
    pa.field("not null", pa.int32(), nullable=False),
    pa.field("coded", pa.dictionary(pa.int8(), pa.large_string())),
    pa.field("when", pa.timestamp("ns", tz="Europe/Berlin")),
    pa.field("Größe [cm]", pa.decimal128(9, 2)),
]


def covariate(number: int, field: pa.Field, kind: Kind, **more: Any) -> Column:
    return Column(id=f"w{number}", name=field.name, role="covariate", kind=kind, field=pack_field(field), **more)


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: str(field.type))
def test_a_field_comes_back_as_it_was(field: pa.Field) -> None:
    assert covariate(0, field, "continuous").arrow().equals(field)


def test_metadata_of_the_source_is_left_behind() -> None:
    field = pa.field("x", pa.int64(), metadata={"written by": "somebody"})
    assert covariate(0, field, "integer").arrow().metadata is None
    assert "somebody" not in pack_field(field)


def schema() -> TableSchema:
    """Eleven covariates, so that w10 must not sort before w2; treatment and outcome in the middle."""
    covariates = [covariate(i, pa.field(f"x{i}", pa.float64()), "continuous", constant=i == 4) for i in range(11)]
    treatment = Column(id="a", name="arm", role="treatment", kind="categorical", field=pack_field(pa.field("arm", pa.string())))
    outcome = Column(id="y", name="score", role="outcome", kind="continuous", field=pack_field(pa.field("score", pa.float64())))
    columns = (*reversed(covariates), treatment, outcome)
    return TableSchema(columns=columns, treated="drug", control="placebo", outcome_kind="continuous", rows=100)


def test_covariates_are_in_the_order_of_their_numbers() -> None:
    assert [column.id for column in schema().covariates] == [f"w{i}" for i in range(11)]
    assert [column.id for column in schema().modelled] == [f"w{i}" for i in range(11) if i != 4]
    assert (schema().treatment.name, schema().outcome.name) == ("arm", "score")


def test_a_schema_survives_json_and_pickling() -> None:
    assert TableSchema.model_validate_json(schema().model_dump_json()) == schema()
    assert pickle.loads(pickle.dumps(schema())) == schema()


def test_a_schema_older_than_arms_has_its_two() -> None:
    older = schema().model_dump(mode="json")
    del older["arms"]
    assert TableSchema.model_validate(older).arms == ("placebo", "drug")


def test_drawn_numbers_are_cut_to_what_the_column_can_hold() -> None:
    drawn = pa.array([-5.0, 1.26, 2.74, 99.0, np.nan], type=pa.float64())
    decimal = covariate(0, pa.field("x", pa.float64()), "continuous", low=0.0, high=10.0, decimals=1)
    assert conform(decimal, drawn).to_pylist() == [0.0, 1.3, 2.7, 10.0, None]
    whole = covariate(0, pa.field("x", pa.int16()), "integer", low=0.0, high=10.0)
    assert conform(whole, drawn).to_pylist() == [0.0, 1.0, 3.0, 10.0, None]
    single = covariate(0, pa.field("x", pa.float32()), "continuous")
    assert conform(single, pa.array([0.1])).to_pylist() == [float(np.float32(0.1))]


def test_a_canonical_table_becomes_the_sources() -> None:
    berlin = pa.timestamp("us", tz="Europe/Berlin")
    fields = {
        "w0": (pa.field("sex", pa.dictionary(pa.int8(), pa.string())), "categorical", ("f", "m")),
        "w1": (pa.field("smokes", pa.bool_()), "boolean", ("false", "true")),
        "w2": (pa.field("grade", pa.int64()), "categorical", ("1", "2")),
        "w3": (pa.field("visit", berlin), "datetime", ()),
        "w4": (pa.field("born", pa.date32()), "datetime", ()),
        "w5": (pa.field("children", pa.int16()), "integer", ()),
    }
    covariates = tuple(
        Column(id=key, name=field.name, role="covariate", kind=kind, field=pack_field(field), levels=levels)
        for key, (field, kind, levels) in fields.items()
    )
    treatment = Column(id="a", name="arm", role="treatment", kind="categorical", field=pack_field(pa.field("arm", pa.large_string())))
    outcome = Column(id="y", name="died", role="outcome", kind="integer", field=pack_field(pa.field("died", pa.int8())))
    table_schema = TableSchema(
        columns=(covariates[3], treatment, *covariates[:3], outcome, *covariates[4:]),
        treated="drug",
        control="placebo",
        outcome_kind="binary",
        rows=2,
    )
    moment = datetime.datetime(2020, 2, 29, 12, tzinfo=datetime.UTC)
    values: dict[str, list[Any]] = {
        "w0": ["m", None],
        "w1": ["true", "false"],
        "w2": ["2", None],
        "w3": [moment.timestamp() * 1e6, None],
        "w4": [moment.timestamp() * 1e6, None],
        "w5": [3.0, None],
        "a": [1, 0],
        "y": [0.0, 1.0],
    }
    types = {column.id: canonical_type(column) for column in table_schema.columns}
    canonical = pa.table({key: pa.chunked_array([pa.array(column, types[key])]) for key, column in values.items()})
    decoded = decode(table_schema, canonical)
    assert decoded.schema == pa.schema([column.arrow() for column in table_schema.columns])
    assert decoded.to_pylist()[0] == {
        "visit": moment,
        "arm": "drug",
        "sex": "m",
        "smokes": True,
        "grade": 2,
        "died": 0,
        "born": moment.date(),
        "children": 3,
    }
    assert [name for name, cell in decoded.to_pylist()[1].items() if cell is None] == ["visit", "sex", "grade", "born", "children"]
    assert decoded.column("arm").to_pylist() == ["drug", "placebo"]
