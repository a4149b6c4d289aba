"""What a release is about, in words: the SPEC's, or plain ones where it has none."""

from __future__ import annotations

from typing import Any, NamedTuple

from tasks.publish.manifest import Manifest

KEYWORDS = ("synthetic data", "causal inference", "treatment effect")
NOTE = (
    "All rows are synthetic: they were drawn from models of a source table, which is not part of the release. "
    "To estimate the effect in the source's population, use the intervals in manifest.json or those of 'waymint estimate': "
    "an interval computed from the rows alone is too narrow."
)


class Subject(NamedTuple):
    """Title, description, licence, creators and keywords of a release.

    Attributes
    ----------
    title, description : str
        Never empty.
    licence : str
        SPDX identifier, URL or text; empty where the SPEC names none.
    creators : tuple of str
        Empty where the SPEC names none.
    keywords : tuple of str
    """

    title: str
    description: str
    licence: str
    creators: tuple[str, ...]
    keywords: tuple[str, ...] = KEYWORDS

    @classmethod
    def of(cls, manifest: Manifest) -> Subject:
        """Read the section ``about`` of a manifest's SPEC; older ones have none."""
        about: dict[str, Any] = manifest.spec.get("about") or {}
        words = str(about.get("description") or f"Synthetic release of a table of covariates, treatment and outcome. {_table(manifest)}")
        return cls(
            title=str(about.get("title") or manifest.name),
            description=f"{words} {NOTE}",
            licence=str(about.get("licence") or ""),
            creators=tuple(map(str, about.get("creators") or ())),
        )


def citation(manifest: Manifest) -> str:
    """Return the line by which a release is cited; its manifest's digest, which tells it from any other, is not in it."""
    subject = Subject.of(manifest)
    who = f"{', '.join(subject.creators)}. " if subject.creators else ""
    what = subject.title if subject.title == manifest.name else f"{subject.title} ({manifest.name})"
    origin = f"Synthetic release of a (W, A, Y) table, made by waymint {manifest.code.get('version', '?')}."
    return f"{who}{what}, version {manifest.version} ({manifest.created[:10]}). {origin}"


def _table(manifest: Manifest) -> str:
    columns = manifest.table.get("columns", [])
    names = {str(column.get("role")): str(column.get("name")) for column in columns if isinstance(column, dict)}
    return f"Treatment '{names.get('treatment', '?')}', outcome '{names.get('outcome', '?')}', {len(columns)} columns."
