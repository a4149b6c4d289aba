"""Folders below a root, entered one name at a time: a link on the way is refused, never followed.

Each step opens the next folder relative to the one before (``openat``), so no one can replace a folder by a link
between a look and the use of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class LinkRefused(OSError):
    """A link, or another thing that is neither file nor folder, is in the place of a file or a folder."""

    def __init__(self, name: str) -> None:
        super().__init__(errno.ELOOP, "it is a link, or no plain file", name)


class At(NamedTuple):
    """A name in an open folder."""

    folder: int
    name: str


@contextlib.contextmanager
def entered(root: str, names: Sequence[str], create: bool = False, mode: int | None = None) -> Iterator[int]:
    """Enter a folder below a root; yields its descriptor.

    Parameters
    ----------
    root : str
        Path of the root; links above it are the owner's own business and are followed.
    names : sequence of str
        Names of the folders below it.
    create : bool
        Make folders that are not there.
    mode : int, optional
        Mode of folders that are made; what the process' umask leaves where left out.

    Raises
    ------
    FileNotFoundError
        If a folder is not there.
    NotADirectoryError
        If one is a file.
    LinkRefused
        If one is a link.
    """
    number = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            inner = _enter(number, name, create, mode)
            os.close(number)
            number = inner
        yield number
    finally:
        os.close(number)


@contextlib.contextmanager
def descended(folder: int, name: str) -> Iterator[int]:
    """Enter a folder of an open folder; raises as :func:`entered`."""
    number = _enter(folder, name, create=False, mode=None)
    try:
        yield number
    finally:
        os.close(number)


def _enter(folder: int, name: str, create: bool, mode: int | None) -> int:
    created = False
    if create:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o777 if mode is None else mode, dir_fd=folder)
            created = True
    try:
        number = os.open(name, _ENTER, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP) and is_link(At(folder, name)):
            raise LinkRefused(name) from None
        raise
    if created and mode is not None:
        os.fchmod(number, mode)
    return number


def is_link(place: At) -> bool:
    """Return whether a name is a symbolic link."""
    return stat.S_ISLNK(os.stat(place.name, dir_fd=place.folder, follow_symlinks=False).st_mode)


def read_file(place: At, most: int | None = None) -> bytes:
    """Read a plain file whole.

    Raises
    ------
    LinkRefused
        If it is a link, a pipe or a device.
    OverflowError
        If it has more than ``most`` bytes.
    """
    try:
        number = os.open(place.name, _READ, dir_fd=place.folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise LinkRefused(place.name) from None
        raise
    with os.fdopen(number, "rb") as file:
        status = os.fstat(number)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), place.name)
        if not stat.S_ISREG(status.st_mode):
            raise LinkRefused(place.name)
        if most is not None and status.st_size > most:
            raise OverflowError(status.st_size)
        return file.read()


def write_file(place: At, data: bytes, mode: int | None) -> None:
    """Write a new file and sync it; the mode is what the process' umask leaves where left out."""
    number = os.open(place.name, _WRITE, 0o666 if mode is None else mode, dir_fd=place.folder)
    with os.fdopen(number, "wb") as file:
        if mode is not None:
            os.fchmod(number, mode)
        file.write(data)
        file.flush()
        os.fsync(number)


def entries(folder: int) -> list[tuple[str, os.stat_result]]:
    """Return the names in a folder with what they are, links not followed."""
    items = []
    with os.scandir(folder) as scanned:
        for entry in scanned:
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                items.append((entry.name, entry.stat(follow_symlinks=False)))
    return items


def remove_empty(root: str, names: Sequence[str]) -> None:
    """Remove a folder and those above it, up to the root, as far as they are empty."""
    for depth in range(len(names), 0, -1):
        try:
            with entered(root, names[: depth - 1]) as above:
                os.rmdir(names[depth - 1], dir_fd=above)
        except OSError:
            return  # not empty, or gone: either way there is nothing to tidy above it
