"""The state of an inspection: plain values, picklable, bounded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

from tasks.source.levels import NO_LEVELS, Levels
from tasks.source.numbers import Numbers
from tasks.source.sampled import NO_SAMPLE, Sampled
from tasks.source.strange import Classes


class ColumnFindings(NamedTuple):
    """What is known of one column's cells.

    Attributes
    ----------
    present, missing : int
        Cells of rows with treatment and outcome.
    levels : dict of str to int, or None
        Distinct texts with their rows; None where more than ``roles.max_levels``; empty for numeric types.
    numbers : Numbers or None
        For numeric types, dates, and texts that all read as one of them; else None.
    readings : frozenset of str
        For text: what every cell could be (:mod:`tasks.source.evidence`).
    classes : dict of str to int
        For text: rows by what their cells are, one by one.
    strange : dict of str to int, or None
        For text: distinct cells that are neither number nor date with their rows; None where more than 64.
    sample : Sampled
        Of integers and texts: tells identifiers.
    inexact : int
        Decimal cells that a double can't hold.
    dictionaries : frozenset of tuple of str
        Of dictionary columns: the dictionaries seen, in their order.
    """

    present: int
    missing: int
    levels: Levels
    numbers: Numbers | None
    readings: frozenset[str]
    classes: Classes = {}  # noqa: RUF012 - never written to
    strange: Levels = NO_LEVELS
    sample: Sampled = NO_SAMPLE
    inexact: int = 0
    dictionaries: frozenset[tuple[str, ...]] = frozenset()


@dataclass(frozen=True)
class Findings:
    """What is known of the rows seen.

    Attributes
    ----------
    rows, used : int
        Rows seen; rows with both treatment and outcome.
    no_treatment, no_outcome : int
        Rows without a treatment; without an outcome.
    names : tuple of str
        All columns of the batches.
    fields : pyarrow.Schema or None
        Role columns in the source's order; None before the first row.
    columns : dict of str to ColumnFindings
        By name.
    """

    rows: int = 0
    used: int = 0
    no_treatment: int = 0
    no_outcome: int = 0
    names: tuple[str, ...] = ()
    fields: pa.Schema | None = None
    columns: dict[str, ColumnFindings] = field(default_factory=dict)
