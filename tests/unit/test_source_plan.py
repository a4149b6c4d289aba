"""Sources as they come: every kind of path, and every kind of broken file."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from tasks.contract.errors import SourceError
from tasks.source.fragments import SourcePlan
from tasks.source.plan import plan_source
from tasks.source.read import read_batches

FS = pafs.LocalFileSystem()
HEAD = "t,y,w\n"
ROWS = "".join(f"{i % 2},{i}.5,cell{i % 3}\n" for i in range(30))


def plan(path: Path | str, rows: int = 250_000) -> SourcePlan:
    return plan_source(FS, str(path), str(path), rows)


def read(planned: SourcePlan, *columns: str) -> pa.Table:
    names = columns or planned.names
    return pa.concat_tables([batch for one in planned.fragments for batch in read_batches(FS, planned, one, names)])


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def table(rows: int = 30, start: int = 0) -> pa.Table:
    number = range(start, start + rows)
    return pa.table({"t": [i % 2 for i in number], "y": [i * 0.5 for i in number], "w": [f"cell{i % 3}" for i in number]})


def refused(path: Path | str) -> str:
    """Plan and read a source that must be refused; return what is said."""
    with pytest.raises(SourceError) as caught:
        read(plan(path))
    assert caught.value.exit_code == 4
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


def test_csv_cells_are_text_and_missing_tokens_are_null(tmp_path: Path) -> None:
    text = 't,y,w\n1,NA,"a ""quoted"", cell"\n0,NaN,"two\nlines"\n1,null,""\n0,N/A,None\n1,1.50,NULL\n0,nan,Näme\n'
    found = read(plan(write(tmp_path / "a.csv", "\ufeff" + text)))
    assert [str(kind) for kind in found.schema.types] == ["string"] * 3
    assert found.column("t").to_pylist() == ["1", "0", "1", "0", "1", "0"]
    assert found.column("y").to_pylist() == [None, None, None, None, "1.50", None]
    assert found.column("w").to_pylist() == ['a "quoted", cell', "two\nlines", None, None, None, "Näme"]


@pytest.mark.parametrize("head", ['t,y," w"', '"t",y,', "t,y, w ", '\n\nt,y,"two\nlines"', 't,y,"q""q" '])
def test_any_header_can_be_read_back(tmp_path: Path, head: str) -> None:
    planned = plan(write(tmp_path / "a.csv", head + "\n1,2,3\n"))
    assert read(planned).column(2).to_pylist() == ["3"]
    assert len(planned.names) == 3


def test_gzipped_csv_reads_as_the_plain_one(tmp_path: Path) -> None:
    write(tmp_path / "a.csv.gz", gzip.compress((HEAD + ROWS).encode()))
    write(tmp_path / "b.csv", (HEAD + ROWS).replace("\n", "\r\n"))
    assert read(plan(tmp_path / "a.csv.gz")).equals(read(plan(tmp_path / "b.csv")))


def test_batches_hold_exactly_partition_rows(tmp_path: Path) -> None:
    pq.write_table(table(1050), tmp_path / "a.parquet", row_group_size=1050)
    write(tmp_path / "a.csv", HEAD + "".join(f"{i % 2},{i},x\n" for i in range(1050)))
    for name in ("a.parquet", "a.csv"):
        planned = plan(tmp_path / name, 200)
        sizes = [batch.num_rows for batch in read_batches(FS, planned, planned.fragments[0], planned.names)]
        assert sizes == [200] * 5 + [50]


def test_row_groups_are_packed_up_to_partition_rows(tmp_path: Path) -> None:
    pq.write_table(table(100), tmp_path / "a.parquet", row_group_size=10)
    planned = plan(tmp_path / "a.parquet", 35)
    assert [one.row_groups for one in planned.fragments] == [(0, 1, 2), (3, 4, 5), (6, 7, 8), (9,)]
    assert planned.rows == 100
    assert read(planned).column("y").to_pylist() == table(100).column("y").to_pylist()


def test_columns_are_selected_by_exact_name(tmp_path: Path) -> None:
    odd = {".y": [1, 2, 3], "a": [4, 5, 6], "a.b": [7, 8, 9], "two words": [1, 1, 1], 'quo"te,': [2, 2, 2], "Größe ✓": [3, 3, 3]}
    pq.write_table(pa.table(odd), tmp_path / "a.parquet")
    quoted = ",".join('"' + name.replace('"', '""') + '"' for name in odd)
    write(tmp_path / "a.csv", quoted + "\n" + "".join(",".join(str(odd[name][row]) for name in odd) + "\n" for row in range(3)))
    for name in ("a.parquet", "a.csv"):
        planned = plan(tmp_path / name)
        assert planned.names == tuple(odd)
        found = read(planned, "a", "Größe ✓", ".y")
        assert found.column_names == ["a", "Größe ✓", ".y"]
        assert [int(cell) for cell in found.column("a").to_pylist()] == [4, 5, 6]
        assert read(planned).column_names == list(odd)


def test_folder_is_read_recursively_without_hidden_files(tmp_path: Path) -> None:
    folder = tmp_path / "my dätä"
    (folder / "deep").mkdir(parents=True)
    pq.write_table(table(30, 0), folder / "a.parquet")
    pq.write_table(table(30, 30), folder / "deep" / "b.PQ")
    for hidden in (".c.parquet", "_metadata.parquet", "readme.txt", "_temporary/d.parquet"):
        write(folder / hidden, b"not read")
    for spelt in (str(folder), str(folder) + "/"):
        found = read(plan(spelt))
        assert found.column("y").to_pylist() == table(60).column("y").to_pylist()


@pytest.mark.parametrize(
    ("pattern", "files"),
    [
        ("x/*.parquet", ["x/a.parquet", "x/b.parquet"]),
        ("x/?.parquet", ["x/a.parquet", "x/b.parquet"]),
        ("x/[!a].parquet", ["x/b.parquet"]),
        ("x/[a-b].parquet", ["x/a.parquet", "x/b.parquet"]),
        ("**/b.parquet", ["x/b.parquet", "x/y/b.parquet"]),
        ("x/**", ["x/a.parquet", "x/b.parquet", "x/y/b.parquet"]),
        ("*/y", ["x/y/b.parquet"]),
    ],
)
def test_glob(tmp_path: Path, pattern: str, files: list[str]) -> None:
    for name in ("x/a.parquet", "x/b.parquet", "x/y/b.parquet", "x/.hidden.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table(), tmp_path / name)
    found = [str(Path(one.path).relative_to(tmp_path)) for one in plan(f"{tmp_path}/{pattern}").fragments]
    assert found == files


def test_a_name_that_looks_like_a_glob_is_taken_literally(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "a[1].parquet")
    assert read(plan(tmp_path / "a[1].parquet")).num_rows == 30


def test_fingerprint_follows_content_not_place(tmp_path: Path) -> None:
    first = tmp_path / "one"
    first.mkdir()
    pq.write_table(table(), first / "a.parquet")
    pq.write_table(table(40), first / "b.parquet")
    shutil.copytree(first, tmp_path / "elsewhere")
    before = plan(first).fingerprint
    assert plan(tmp_path / "elsewhere").fingerprint == before
    assert plan(f"{tmp_path}/elsewhere/*.parquet").fingerprint == before
    assert plan(first, 100).fingerprint == before
    pq.write_table(table(40, start=1), tmp_path / "elsewhere" / "b.parquet")
    assert plan(tmp_path / "elsewhere").fingerprint != before
    shutil.copy(first / "a.parquet", tmp_path / "renamed.parquet")
    assert plan(first / "a.parquet").fingerprint == plan(tmp_path / "renamed.parquet").fingerprint


def test_types_are_unified_over_files_and_order_of_columns_may_differ(tmp_path: Path) -> None:
    pq.write_table(pa.table({"t": [0, 1], "y": [1, 2], "w": pa.nulls(2)}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"w": ["u", "v"], "y": [0.5, None], "t": [1, 0]}), tmp_path / "b.parquet")
    found = read(plan(tmp_path))
    assert found.column("y").to_pylist() == [1.0, 2.0, 0.5, None]
    assert found.column("w").to_pylist() == [None, None, "u", "v"]


def test_a_column_of_several_types_is_refused_only_when_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"t": [0, 1], "y": [1, 2], "w": ["u", "v"], "z": [1, 2]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"t": [0, 1], "y": [1, 2], "w": ["u", "v"], "z": ["p", "q"]}), tmp_path / "b.parquet")
    planned = plan(tmp_path)
    assert read(planned, "t", "y", "w").num_rows == 4
    assert next(read_batches(FS, planned, planned.fragments[0])).column_names == ["t", "y", "w"]
    with pytest.raises(SourceError, match=r"'z'.*one type"):
        read(planned, "t", "z")


def test_missing_things(tmp_path: Path) -> None:
    assert "absent.csv" in refused(tmp_path / "absent.csv")
    assert "matches none" in refused(f"{tmp_path}/*.parquet")
    (tmp_path / "empty").mkdir()
    assert "has none" in refused(tmp_path / "empty")
    assert "must be a Parquet, CSV, JSON Lines or Feather file" in refused(write(tmp_path / "a.xlsx", "x"))
    assert "is no file and no folder" in refused(tmp_path / "no" / "such" / "folder")


def test_empty_files_and_tables_without_rows(tmp_path: Path) -> None:
    assert "0 bytes" in refused(write(tmp_path / "a.csv", ""))
    assert "0 bytes" in refused(write(tmp_path / "a.parquet", ""))
    assert "header alone" in refused(write(tmp_path / "b.csv", HEAD))
    assert "header alone" in refused(write(tmp_path / "c.csv", HEAD.strip()))
    assert "empty" in refused(write(tmp_path / "d.csv", "\n\n\n"))
    pq.write_table(table(0), tmp_path / "none.parquet")
    assert "got 0" in refused(tmp_path / "none.parquet")


def test_damaged_files(tmp_path: Path) -> None:
    pq.write_table(table(3000), tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    assert "truncated or damaged" in refused(write(tmp_path / "cut.parquet", whole[: len(whole) // 2]))
    assert "truncated or damaged" in refused(write(tmp_path / "text.parquet", HEAD + ROWS))
    middle = bytearray(whole)
    middle[100:600] = bytes(500)
    assert "bad.parquet" in refused(write(tmp_path / "bad.parquet", bytes(middle)))
    packed = gzip.compress((HEAD + ROWS * 2000).encode())
    assert "cut.csv.gz" in refused(write(tmp_path / "cut.csv.gz", packed[: len(packed) // 2]))
    assert "plain.csv.gz" in refused(write(tmp_path / "plain.csv.gz", HEAD + ROWS))


@pytest.mark.parametrize(("row", "cells"), [("1,2\n", 2), ("1,2,secret,4\n", 4)])
def test_ragged_rows_are_named_by_number_not_content(tmp_path: Path, row: str, cells: int) -> None:
    said = refused(write(tmp_path / "a.csv", HEAD + "1,2,secret\n" * 5 + row + "1,2,secret\n"))
    assert f"row 7 of '{tmp_path}/a.csv' must have 3 cells" in said
    assert f"got {cells}" in said
    assert "secret" not in said


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    assert "UTF-8" in refused(write(tmp_path / "a.csv", HEAD.encode() + b"1,2,secret\xff\n"))
    assert "UTF-8" in refused(write(tmp_path / "b.csv", b"t,y,\xff\xfe\x00\n1,2,3\n"))


def test_an_open_quote_is_refused(tmp_path: Path) -> None:
    said = refused(write(tmp_path / "a.csv", HEAD + '1,"secret,2\n' + ROWS))
    assert "a.csv" in said
    assert "secret" not in said


def test_columns_that_do_not_fit(tmp_path: Path) -> None:
    assert "'t' more than once" in refused(write(tmp_path / "a.csv", "t,y,t\n1,2,3\n"))
    pq.write_table(pa.Table.from_arrays([pa.array([1])] * 3, names=["t", "y", "t"]), tmp_path / "a.parquet")
    assert "'t' more than once" in refused(tmp_path / "a.parquet")
    assert "separator" in refused(write(tmp_path / "b.csv", "t:y:w\n1:2:3\n"))
    packed = write(tmp_path / "small.csv.gz", gzip.compress((HEAD + "1,2\n").encode()))
    assert "must have 3 cells" in refused(packed)
    write(tmp_path / "two" / "a.csv", HEAD + ROWS)
    write(tmp_path / "two" / "b.csv", "t,y,w,extra\n1,2,3,4\n")
    assert "'extra' in only one of 'a.csv' and 'b.csv'" in refused(tmp_path / "two")
    write(tmp_path / "mixed" / "a.csv", HEAD + ROWS)
    pq.write_table(table(), tmp_path / "mixed" / "b.parquet")
    assert "one format" in refused(tmp_path / "mixed")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give access up and take it back")
def test_access_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEAD + ROWS)
    for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(0o755)
    path.chmod(0)
    os.seteuid(65534)
    try:
        said = refused(path)
    finally:
        os.seteuid(0)
    assert "refused" in said


def test_a_file_gone_since_the_plan(tmp_path: Path) -> None:
    planned = plan(write(tmp_path / "a.csv", HEAD + ROWS))
    (tmp_path / "a.csv").unlink()
    with pytest.raises(SourceError, match=r"a\.csv"):
        read(planned)
