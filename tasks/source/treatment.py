"""The treatment: two labels, one of them meaning "treated", or up to eight with a control; each with rows enough."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

from tasks.contract.errors import SourceError
from tasks.contract.labels import MOST_ARMS, label_order, listed_labels, match_label
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
    """The treatment column, its labels as canonical text (the control first), and the rows of each label."""

    column: Column
    profile: ColumnProfile
    labels: tuple[str, ...]
    arms: dict[str, int]


def decide_treatment(field: pa.Field, findings: ColumnFindings, roles: RolesSpec, folds: int) -> DecidedTreatment:
    """Decide which label is the control, and the order of the arms.

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
        If there are fewer than two labels, more than two without a ``control``, or more than eight; if ``control`` or ``treated`` is
        none of them, or an arm is too small.
    """
    name = field.name
    seen_as = family(field.type)
    if seen_as is None or seen_as == "datetime":
        raise SourceError(f"treatment '{name}' must be of type boolean, integer, float or text; got {field.type}.", "")
    labels = found_levels(findings, field.type)
    arms = _arms(name, labels, roles)
    assert labels is not None  # too many to count were refused
    fewest = max(folds, EDGE)
    for place, label in reversed([*enumerate(arms)]):
        if labels[label] < fewest:
            which = ("control" if place == 0 else "treated") if len(arms) == 2 else "smallest"
            raise SourceError(
                f"rows of the {which} arm of '{name}' must be at least {fewest}; got {min(labels.values())}.",
                f"Every one of the {folds} folds needs rows of {'both' if len(arms) == 2 else 'all'} arms; "
                "lower mechanisms.folds or bring more data.",
            )
    kind = _KINDS[seen_as]
    levels = tuple(sorted(labels)) if kind in ("boolean", "categorical") else ()
    column = Column(id="a", name=name, role="treatment", kind=kind, field=pack_field(field), levels=levels)
    profile = ColumnProfile(name=name, role="treatment", kind=kind, missing=0, missing_share=0.0, levels=dict(labels))
    return DecidedTreatment(column, profile, arms, {label: labels[label] for label in sorted(labels)})


def _arms(name: str, labels: dict[str, int] | None, roles: RolesSpec) -> tuple[str, ...]:
    """Return the labels in the order of the arms: the control first, the others sorted."""
    listed = listed_labels(labels, EDGE, SHOWN_LABELS)
    if labels is None or len(labels) < 2 or (len(labels) > 2 and roles.control is None):
        count = "too many to count" if labels is None else str(len(labels))
        raise SourceError(f"treatment '{name}' must have exactly two labels; got {count}{listed}.", _way_out(name, labels))
    _refuse_spellings(name, labels)
    if len(labels) > MOST_ARMS:
        raise SourceError(
            f"treatment '{name}' must have at most {MOST_ARMS} labels; got {len(labels)}{listed}.", "Merge arms, or keep the rows of some."
        )
    if len(labels) > 2 and roles.treated is not None:
        raise SourceError(
            f"treated of roles must be left out where '{name}' has more than two labels{listed}; got {roles.treated!r}.",
            "Every arm is compared with roles.control; keep the rows of two arms to compare those alone.",
        )
    if roles.control is None:
        treated = match_label(1 if roles.treated is None else roles.treated, labels)
        if treated is None:
            raise SourceError(
                f"treated of roles must be one of the two labels of '{name}'{listed}; got {roles.treated!r}.",
                "Set roles.treated to the label that means treated.",
            )
        return next(label for label in labels if label != treated), treated
    control = match_label(roles.control, labels)
    if control is None:
        raise SourceError(
            f"control of roles must be one of the labels of '{name}'{listed}; got {roles.control!r}.",
            "Set roles.control to the label of the reference arm.",
        )
    others = tuple(sorted((label for label in labels if label != control), key=label_order))
    if len(others) == 1 and roles.treated is not None and match_label(roles.treated, labels) != others[0]:
        raise SourceError(
            f"treated of roles must be the label beside control{listed}; got {roles.treated!r} beside {roles.control!r}.",
            "Leave one of the two out.",
        )
    return control, *others


def _refuse_spellings(name: str, labels: dict[str, int]) -> None:
    """Refuse an arm that is written in two ways: its rows would count as two arms."""
    words: dict[str, list[str]] = {}
    for label in labels:
        words.setdefault(label.strip().casefold(), []).append(label)
    for spellings in words.values():
        if len(spellings) > 1:
            shown = listed_labels({label: labels[label] for label in spellings}, EDGE, SHOWN_LABELS)
            raise SourceError(
                f"labels of treatment '{name}' must differ in more than case and blanks; got {len(spellings)} of one word{shown}.",
                "Write each arm in one way.",
            )


def _way_out(name: str, labels: dict[str, int] | None) -> str:
    """Say what to do about a treatment that has not two labels."""
    if labels is not None and len(labels) < 2:
        return "A causal contrast needs both arms."
    hint = "Keep the rows of two arms"
    if labels is not None and len(labels) <= MOST_ARMS:
        hint += ", or name the reference arm in roles.control to compare all of them"
    hint += "."
    if labels is not None and len(labels) == 3:
        hint += f' If a label means missing: source.missing_values.{name} declares it, and roles.missing_treatment = "drop".'
    return hint
