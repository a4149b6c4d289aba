"""Frames of any library, as a Parquet file in a folder that only its owner can read."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tasks.contract.errors import SourceError

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER, FILE, PARTIAL = "frames", "frame.parquet", "partial-"
#: What makes an object a frame: pandas, polars, DuckDB, pyarrow and others offer one of these.
PROTOCOLS = ("__arrow_c_stream__", "__arrow_c_array__", "__dataframe__")


def is_frame(value: object) -> bool:
    """Return whether an object is a table in memory."""
    return any(hasattr(value, protocol) for protocol in PROTOCOLS)


def as_table(frame: Any) -> pa.Table:
    """Return a frame as an Arrow table.

    Parameters
    ----------
    frame : frame
        A pandas DataFrame (its index is left out), a pyarrow Table or RecordBatch, or any object with the Arrow PyCapsule interface
        or ``__dataframe__``, such as a polars DataFrame.

    Raises
    ------
    SourceError
        If it is no frame, or a column can't be held by Arrow. No message shows a cell.
    """
    import pandas as pd
    import pyarrow as pa

    if isinstance(frame, pd.DataFrame):
        return _without_views(_from_pandas(frame))
    if not is_frame(frame):
        raise SourceError(
            f"frame of source must be a pandas, polars or pyarrow table; got {type(frame).__name__}.",
            "Any object with __arrow_c_stream__ or __dataframe__ will do; pandas.DataFrame(...) makes one of a dictionary.",
        )
    try:
        if hasattr(frame, "__arrow_c_stream__"):
            table = pa.table(frame)
        elif hasattr(frame, "__arrow_c_array__"):
            table = pa.Table.from_batches([pa.record_batch(frame)])
        else:
            from pyarrow.interchange import from_dataframe

            table = from_dataframe(frame)
    except (pa.ArrowException, TypeError, ValueError, NotImplementedError) as error:
        raise SourceError(
            f"frame of source must be readable as an Arrow table; got a {type(frame).__name__} that is not ({type(error).__name__}).",
            "Convert it to pandas or pyarrow first.",
        ) from None
    return _without_views(table)


def _from_pandas(frame: Any) -> pa.Table:
    """Convert column by column, so that an error names the column and no cell."""
    import pyarrow as pa

    names = list(frame.columns)
    strange = [name for name in names if not isinstance(name, str)]
    if strange:
        raise SourceError(
            f"columns of frame must be named by text; got a name of type {type(strange[0]).__name__}.",
            "Rename them: frame.columns = [...].",
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise SourceError(f"columns of frame must have different names; got '{repeated[0]}' twice.", "Rename one of them.")
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        raise SourceError(
            f"column '{_mixed(frame)}' of frame must hold values of one kind; got several.",
            "Convert it, for instance by frame[column].astype(str) or pandas.to_numeric(frame[column], errors='coerce').",
        ) from None


def _mixed(frame: Any) -> str:
    """Return the first column that Arrow does not take."""
    import pyarrow as pa

    for name in frame.columns:
        try:
            pa.array(frame[name], from_pandas=True)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            return str(name)
    return "?"


def _without_views(table: pa.Table) -> pa.Table:
    """Return the table with plain text columns: Parquet files know no string views, which polars makes."""
    import pyarrow as pa

    plain = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    fields = [field.with_type(plain.get(field.type, field.type)) for field in table.schema]
    return table.cast(pa.schema(fields, table.schema.metadata))


@contextlib.contextmanager
def stored(frame: Any) -> Iterator[str]:
    """Keep a frame as Parquet for the length of the block.

    The path is a digest of the content, so an interrupted run is resumed when the same frame is given again. What a killed session left
    is removed when no session uses the folder.

    Parameters
    ----------
    frame : frame
        See :func:`as_table`.

    Yields
    ------
    str
        Path of the file, in a folder of mode 0700 below ``WAYMINT_HOME``.

    Raises
    ------
    SourceError
        If it is no frame, or there is no room for it.
    """
    from infra.settings import Settings

    table, home = as_table(frame), Settings().home.expanduser().resolve() / FOLDER
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    home.chmod(0o700)
    with (home / "users.lock").open("a+") as users:
        _clear_unused(home, users)
        fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield str(_written(table, home))
        finally:
            _clear_unused(home, users)


def _written(table: pa.Table, home: Path) -> Path:
    """Write a table below ``home``, in a folder named by the digest of its bytes."""
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=home) as folder:
        path = Path(folder) / FILE
        try:
            pq.write_table(table, path)
            with path.open("rb") as file:
                target = home / hashlib.file_digest(file, "sha256").hexdigest()[:32]
            target.mkdir(exist_ok=True, mode=0o700)
            return path.replace(target / FILE)
        except OSError as error:
            raise SourceError(
                f"folder of frames must take {table.nbytes:,} bytes; got '{error.strerror or type(error).__name__}' at {home}.",
                "Free some space there, or set WAYMINT_HOME to another folder.",
            ) from None


def _clear_unused(home: Path, users: IO[str]) -> None:
    """Remove all frames where no session holds the lock."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    for folder in home.iterdir():
        if folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)
    fcntl.flock(users, fcntl.LOCK_UN)


def located(data: Any, stack: contextlib.ExitStack) -> str:
    """Return the URI of a table or a release; a frame is kept on disk as long as the stack is open."""
    from waymint.results import Release

    if isinstance(data, Release):
        return data.uri
    return str(data) if isinstance(data, str | Path) else stack.enter_context(stored(data))
