"""Frames of several libraries become one Parquet file that only its owner reads."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.contract.errors import SourceError
from tests.releasing import table
from waymint.frames import as_table, is_frame, stored

FRAME = pd.DataFrame({"x": [1.5, None, 3.0], "g": ["a", "b", None], "a": [0, 1, 1]}, index=[7, 8, 9])


class Stream:
    """A table known by the Arrow stream interface alone, as polars and DuckDB offer it."""

    def __init__(self, content: pa.Table) -> None:
        self._content = content

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._content.__arrow_c_stream__(requested_schema)


class Array:
    """A batch known by the Arrow array interface alone."""

    def __init__(self, content: pa.RecordBatch) -> None:
        self._content = content

    def __arrow_c_array__(self, requested_schema: object = None) -> object:
        return self._content.__arrow_c_array__(requested_schema)


class Interchange:
    """A table known by ``__dataframe__`` alone."""

    def __init__(self, content: pa.Table) -> None:
        self._content = content

    def __dataframe__(self, nan_as_null: bool = False, allow_copy: bool = True) -> object:
        return self._content.__dataframe__(nan_as_null, allow_copy)


PLAIN = pa.table({"x": [1.5, None, 3.0], "g": ["a", "b", None], "a": [0, 1, 1]})


@pytest.mark.parametrize(
    "frame",
    [FRAME, PLAIN, PLAIN.to_batches()[0], Stream(PLAIN), Array(PLAIN.to_batches()[0]), Interchange(PLAIN)],
    ids=["pandas", "table", "batch", "stream", "array", "interchange"],
)
def test_every_kind_of_frame_is_the_same_table(frame: object) -> None:
    assert is_frame(frame)
    assert as_table(frame).to_pydict() == PLAIN.to_pydict()


def test_text_views_of_polars_become_text() -> None:
    views = PLAIN.set_column(1, "g", PLAIN["g"].cast(pa.string_view()))
    assert as_table(Stream(views)).schema.field("g").type == pa.large_string()
    assert as_table(Stream(views)).to_pydict() == PLAIN.to_pydict()


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"x": [1]}, "must be a pandas, polars or pyarrow table; got dict"),
        (pd.DataFrame({"ok": [1.0, 2.0], "mixed": [1, "secret-cell"]}), "column 'mixed' of frame must hold values of one kind"),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), "columns of frame must have different names; got 'x' twice"),
        (pd.DataFrame({1: [1.0]}), "columns of frame must be named by text; got a name of type int"),
    ],
    ids=["dict", "mixed", "repeated", "number"],
)
def test_what_is_no_table_is_refused_without_showing_a_cell(frame: object, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        as_table(frame)
    assert message in str(caught.value)
    assert "secret-cell" not in str(caught.value)
    assert caught.value.hint


def test_a_frame_is_kept_for_its_owner_alone_and_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WAYMINT_HOME", str(tmp_path))
    frame = table(50)
    with stored(frame) as first:
        assert pd.read_parquet(first).equals(frame)
        folder = Path(first).parent
        assert {stat.S_IMODE(each.stat().st_mode) for each in (folder, folder.parent)} == {0o700}
        with stored(frame) as second:  # another run of the same frame, at the same time
            assert second == first
        assert Path(first).exists()
    assert not folder.exists()
    assert [path.name for path in (tmp_path / "frames").iterdir()] == ["users.lock"]


def test_the_path_follows_the_content(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """So a run that was killed is resumed by the same call."""
    monkeypatch.setenv("WAYMINT_HOME", str(tmp_path))
    paths = []
    for frame in (table(50), table(50), table(51)):
        with stored(frame) as path:
            paths.append(path)
    assert paths[0] == paths[1] != paths[2]


def test_what_a_killed_session_left_is_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WAYMINT_HOME", str(tmp_path))
    left = tmp_path / "frames" / ("0" * 32)
    left.mkdir(parents=True)
    (left / "frame.parquet").write_bytes(b"rows")
    with stored(table(50)):
        assert not left.exists()


def test_the_file_is_what_a_user_would_have_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WAYMINT_HOME", str(tmp_path))
    frame = pd.DataFrame({"d": pd.to_datetime(["2020-01-01", None]), "c": pd.Categorical(["u", "v"]), "n": np.array([1, 2], dtype="int16")})
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), tmp_path / "own.parquet")
    with stored(frame) as path:
        assert Path(path).read_bytes() == (tmp_path / "own.parquet").read_bytes()
