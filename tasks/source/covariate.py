"""One covariate: its kind, levels, range, and what the profile shows of it."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

from tasks.contract.disclosure import few, shown_count
from tasks.contract.errors import SourceError, SpecError
from tasks.contract.roles import Column, Kind, pack_field
from tasks.contract.spec import RolesSpec
from tasks.source.findings import ColumnFindings
from tasks.source.identifiers import is_identifier
from tasks.source.levels import fold_flags, one_dictionary, pooled_name
from tasks.source.mixture import (
    mixed_warning,
    outlier_warnings,
    packed_dates,
    refuse_inexact,
    refuse_mixed,
    sentinel_warnings,
    written_otherwise,
)
from tasks.source.numbers import EDGE, MANY_DECIMALS, Numbers, exact_values
from tasks.source.profile import ColumnProfile, deciles, shown_levels
from tasks.source.ranges import safe_range
from tasks.source.values import family, is_text, level_text

FEWEST_KNOWN = 10
_WHOLE = 2.0**53
_DETECTED: dict[str, Kind] = {
    "boolean": "boolean",
    "integer": "integer",
    "float": "continuous",
    "text": "categorical",
    "datetime": "datetime",
}
_POSSIBLE: dict[str, tuple[Kind, ...]] = {
    "boolean": ("boolean", "categorical"),
    "integer": ("integer", "continuous", "categorical"),
    "float": ("continuous", "integer", "categorical"),
    "text": ("categorical",),
    "datetime": ("datetime", "categorical"),
}


class Decided(NamedTuple):
    """A column, its profile, and what the user should know about it."""

    column: Column
    profile: ColumnProfile
    warnings: tuple[str, ...]


def decide_covariate(name: str, identity: str, field: pa.Field, findings: ColumnFindings, roles: RolesSpec) -> Decided:
    """Decide what a covariate is.

    Parameters
    ----------
    name, identity : str
        The column's name and id.
    field : pyarrow.Field
        The released field.
    findings : ColumnFindings
        Over the rows used.
    roles : RolesSpec
        The SPEC's roles.

    Returns
    -------
    Decided

    Raises
    ------
    SourceError
        If the column is empty, infinite, too rare or has too many levels.
    SpecError
        If ``roles.kinds`` asks for what the column can't be.
    """
    rows = findings.present + findings.missing
    if not findings.present:
        raise SourceError(f"covariate '{name}' must have known cells; got {rows} rows, all missing.", f"Add '{name}' to roles.exclude.")
    if name not in roles.kinds and name not in roles.strata:
        if is_identifier(field.type, findings):
            raise SourceError(
                f"covariate '{name}' must not be an identifier; got another value in every row.",
                f"Take it out of roles.covariates, or declare its kind in roles.kinds.{name}.",
            )
        refuse_mixed("covariate", name, field.type, findings)
    kind = _kind(name, field.type, findings, roles)
    if kind in ("boolean", "categorical"):
        decided = _with_levels(name, identity, kind, field, findings, roles.max_levels)
    else:
        decided = _with_range(name, identity, kind, field, findings)
    warnings = decided.warnings + mixed_warning(name, field.type, findings) + _told_missing(name, findings.missing, rows)
    if name in roles.strata:
        decided = _as_stratum(decided)
    return decided._replace(warnings=warnings)


def _as_stratum(decided: Decided) -> Decided:
    """Return a covariate with levels as a stratum, which must have several."""
    column = decided.column
    if column.constant or len(column.levels) < 2:
        raise SourceError(
            f"levels of stratum '{column.name}' must be at least 2; got {len(column.levels)} in all rows.",
            "A stratum that is constant says nothing: take it out of roles.strata.",
        )
    return Decided(column.model_copy(update={"role": "stratum"}), decided.profile.model_copy(update={"role": "stratum"}), ())


def found_levels(findings: ColumnFindings, arrow: pa.DataType) -> dict[str, int] | None:
    """Return a column's canonical level texts with their rows, None where there are too many to have been kept."""
    seen_as = family(arrow)
    if seen_as == "boolean":
        return None if findings.levels is None else fold_flags(findings.levels)
    if seen_as == "text":
        return findings.levels
    values = None if findings.numbers is None else exact_values(findings.numbers)
    return None if values is None else {level_text(value, arrow): rows for value, rows in values.items()}


def refuse_infinite(name: str, numbers: Numbers) -> None:
    """Raise ``SourceError`` where a column has infinite cells."""
    if numbers.infinite:
        raise SourceError(
            f"cells of column '{name}' must be finite; got {few(numbers.infinite)} infinite.", "Make them missing or drop the rows."
        )


def _kind(name: str, arrow: pa.DataType, findings: ColumnFindings, roles: RolesSpec) -> Kind:
    seen_as = family(arrow)
    if seen_as is None:
        raise SourceError(f"type of column '{name}' must be known; got {arrow}.", "Cast it or add it to roles.exclude.")
    if name not in roles.kinds and name not in roles.strata:
        return _DETECTED[seen_as]
    wish = roles.kinds.get(name, "boolean" if seen_as == "boolean" else "categorical")
    possible = _POSSIBLE[seen_as]
    if pa.types.is_decimal(arrow) or pa.types.is_timestamp(arrow):
        possible = tuple(kind for kind in possible if kind != "categorical")
    if seen_as == "float" and (findings.numbers is None or findings.numbers.decimals > 0):
        possible = tuple(kind for kind in possible if kind != "integer")
    if wish not in possible:
        raise SpecError(f"kinds.{name} of roles must be one of {', '.join(possible)} for a column of type {arrow}; got '{wish}'.", "")
    return wish


