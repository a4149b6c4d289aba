"""Formats of files, by their endings: what is read, and what to do about what is not."""

from __future__ import annotations

import lzma
from typing import Literal

import pyarrow as pa
import pyarrow.fs as pafs

Format = Literal["parquet", "csv", "jsonl", "feather"]

_PLAIN: dict[str, Format] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".feather": "feather",
    ".arrow": "feather",
}
#: Endings of text files that are read where a path names them, and left alone in folders.
_NAMED: dict[str, Format] = {".txt": "csv", ".dat": "csv"}
_COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".xz": "xz"}
_CHUNK = 1 << 20
_TEXT = ("csv", "jsonl")
_ELSEWHERE = {
    ".xlsx": "Save the sheet as CSV (UTF-8).",
    ".xls": "Save the sheet as CSV (UTF-8).",
    ".ods": "Save the sheet as CSV (UTF-8).",
    ".json": "Write one JSON object a line and name the file .jsonl.",
    ".dta": "Write it as Parquet, e.g. pandas.read_stata(...).to_parquet(...).",
    ".sas7bdat": "Write it as Parquet, e.g. pandas.read_sas(...).to_parquet(...).",
    ".sav": "Write it as Parquet, e.g. pandas.read_spss(...).to_parquet(...).",
    ".rds": "Write it as Parquet, e.g. arrow::write_parquet(...) in R.",
    ".zip": "Unpack it.",
}
TAKEN = f"Files ending in {', '.join(_PLAIN)} are taken; text files also compressed ({', '.join(_COMPRESSED)})."


def format_of(path: str, named: bool = True) -> Format | None:
    """Return a path's format by its ending, None for any other.

    Parameters
    ----------
    path : str
        A path or URI.
    named : bool
        Whether a user named this very file: then ``.txt`` and ``.dat`` are delimited text.
    """
    lower = path.lower()
    endings = _PLAIN | _NAMED if named else _PLAIN
    packed = next((ending for ending in _COMPRESSED if lower.endswith(ending)), "")
    inner = lower.removesuffix(packed)
    kind = next((form for ending, form in endings.items() if inner.endswith(ending)), None)
    return kind if kind is None or not packed or kind in _TEXT else None


def advice(path: str) -> str:
    """Return what to do about a file of a format that is not read."""
    lower = path.lower()
    return next((text for ending, text in _ELSEWHERE.items() if lower.endswith(ending)), TAKEN)


def open_bytes(fs: pafs.FileSystem, path: str) -> pa.NativeFile:
    """Open a text file's bytes, decompressed by its ending.

    Parameters
    ----------
    fs : pyarrow.fs.FileSystem
        Where the file lies.
    path : str
        The file.
    """
    packed = next((kind for ending, kind in _COMPRESSED.items() if path.lower().endswith(ending)), None)
    if packed == "xz":  # Arrow has no xz of its own
        return pa.PythonFile(_Xz(fs.open_input_stream(path, compression=None)), mode="r")
    return fs.open_input_stream(path, compression=packed)


class _Xz:
    """An xz stream that reports damage as Arrow's own streams do."""

    def __init__(self, raw: pa.NativeFile) -> None:
        self._raw, self._decoder, self._rest = raw, lzma.LZMADecompressor(), b""
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes, all that are left where negative."""
        pieces: list[bytes] = []
        left = size
        while left != 0 and not self._ended():
            try:
                pieces.append(self._decoder.decompress(self._more(), max_length=left))
            except (lzma.LZMAError, EOFError):
                raise OSError("truncated or damaged xz stream") from None
            left -= len(pieces[-1]) if size >= 0 else 0
        return b"".join(pieces)

    def _more(self) -> bytes:
        if not self._decoder.needs_input:
            return b""
        chunk: bytes = self._rest or self._raw.read(_CHUNK)
        self._rest = b""
        if not chunk:
            raise EOFError
        return chunk

    def _ended(self) -> bool:
        """Go on to the next stream of a file of several, as parallel packers write; True behind the last."""
        if not self._decoder.eof:
            return False
        self._rest = self._decoder.unused_data or self._raw.read(_CHUNK)
        if self._rest:
            self._decoder = lzma.LZMADecompressor()
        return not self._rest

    def close(self) -> None:
        """Close the file."""
        self.closed = True
        self._raw.close()
