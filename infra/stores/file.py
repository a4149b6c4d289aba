"""A store in a folder of a file system."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from infra.settings import store_mode
from infra.stores.folders import At, LinkRefused, descended, entered, entries, read_file, remove_empty, write_file
from infra.stores.keys import TEMPORARY, checked_key, checked_prefix
from tasks.contract.errors import StoreConflict, StoreError, StoreForbidden, StoreLink, StoreMissing, StoreUnavailable
from tasks.contract.store import StoredObject

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_PASSING = {errno.EAGAIN, errno.EBUSY, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE}
_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
_STALE_SECONDS = 86_400.0
_PLACINGS = 50


class FileStore:
    """Objects as files below one folder, made on the first put.

    A write goes to a temporary file of the same file system, is synced, and then gets its name in one step
    (``rename`` for :meth:`put`, ``link`` for :meth:`put_new`), so a reader sees the whole object or none.
    Temporary files live in a folder of their own at the root: a killed writer leaves nothing beside the objects,
    and leftovers older than a day go with the next first put. One limit that S3 does not have: where ``a`` is an
    object, ``a/b`` can't be one.

    Below the root no link is ever followed: one is listed as what it is, can be deleted itself, and anything behind it is refused.

    Parameters
    ----------
    root : Path
        The folder; made absolute.
    private : bool
        Files and folders are for their owner alone (a workspace), with any umask.
    """

    def __init__(self, root: Path, private: bool = False) -> None:
        self._root = Path(os.path.abspath(root))  # noqa: PTH100 - resolve() would follow links, the URI shall stay as given
        self._private = private
        self._swept = False

    def __repr__(self) -> str:
        return f"FileStore({self.uri!r})"

    @property
    def uri(self) -> str:
        """Root of the store: ``file:///abs/path``."""
        return f"file://{self._root}"

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing one that is there."""
        with self._spoken(key), self._written(key, data) as temporary:
            self._place(temporary, key, _replace)

    def put_new(self, key: str, data: bytes) -> None:
        """Write an object only where none is, or where exactly these bytes are.

        Exactly one of many racing writers of different bytes wins. Equal bytes are a success for everybody (on S3 a
        repeated request can't be distinguished from a second writer), so a caller that must know that *it* won puts its own token
        into the bytes. Where the file system has no hard links (FAT, some network mounts) a lock file that the
        system frees when its holder dies stands in; it excludes only writers that use this class.

        Raises
        ------
        StoreConflict
            If other bytes are there.
        """
        with self._spoken(key), self._written(key, data) as temporary:
            try:
                try:
                    self._place(temporary, key, _link)
                except OSError as error:
                    if error.errno not in _NO_LINKS:
                        raise
                    self._place(temporary, key, self._move_if_absent)
            except FileExistsError:
                if self._read_or_none(key) != data:
                    raise StoreConflict(f"key of store {self.uri} must be new; got '{key}', which is already there.") from None

    def get(self, key: str, most: int | None = None) -> bytes:
        """Read an object whole; one of more than ``most`` bytes is refused unread."""
        with self._spoken(key):
            *above, name = self._names(key)
            with entered(str(self._root), above) as folder:
                try:
                    return read_file(At(folder, name), most)
                except OverflowError as error:
                    raise StoreError(f"object '{key}' of store {self.uri} must have at most {most} bytes; got {error}.") from None

    def exists(self, key: str) -> bool:
        """Return whether the key is there."""
        with self._spoken(key):
            return self._read_status(key)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """List the objects whose key starts with ``prefix`` in byte order of their keys; links are listed, not followed."""
        checked_prefix(prefix)
        with self._spoken(prefix):
            self._require_folder()
            *above, _ = prefix.split("/")
            try:
                with entered(str(self._root), above) as folder:
                    yield from self._walk(folder, "/".join([*above, ""]), prefix)
            except (FileNotFoundError, NotADirectoryError):
                return  # nothing below, or removed meanwhile

    def delete(self, key: str) -> None:
        """Remove an object and the folders that become empty; removing what is not there is no error.

        A link is removed itself; what it points to stays.
        """
        with self._spoken(key):
            *above, name = self._names(key)
            with (
                contextlib.suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError),
                entered(str(self._root), above) as folder,
            ):
                os.unlink(name, dir_fd=folder)
            remove_empty(str(self._root), above)

    def _walk(self, folder: int, above: str, prefix: str) -> Iterator[StoredObject]:
        # a folder sorts with its slash: so the walk meets the keys in their byte order
        entries_here = [(f"{name}/" if stat.S_ISDIR(status.st_mode) else name, status) for name, status in entries(folder)]
        for name, status in sorted(entries_here, key=lambda pair: os.fsencode(pair[0])):
            key = above + name
            if key == f"{TEMPORARY}/" or not (key.startswith(prefix) or (name.endswith("/") and prefix.startswith(key))):
                continue
            if not name.endswith("/"):
                yield StoredObject(key, status.st_size, status.st_mtime)
                continue
            # a folder that vanished or became something else meanwhile holds nothing of ours
            with contextlib.suppress(FileNotFoundError, NotADirectoryError), descended(folder, name.rstrip("/")) as inner:
                yield from self._walk(inner, key, prefix)

    def _names(self, key: str) -> tuple[str, ...]:
        self._require_folder()
        return tuple(checked_key(key).split("/"))

    def _require_folder(self) -> None:
        first = _first_there(self._root)
        if first is not None and not stat.S_ISDIR(first[1]):
            raise StoreError(f"uri of store must be a folder; got {self.uri}, where {first[0]} is a file.", "Give store.uri another path.")

    def _read_status(self, key: str) -> bool:
        """Return whether a plain file has the key."""
        *above, name = self._names(key)
        try:
            with entered(str(self._root), above) as folder:
                mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return False
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise LinkRefused(name)
        return stat.S_ISREG(mode)

    def _read_or_none(self, key: str) -> bytes | None:
        """Read an object; None where the key is no plain file."""
        try:
            return self.get(key)
        except StoreMissing:
            return None

    def _modes(self) -> tuple[int | None, int | None]:
        """Return the modes of new files and folders; None leaves them to the umask."""
        mode = 0o600 if self._private else store_mode()
        return mode, None if mode is None else mode | (mode & 0o444) >> 2

    @contextlib.contextmanager
    def _written(self, key: str, data: bytes) -> Iterator[At]:
        """Write a temporary file, synced, and remove it in any case."""
        self._names(key)
        file_mode, folder_mode = self._modes()
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700 if self._private else 0o777)
        with entered(str(self._root), [TEMPORARY], create=True, mode=folder_mode) as folder:
            self._sweep(folder)
            temporary = At(folder, f"{os.getpid()}-{uuid.uuid4().hex}")
            try:
                write_file(temporary, data, file_mode)
                yield temporary
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary.name, dir_fd=folder)

    def _sweep(self, folder: int) -> None:
        """Remove what writers that were killed left behind."""
        if self._swept:
            return
        self._swept = True
        for name, status in entries(folder):
            if name != "lock" and time.time() - status.st_mtime > _STALE_SECONDS:
                with contextlib.suppress(FileNotFoundError, IsADirectoryError, PermissionError):
                    os.unlink(name, dir_fd=folder)

    def _place(self, temporary: At, key: str, move: Callable[[At, At], object]) -> None:
        """Give a temporary file its name."""
        *above, name = self._names(key)
        for _ in range(_PLACINGS):
            try:
                with entered(str(self._root), above, create=True, mode=self._modes()[1]) as folder:
                    move(temporary, At(folder, name))
                    os.fsync(folder)
            except FileNotFoundError:
                continue  # a delete elsewhere removed the empty folder between the two steps
            except NotADirectoryError:
                raise StoreError(f"key of store {self.uri} must not lie below another object; got '{key}'.") from None
            return
        raise StoreUnavailable(f"folder of '{key}' must stay while it is written to; it vanished again and again.")

    def _move_if_absent(self, temporary: At, place: At) -> None:
        """Give a file its name where there is none, on file systems without hard links."""
        number = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=temporary.folder)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                os.stat(place.name, dir_fd=place.folder, follow_symlinks=False)
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), place.name)
            _replace(temporary, place)
        finally:
            os.close(number)

    @contextlib.contextmanager
    def _spoken(self, key: str) -> Iterator[None]:
        """Say an error of the operating system in the words of the contract."""
        try:
            yield
        except LinkRefused as error:
            raise StoreLink(
                f"objects of store {self.uri} must be plain files; got a link or a special file at '{error.filename}' of '{key}'.",
                "Nothing behind it was read, written or removed. Find out who put it there, and remove it.",
            ) from None
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise StoreMissing(f"key of store {self.uri} must be there; got '{key}'.") from None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            if error.errno in _REFUSED:
                raise StoreForbidden(
                    f"access to store {self.uri} must be allowed; got '{reason}' at '{key}'.", "Check the folder's owner and mode."
                ) from None
            if error.errno in _FULL:
                raise StoreError(
                    f"space of store {self.uri} must suffice for '{key}'; got '{reason}'.",
                    "Free some space, or give store.uri another place; the same command resumes.",
                ) from None
            kind = StoreUnavailable if error.errno in _PASSING else StoreError
            raise kind(f"store {self.uri} must take '{key}'; got '{reason}'.") from None


def _replace(temporary: At, place: At) -> None:
    os.replace(temporary.name, place.name, src_dir_fd=temporary.folder, dst_dir_fd=place.folder)


def _link(temporary: At, place: At) -> None:
    os.link(temporary.name, place.name, src_dir_fd=temporary.folder, dst_dir_fd=place.folder, follow_symlinks=False)


def _first_there(path: Path) -> tuple[Path, int] | None:
    """Return the first of a path and its parents that is there, and its mode: looked at once, others may make it meanwhile."""
    for each in (path, *path.parents):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return each, each.stat().st_mode
    return None
