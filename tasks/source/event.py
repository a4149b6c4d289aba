"""The column of events of a time to event: 0 where the row was censored, 1 where the event came, or the number of its cause."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from tasks.contract.disclosure import few
from tasks.contract.errors import SourceError, SpecError
from tasks.contract.labels import Label, affirmative, label_order, listed_labels, match_label
from tasks.contract.roles import Column, Kind, pack_field
from tasks.source.covariate import Decided, found_levels
from tasks.source.findings import ColumnFindings
from tasks.source.profile import ColumnProfile, shown_levels
from tasks.source.values import family

#: Labels of censored rows beside 0, and most labels of a column of causes.
CENSORED, MOST_LABELS = frozenset({"censored", "censoring", "none", "no event"}), 20


def event_labels(labels: Sequence[str]) -> tuple[str, str] | None:
    """Return the labels of censoring and of the event; None where they are no such pair.

    Parameters
    ----------
    labels : sequence of str
        0 and 1, false and true, or a pair of no and yes; 1 or true alone where every row had the event.
    """
    if len(labels) == 1 and labels[0] in ("1", "true"):
        return ("0" if labels[0] == "1" else "false"), labels[0]
    return affirmative(labels)


def cause_labels(labels: Sequence[str], cause: Label, name: str) -> tuple[int, int]:
    """Return the places of the cause of interest and of censoring among labels; every other label is a competing cause.

    Parameters
    ----------
    labels : sequence of str
    cause : label
        As it is declared.
    name : str
        Of the column of events.

    Raises
    ------
    SpecError
        If no label is the cause, or it is that of censoring.
    SourceError
        If no label is that of censoring, or there are more than ``MOST_LABELS``.
    """
    if len(labels) > MOST_LABELS:
        raise SourceError(f"labels of event '{name}' must be at most {MOST_LABELS}; got {len(labels)}.", "Is it a column of causes?")
    shown = ", ".join(f"'{label}'" for label in labels)
    place = match_label(cause, labels)
    if place is None:
        raise SpecError(f"cause of the outcome must be one of the labels of event '{name}' ({shown}); got {cause!r}.", "Name one of them.")
    words = [label for label in labels if label.strip().lower() in CENSORED]
    censored = words[0] if len(words) == 1 else next((label for label in labels if label in ("0", "0.0", "false")), None)
    if censored is None:
        raise SourceError(
            f"event '{name}' must have one label of censored rows, 0 or 'censored'; got {shown}.",
            "Code censored rows as 0. If no row is censored, an event by a given time is a binary outcome.",
        )
    if censored == place:
        raise SpecError(f"cause of the outcome must be an event; got {cause!r}, which is censoring.", "Name the cause of interest.")
    return labels.index(place), labels.index(censored)


def decide_event(field: pa.Field, cells: ColumnFindings, cause: Label | None = None) -> Decided:
    """Decide which label of the column of events says that the event came.

    Parameters
    ----------
    field : pyarrow.Field
        The released field.
    cells : ColumnFindings
        Over the rows used: those with a time.
    cause : label, optional
        The label of the cause of interest, where causes compete: levels are then that of censoring, this one, and the others in order.

    Raises
    ------
    SourceError
        If it is missing where the time is not, or holds other labels than a pair.
    """
    owner = f"event '{field.name}'"
    if cells.missing:
        rows = cells.present + cells.missing
        raise SourceError(
            f"{owner} must be known in every row with a time; got {few(cells.missing)} of {rows} without it.", "Code censored rows as 0."
        )
    levels = found_levels(cells, field.type) or {}
    if set(levels) in ({"0"}, {"false"}):
        raise SourceError(f"{owner} must be 1 in some row; got 0 in all {cells.present} rows.", "With no event there is no curve to keep.")
    pair: tuple[str, ...] | None = tuple(levels)
    if cause is None:
        pair = event_labels(tuple(levels))
        if pair is None:
            raise SourceError(
                f"{owner} must be 1 for an event and 0 for censoring; got other labels{listed_labels(levels) if levels else ''}.",
                "Recode it. Of several causes outcomes.NAME.cause (estimate --cause) names the one of interest.",
            )
    else:
        labels = tuple(levels)
        place, censored = cause_labels(labels, cause, field.name)
        others = sorted((label for at, label in enumerate(labels) if at not in (place, censored)), key=label_order)
        pair = (labels[censored], labels[place], *others)
    kinds: dict[str, Kind] = {"integer": "integer", "float": "continuous", "boolean": "boolean"}
    kind = kinds.get(family(field.type) or "", "categorical")
    column = Column(id="e", name=field.name, role="event", kind=kind, field=pack_field(field), levels=pair, decimals=0, low=0.0)
    column = column.model_copy(update={"high": float(max(len(pair) - 1, 1))})
    shown, rare = shown_levels(levels)
    return Decided(
        column, ColumnProfile(name=field.name, role="event", kind=kind, missing=0, missing_share=0.0, levels=shown, rare=rare), ()
    )
