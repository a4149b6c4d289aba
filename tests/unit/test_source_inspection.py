"""What an inspection decides, refuses and warns about."""

from __future__ import annotations

import datetime as dt
import decimal
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.fs as pafs
import pytest

from tasks.contract.errors import SourceError, SpecError
from tasks.contract.roles import Column
from tasks.contract.spec import RolesSpec
from tasks.source.inspection import Inspected, Inspection
from tasks.source.plan import plan_source
from tasks.source.read import read_batches

FS = pafs.LocalFileSystem()
N = 60
RNG = np.random.default_rng(1)
NORMAL = RNG.normal(size=N)
ARM = [i % 2 for i in range(N)]


def frame(**columns: Any) -> pa.Table:
    base: dict[str, Any] = {"t": ARM, "y": NORMAL, "x": RNG.normal(size=N)}
    return pa.table(base | columns)


def inspect(table: pa.Table, folds: int = 5, text: bool = False, **roles: Any) -> Inspected:
    inspection = Inspection(RolesSpec(**({"treatment": "t", "outcome": "y"} | roles)))
    state = inspection.visit(inspection.start(), table)
    state = pickle.loads(pickle.dumps(inspection.advance(state)))
    return inspection.finish(state, inspection.roles, folds=folds, source_format="csv" if text else "parquet")


def inspect_csv(tmp_path: Path, columns: Mapping[str, Sequence[str]], **roles: Any) -> Inspected:
    path = tmp_path / "table.csv"
    base = {"t": [str(arm) for arm in ARM], "y": [f"{value:.3f}" for value in NORMAL]}
    pacsv.write_csv(
        pa.table(base | {name: list(cells) for name, cells in columns.items()}), str(path), pacsv.WriteOptions(quoting_style="none")
    )
    planned = plan_source(FS, str(path), str(path), 25 if len(columns) else 1000)
    inspection = Inspection(RolesSpec(**({"treatment": "t", "outcome": "y"} | roles)))
    state = inspection.start()
    for fragment in planned.fragments:
        for batch in read_batches(FS, planned, fragment, inspection.columns(planned.names)):
            state = inspection.visit(state, batch)
    return inspection.finish(state, inspection.roles, folds=5, source_format="csv")


def column(found: Inspected, name: str) -> Column:
    return next(one for one in found.table.columns if one.name == name)


def refused(table: pa.Table, error: type[Exception] = SourceError, **asked: Any) -> str:
    with pytest.raises(error) as caught:
        inspect(table, **asked)
    return str(caught.value)


