"""The highest signed version of a name that this user has read: an older one as "the latest" is a rollback.

Who can write to a store can delete its latest version, and any pointer in the store with it: the older version carries a good
signature of its own. Only the reader can know that there was more. So each check with a public key that names no version keeps
the number, per store, name and key, in the user's home.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

from infra.ownership import home_folder, private_folder
from infra.settings import Settings
from tasks.contract.errors import StoreError

_MOST_BYTES = 4096


def check_latest(settings: Settings, store: str, name: str, key: str, version: int) -> None:
    """Refuse a latest version that is older than one which this user has read under the same key.

    Parameters
    ----------
    settings : Settings
        Where the home is.
    store, name : str
        URI of the store, and the release name.
    key : str
        Id of the public key.
    version : int
        What the store gives as the latest.

    Raises
    ------
    StoreError
        If a higher one was read before.
    """
    highest = _read(_file(settings, store, name, key))
    if version < highest:
        raise StoreError(
            f"latest version of '{name}' must be at least {highest}, which was read here with a good signature; got {version}.",
            f"Somebody removed version {highest} from {store}. If that was on purpose, name the version: {name}@{version}.",
        )


def remember_latest(settings: Settings, store: str, name: str, key: str, version: int) -> None:
    """Keep the number of a version that was read with a good signature, unless a higher one is kept."""
    path = _file(settings, store, name, key)
    if version > _read(path):
        draft = path.with_name(f"{path.name}-{os.getpid()}")
        number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(number, "w") as file:
            json.dump({"store": store, "name": name, "key": key, "version": version}, file)
        draft.replace(path)


def _file(settings: Settings, store: str, name: str, key: str) -> Path:
    digest = hashlib.sha256("\n".join((store, name, key)).encode()).hexdigest()[:32]
    return private_folder(home_folder(settings) / "latest") / f"{digest}.json"


def _read(path: Path) -> int:
    """Return the kept number; 0 where there is none that can be read."""
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(number, "rb") as file:
            values = json.loads(file.read(_MOST_BYTES))
        return int(values["version"])
    return 0
