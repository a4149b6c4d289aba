"""The column of events of a time to event: 1 where the event came, 0 where the row was censored."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from tasks.contract.disclosure import few
from tasks.contract.errors import SourceError
from tasks.contract.labels import affirmative, listed_labels
from tasks.contract.roles import Column, Kind, pack_field
from tasks.source.covariate import Decided, found_levels
from tasks.source.findings import ColumnFindings
from tasks.source.profile import ColumnProfile, shown_levels
from tasks.source.values import family


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


def decide_event(field: pa.Field, cells: ColumnFindings) -> Decided:
    """Decide which label of the column of events says that the event came.

    Parameters
    ----------
    field : pyarrow.Field
        The released field.
    cells : ColumnFindings
        Over the rows used: those with a time.

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
    pair = event_labels(tuple(levels))
    if pair is None:
        raise SourceError(
            f"{owner} must be 1 for an event and 0 for censoring; got other labels{listed_labels(levels) if levels else ''}.",
            "Recode it: an event of another cause counts as censoring.",
        )
    kinds: dict[str, Kind] = {"integer": "integer", "float": "continuous", "boolean": "boolean"}
    kind = kinds.get(family(field.type) or "", "categorical")
    column = Column(id="e", name=field.name, role="event", kind=kind, field=pack_field(field), levels=pair, decimals=0, low=0.0, high=1.0)
    shown, rare = shown_levels(levels)
    return Decided(
        column, ColumnProfile(name=field.name, role="event", kind=kind, missing=0, missing_share=0.0, levels=shown, rare=rare), ()
    )