def _with_levels(name: str, identity: str, kind: Kind, field: pa.Field, findings: ColumnFindings, most: int) -> Decided:
    if findings.numbers is not None and family(field.type) in ("integer", "float", "datetime"):
        refuse_infinite(name, findings.numbers)
    levels = found_levels(findings, field.type)
    if levels is None or len(levels) > most:
        noun = written_otherwise(findings)
        raise SourceError(
            f"levels of covariate '{name}' must be at most {most}; got more.",
            f"Its cells are {noun}: write them as plain numbers, or add '{name}' to roles.exclude."
            if noun
            else f"If it is an identifier or free text add '{name}' to roles.exclude, else raise roles.max_levels.",
        )
    kept, rare_into, notes = levels, "", tuple[str, ...]()
    if kind == "categorical" and family(field.type) != "boolean":
        kept, rare_into, notes = _pooled(name, levels, is_text(field.type))
    constant = len(kept) == 1 and not findings.missing
    warnings: tuple[str, ...] = (f"covariate '{name}' is constant: it is kept as it is and not modelled.",) if constant else ()
    warnings += notes
    shown, rare = shown_levels(kept)
    rows = findings.present + findings.missing
    column = Column(
        id=identity,
        name=name,
        role="covariate",
        kind=kind,
        field=pack_field(field),
        levels=tuple(sorted(kept)),
        rare_into=rare_into,
        # a word of one to four rows is pooled, and its name is not shown either
        dictionary=tuple(word for word in one_dictionary(name, field.type, findings) if not 0 < levels.get(word, 0) < EDGE),
        missing=shown_count(findings.missing),
        constant=constant,
    )
    profile = ColumnProfile(
        name=name,
        role="covariate",
        kind=kind,
        missing=findings.missing,
        missing_share=round(findings.missing / rows, 4),
        levels=shown,
        rare=rare,
    )
    return Decided(column, profile, warnings)


def _pooled(name: str, levels: dict[str, int], text: bool) -> tuple[dict[str, int], str, tuple[str, ...]]:
    """Pool levels of fewer than five rows: texts into one level "(other)", numbers and dates into the nearest level.

    Returns the levels with their rows, the level that takes rare texts where they are too few for a pool, and notes.
    """
    kept = {level: rows for level, rows in levels.items() if rows >= EDGE}
    rare = {level: rows for level, rows in levels.items() if rows < EDGE}
    if not rare:
        return kept, "", ()
    if not kept:
        raise SourceError(
            f"levels of covariate '{name}' must have a level of at least {EDGE} rows; got {len(levels)} levels, all rarer.",
            f"Add '{name}' to roles.exclude.",
        )
    together = sum(rare.values())
    note = f"{len(rare)} levels of covariate '{name}' with fewer than {EDGE} rows each ({few(together)} rows)"
    if not text:
        return kept, "", (f"{note} are pooled into the nearest level.",)
    if together < EDGE:
        # a pool of one to four rows would show them
        most = min(kept, key=lambda level: (-kept[level], level))
        return {**kept, most: kept[most] + together}, most, (f"{note} are counted to its most frequent level.",)
    pool = pooled_name(levels)
    return {**kept, pool: together}, "", (f"{note} are pooled into '{pool}'.",)


def _with_range(name: str, identity: str, kind: Kind, field: pa.Field, findings: ColumnFindings) -> Decided:
    numbers = findings.numbers
    if numbers is None:  # a numeric reading is what made the field numeric
        raise SourceError(f"covariate '{name}' must have numbers; got text.", f"Add '{name}' to roles.exclude.")
    refuse_infinite(name, numbers)
    refuse_inexact("covariate", name, findings)
    if numbers.finite < FEWEST_KNOWN:
        raise SourceError(
            f"known cells of covariate '{name}' must be at least {FEWEST_KNOWN}; got {numbers.finite}.", f"Add '{name}' to roles.exclude."
        )
    if kind == "integer" and max(abs(float(numbers.lowest[0])), abs(float(numbers.highest[-1]))) > _WHOLE:
        raise SourceError(f"whole numbers of covariate '{name}' must be within 2**53; got larger ones.", f"Add '{name}' to roles.exclude.")
    constant = len(numbers.lowest) == 1 and not findings.missing
    warnings = []
    if constant:
        warnings.append(f"covariate '{name}' is constant: it is kept as it is and not modelled.")
    warnings += sentinel_warnings(name, numbers, field.type) or outlier_warnings(name, numbers)
    warnings += packed_dates(name, numbers) if kind == "integer" else ()
    low, high = safe_range(numbers, kind, field.type)
    decimals = numbers.decimals if kind == "continuous" and numbers.decimals < MANY_DECIMALS else 0 if kind == "integer" else None
    column = Column(
        id=identity,
        name=name,
        role="covariate",
        kind=kind,
        field=pack_field(field),
        decimals=decimals,
        low=low,
        high=high,
        missing=shown_count(findings.missing),
        constant=constant,
    )
    profile = ColumnProfile(
        name=name,
        role="covariate",
        kind=kind,
        missing=findings.missing,
        missing_share=round(findings.missing / (findings.present + findings.missing), 4),
        deciles=deciles(numbers, kind),
    )
    return Decided(column, profile, tuple(warnings))


def _told_missing(name: str, missing: int, rows: int) -> tuple[str, ...]:
    if missing * 2 <= rows:
        return ()
    return (f"covariate '{name}' is missing in {few(missing)} of {rows} rows ({missing / rows:.0%}).",)
