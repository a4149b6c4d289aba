"""Files of keys that sign releases: a private key is read only where nobody else could have read it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from infra.settings import sign_key_path
from tasks.contract.errors import SpecError

_MOST_BYTES = 16 * 2**10


def read_signing_key() -> tuple[bytes, str] | None:
    """Return the key that releases of this environment are signed with (``WAYMINT_SIGN_KEY``), and where it is; None without one."""
    path = sign_key_path()
    return None if path is None else (read_private_file(path), f"WAYMINT_SIGN_KEY ({path})")


def read_private_file(path: Path) -> bytes:
    """Read the file of a private key.

    It must belong to the user or to root and be closed to others; its group may read it, as a mounted secret's may.

    Raises
    ------
    SpecError
        If it can't be read, or others could have read it.
    """
    try:
        number = os.open(path, os.O_RDONLY)
        with os.fdopen(number, "rb") as file:
            status, data = os.fstat(number), file.read(_MOST_BYTES)
    except OSError as error:
        raise SpecError(f"signing key must be a file that can be read; got '{error.strerror}' at {path}.") from None
    if not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o027:
        raise SpecError(
            f"signing key must be closed to others; got mode {stat.S_IMODE(status.st_mode):04o} of user {status.st_uid} at {path}.",
            f"If nobody has read it: chmod 600 {path}. Else make another one.",
        )
    return data


def read_public_file(path: Path) -> bytes:
    """Read the file of a public key.

    Raises
    ------
    SpecError
        If it can't be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        raise SpecError(f"public key must be a file that can be read; got '{error.strerror}' at {path}.") from None


def write_key_files(path: Path, private: bytes, public: bytes) -> Path:
    """Write a new key pair: the private key for its owner alone, the public one beside it with ``.pub`` at its end; return the latter.

    Raises
    ------
    SpecError
        If one of the files is there or can't be written.
    """
    beside = path.with_name(f"{path.name}.pub")
    try:
        for place, data, mode in ((path, private, 0o600), (beside, public, 0o644)):
            number = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
            with os.fdopen(number, "wb") as file:
                os.fchmod(number, mode)
                file.write(data)
    except OSError as error:
        raise SpecError(f"file of a new key must be new and writable; got '{error.strerror}' at {error.filename}.") from None
    return beside
