"""Where the work of a run is done, where its SPEC leaves that open."""

from __future__ import annotations

from typing import NamedTuple

from infra.store import filesystem
from tasks.contract.spec import Purpose, Spec
from tasks.source.builtin import BUILTIN
from tasks.source.locate import locate

#: A source of at most so many bytes, and so many released rows in all, are worked on in threads of one process: there a run ends
#: before worker processes would have imported what they need (benchmarks/small_runs.py).
SMALL_BYTES = 1_000_000
SMALL_ROWS = 30_000
#: Flows that repeat the work of a release tens to thousands of times.
LARGE: frozenset[Purpose] = frozenset({"simulate", "compare"})


class Engine(NamedTuple):
    """What a run takes.

    Attributes
    ----------
    spec : Spec
        The SPEC with ``engine.dask`` settled.
    reason : str
        Why, in words; empty where the SPEC says it.
    """

    spec: Spec
    reason: str


def choose_engine(spec: Spec, purpose: Purpose) -> Engine:
    """Settle ``engine.dask = "auto"``: threads for a small run, worker processes for any other.

    The bytes of a release are the same either way.

    Parameters
    ----------
    spec : Spec
    purpose : str
        Name of the flow.

    Raises
    ------
    SourceError
        If the source is not there.
    """
    if spec.engine.dask != "auto":
        return Engine(spec, "")
    taken, reason = _choice(spec, purpose)
    return Engine(spec.model_copy(update={"engine": spec.engine.model_copy(update={"dask": taken})}), reason)


def _choice(spec: Spec, purpose: Purpose) -> tuple[str, str]:
    if purpose in LARGE:
        return "local", f"{purpose} repeats the work of a release many times"
    rows = spec.release.rows * spec.release.copies
    if rows > SMALL_ROWS:
        return "local", f"{rows:,} rows are drawn, more than {SMALL_ROWS:,}"
    size = _source_bytes(spec.source.uri)
    if size > SMALL_BYTES:
        return "local", f"the source has {size / 1e6:,.1f} MB, more than {SMALL_BYTES / 1e6:g}"
    return "threads", "a small table"


def _source_bytes(uri: str) -> int:
    """Return the size of a source's files; a built-in table counts as nothing."""
    if uri.startswith(BUILTIN):
        return 0
    fs, path = filesystem(uri)
    return sum(file.size for file in locate(fs, path, uri))
