"""Which files a source's path names: a file, a folder or a glob, over any filesystem."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import pyarrow as pa
import pyarrow.fs as pafs

from tasks.contract.errors import SourceError
from tasks.source.formats import TAKEN, advice, format_of

_READ = "a Parquet, CSV, JSON Lines or Feather file"


class Located(NamedTuple):
    """One file: its path on the filesystem, its name below the source's root, its size in bytes."""

    path: str
    relative: str
    size: int


@contextmanager
def reading(what: str, owner: str = "uri of source") -> Iterator[None]:
    """Turn a filesystem's and a format's faults into ``SourceError``; their texts stay behind, for they may hold cells.

    Parameters
    ----------
    what : str
        The file or folder being read, as the user knows it.
    owner : str
        What it was given as, for messages.

    Raises
    ------
    SourceError
        Naming the file and the reason: gone, refused, or damaged.
    """
    try:
        yield
    except FileNotFoundError:
        raise SourceError(f"{owner} must be there; got '{what}', which is not.", "Check the path.") from None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, UnicodeDecodeError):
        raise SourceError(f"file of source must be whole and readable; got '{what}', which is truncated or damaged.", TAKEN) from None
    except OSError as error:
        refused = isinstance(error, PermissionError) or any(
            word in str(error) for word in ("ACCESS_DENIED", "Forbidden", "HTTP response code 403")
        )
        if refused:
            raise SourceError(f"{owner} must be readable; access to '{what}' was refused.", "Ask for read access to it.") from None
        raise SourceError(f"file of source must be whole and readable; got '{what}', which could not be read to its end.", "") from None


def stamps_of(fs: pafs.FileSystem, paths: Sequence[str], uri: str) -> dict[str, str]:
    """Return size and time of change of files by their paths.

    Raises
    ------
    SourceError
        If one is gone, or access is refused.
    """
    with reading(uri):
        infos = fs.get_file_info(list(paths))
    return {info.path: f"{info.size} {info.mtime_ns}" for info in infos}


def require_unchanged(fs: pafs.FileSystem, stamps: Mapping[str, str], paths: Sequence[str], uri: str) -> None:
    """Refuse files that somebody replaced while they were read: the rows would not be those of the source's fingerprint.

    Parameters
    ----------
    fs : pyarrow.fs.FileSystem
        Where the source lies.
    stamps : mapping
        Of all files, from before the first was read.
    paths : sequence of str
        The files that were read.
    uri : str
        The source as the user wrote it, for messages.

    Raises
    ------
    SourceError
        If a file's size or time of change is another one now.
    """
    now = stamps_of(fs, paths, uri)
    changed = sum(now[path] != stamps[path] for path in paths)
    if changed:
        raise SourceError(
            f"files of source '{uri}' must stay the same while they are read; {changed} of {len(paths)} changed.",
            "Run the command again when they are complete. A writer should write beside the source and rename at the end.",
        )


def locate(fs: pafs.FileSystem, path: str, uri: str, owner: str = "uri of source") -> tuple[Located, ...]:
    """List the files of a source.

    Parameters
    ----------
    fs : pyarrow.fs.FileSystem
        Where the source lies.
    path : str
        A file, a folder (read recursively; names starting with ``.`` or ``_`` are left out) or a glob with ``*``,
        ``?``, ``[...]`` and ``**`` (any number of folders). A path that is there is taken literally, whatever its
        characters.
    uri : str
        The path as the user wrote it, for messages.
    owner : str
        What it was given as, for messages.

    Returns
    -------
    tuple of Located
        Sorted by their names below the source's root; at least one.

    Raises
    ------
    SourceError
        If nothing is there, nothing of a known format is there, or access is refused.
    """
    clean = path.rstrip("/") or "/"
    with reading(uri, owner):
        info = fs.get_file_info(clean)
        if info.type == pafs.FileType.File:
            if format_of(clean) is None:
                raise SourceError(f"{owner} must be {_READ}; got '{uri}'.", advice(clean))
            return (Located(clean, "", info.size),)
        if info.type == pafs.FileType.Directory:
            files = _below(fs, clean)
            if not files:
                raise SourceError(f"{owner} must be a folder with files that are read; got '{uri}', which has none.", TAKEN)
            return files
        if not _is_glob(clean):
            raise SourceError(f"{owner} must be there; got '{uri}', which is no file and no folder.", "Check the path.")
        files = _matching(fs, clean)
    if not files:
        raise SourceError(f"{owner} must match at least one file that is read; got '{uri}', which matches none.", TAKEN)
    return files


def _is_glob(path: str) -> bool:
    return any(character in path for character in "*?[")


def _below(fs: pafs.FileSystem, base: str) -> tuple[Located, ...]:
    """List a folder's files of known formats, hidden ones left out."""
    infos = fs.get_file_info(pafs.FileSelector(base, recursive=True, allow_not_found=True))
    files = []
    for info in infos:
        relative = posixpath.relpath(info.path, base)
        shown = not any(part.startswith((".", "_")) for part in relative.split("/"))
        if info.type == pafs.FileType.File and shown and format_of(info.path, named=False):
            files.append(Located(info.path, relative, info.size))
    return tuple(sorted(files, key=lambda one: one.relative))


def _matching(fs: pafs.FileSystem, pattern: str) -> tuple[Located, ...]:
    """List the files a glob matches, or, where it matches folders only, the files in them."""
    parts = pattern.split("/")
    fixed = next(number for number, part in enumerate(parts) if _is_glob(part))
    base = "/".join(parts[:fixed]) or ("/" if pattern.startswith("/") else ".")
    rule = _translate(parts[fixed:])
    listed = _below(fs, base)
    exact = tuple(one for one in listed if re.fullmatch(rule, one.relative, re.DOTALL))
    return exact or tuple(one for one in listed if re.fullmatch(rule + "/.*", one.relative, re.DOTALL))


def _translate(parts: list[str]) -> str:
    """Return the regular expression of a glob's path parts."""
    pieces = []
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            pieces.append(".*" if last else "(?:[^/]+/)*")
        else:
            pieces.append(_translate_part(part) + ("" if last else "/"))
    return "".join(pieces)


def _translate_part(part: str) -> str:
    text, position = "", 0
    while position < len(part):
        character = part[position]
        close = part.find("]", position + 2)
        if character == "*":
            text += "[^/]*"
        elif character == "?":
            text += "[^/]"
        elif character == "[" and close > 0:
            inside = part[position + 1 : close].replace("\\", "\\\\").replace("[", "\\[")
            text += f"(?!/)[{'^' + inside[1:] if inside[0] == '!' else inside}]"
            position = close
        else:
            text += re.escape(character)
        position += 1
    return text
