"""Optional packages that Great Expectations would import for data sources that are never used here."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

#: Great Expectations goes on without each of these. With them its import takes 3.1 CPU seconds, without 2.4.
UNUSED = ("boto3", "botocore", "sqlalchemy")


class _Absence(MetaPathFinder):
    """Answers one thread's imports of some packages as if they were not installed."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names, self._thread = frozenset(names), threading.get_ident()

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Raise for the packages in this thread; leave all else to the finders behind."""
        del path, target  # of the protocol
        if threading.get_ident() == self._thread and fullname.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


@contextlib.contextmanager
def absent(names: Sequence[str] = UNUSED) -> Iterator[None]:
    """Import without some packages; what is imported already stays, and other threads see no difference.

    Parameters
    ----------
    names : sequence of str
        Top-level packages.
    """
    finder = _Absence(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
