"""The outcome: its kind and range."""

from __future__ import annotations

from typing import Literal, NamedTuple

import pyarrow as pa

from tasks.contract.errors import SourceError
from tasks.contract.labels import affirmative, listed_labels, match_label
from tasks.contract.roles import Column, Kind, pack_field
from tasks.contract.spec import RolesSpec
from tasks.source.covariate import found_levels, refuse_infinite
from tasks.source.findings import ColumnFindings
from tasks.source.mixture import outlier_warnings, refuse_inexact, refuse_mixed, sentinel_warnings
from tasks.source.numbers import MANY_DECIMALS, Numbers
from tasks.source.profile import ColumnProfile, deciles, shown_levels
from tasks.source.ranges import safe_range
from tasks.source.values import family

OutcomeKind = Literal["binary", "continuous", "count", "survival"]
_HINT = "Recode it, or choose another roles.outcome_kind."


class DecidedOutcome(NamedTuple):
    """The outcome column, its profile, its kind, and what the user should know about it."""

    column: Column
    profile: ColumnProfile
    kind: OutcomeKind
    warnings: tuple[str, ...]


def decide_outcome(field: pa.Field, cells: ColumnFindings, roles: RolesSpec) -> DecidedOutcome:
    """Decide the outcome's kind.

    ``"auto"`` takes two-valued answers as binary (booleans, 0/1, 1/2, pairs of :data:`tasks.contract.labels.PAIRS`, or any two where
    ``roles.event`` names the one that counts as 1); whole numbers that are never negative, of at least three
    values, as counts whatever their maximum; everything else as continuous.

    Parameters
    ----------
    field : pyarrow.Field
        The released field.
    cells : ColumnFindings
        Over the rows used.
    roles : RolesSpec
        ``outcome_kind`` and ``event``.

    Returns
    -------
    DecidedOutcome

    Raises
    ------
    SourceError
        If the outcome is text of other than two labels or a date, infinite, constant, or not what was declared.
    """
    name, seen_as, wish = field.name, family(field.type), roles.outcome_kind
    if seen_as == "boolean" and roles.event is None:
        return _flag(field, cells, wish)
    if seen_as in ("text", "boolean"):
        return _answer(field, cells, roles)
    if seen_as not in ("integer", "float") or cells.numbers is None:
        raise SourceError(f"outcome '{name}' must be numeric or two-valued; got {field.type}.", "Recode it as numbers.")
    numbers = cells.numbers
    refuse_infinite(name, numbers)
    refuse_inexact("outcome", name, cells)
    if len(numbers.lowest) < 2:
        raise SourceError(f"outcome '{name}' must vary; got the same value in all {numbers.finite} rows.", "There is no effect to keep.")
    pair = _pair_of_numbers(field, cells, roles)
    if pair is not None:
        return _two_valued(field, *pair)
    kind, warnings = _kind(name, numbers, wish)
    warnings += tuple(sentinel_warnings(name, numbers, field.type) or outlier_warnings(name, numbers))
    low, high = (0.0, 1.0) if kind == "binary" else safe_range(numbers, "integer" if seen_as == "integer" else "continuous", field.type)
    column = Column(
        id="y",
        name=name,
        role="outcome",
        kind="integer" if seen_as == "integer" else "continuous",
        field=pack_field(field),
        decimals=numbers.decimals if numbers.decimals < MANY_DECIMALS else None,
        low=low,
        high=high,
    )
    return DecidedOutcome(column, _profile(column, kind, numbers), kind, warnings)


def _answer(field: pa.Field, cells: ColumnFindings, roles: RolesSpec) -> DecidedOutcome:
    """Decide an outcome of two texts: yes and no of a known pair, or as ``roles.event`` says."""
    name, levels = field.name, found_levels(cells, field.type)
    if levels is None or len(levels) > 2:
        refuse_mixed("outcome", name, field.type, cells)
        count = "many" if levels is None else str(len(levels))
        raise SourceError(
            f"outcome '{name}' must be numeric or two-valued; got {field.type} of {count} labels{listed_labels(levels)}.",
            "Recode it as numbers.",
        )
    if len(levels) < 2:
        raise SourceError(f"outcome '{name}' must vary; got the same value in all {cells.present} rows.", "There is no effect to keep.")
    if roles.outcome_kind not in ("auto", "binary"):
        raise SourceError(f"outcome '{name}' must be numeric to be a {roles.outcome_kind} outcome; got {field.type}.", _HINT)
    pair = affirmative(levels) if roles.event is None else _by_event(name, levels, roles)
    if pair is None:
        raise SourceError(
            f"label of outcome '{name}' that counts as 1 must be known; got two labels of no known pair{listed_labels(levels)}.",
            "Set roles.event to that label.",
        )
    return _two_valued(field, pair, levels, ())


