"""From the results of a run to its manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from tasks.checks.verdict import private_numbers
from tasks.contract.refs import FileRef
from tasks.contract.results import Gate
from tasks.publish.manifest import Manifest, plain

COPIES_NOTE = (
    "Every copy is drawn from its own Bayesian bootstrap draw of the source, so that the copies differ as samples would: "
    "use effects.release.combined. effects.truth is that of copy 0."
)


class Verdict(NamedTuple):
    """What a manifest says of a release's gates.

    Attributes
    ----------
    gates : tuple of Gate
        Verdicts.
    holdout : dict or None
        Of :func:`tasks.publish.holdouts.holdout_record`; None without a query of the holdout.
    cautions : tuple of str
        What a reader should know besides.
    """

    gates: tuple[Gate, ...]
    holdout: dict[str, Any] | None
    cautions: tuple[str, ...]


class Facts(BaseModel):
    """A manifest without version and files: complete before a number is claimed.

    Attributes are those of :class:`tasks.publish.manifest.Manifest`.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    created: str
    run: str
    spec: dict[str, Any]
    source: dict[str, Any]
    code: dict[str, Any]
    packages: dict[str, str]
    seed: int
    table: dict[str, Any]
    effects: dict[str, Any]
    fidelity: dict[str, Any]
    privacy: dict[str, Any]
    overlap: dict[str, Any]
    gates: tuple[Gate, ...]
    warnings: tuple[str, ...]
    profile: str = "release"
    augmentation: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    parents: tuple[Any, ...] = ()

    def manifest(self, version: int, files: Sequence[FileRef]) -> Manifest:
        """Return the manifest of a published release."""
        return Manifest(version=version, files=tuple(files), **{name: getattr(self, name) for name in Facts.model_fields})

    def unpublished(self) -> dict[str, Any]:
        """Return the manifest's values for a release that was rejected: no version, no files."""
        values: dict[str, Any] = plain(self.manifest(1, ()).as_dict())
        return {**values, "version": None}


def effect_section(records: Mapping[str, Any], main: str) -> dict[str, Any]:
    """Arrange one table's estimates: the main one of each estimand by name, and all of them.

    Parameters
    ----------
    records : mapping
        ``{"estimates": [...]}`` as the estimation step writes it.
    main : str
        The table's main estimator of the ATE.

    Returns
    -------
    dict
        ``{"ate": {estimate, se, ci_low, ci_high, estimator, n}, "att": ..., "all": [...]}``; of more than two arms with ``arm`` and
        ``control``, the pair that stands for all; of a time to event also ``survival``.
    """
    section: dict[str, Any] = {}
    for each in records["estimates"]:
        # of several pairs of arms the first: that of the first arm beside the control
        if each["estimand"] not in section and each["estimand"] != "mean" and (each["estimand"] != "ate" or each["estimator"] == main):
            pair = ("arm", "control") if each.get("arm") is not None else ()
            section[each["estimand"]] = {key: each[key] for key in ("estimate", "se", "ci_low", "ci_high", "estimator", "n", *pair)}
    times = {"survival": records["survival"]} if "survival" in records else {}
    return {**section, "all": list(records["estimates"]), **times}


def privacy_section(gates: Sequence[Gate], holdout: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the numbers of the privacy gates, and the queries of the holdout."""
    section: dict[str, Any] = dict(private_numbers(gates))
    return section if holdout is None else section | {"holdout": dict(holdout)}
