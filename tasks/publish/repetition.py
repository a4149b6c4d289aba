"""Whether a run would do the work of a published release once more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import ValidationError

from tasks.contract.refs import PartitionRef
from tasks.contract.spec import Purpose, Spec
from tasks.publish.manifest import Manifest


class Inputs(NamedTuple):
    """Everything that decides the bytes of a release.

    Attributes
    ----------
    spec : Spec
        The SPEC; where its tables lie and how the work is run does not count.
    fingerprint : str
        Of the source's content.
    other : str or None
        Fingerprint of the table that an augmentation takes its outcomes from.
    code : str
        Digest of the product's files and of the versions of its packages.
    """

    spec: Spec
    fingerprint: str
    other: str | None
    code: str


def repeats_work(inputs: Inputs, manifest: Manifest, purpose: Purpose) -> bool:
    """Return whether a run with these inputs would write the bytes of a release.

    Parameters
    ----------
    inputs : Inputs
        Of the run.
    manifest : Manifest
        Of the release.
    purpose : str
        Name of the flow.
    """
    return repeats_question(inputs, manifest, purpose) and manifest.code.get("digest") == inputs.code


def repeats_question(inputs: Inputs, manifest: Manifest, purpose: Purpose) -> bool:
    """Return whether a run has source and SPEC of a release, whatever code made that."""
    if manifest.profile != purpose or manifest.source.get("fingerprint") != inputs.fingerprint:
        return False
    if (manifest.augmentation.get("outcome") or {}).get("fingerprint") != inputs.other:
        return False
    try:
        minted = Spec.model_validate(manifest.spec)
    except ValidationError:  # a SPEC of a newer version
        return False
    return _digest(inputs.spec, manifest, purpose) == _digest(minted, manifest, purpose)


def has_parts(manifest: Manifest, parts: Mapping[str, PartitionRef]) -> bool:
    """Return whether the rows of a release are these parts, byte for byte.

    Parameters
    ----------
    manifest : Manifest
        Of the release.
    parts : mapping
        Path in the release to the drawn part.
    """
    rows = {file.path: file.sha256 for file in manifest.files if file.path.startswith("data/")}
    return rows == {path: part.sha256 for path, part in parts.items()}


def _digest(spec: Spec, manifest: Manifest, purpose: Purpose) -> str:
    """Return the SPEC's digest with its synthesizer resolved and the tables' places left out: their content is compared."""
    rows = manifest.source.get("rows")
    resolved = spec.covariates.resolved(rows if isinstance(rows, int) else 0)
    places = {"source": spec.source.model_copy(update={"uri": ""}), "covariates": resolved}
    if spec.augment.outcome != "self":
        places["augment"] = spec.augment.model_copy(update={"outcome": ""})
    return spec.model_copy(update=places).digest(purpose)
