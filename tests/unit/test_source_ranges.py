"""What is asked of a filesystem far away: column chunks in ranges, and only those that are wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from tasks.source.stored import pieces

COLUMNS, ROWS, GROUPS = 24, 4_000, 4


class Far(pafs.FSSpecHandler):  # type: ignore[misc,unused-ignore]
    """A local filesystem that keeps where it was read: to PyArrow it is as far away as any other."""

    def __init__(self) -> None:
        super().__init__(None)
        self.reads: list[tuple[int, int]] = []

    def open_input_file(self, path: str) -> Any:
        """Open a file for reads at any place."""
        handler, file = self, Path(path).open("rb")  # noqa: SIM115, PyArrow closes it

        class Recorder:
            closed = False

            def read(self, size: int = -1) -> bytes:
                at = file.tell()
                data = file.read(size)
                handler.reads.append((at, len(data)))
                return data

            def seek(self, *to: int) -> int:
                return file.seek(*to)

            def tell(self) -> int:
                return file.tell()

            def size(self) -> int:
                return Path(path).stat().st_size

            def readable(self) -> bool:
                return True

            def seekable(self) -> bool:
                return True

            def writable(self) -> bool:
                return False

            def close(self) -> None:
                self.closed = True
                file.close()

        return pa.PythonFile(Recorder(), mode="r")


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    path = tmp_path / "far.parquet"
    pq.write_table(pa.table({f"x{at}": rng.normal(size=ROWS) for at in range(COLUMNS)}), path, row_group_size=ROWS // GROUPS)
    return path


def read(path: Path, groups: tuple[int, ...], columns: list[str]) -> tuple[list[pa.Table], list[tuple[int, int]]]:
    """Return the pieces of some row groups, and the reads that they took."""
    far = Far()
    tables = list(pieces(pafs.PyFileSystem(far), str(path), "parquet", groups, pq.read_schema(path), columns, ROWS))
    return tables, far.reads


def test_chunks_of_columns_are_asked_for_together(parquet: Path) -> None:
    tables, reads = read(parquet, (1, 2), [f"x{at}" for at in range(COLUMNS)])
    assert pa.concat_tables(tables).equals(pq.read_table(parquet).slice(ROWS // GROUPS, 2 * ROWS // GROUPS))
    # one question a column and row group would be 48, and the footer
    assert len(reads) <= 8


def test_other_columns_and_row_groups_are_not_read(parquet: Path) -> None:
    metadata = pq.ParquetFile(parquet).metadata
    tables, reads = read(parquet, (3,), ["x0", "x23"])
    assert pa.concat_tables(tables).equals(pq.read_table(parquet, columns=["x0", "x23"]).slice(ROWS - ROWS // GROUPS))
    wanted = sum(metadata.row_group(3).column(at).total_compressed_size for at in (0, COLUMNS - 1))
    start = metadata.row_group(3).column(0).dictionary_page_offset
    data = [size for at, size in reads if start <= at and at + size < parquet.stat().st_size]
    assert sum(data) == wanted
