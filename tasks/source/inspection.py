"""One pass over the source: counts, type evidence, levels and numbers of every role column, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.contract.errors import SourceError
from tasks.contract.rng import UInt64
from tasks.contract.roles import TableSchema
from tasks.contract.spec import RolesSpec
from tasks.source import numbers as measured
from tasks.source.conclusion import conclude
from tasks.source.decimals import inexact
from tasks.source.evidence import ALL, READINGS, readings_of
from tasks.source.findings import ColumnFindings, Findings
from tasks.source.levels import NO_LEVELS, count_levels, merge_levels
from tasks.source.numbers import Numbers
from tasks.source.profile import Profile
from tasks.source.sampled import NO_SAMPLE, cell_hashes, merge, sampled
from tasks.source.selection import select
from tasks.source.strange import classify, merge_classes, merge_strange
from tasks.source.values import SUPPORTED, as_floats, family, is_missing, plain_values

__all__ = ["Findings", "Inspected", "Inspection", "Profile"]


_MOST_WORDS = 10_000


class Inspected(NamedTuple):
    """What a whole source turned out to be."""

    table: TableSchema
    profile: Profile
    warnings: tuple[str, ...]


class Inspection:
    """The reduction (:class:`tasks.contract.reduction.Reduction`) over batches of a source.

    Findings are the same to the bit however the rows are cut, ordered and merged. Rows without treatment or outcome
    are counted and otherwise left out.

    Parameters
    ----------
    roles : RolesSpec
        The SPEC's roles; columns without a role are ignored.
    index : sequence of str
        Stored row index columns of the source (:class:`tasks.source.plan.SourcePlan`): no part of ``"*"``.
    """

    def __init__(self, roles: RolesSpec, index: Sequence[str] = ()) -> None:
        self.roles = roles
        self.index = tuple(index)

    def columns(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the role columns among all columns of a source, in the source's order: all that needs to be read.

        Raises
        ------
        SourceError
            If a role's column, or one that ``exclude`` names, is not there, or ``"*"`` leaves none.
        """
        return select(self.roles, names, self.index, whole=True).ordered

    def start(self) -> Findings:
        """Return the findings of no row."""
        return Findings()

    def visit(self, state: Findings, part: pa.Table) -> Findings:
        """Return the findings with one batch seen.

        Parameters
        ----------
        state : Findings
        part : pyarrow.Table
            At least the role columns, as :func:`tasks.source.read.read_batches` gives them.

        Raises
        ------
        SourceError
            If a role column is missing or of an unsupported type.
        """
        ordered = select(self.roles, part.column_names, self.index).ordered
        fields = pa.schema([part.schema.field(name) for name in ordered]).remove_metadata()
        for field in fields:
            if family(field.type) is None and not pa.types.is_null(field.type):
                raise SourceError(
                    f"type of column '{field.name}' must be {SUPPORTED}; got {field.type}.", "Cast it or add it to roles.exclude."
                )
        no_treatment = is_missing(part.column(self.roles.treatment))
        no_outcome = np.logical_or.reduce([is_missing(part.column(name)) for name in self.roles.outcome_columns])
        used = ~no_treatment if self.roles.missing_outcome == "ipcw" else ~(no_treatment | no_outcome)
        rows = part.select(list(ordered))
        if not used.all():
            rows = rows.filter(pa.array(used))
        labels = cell_hashes(plain_values(rows.column(self.roles.treatment)))
        seen = Findings(
            rows=part.num_rows,
            used=rows.num_rows,
            no_treatment=int(no_treatment.sum()),
            no_outcome=int(no_outcome.sum()),
            names=tuple(part.column_names),
            fields=fields,
            columns={
                name: find_column(name, rows.column(name), labels, self._cap)._replace(dictionaries=_dictionaries(part.column(name)))
                for name in ordered
            },
        )
        return self.merge(state, seen)

    def merge(self, left: Findings, right: Findings) -> Findings:
        """Return the findings of both."""
        if left.fields is None or right.fields is None:
            return right if left.fields is None else left
        return Findings(
            rows=left.rows + right.rows,
            used=left.used + right.used,
            no_treatment=left.no_treatment + right.no_treatment,
            no_outcome=left.no_outcome + right.no_outcome,
            names=left.names,
            fields=left.fields,
            columns={name: _merge(column, right.columns[name], self._cap) for name, column in left.columns.items()},
        )

    def advance(self, state: Findings) -> Findings:
        """Return the findings: there is only one pass."""
        return state

    def finish(self, state: Findings, roles: RolesSpec, *, folds: int, source_format: str) -> Inspected:
        """Decide types, kinds, levels and ranges.

        Parameters
        ----------
        state : Findings
            Merged over the whole source.
        roles : RolesSpec
            The SPEC's roles.
        folds : int
            Folds of the cross-fitting: every arm must have at least as many rows.
        source_format : str
            ``"csv"`` (types are read off the texts) or another (types are the files').

        Returns
        -------
        Inspected

        Raises
        ------
        SourceError
            If the table can't be used as (W, A, Y); names, counts and bounds only.
        SpecError
            If ``kinds`` asks for what a column can't be.
        """
        table, profile, warnings = conclude(state, roles, folds=folds, text=source_format == "csv", index=self.index)
        return Inspected(table, profile, warnings)

    @property
    def _cap(self) -> int:
        return self.roles.max_levels


