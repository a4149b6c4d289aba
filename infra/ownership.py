"""What is the user's alone: folders that nobody else can enter, and a key that authenticates what lies in them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from infra.settings import Settings, shared_key
from tasks.contract.errors import WaymintError

_KEY_BYTES = 32


def private_folder(path: Path) -> Path:
    """Make a folder that its owner alone can enter, or make one that is there so; return it.

    Raises
    ------
    WaymintError
        If it is a link, no folder, or someone else's: they could put code into it; or if it can't be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
    except OSError as error:
        raise WaymintError(
            f"folder '{path}' must be there or be one that can be made; got '{error.strerror}'.",
            "Set WAYMINT_HOME, WAYMINT_WORKSPACE or engine.workspace to a folder that you may write to.",
        ) from None
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        kind = "a link or a file" if not stat.S_ISDIR(status.st_mode) else f"one of user {status.st_uid}"
        raise WaymintError(
            f"folder '{path}' must be a folder of the user who runs waymint; got {kind}.",
            "Whoever owns it could put code there. Remove it, or choose another place: WAYMINT_HOME, WAYMINT_WORKSPACE, engine.workspace.",
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        path.chmod(0o700)
    return path


def is_private(path: Path) -> bool:
    """Return whether a folder is there, is no link and belongs to this user."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def home_folder(settings: Settings) -> Path:
    """Return the folder where this machine keeps the user's state; made for its owner alone."""
    return private_folder(settings.home.expanduser().resolve())


def sign(message: bytes) -> bytes:
    """Return the HMAC-SHA256 of a message under the user's key."""
    return hmac.digest(_key(), message, hashlib.sha256)


def is_signed(message: bytes, signature: bytes) -> bool:
    """Return whether a signature is the message's, in constant time."""
    return hmac.compare_digest(sign(message), signature)


def _key() -> bytes:
    """Return the user's key: ``WAYMINT_KEY``, else the file ``key`` in the home, made on first use."""
    named = shared_key()
    return hashlib.sha256(named.encode()).digest() if named is not None else _kept_key(Settings().home.expanduser().resolve())


@functools.lru_cache(maxsize=8)
def _kept_key(home: Path) -> bytes:
    path = private_folder(home) / "key"
    with contextlib.suppress(FileExistsError):
        # whole or not at all: another process may read it at once
        draft = path.with_name(f"key-{secrets.token_hex(8)}")
        number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
            path.hardlink_to(draft)
        finally:
            draft.unlink()
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(number, "rb") as file:
        status, key = os.fstat(number), file.read()
    if status.st_uid != os.geteuid() or status.st_mode & 0o077 or len(key) != _KEY_BYTES:
        raise WaymintError(
            f"key file '{path}' must hold {_KEY_BYTES} bytes and be readable by its owner alone; it is not so.",
            "Remove it: a new one is made, and killed runs start over.",
        )
    return key
