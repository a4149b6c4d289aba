"""The profile of a source: what may be shown of it. No row, no exact extreme, nothing rarer than five rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np
from pydantic import BaseModel, ConfigDict

from tasks.contract.disclosure import FEW, few, rounded, shown_count
from tasks.contract.roles import TableSchema
from tasks.source.numbers import EDGE, Numbers, quantile

FEWEST_FOR_DECILES = 50


class ColumnProfile(BaseModel):
    """One column.

    Attributes
    ----------
    name, role, kind : str
    missing : int
        Missing cells among the rows used; 1 to 4 are written as 4.
    missing_share : float
        In [0, 1].
    levels : dict of str to int, or None
        Levels of a boolean or categorical column that at least five rows have; None for numeric columns. Rounded to multiples of
        five where ``missing`` or ``rare`` is from 1 to 4, so that subtraction does not find it.
    rare : int
        Rows of the levels not shown; 1 to 4 are written as 4.
    deciles : tuple of (float, str or None), or None
        Quantiles at 10, 20, ..., 90 %, approximate (at most 8192 histogram buckets) and rounded to three significant
        digits, dates to the month; one that falls on an extreme of the column is None. None as a whole for columns
        with fewer than 50 values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    role: str
    kind: str
    missing: int
    missing_share: float
    levels: dict[str, int] | None = None
    rare: int = 0
    deciles: tuple[float | str | None, ...] | None = None


class Profile(BaseModel):
    """The whole table.

    Attributes
    ----------
    rows, rows_used, dropped : int
        Rows read; rows with treatment and outcome; the rest. From 1 to 4 dropped rows are written as 4, and so is the sum.
    columns : tuple of ColumnProfile
        In the source's order.
    arms : dict of str to int
        Rows of each treatment label.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    rows_used: int
    dropped: int
    columns: tuple[ColumnProfile, ...]
    arms: dict[str, int]


def protected(column: ColumnProfile, rows: int) -> ColumnProfile:
    """Return what may be shown of a column of so many rows: no count from 1 to 4, and none that subtraction would find."""
    missing, rare = shown_count(column.missing), shown_count(column.rare)
    small = (missing, rare) != (column.missing, column.rare) or any(0 < each < EDGE for each in (column.missing, column.rare))
    levels = column.levels
    if small and levels is not None:
        levels = {level: rounded(count) for level, count in levels.items()}
    share = round(missing / rows, 4) if small else column.missing_share
    return column.model_copy(update={"missing": missing, "rare": rare, "levels": levels, "missing_share": share})


def protected_profile(rows: int, used: int, columns: Iterable[ColumnProfile], arms: dict[str, int]) -> Profile:
    """Return the profile of a table as it may be shown."""
    dropped = shown_count(rows - used)
    return Profile(
        rows=used + dropped, rows_used=used, dropped=dropped, columns=tuple(protected(column, used) for column in columns), arms=arms
    )


def profile_line(profile: Profile, schema: TableSchema) -> str:
    """Return the profile's line for the log: rows, columns by kind, missing cells, arms."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(column.kind for column in schema.covariates).items())
    arms = ", ".join(f"{label}: {rows:,}" for label, rows in profile.arms.items())
    missing = sum(column.missing for column in schema.covariates)
    used = f"{profile.rows_used:,} of {profile.rows:,} rows used"
    if 0 < profile.dropped < EDGE:
        used = f"{profile.rows_used:,} rows used, {FEW} without treatment or outcome"
    return f"source: {used}; covariates: {kinds}; {few(missing)} missing cells; outcome {schema.outcome_kind}; arms {arms}"


def shown_levels(levels: dict[str, int]) -> tuple[dict[str, int], int]:
    """Split levels into those that at least five rows have and the number of rows of all others."""
    shown = {text: rows for text, rows in levels.items() if rows >= EDGE}
    return shown, sum(levels.values()) - sum(shown.values())


def deciles(numbers: Numbers, kind: str) -> tuple[float | str | None, ...] | None:
    """Return what a profile shows of a numeric column's distribution.

    Parameters
    ----------
    numbers : Numbers
    kind : str
        ``"datetime"`` shows months; ``"continuous"`` hides every decile that equals an extreme, other kinds those that
        equal an extreme of fewer than five rows.
    """
    if numbers.finite < FEWEST_FOR_DECILES:
        return None
    cuts = [quantile(numbers, tenth / 10) for tenth in range(1, 10)]
    if kind == "datetime":
        return tuple(_month(value) for value in cuts)
    ends = ((numbers.lowest[0], numbers.lowest_counts[0]), (numbers.highest[-1], numbers.highest_counts[-1]))
    hidden = {float(value) for value, rows in ends if kind == "continuous" or rows < EDGE}
    return tuple(None if value in hidden else value for value in (_rounded(value) for value in cuts))


def _rounded(value: float) -> float:
    if value == 0.0:
        return 0.0
    return float(f"{value:.2e}") if math.isfinite(value) else value


def _month(microseconds: float) -> str:
    return str(np.datetime64(int(microseconds), "us").astype("datetime64[M]"))
