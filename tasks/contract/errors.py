"""The error tree.

::

    WaymintError            exit 1
    ├── SpecError           exit 2   the SPEC or the command line is wrong
    ├── GateFailed          exit 3   a release was rejected, nothing was published
    ├── SourceError         exit 4   the source can't be used
    ├── EstimationError     exit 4   the source can't answer the question
    ├── StoreError          exit 5   the store can't be used
    │   ├── StoreMissing             the thing is not there
    │   ├── StoreForbidden           it may be there, we are not let in
    │   ├── StoreConflict            somebody else was first
    │   ├── StoreLink                a link or a special file lies where an object should
    │   └── StoreUnavailable         a passing fault (retryable)
    └── InfrastructureError exit 6   Dask or Prefect failed the run; the same command resumes

Messages follow one grammar, ``"{name} of {owner} must be {rule}; got {value}."``, and the way
out stands in ``hint``. A message never carries a cell of the source: names, counts and bounds only.
"""

from __future__ import annotations

from typing import ClassVar


class WaymintError(Exception):
    """Root of everything this product raises on purpose.

    Parameters
    ----------
    message : str
        What was wrong and where.
    hint : str
        What the reader can do about it.
    """

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def as_dict(self) -> dict[str, object]:
        """Return the reply that ``--json`` prints for this error."""
        return {"status": "error", "code": self.exit_code, "error": self.message, "hint": self.hint}


class SpecError(WaymintError):
    """The SPEC or the command line is wrong."""

    exit_code = 2


class GateFailed(WaymintError):
    """A gate failed; nothing was published.

    ``reply`` is what ``--json`` prints; it travels with the error when that is pickled.
    """

    exit_code = 3
    reply: dict[str, object] | None = None


class SourceError(WaymintError):
    """The source is missing, unreadable or not a (W, A, Y) table."""

    exit_code = 4


class EstimationError(WaymintError):
    """The source can be read but can't answer the question."""

    exit_code = 4


class StoreError(WaymintError):
    """The store can't be used."""

    exit_code = 5


class StoreMissing(StoreError):
    """The object is not in the store."""


class StoreForbidden(StoreError):
    """The store refused access."""


class StoreConflict(StoreError):
    """The object is already there."""


class StoreLink(StoreError):
    """A link or a special file lies where an object should; nothing behind it is touched."""


class StoreUnavailable(StoreError):
    """The store did not answer, or answered with a passing fault."""

    retryable = True


class InfrastructureError(WaymintError):
    """The Dask cluster or the Prefect server failed the run; the same command resumes."""

    exit_code = 6
