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

from infra.stores.keys import TEMPORARY, checked_key, checked_prefix
from tasks.contract.errors import StoreConflict, StoreError, StoreForbidden, StoreMissing, StoreUnavailable
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

    Parameters
    ----------
    root : Path
        The folder; made absolute.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.abspath(root))  # noqa: PTH100 - resolve() would follow links, the URI shall stay as given
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
            self._place(temporary, self._path(key), lambda source, target: source.replace(target))

    def put_new(self, key: str, data: bytes) -> None:
        """Write an object only where none is, or where exactly these bytes are.

        Exactly one of many racing writers of different bytes wins. Equal bytes are a success for everybody (on S3 a
        repeated request can't be told from a second writer), so whoever must know that *it* won puts a token of its own
        into the bytes. Where the file system has no hard links (FAT, some network mounts) a lock file that the
        system frees when its holder dies stands in; it excludes only writers that use this class.

        Raises
        ------
        StoreConflict
            If other bytes are there.
        """
        with self._spoken(key), self._written(key, data) as temporary:
            path = self._path(key)
            try:
                try:
                    self._place(temporary, path, lambda source, target: target.hardlink_to(source))
                except OSError as error:
                    if error.errno not in _NO_LINKS:
                        raise
                    self._place(temporary, path, self._move_if_absent)
            except FileExistsError:
                if not path.is_file() or path.read_bytes() != data:
                    raise StoreConflict(f"key of store {self.uri} must be new; got '{key}', which is already there.") from None

    def get(self, key: str) -> bytes:
        """Read an object whole."""
        with self._spoken(key):
            return self._path(key).read_bytes()

    def exists(self, key: str) -> bool:
        """Tell whether the key is there."""
        with self._spoken(key):
            return self._path(key).is_file()

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """List the objects whose key starts with ``prefix`` in byte order of their keys."""
        checked_prefix(prefix)
        with self._spoken(prefix):
            self._require_folder()
            base, _, _ = prefix.rpartition("/")
            yield from self._walk(self._root / base, f"{base}/" if base else "", prefix)

    def delete(self, key: str) -> None:
        """Remove an object and the folders that become empty; removing what is not there is no error."""
        with self._spoken(key):
            path = self._path(key)
            with contextlib.suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
                path.unlink()
            for folder in path.parents:
                if folder == self._root:
                    break
                try:
                    folder.rmdir()
                except OSError:
                    break  # not empty, or gone: either way there is nothing to tidy above it

    def _walk(self, folder: Path, above: str, prefix: str) -> Iterator[StoredObject]:
        try:
            with os.scandir(folder) as found:
                entries = [(entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name, entry) for entry in found]
        except (FileNotFoundError, NotADirectoryError):
            return  # nothing below, or removed meanwhile
        # a folder sorts with its slash: so the walk meets the keys in their byte order
        for name, entry in sorted(entries, key=lambda pair: os.fsencode(pair[0])):
            key = above + name
            if key == f"{TEMPORARY}/" or not (key.startswith(prefix) or (name.endswith("/") and prefix.startswith(key))):
                continue
            if name.endswith("/"):
                yield from self._walk(Path(entry.path), key, prefix)
                continue
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat()
                if entry.is_file():
                    yield StoredObject(key, status.st_size, status.st_mtime)

    def _path(self, key: str) -> Path:
        checked_key(key)
        self._require_folder()
        return self._root / key

    def _require_folder(self) -> None:
        found = _first_there(self._root)
        if found is not None and not stat.S_ISDIR(found[1]):
            raise StoreError(f"uri of store must be a folder; got {self.uri}, where {found[0]} is a file.", "Give store.uri another path.")

    @contextlib.contextmanager
    def _written(self, key: str, data: bytes) -> Iterator[Path]:
        """Write a temporary file, synced, and remove it again whatever happens."""
        self._path(key)
        folder = self._root / TEMPORARY
        folder.mkdir(parents=True, exist_ok=True)
        self._sweep(folder)
        temporary = folder / f"{os.getpid()}-{uuid.uuid4().hex}"
        try:
            # not tempfile: its files are for their owner alone, and the mode would stay on the published file
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()

    def _sweep(self, folder: Path) -> None:
        """Remove what writers that were killed left behind."""
        if self._swept:
            return
        self._swept = True
        for leftover in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if leftover.name != "lock" and time.time() - leftover.stat().st_mtime > _STALE_SECONDS:
                    leftover.unlink()

    def _place(self, temporary: Path, path: Path, move: Callable[[Path, Path], object]) -> None:
        for _ in range(_PLACINGS):
            try:
                self._make_folder(path.parent)
                move(temporary, path)
            except FileNotFoundError:
                continue  # a delete elsewhere removed the empty folder between the two steps
            _sync(path.parent)
            return
        raise StoreUnavailable(f"folder of '{path.name}' must stay while it is written to; got {path.parent}, which vanished.")

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            found = _first_there(folder)
            if found is None or stat.S_ISDIR(found[1]):
                # it was there when mkdir met it, and a delete elsewhere has removed it since
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder)) from None
            raise StoreError(f"key of store {self.uri} must not lie below another object; got {found[0]}, a file.") from None

    def _move_if_absent(self, temporary: Path, path: Path) -> None:
        """Give a file its name where there is none, on file systems without hard links."""
        with (self._root / TEMPORARY / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
            temporary.replace(path)

    @contextlib.contextmanager
    def _spoken(self, key: str) -> Iterator[None]:
        """Say an error of the operating system in the words of the contract."""
        try:
            yield
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


def _sync(folder: Path) -> None:
    """Make the names in a folder last through a power cut."""
    with contextlib.suppress(FileNotFoundError):  # a delete elsewhere was faster: nothing is left to last
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _first_there(path: Path) -> tuple[Path, int] | None:
    """Return the first of a path and its parents that is there, and its mode: looked at once, others may make it meanwhile."""
    for each in (path, *path.parents):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return each, each.stat().st_mode
    return None
