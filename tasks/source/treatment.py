"""The treatment: two labels, one of them meaning "treated", each with rows enough."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

from tasks.contract.errors import SourceError
from tasks.contract.labels import listed_labels, match_label
from tasks.contract.roles import Column, Kind, pack_field
from tasks.contract.spec import RolesSpec
from tasks.source.covariate import found_levels
from tasks.source.findings import ColumnFindings
from tasks.source.numbers import EDGE
from tasks.source.profile import ColumnProfile
from tasks.source.values import family

SHOWN_LABELS = 5
_KINDS: dict[str, Kind] = {"boolean": "boolean", "integer": "integer", "float": "continuous", "text": "categorical"}


class DecidedTreatment(NamedTuple):
    """The treatment column, its two labels as canonical text, and the rows of each."""

    column: Column
    profile: ColumnProfile
    treated: str
    control: str
    arms: dict[str, int]


def decide_treatment(field: pa.Field, findings: ColumnFindings, roles: RolesSpec, folds: int) -> DecidedTreatment:
    """Decide which label is treated.

    Parameters
    ----------
    field : pyarrow.Field
        The released field.
    findings : ColumnFindings
        Over the rows used.
    roles : RolesSpec
        The SPEC's roles.
    folds : int
        Every arm must have at least as many rows, and never fewer than five.

    Returns
    -------
    DecidedTreatment

    Raises
    ------
    SourceError
        If there are not exactly two labels, ``treated`` is neither, or an arm is too small.
    """
    name = field.name
    seen_as = family(field.type)
    if seen_as is None or seen_as == "datetime":
        raise SourceError(f"treatment '{name}' must be of type boolean, integer, float or text; got {field.type}.", "")
    labels = found_levels(findings, field.type)
    if labels is None or len(labels) != 2:
        count = "too many to count" if labels is None else str(len(labels))
        raise SourceError(
            f"treatment '{name}' must have exactly two labels; got {count}{listed_labels(labels, EDGE, SHOWN_LABELS)}.",
            _way_out(name, labels),
        )
    listed = listed_labels(labels, EDGE, SHOWN_LABELS)
    treated = match_label(roles.treated, labels)
    if treated is None:
        raise SourceError(
            f"treated of roles must be one of the two labels of '{name}'{listed}; got {roles.treated!r}.",
            "Set roles.treated to the label that means treated.",
        )
    control = next(label for label in labels if label != treated)
    fewest = max(folds, EDGE)
    for label, arm in ((treated, "treated"), (control, "control")):
        if labels[label] < fewest:
            raise SourceError(
                f"rows of the {arm} arm of '{name}' must be at least {fewest}; got {labels[label]}.",
                f"Every one of the {folds} folds needs rows of both arms; lower mechanisms.folds or bring more data.",
            )
    kind = _KINDS[seen_as]
    levels = tuple(sorted(labels)) if kind in ("boolean", "categorical") else ()
    column = Column(id="a", name=name, role="treatment", kind=kind, field=pack_field(field), levels=levels)
    profile = ColumnProfile(name=name, role="treatment", kind=kind, missing=0, missing_share=0.0, levels=dict(labels))
    return DecidedTreatment(column, profile, treated, control, {label: labels[label] for label in sorted(labels)})


def _way_out(name: str, labels: dict[str, int] | None) -> str:
    """Say what to do about a treatment that has not two labels."""
    if labels is not None and len(labels) < 2:
        return "A causal contrast needs both arms."
    hint = "Keep the rows of two arms."
    if labels is not None and len(labels) == 3:
        hint += f' If a label means missing: source.missing_values.{name} declares it, and roles.missing_treatment = "drop".'
    return hint
