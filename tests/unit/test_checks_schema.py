import pyarrow as pa
import pytest

from tasks.checks.conformity import _beyond, compare, inspect
from tasks.checks.evidence import Evidence, SchemaEvidence
from tasks.checks.methods.schema import SchemaCheck
from tasks.contract.columns import decode
from tasks.contract.roles import Column, TableSchema, pack_field
from tasks.contract.spec import GatesSpec


def column(id, name, role, kind, type, **more):
    return Column(id=id, name=name, role=role, kind=kind, field=pack_field(pa.field(name, type)), **more)


def schema(outcome="continuous"):
    columns = (
        column("w0", "age", "covariate", "integer", pa.int64(), low=20.0, high=60.0),
        column("w1", "weight", "covariate", "continuous", pa.float64(), low=40.04, high=99.96, decimals=1, missing=2),
        column("a", "treated", "treatment", "integer", pa.int64()),
        column("w2", "ward", "covariate", "categorical", pa.string(), levels=("east", "west")),
        column("y", "result", "outcome", "continuous", pa.float64()),
    )
    return TableSchema(columns=columns, treated="1", control="0", outcome_kind=outcome, rows=100)


def canonical(**changes):
    values = {
        "w0": pa.array([20.0, 33.0, 60.0]),
        "w1": pa.array([40.0, None, 100.0]),
        "w2": pa.array(["east", "west", "east"]).dictionary_encode(),
        "a": pa.array([0, 1, 1], type=pa.int8()),
        "y": pa.array([-3.5, 0.0, 1e6]),
    }
    return pa.table(values | changes)


def look(outcome="continuous", released=None, **changes):
    table = canonical(**changes)
    return inspect(schema(outcome), table, released or decode(schema(), canonical()).schema)


def test_a_faithful_part_has_no_fault():
    # 40.0 and 100.0 are bounds rounded to one digit
    assert look() == SchemaEvidence(3)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"w0": pa.array([19.0, 61.0, 30.0])}, ("age", 2)),
        ({"w0": pa.array([None, 30.0, 30.0])}, ("age", 1)),
        ({"w1": pa.array([39.9, 50.0, 100.1])}, ("weight", 2)),
        ({"w1": pa.array([float("inf"), 50.0, 60.0])}, ("weight", 1)),
        ({"w2": pa.array(["east", "north", "west"]).dictionary_encode()}, ("ward", 1)),
        ({"w2": pa.array(["east", None, "west"]).dictionary_encode()}, ("ward", 1)),
        ({"a": pa.array([0, 2, 1], type=pa.int8())}, ("treated", 1)),
        ({"y": pa.array([0.0, float("nan"), None])}, ("result", 2)),
    ],
)
def test_cells_that_the_source_could_not_have_are_counted(change, fault):
    assert look(**change).outside == (fault,)


def test_outcomes_must_be_of_their_kind():
    assert look("binary", y=pa.array([0.0, 1.0, 0.5])).outside == (("result", 1),)
    assert look("count", y=pa.array([0.0, -1.0, 2.5])).outside == (("result", 2),)
    assert look("count", y=pa.array([0.0, 7.0, 2.0])).outside == ()


def test_a_missing_canonical_column_counts_whole():
    assert inspect(schema(), canonical().drop_columns(["w2"]), decode(schema(), canonical()).schema).outside == (("ward", 3),)


def test_names_order_and_types_are_compared():
    good = decode(schema(), canonical()).schema
    assert compare(schema(), good) == ()
    assert compare(schema(), pa.schema(list(good)[::-1])) == ("columns are in another order",)
    assert compare(schema(), pa.schema([*list(good)[:-1], pa.field("extra", pa.int8())])) == (
        "column 'result' is missing",
        "column 'extra' is not of the source",
    )
    assert compare(schema(), good.set(0, pa.field("age", pa.int32()))) == ("column 'age' is int32, in the source int64",)


def test_evidence_adds_up_over_parts():
    one = SchemaEvidence(3, ("columns are in another order",), (("age", 2),))
    other = SchemaEvidence(4, ("columns are in another order",), (("age", 1), ("ward", 5)))
    assert one + other == SchemaEvidence(7, ("columns are in another order",), (("age", 3), ("ward", 5)))


def test_every_cell_outside_counts_against_the_gate():
    columns, levels = SchemaCheck().measure(Evidence(schema=look(w0=pa.array([19.0, 61.0, 30.0]))), GatesSpec())
    assert (columns.value, levels.value, levels.threshold) == (0, 2, 0)
    assert levels.detail == "age: 2"


def test_switched_off_and_nothing_seen():
    columns, levels = SchemaCheck().measure(Evidence(schema=SchemaEvidence(0)), GatesSpec(columns=False))
    assert columns.threshold is None
    assert levels.refused


@pytest.mark.parametrize(
    ("kind", "decimals", "slack"),
    [("integer", None, 0.5), ("datetime", None, 0.5), ("continuous", 0, 0.5), ("continuous", 2, 0.005), ("continuous", None, 0.0)],
)
def test_half_a_unit_of_the_last_digit_may_lie_beyond_the_bounds(kind, decimals, slack):
    one = column("w0", "age", "covariate", kind, pa.float64(), low=-40.0, high=60.0, decimals=decimals)
    slack += 60e-6
    inside = [-40.0 - 0.999 * slack, 60.0 + 0.999 * slack, None, float("nan")]
    assert _beyond(one, pa.chunked_array([pa.array(inside)])) == 0
    assert _beyond(one, pa.chunked_array([pa.array([-40.0 - 1.001 * slack, 60.0 + 1.001 * slack, float("inf"), 0.0])])) == 3
    free = column("w0", "age", "covariate", kind, pa.float64(), decimals=decimals)
    assert _beyond(free, pa.chunked_array([pa.array([1e300, float("-inf"), None])])) == 1