def _by_event(name: str, levels: dict[str, int], roles: RolesSpec) -> tuple[str, str]:
    event = None if roles.event is None else match_label(roles.event, levels)
    if event is None:
        raise SourceError(
            f"event of roles must be one of the two labels of '{name}'{listed_labels(levels)}; got {roles.event!r}.", "Set roles.event."
        )
    return next(label for label in levels if label != event), event


def _pair_of_numbers(
    field: pa.Field, cells: ColumnFindings, roles: RolesSpec
) -> tuple[tuple[str, str], dict[str, int], tuple[str, ...]] | None:
    """Return the labels of a two-valued outcome that is not 0/1, with their rows and what to say of it; None for any other."""
    levels, wish = found_levels(cells, field.type), roles.outcome_kind
    if levels is None or len(levels) != 2 or wish not in ("auto", "binary"):
        if roles.event is not None:
            raise SourceError(f"outcome '{field.name}' must have two labels where roles.event is set; got others.", "Take out roles.event.")
        return None
    if roles.event is not None:
        return _by_event(field.name, levels, roles), levels, ()
    low, high = sorted(levels, key=float)
    if (low, high) == ("0", "1"):
        return None
    if wish == "auto" and float(high) - float(low) != 1.0:
        return None
    warning = (
        f"outcome '{field.name}' has the two values {low} and {high} and is taken as binary: {high} counts as 1; roles.event names another."
    )
    return (low, high), levels, (warning,)


def _two_valued(field: pa.Field, pair: tuple[str, str], levels: dict[str, int], warnings: tuple[str, ...]) -> DecidedOutcome:
    seen_as = family(field.type)
    kind: Kind = {"integer": "integer", "float": "continuous", "boolean": "boolean"}.get(seen_as or "", "categorical")  # type: ignore[assignment]
    column = Column(id="y", name=field.name, role="outcome", kind=kind, field=pack_field(field), levels=pair, decimals=0, low=0.0, high=1.0)
    shown, rare = shown_levels(levels)
    profile = ColumnProfile(name=field.name, role="outcome", kind=kind, missing=0, missing_share=0.0, levels=shown, rare=rare)
    return DecidedOutcome(column, profile, "binary", warnings)


def _flag(field: pa.Field, cells: ColumnFindings, wish: str) -> DecidedOutcome:
    if wish not in ("auto", "binary"):
        raise SourceError(f"outcome '{field.name}' must be numeric to be a {wish} outcome; got {field.type}.", _HINT)
    levels = found_levels(cells, field.type) or {}
    if len(levels) < 2:
        raise SourceError(
            f"outcome '{field.name}' must vary; got the same value in all {cells.present} rows.", "There is no effect to keep."
        )
    kind: Kind = "boolean"
    column = Column(id="y", name=field.name, role="outcome", kind=kind, field=pack_field(field), decimals=0, low=0.0, high=1.0)
    shown, rare = shown_levels(levels)
    profile = ColumnProfile(name=field.name, role="outcome", kind=kind, missing=0, missing_share=0.0, levels=shown, rare=rare)
    return DecidedOutcome(column, profile, "binary", ())


def _kind(name: str, numbers: Numbers, wish: str) -> tuple[OutcomeKind, tuple[str, ...]]:
    lowest, highest = float(numbers.lowest[0]), float(numbers.highest[-1])
    if wish == "survival":
        if lowest < 0.0:
            raise SourceError(f"time '{name}' must be at least 0; got negative values.", "Count time from each row's start.")
        return "survival", ()
    values = len(numbers.lowest)  # up to five are kept: enough to tell two from three
    whole = numbers.decimals == 0 and lowest >= 0
    binary = whole and values == 2 and (lowest, highest) == (0.0, 1.0)
    if wish == "binary" and not binary:
        raise SourceError(f"binary outcome '{name}' must have two values; got more.", _HINT)
    if wish == "count" and not whole:
        raise SourceError(f"count outcome '{name}' must be whole numbers from 0 on; got negative or fractional values.", _HINT)
    if wish == "binary" or (wish == "auto" and binary):
        return "binary", ()
    if wish == "count" or (wish == "auto" and whole and values >= 3):
        return "count", ()
    if wish == "auto" and values == 2:
        warning = f"outcome '{name}' has two values other than 0 and 1 and is taken as continuous; roles.event makes it binary."
        return "continuous", (warning,)
    return "continuous", ()


def _profile(column: Column, kind: OutcomeKind, numbers: Numbers) -> ColumnProfile:
    seen_as = "continuous" if kind == "continuous" and column.kind == "continuous" else "integer"
    return ColumnProfile(
        name=column.name, role="outcome", kind=column.kind, missing=0, missing_share=0.0, deciles=deciles(numbers, seen_as)
    )