DAYS = [dt.date(2020, 1, 1) + dt.timedelta(days=i) for i in range(N)]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array([i % 3 == 0 for i in range(N)]), "boolean"),
        (pa.array([i // 2 for i in range(N)], pa.int8()), "integer"),
        (pa.array([i // 2 for i in range(N)], pa.uint64()), "integer"),
        (pa.array([float(i) for i in range(N)]), "continuous"),
        (pa.array(np.arange(N, dtype=np.float32)), "continuous"),
        (pa.array([decimal.Decimal(i) / 4 for i in range(N)], pa.decimal128(10, 2)), "continuous"),
        (pa.array(["a", "b"] * (N // 2)), "categorical"),
        (pa.array(["a", "b"] * (N // 2), pa.large_string()), "categorical"),
        (pa.array(["a", "b"] * (N // 2)).dictionary_encode(), "categorical"),
        (pa.array([1, 2] * (N // 2)).dictionary_encode(), "categorical"),
        (pa.array(DAYS), "datetime"),
        (pa.array(DAYS).cast(pa.date64()), "datetime"),
        (pa.array(DAYS).cast(pa.timestamp("ns")), "datetime"),
        (pa.array(DAYS).cast(pa.timestamp("s")).cast(pa.timestamp("s", "Europe/Berlin")), "datetime"),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else value,
)
def test_parquet_types_decide_kinds(values: pa.Array, kind: str) -> None:
    found = column(inspect(frame(w=values)), "w")
    assert found.kind == kind
    assert found.arrow().type == values.type
    assert (found.low is None) == (kind in ("boolean", "categorical"))


@pytest.mark.parametrize(
    ("cells", "kind", "arrow"),
    [
        (["1", "-2", "NA", " 30 "] * 15, "integer", pa.int64()),
        (["1", "2.0", "", "1e3"] * 15, "continuous", pa.float64()),
        (["true", "FALSE", "NA", "True"] * 15, "boolean", pa.bool_()),
        (["yes", "no"] * 30, "categorical", pa.string()),
        (["007", "012", "100"] * 20, "categorical", pa.string()),
        (["1", "2", "three"] * 20, "categorical", pa.string()),
        (["true", "1"] * 30, "categorical", pa.string()),
        ([str(day) for day in DAYS], "datetime", pa.date32()),
        ([f"{day} 12:30:00" for day in DAYS], "datetime", pa.timestamp("us")),
        ([f"{day}T12:30:00.25" if i % 2 else str(day) for i, day in enumerate(DAYS)], "datetime", pa.timestamp("us")),
        ([f"{day}T12:30:00+02:00" for day in DAYS], "datetime", pa.timestamp("us", "UTC")),
        (["2020-01-01", "17"] * 30, "categorical", pa.string()),
    ],
)
def test_csv_texts_decide_kinds(tmp_path: Path, cells: list[str], kind: str, arrow: pa.DataType) -> None:
    found = column(inspect_csv(tmp_path, {"w": cells}), "w")
    assert (found.kind, found.arrow().type) == (kind, arrow)


def test_one_late_cell_changes_the_type_of_a_csv_column(tmp_path: Path) -> None:
    cells = ["1", "2", "3"] * 20
    assert column(inspect_csv(tmp_path, {"w": cells}), "w").kind == "integer"
    assert column(inspect_csv(tmp_path, {"w": [*cells[:-1], "2.5"]}), "w").kind == "continuous"
    with pytest.raises(SourceError, match=r"59 of 60 that do \(98.3%\), and fewer than 5 text"):
        inspect_csv(tmp_path, {"w": [*cells[:-1], "x"]})
    found = column(inspect_csv(tmp_path, {"w": [*cells[:-1], "x"]}, kinds={"w": "categorical"}), "w")
    assert (found.kind, found.levels) == ("categorical", ("1", "2", "3"))


def test_kinds_may_be_declared() -> None:
    table = frame(i=[i % 3 for i in range(N)], f=[float(i % 3) for i in range(N)], d=[DAYS[i % 3] for i in range(N)])
    found = inspect(table, kinds={"i": "categorical", "f": "integer", "d": "categorical"})
    assert column(found, "i").levels == ("0", "1", "2")
    assert (column(found, "f").kind, column(found, "f").decimals) == ("integer", 0)
    assert column(found, "d").levels == ("2020-01-01", "2020-01-02", "2020-01-03")
    assert "one of continuous, categorical" in refused(table, SpecError, kinds={"x": "integer"})
    assert "one of datetime, categorical" in refused(table, SpecError, kinds={"d": "continuous"})
    assert "'absent'" in refused(table, SpecError, kinds={"absent": "integer"})
    assert "at most 50" in refused(table, kinds={"x": "categorical"}, max_levels=50)


def test_ids_follow_the_roles_and_columns_the_source() -> None:
    table = frame(p=RNG.normal(size=N), q=RNG.normal(size=N))
    found = inspect(table, covariates=("q", "x")).table
    assert [(one.id, one.name) for one in found.columns] == [("a", "t"), ("y", "y"), ("w1", "x"), ("w0", "q")]
    assert [one.name for one in inspect(table, exclude=("x",)).table.covariates] == ["p", "q"]


@pytest.mark.parametrize("name", ["w0", "a", "key", "hash", "fold", " two  words ", "q\"u'o,te", "Größe ✓", ".hidden", "a.b", ""])
def test_awkward_names_are_just_names(name: str) -> None:
    found = inspect(frame(**{name: [f"l{i % 4}" for i in range(N)]}))
    assert column(found, name).levels == ("l0", "l1", "l2", "l3")


def test_columns_without_a_role_are_ignored_whatever_they_are() -> None:
    table = frame(bad=[[1, 2]] * N, infinite=[np.inf] * N, blob=[b"x"] * N)
    assert inspect(table, exclude=("bad", "infinite", "blob")).table.rows == N
    assert inspect(table, covariates=("x",)).table.rows == N


@pytest.mark.parametrize(
    "values",
    [
        pa.array([[1]] * N),
        pa.array([{"a": 1}] * N),
        pa.array([b"x"] * N),
        pa.array([1] * N, pa.duration("s")),
        pa.array([1] * N, pa.time32("s")),
    ],
)
def test_types_that_are_not_supported_are_named(values: pa.Array) -> None:
    said = refused(frame(bad=values))
    assert "'bad'" in said
    assert str(values.type) in said
    assert "string, dictionary" in said


def test_role_columns_must_be_there() -> None:
    assert "Did you mean 't'" in refused(frame(), treatment="T")
    assert "Did you mean 'weight change'" in refused(frame(**{"weight change": NORMAL}), outcome="weigth_change")
    assert "covariates of roles" in refused(frame(), covariates=("x", "nowhere"))
    with pytest.raises(SourceError, match=r"exclude of roles.*'nowhere'"):
        Inspection(RolesSpec(treatment="t", outcome="y", exclude=("nowhere",))).columns(frame().column_names)
    assert "at least one column" in refused(frame(), exclude=("x",))
    assert "'x', which is none" in refused(frame(z=NORMAL), SpecError, covariates=("z",), subgroups=("x",))


def test_arms() -> None:
    assert "exactly two labels; got 1" in refused(frame(t=[1] * N))
    said = refused(frame(t=["rare"] * 2 + [f"arm{i % 7}" for i in range(N - 2)]))
    assert "got 8" in said
    assert said.count("rows") - 1 == 5
    assert "rare" not in said
    assert "too many to count" in refused(frame(t=[str(i) for i in range(N)]), max_levels=20)
    said = refused(frame(t=["yes", "no"] * (N // 2)), treated="maybe")
    assert "'yes': 30 rows" in said
    assert "got 'maybe'" in said
    assert "treated arm of 't' must be at least 5; got 4" in refused(frame(t=[1] * 4 + [0] * (N - 4)))
    assert "must be at least 9" in refused(frame(t=[1] * 8 + [0] * (N - 8)), folds=9)


def test_several_arms_are_ordered_from_the_control() -> None:
    four = inspect(frame(t=[f"{i % 4 * 5}" for i in range(N)]), control="10").table
    assert four.arms == ("10", "0", "5", "15")
    assert (four.control, four.treated) == ("10", "0")
    assert inspect(frame(), control=1).table.arms == ("1", "0")
    assert inspect(frame(), control=0, treated=1).table.arms == ("0", "1")


@pytest.mark.parametrize(
    ("labels", "roles", "message"),
    [
        (4, {}, "exactly two labels; got 4 ('0': 15 rows, '1': 15 rows"),
        (4, {"control": 9}, "control of roles must be one of the labels of 't' ('0': 15 rows"),
        (4, {"control": 0, "treated": 1}, "treated of roles must be left out where 't' has more than two labels"),
        (9, {"control": 0}, "at most 8 labels; got 9"),
        (2, {"control": 0, "treated": 7}, "must be the label beside control"),
    ],
)
def test_arms_that_can_not_be_used(labels: int, roles: dict[str, Any], message: str) -> None:
    assert message in refused(frame(t=[i % labels for i in range(N)]), **roles)


def test_an_arm_of_several_that_is_too_small() -> None:
    said = refused(frame(t=["rare"] * 3 + [f"arm{i % 3}" for i in range(N - 3)]), control="arm0")
    assert "smallest arm of 't' must be at least 5; got 3" in said
    assert "rare" not in said
    with pytest.raises(ValueError, match="control must be another label than treated"):
        RolesSpec(treatment="t", outcome="y", control="a", treated="a")
    assert "type boolean, integer, float or text" in refused(frame(t=DAYS))


@pytest.mark.parametrize(
    ("labels", "treated", "expected"),
    [
        ((0, 1), 1, ("1", "0")),
        ((1, 2), 2.0, ("2", "1")),
        ((0, 1), True, ("1", "0")),
        ((0.0, 1.0), "1", ("1", "0")),
        ((False, True), 1, ("true", "false")),
        ((False, True), "False", ("false", "true")),
        (("drug", "placebo"), "drug", ("drug", "placebo")),
        (("0", "1"), 1, ("1", "0")),
        (("1.0", "2.0"), 2, ("2.0", "1.0")),
        ((-1, 1), -1, ("-1", "1")),
    ],
)
def test_treated_label(labels: tuple[Any, Any], treated: Any, expected: tuple[str, str]) -> None:
    found = inspect(frame(t=[labels[i % 2] for i in range(N)]), treated=treated).table
    assert (found.treated, found.control) == expected


def test_missing_treatment_and_outcome() -> None:
    table = frame(y=[None if i < 3 else float(v) for i, v in enumerate(NORMAL)], t=[None if i == 10 else a for i, a in enumerate(ARM)])
    said = refused(table)
    assert "fewer than 5 of 60 rows" in said
    assert 'roles.missing_outcome = "drop"' in said
    assert 'roles.missing_treatment = "drop"' in refused(table, missing_outcome="drop")
    found = inspect(table, missing_outcome="drop", missing_treatment="drop")
    assert found.table.rows == 56
    assert (found.profile.rows, found.profile.rows_used, found.profile.dropped) == (60, 56, 4)
    assert sum(found.profile.arms.values()) == 56
    nan = frame(y=pa.array(np.where(np.arange(N) < 3, np.nan, NORMAL)))
    assert "fewer than 5 of 60" in refused(nan)


def test_levels_are_counted_over_the_rows_used() -> None:
    level = ["gone" if i < 6 else f"l{i % 2}" for i in range(N)]
    table = frame(w=level, y=[None if i < 4 else float(v) for i, v in enumerate(NORMAL)])
    assert column(inspect(table, missing_outcome="drop"), "w").levels == ("l0", "l1")


def test_too_little_data() -> None:
    assert "at least 20; got 19" in refused(frame().slice(0, 19))
    assert inspect(frame().slice(0, 20)).table.rows == 20
    assert "got 0" in refused(frame().slice(0, 0))
    assert "all missing" in refused(frame(w=pa.array([None] * N, pa.float64())))
    assert "all missing" in refused(frame(w=pa.nulls(N)))
    assert "at least 10; got 9" in refused(frame(w=[float(i) if i < 9 else None for i in range(N)]))


def test_all_covariates_at_fault_are_told_at_once() -> None:
    said = refused(frame(p=[np.inf] + [1.0] * (N - 1), q=pa.nulls(N)))
    assert "'p' must be finite; got fewer than 5 infinite" in said
    assert "'q'" in said


def test_levels_have_a_bound() -> None:
    cells = [f"secret{i % 30}" for i in range(300)]
    table = pa.table({"t": [i % 2 for i in range(300)], "y": RNG.normal(size=300), "w": cells})
    said = refused(table, max_levels=29)
    assert "at most 29" in said
    assert "roles.max_levels" in said
    assert "secret" not in said
    assert len(column(inspect(table, max_levels=30), "w").levels) == 30


def test_rare_levels_are_pooled_without_being_named() -> None:
    cells = ["often"] * 30 + ["five"] * 5 + ["common"] * 19 + ["secret4"] * 4 + ["secret2"] * 2
    found = inspect(frame(w=cells))
    assert column(found, "w").levels == ("(other)", "common", "five", "often")
    assert "secret" not in found.profile.model_dump_json() + "".join(found.warnings) + found.table.model_dump_json()
    assert "2 levels of covariate 'w' with fewer than 5 rows each (6 rows)" in found.warnings[0]
    clash = ["(other)"] * 30 + cells[30:]
    assert column(inspect(frame(w=clash)), "w").levels == ("(other 2)", "(other)", "common", "five")
    assert "all rarer" in refused(frame(w=[f"secret{i // 4}" for i in range(N)]))
    flags = [True] * 2 + [False] * (N - 2)
    assert column(inspect(frame(w=flags)), "w").levels == ("false", "true")
    numeric = [1] * 30 + [2] * 28 + [9] * 2
    assert column(inspect(frame(w=numeric), kinds={"w": "categorical"}), "w").levels == ("1", "2")


def test_constant_columns() -> None:
    found = inspect(frame(c=["same"] * N, n=[7] * N, partly=[7] * (N - 1) + [None], text=["same"] * (N - 1) + [None]))
    assert [name for name in ("c", "n", "partly", "text") if column(found, name).constant] == ["c", "n"]
    assert column(found, "c").levels == ("same",)
    assert (column(found, "n").low, column(found, "n").high) == (7.0, 7.0)
    assert [warning.split(":")[0] for warning in found.warnings] == ["covariate 'c' is constant", "covariate 'n' is constant"]
    assert "varies" in refused(pa.table({"t": ARM, "y": NORMAL, "c": [1] * N}))


def test_warnings() -> None:
    found = inspect(
        frame(many=[None if i > 25 else float(i) for i in range(N)], id=range(N), half=[None if i % 2 else 1.5 * i for i in range(N)])
    )
    assert any("'many' is missing in 34 of 60 rows" in warning for warning in found.warnings)
    assert any("'id' is left out" in warning for warning in found.warnings)
    assert len(found.warnings) == 2


@pytest.mark.parametrize(
    ("values", "wish", "kind"),
    [
        ([i % 2 for i in range(N)], "auto", "binary"),
        ([float(i % 2) for i in range(N)], "auto", "binary"),
        ([i % 2 == 0 for i in range(N)], "auto", "binary"),
        ([i % 2 == 0 for i in range(N)], "binary", "binary"),
        ([i % 3 for i in range(N)], "auto", "count"),
        ([1 + i % 3 for i in range(N)], "auto", "count"),
        ([i % 31 for i in range(N)], "auto", "count"),
        ([i % 32 for i in range(N)], "auto", "count"),
        ([2 + i % 3 for i in range(N)], "auto", "count"),
        ([-1 + i % 3 for i in range(N)], "auto", "continuous"),
        ([i % 32 for i in range(N)], "count", "count"),
        ([i % 2 for i in range(N)], "continuous", "continuous"),
        ([1 + i % 2 for i in range(N)], "auto", "binary"),
        ([2 * (i % 2) for i in range(N)], "auto", "continuous"),
        (list(NORMAL), "auto", "continuous"),
    ],
)
def test_outcome_kinds(values: list[Any], wish: str, kind: str) -> None:
    found = inspect(frame(y=values), outcome_kind=wish)
    assert found.table.outcome_kind == kind
    if len(set(values)) == 2 and 2 in values:
        assert "two values" in found.warnings[0]


def test_outcomes_that_are_not_what_was_declared() -> None:
    assert "two values" in refused(frame(y=[1 + i % 3 for i in range(N)]), outcome_kind="binary")
    assert "whole numbers" in refused(frame(y=[-1 + i % 5 for i in range(N)]), outcome_kind="count")
    assert "whole numbers" in refused(frame(y=NORMAL), outcome_kind="count")
    assert "('high': 30 rows, 'low': 30 rows). Set roles.event" in refused(frame(y=["low", "high"] * (N // 2)))
    assert "numeric or two-valued" in refused(frame(y=DAYS))
    assert "must vary" in refused(frame(y=[1.0] * N))
    assert "must vary" in refused(frame(y=[True] * N))
    assert "must be finite; got fewer than 5" in refused(frame(y=[np.inf, -np.inf, *NORMAL[2:]]))
    assert "numeric to be a count" in refused(frame(y=[i % 2 == 0 for i in range(N)]), outcome_kind="count")


def test_at_least_five_rows_lie_at_or_beyond_a_range() -> None:
    values = np.sort(RNG.normal(size=N))
    found = column(inspect(frame(w=values)), "w")
    width = values[-5] - values[4]
    assert values[4] < found.low < values[4] + 0.01 * width
    assert values[-5] - 0.01 * width < found.high < values[-5]
    whole = [17, 17, 17, 17, 18, *range(20, 20 + N - 10), 99, 99, 99, 99, 99]
    found = column(inspect(frame(w=whole, v=[float(x) for x in whole])), "w")
    assert (found.low, found.high) == (18.0, 99.0)
    assert column(inspect(frame(v=[float(x) for x in whole])), "v").low == 18.0
    days = [DAYS[0]] * 4 + DAYS[4:]
    found = column(inspect(frame(w=days)), "w")
    assert found.low == (DAYS[4] - dt.date(1970, 1, 1)).days * 86_400_000_000.0


@pytest.mark.parametrize(
    ("values", "decimals"),
    [
        (np.round(NORMAL, 2), 2),
        (np.round(NORMAL * 1e5), 0),
        (np.append(np.round(NORMAL, 1)[1:], 0.123456), 6),
        (NORMAL, None),
        (np.round(NORMAL, 3).astype(np.float32), 3),
    ],
)
def test_decimals(values: np.ndarray, decimals: int | None) -> None:
    assert column(inspect(frame(w=values)), "w").decimals == decimals


def test_numbers_beyond_what_a_float_holds_are_refused() -> None:
    assert "2**53" in refused(frame(w=[2**60 + i // 2 for i in range(N)]))


def test_dates_far_away() -> None:
    far = inspect(frame(w=pa.array([10**7 + i for i in range(N)], pa.int32()).cast(pa.date32())))
    assert column(far, "w").kind == "datetime"
    assert str(far.profile.columns[-1].deciles[0]).startswith("29349-")  # type: ignore[index]  # there are deciles
    assert "'w' must fit" in refused(frame(w=pa.array([10**15 + i for i in range(N)]).cast(pa.timestamp("s"))))


def test_profile_shows_months_of_dates_and_hides_extremes() -> None:
    floor = [0.0] * 20 + [round(10 + 0.37 * i, 2) for i in range(40)]
    found = inspect(frame(w=floor, d=DAYS)).profile
    shown = {one.name: one.deciles for one in found.columns}
    assert shown["w"] is not None
    assert shown["w"][:3] == (None, None, None)
    assert shown["w"][5] == pytest.approx(15.6, abs=0.1)
    assert shown["d"] is not None
    assert shown["d"][0] == "2020-01"
    assert shown["d"][8] == "2020-02"
    assert {one.name: one.deciles for one in inspect(frame().slice(0, 49)).profile.columns}["x"] is None


def test_actg175_with_its_missing_cells() -> None:
    path = Path(__file__).parents[1] / "data" / "actg175.csv"
    planned = plan_source(FS, str(path), str(path), 500)
    inspection = Inspection(RolesSpec(treatment="treat", outcome="cd420", exclude=("pidnum", "cd496", "r")))
    state = inspection.start()
    for batch in read_batches(FS, planned, planned.fragments[0], inspection.columns(planned.names)):
        state = inspection.merge(inspection.visit(inspection.start(), batch), state)
    found = inspection.finish(state, inspection.roles, folds=5, source_format="csv")
    assert found.table.rows == 2139
    assert column(found, "wtkg").kind == "continuous"
    assert column(found, "age").kind == "integer"
    assert found.profile.arms == {"0": 532, "1": 1607}
    missing = Inspection(RolesSpec(treatment="treat", outcome="cd496", covariates=("age",)))
    with pytest.raises(SourceError, match="797 of 2139"):
        missing.finish(
            missing.visit(
                missing.start(), next(read_batches(FS, planned.model_copy(update={"partition_rows": 5000}), planned.fragments[0]))
            ),
            missing.roles,
            folds=5,
            source_format="csv",
        )
