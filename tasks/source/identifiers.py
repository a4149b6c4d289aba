"""Identifiers: columns of which every row has another value, and columns that name units of several rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pyarrow as pa

from tasks.source.findings import ColumnFindings, Findings
from tasks.source.sampled import distinct_values, is_unique, repeats_by_unit
from tasks.source.values import family

#: Names that columns of units have, whole or as a part set off by a blank, an underscore, a dash or a point.
_NAMES = re.compile(
    r"(?i)(^|[ _.\-])(id|ids|pid|uid|uuid|person|persons|patient|patients|subject|subjects|participant|household|family|pupil|student|"
    r"teacher|class|school|village|clinic|hospital|practice|site_?id|centre_?id|center_?id|cluster|case_?no|case|record|proband|fall(nummer|nr)?|"
    r"nummer)([ _.\-]|$)|[a-z](Id|ID)$"
)
_FEWEST_VALUES = 20


def is_identifier(arrow: pa.DataType, findings: ColumnFindings) -> bool:
    """Whether a column of whole numbers or of texts has another value in every row.

    Parameters
    ----------
    arrow : pyarrow.DataType
        The released type.
    findings : ColumnFindings
        Over the rows used.
    """
    return _names_things(arrow) and is_unique(findings.sample, findings.present, findings.missing)


def repeated_units(names: Sequence[str], fields: Mapping[str, pa.Field], findings: Findings, arms: Mapping[str, int]) -> tuple[str, ...]:
    """Warn of columns that name units of several rows: rows of one unit are not independent.

    Parameters
    ----------
    names : sequence of str
        Covariates.
    fields : mapping of str to pyarrow.Field
        Released fields.
    findings : Findings
    arms : mapping of str to int
        Rows of each treatment label.
    """
    share = min(arms.values()) / sum(arms.values())
    lines = []
    for name in names:
        column = findings.columns[name]
        if not _names_things(fields[name].type) or not column.present:
            continue
        values = distinct_values(column.sample)
        if values < _FEWEST_VALUES or values > column.present / 1.5:
            continue
        whole = repeats_by_unit(column.sample, share)
        if whole or names_units(name):
            each = " with one treatment each" if whole else ""
            lines.append(
                f"column '{name}' looks like an identifier of units: about {values:.0f} values{each} in {column.present:,} rows; "
                "rows of one unit are not independent, and standard errors that ignore it are too small."
            )
    return tuple(lines)


def names_units(name: str) -> bool:
    """Whether a column is called what columns of units are called: patient, case_no, Fallnummer, ..."""
    return _NAMES.search(name) is not None


def _names_things(arrow: pa.DataType) -> bool:
    whole = pa.types.is_integer(arrow) or (pa.types.is_decimal(arrow) and arrow.scale <= 0)
    return whole or (family(arrow) == "text" and not pa.types.is_dictionary(arrow))
