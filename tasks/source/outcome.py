"""The outcome: its kind and range."""

from __future__ import annotations

from typing import Literal, NamedTuple

import pyarrow as pa

from tasks.contract.errors import SourceError
from tasks.contract.roles import Column, Kind, pack_field
from tasks.source.covariate import found_levels, refuse_infinite
from tasks.source.findings import ColumnFindings
from tasks.source.numbers import MANY_DECIMALS, Numbers
from tasks.source.profile import ColumnProfile, deciles, shown_levels
from tasks.source.ranges import safe_range
from tasks.source.values import family

OutcomeKind = Literal["binary", "continuous", "count"]
_HINT = "Recode it, or choose another roles.outcome_kind."


class DecidedOutcome(NamedTuple):
    """The outcome column, its profile, its kind, and what the user should know about it."""

    column: Column
    profile: ColumnProfile
    kind: OutcomeKind
    warnings: tuple[str, ...]


def decide_outcome(field: pa.Field, found: ColumnFindings, wish: Literal["auto", "binary", "continuous", "count"]) -> DecidedOutcome:
    """Decide the outcome's kind.

    ``"auto"`` takes booleans and numbers that are all 0 or 1 as binary; whole numbers that are never negative, of
    at least three values, as counts whatever their maximum; everything else as continuous.

    Parameters
    ----------
    field : pyarrow.Field
        The released field.
    found : ColumnFindings
        Over the rows used.
    wish : str
        ``roles.outcome_kind``.

    Returns
    -------
    DecidedOutcome

    Raises
    ------
    SourceError
        If the outcome is text or a date, infinite, constant, or not what was declared.
    """
    name, seen_as = field.name, family(field.type)
    if seen_as == "boolean":
        return _flag(field, found, wish)
    if seen_as not in ("integer", "float") or found.numbers is None:
        raise SourceError(f"outcome '{name}' must be numeric or boolean; got {field.type}.", "Recode it as numbers.")
    numbers = found.numbers
    refuse_infinite(name, numbers)
    if len(numbers.lowest) < 2:
        raise SourceError(f"outcome '{name}' must vary; got the same value in all {numbers.finite} rows.", "There is no effect to keep.")
    kind, warnings = _kind(name, numbers, wish)
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


def _flag(field: pa.Field, found: ColumnFindings, wish: str) -> DecidedOutcome:
    if wish not in ("auto", "binary"):
        raise SourceError(f"outcome '{field.name}' must be numeric to be a {wish} outcome; got {field.type}.", _HINT)
    levels = found_levels(found, field.type) or {}
    if len(levels) < 2:
        raise SourceError(f"outcome '{field.name}' must vary; got the same value in all {found.known} rows.", "There is no effect to keep.")
    kind: Kind = "boolean"
    column = Column(id="y", name=field.name, role="outcome", kind=kind, field=pack_field(field), decimals=0, low=0.0, high=1.0)
    shown, rare = shown_levels(levels)
    profile = ColumnProfile(name=field.name, role="outcome", kind=kind, missing=0, missing_share=0.0, levels=shown, rare=rare)
    return DecidedOutcome(column, profile, "binary", ())


def _kind(name: str, numbers: Numbers, wish: str) -> tuple[OutcomeKind, tuple[str, ...]]:
    lowest, highest = float(numbers.lowest[0]), float(numbers.highest[-1])
    values = len(numbers.lowest)  # up to five are kept: enough to tell two from three
    whole = numbers.decimals == 0 and lowest >= 0
    binary = whole and values == 2 and (lowest, highest) == (0.0, 1.0)
    if wish == "binary" and not binary:
        raise SourceError(f"binary outcome '{name}' must be coded 0/1 or true/false; got other values.", _HINT)
    if wish == "count" and not whole:
        raise SourceError(f"count outcome '{name}' must be whole numbers from 0 on; got negative or fractional values.", _HINT)
    if wish == "binary" or (wish == "auto" and binary):
        return "binary", ()
    if wish == "count" or (wish == "auto" and whole and values >= 3):
        return "count", ()
    if wish == "auto" and values == 2:
        told = f"outcome '{name}' has two values other than 0 and 1 and is taken as continuous; recode it to 0/1 for a binary outcome."
        return "continuous", (told,)
    return "continuous", ()


def _profile(column: Column, kind: OutcomeKind, numbers: Numbers) -> ColumnProfile:
    seen_as = "continuous" if kind == "continuous" and column.kind == "continuous" else "integer"
    return ColumnProfile(
        name=column.name, role="outcome", kind=column.kind, missing=0, missing_share=0.0, deciles=deciles(numbers, seen_as)
    )