def find_column(name: str, values: pa.ChunkedArray, labels: UInt64, cap: int) -> ColumnFindings:
    """Return the findings of one column in one batch.

    Parameters
    ----------
    name : str
        For messages.
    values : pyarrow.ChunkedArray, shape (n,)
    labels : ndarray of uint64, shape (n,)
        Hashes of the treatment in the same rows.
    cap : int
        Most levels that are counted.
    """
    seen_as = family(values.type)
    if seen_as is None:  # an all-null column has no type of its own
        return ColumnFindings(0, len(values), NO_LEVELS, measured.NONE, ALL)
    if seen_as in ("boolean", "text"):
        return _find_texts(values, labels, cap)
    cells = plain_values(values)
    try:
        floats = as_floats(values, values.type)
    except pa.ArrowInvalid:
        raise SourceError(f"instants of column '{name}' must fit microseconds in 64 bits; got later ones.", "Make them missing.") from None
    missing = int(np.isnan(floats).sum())
    single = pa.types.is_float32(values.type) or pa.types.is_float16(values.type)
    decimal = pa.types.is_decimal(values.type)
    whole = pa.types.is_integer(values.type) or (decimal and values.type.scale <= 0)
    return ColumnFindings(
        len(floats) - missing,
        missing,
        NO_LEVELS,
        measured.measure(floats, single),
        frozenset(),
        sample=sampled(cell_hashes(cells.drop_null()), labels[~np.isnan(floats)]) if whole else NO_SAMPLE,
        inexact=inexact(cells) if decimal else 0,
    )


def _find_texts(values: pa.ChunkedArray, labels: UInt64, cap: int) -> ColumnFindings:
    """Inspect texts, booleans and dictionaries of them or of numbers."""
    cells = plain_values(values)
    counted = _counted(cells)
    missing = len(values) - int(counted.field("counts").to_numpy().sum())
    levels = count_levels(counted, cap)
    if not (pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type)):
        return ColumnFindings(len(values) - missing, missing, levels, None, frozenset())
    encoded = cells.drop_null().dictionary_encode()
    codes = encoded.indices.to_numpy()
    sample = sampled(cell_hashes(encoded.dictionary)[codes], labels[cells.is_valid().to_numpy(zero_copy_only=False)])
    typed = not pa.types.is_string(values.type)  # large and view types, dictionaries: no CSV has them
    readings = frozenset() if typed else readings_of(counted.field("values"))
    classes, strange = ({}, NO_LEVELS) if pa.types.is_dictionary(values.type) else classify(counted, readings)
    return ColumnFindings(
        len(values) - missing,
        missing,
        levels,
        None if typed else _numbers_of_text(counted, readings),
        readings,
        classes,
        strange,
        sample,
    )


def _dictionaries(values: pa.ChunkedArray) -> frozenset[tuple[str, ...]]:
    """Return the dictionaries of a column's chunks as texts, in their order; large ones say nothing."""
    if not pa.types.is_dictionary(values.type):
        return frozenset()
    inner = values.type.value_type
    if not (pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner)):
        return frozenset()
    return frozenset(tuple(chunk.dictionary.to_pylist()) for chunk in values.chunks if len(chunk) and len(chunk.dictionary) <= _MOST_WORDS)


def _counted(values: pa.Array) -> pa.StructArray:
    """Count distinct cells, null left out."""
    counted = pc.value_counts(values.drop_null())
    return pa.StructArray.from_arrays([counted.field("values"), counted.field("counts")], ["values", "counts"])


def _numbers_of_text(counted: pa.StructArray, readings: frozenset[str]) -> Numbers | None:
    """Measure a text column's numbers or instants where one of those readings holds."""
    if readings == ALL:
        return measured.NONE
    kind = next((READINGS[reading] for reading in ("float", "timestamp", "instant") if reading in readings), None)
    if kind is None:
        return None
    floats = as_floats(pa.chunked_array([counted.field("values")]), kind)
    times: npt.NDArray[np.int64] = counted.field("counts").to_numpy()
    return measured.measure(np.repeat(floats, times))


def _merge(left: ColumnFindings, right: ColumnFindings, cap: int) -> ColumnFindings:
    readings = left.readings & right.readings
    numbers = None
    if left.numbers is not None and right.numbers is not None and _agree(left, right, readings):
        numbers = measured.merge(left.numbers, right.numbers)
    return ColumnFindings(
        present=left.present + right.present,
        missing=left.missing + right.missing,
        levels=merge_levels(left.levels, right.levels, cap),
        numbers=numbers,
        readings=readings,
        classes=merge_classes(left.classes, right.classes),
        strange=merge_strange(left.strange, right.strange),
        sample=merge(left.sample, right.sample),
        inexact=left.inexact + right.inexact,
        dictionaries=left.dictionaries | right.dictionaries,
    )


def _agree(left: ColumnFindings, right: ColumnFindings, readings: frozenset[str]) -> bool:
    """Return whether two findings measured the same thing: numbers, or instants, not one of each."""
    return bool(readings) or not (left.readings or right.readings)
