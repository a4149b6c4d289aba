"""The request for an audit: a release's own SPEC, where its source lies now, which attacks."""

from __future__ import annotations

from pydantic import Field

from tasks.contract.errors import SpecError
from tasks.contract.registry import names
from tasks.contract.spec import Spec

#: The attacks as a report has them; those of plug-ins follow.
ORDER = ("membership", "mechanism", "reconstruction", "outcomes", "singling_out", "isolation", "linkability", "distribution")


class Audit(Spec):
    """A release's SPEC with what an audit adds.

    Attributes
    ----------
    version : int
        Version of the audited release; its name is that of the SPEC, its store the SPEC's store.
    manifest : str
        SHA-256 of its manifest.
    attacks : tuple of str
        Which attacks to run, in this order.
    canaries : str or None
        Where a table of the planted canaries lies: rows of the source in its own columns.
    """

    version: int = Field(ge=1)
    manifest: str
    attacks: tuple[str, ...]
    canaries: str | None = None


def chosen_attacks(text: str) -> tuple[str, ...]:
    """Read a comma-separated list of attacks.

    Raises
    ------
    SpecError
        If it names none, or one that is not known.
    """
    plugins = sorted(names("attack"), key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    if text == "all":
        return tuple(plugins)
    wanted = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [name for name in wanted if name not in plugins]
    if unknown or not wanted:
        got = ", ".join(unknown) or "none"
        raise SpecError(f"attacks of audit must be among {', '.join(plugins)}; got {got}.", "Leave --attacks out to run them all.")
    return wanted
