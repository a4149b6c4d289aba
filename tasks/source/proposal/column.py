"""One column of a table without a description: its kind, its codes for missing, and whether it can be a covariate."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tasks.contract.errors import WaymintError
from tasks.contract.labels import MOST_ARMS
from tasks.contract.spec import ReadingSpec, RolesSpec
from tasks.source import hints
from tasks.source.covariate import decide_covariate, found_levels
from tasks.source.evidence import type_of
from tasks.source.findings import ColumnFindings
from tasks.source.identifiers import is_identifier, names_units
from tasks.source.inspection import find_column
from tasks.source.missing import without_values
from tasks.source.numbers import EDGE
from tasks.source.sampled import distinct_values
from tasks.source.sentinels import sentinels
from tasks.source.strange import LEAST_SHARE, SIGNS, TEXT, main_class, repeated_codes
from tasks.source.values import family, is_text

Code = str | float
#: What people write into a cell of numbers that they do not know.
_UNKNOWN = re.compile(
    r"(?i)n\.? ?a\.?|n/a|n\.? ?d\.?|n\.? ?v\.?|k\.? ?a\.?|unk|unknown|not known|missing|miss|none|null|nan|no data|not done|not applicable|"
    r"refused|unbekannt|fehlt|fehlend|keine angabe|nicht bekannt|nicht erhoben|inconnu|manquant|desconocido|#?n/?a|[^\w]+"
)
_MOST_LEVELS, _FEWEST_UNITS, _ROWS_PER_LEVEL, _MOST_CODED = 200, 20, 10, 50
#: Any names will do: the rules for covariates do not depend on the other roles.
_NO_ROLES = RolesSpec(treatment="treatment", outcome="outcome", max_levels=_MOST_LEVELS)


class Examined(NamedTuple):
    """What one column looks like.

    Attributes
    ----------
    name, kind : str
    present, missing : int
        Cells, codes for missing among the latter.
    codes : tuple of (str or float)
        Values that look like codes for missing; at least five rows have each.
    coded : int
        Cells that hold one of them.
    labels : dict of str to int, or None
        Distinct values with their rows, None where too many.
    unfit : str
        Why it can't be or should not be a covariate; empty where it can.
    wish : str
        Kind to declare in place of the detected one; empty for none.
    usable : bool
        Whether it may be an outcome: numbers, or two labels.
    """

    name: str
    kind: str
    present: int
    missing: int
    codes: tuple[Code, ...] = ()
    coded: int = 0
    labels: dict[str, int] | None = None
    unfit: str = ""
    wish: str = ""
    usable: bool = False

    @property
    def missing_share(self) -> float:
        """Share of missing cells in [0, 1]."""
        return self.missing / max(self.present + self.missing, 1)

    @property
    def two_armed(self) -> bool:
        """Whether it has two labels with rows enough for a treatment."""
        return self.armed and len(self.labels or {}) == 2

    @property
    def armed(self) -> bool:
        """Whether it has as many labels as a treatment may have, each with rows enough."""
        return self.labels is not None and 2 <= len(self.labels) <= MOST_ARMS and min(self.labels.values()) >= EDGE


def unreadable(name: str, fault: WaymintError) -> Examined:
    """Return a column that can't be read before something is declared."""
    return Examined(name, "unclear", 0, 0, unfit=f"{fault.message} {fault.hint}".strip())


def examine(name: str, values: pa.ChunkedArray, text: bool) -> Examined:
    """Look at one column.

    Parameters
    ----------
    name : str
    values : pyarrow.ChunkedArray, shape (n,)
        As the source's reader gives them.
    text : bool
        Whether the source is CSV: types are read off the texts.

    Returns
    -------
    Examined
    """
    if family(values.type) is None and not pa.types.is_null(values.type):
        return Examined(name, str(values.type), 0, 0, unfit=f"type {values.type} is not read")
    findings = _findings(name, values)
    codes = _codes(findings, _type(values, findings, text))
    before = findings.missing
    if codes:
        reading = ReadingSpec(missing_values={name: codes})
        findings = _findings(name, without_values(pa.table({name: values}), reading, text).column(name))
    arrow = _type(values, findings, text)
    seen_as = family(arrow)
    if not findings.present or seen_as is None:
        return Examined(name, "empty", 0, len(values), codes, findings.missing - before, unfit="no cell is known")
    labels = found_levels(findings, arrow)
    labels = labels if labels is not None and len(labels) <= _MOST_LEVELS else None
    identity = _identity(name, arrow, findings, labels)
    unfit, wish, kind = _fitness(name, arrow, findings, labels)
    return Examined(
        name,
        kind,
        findings.present,
        findings.missing,
        codes,
        findings.missing - before,
        labels,
        identity or unfit,
        "" if identity else wish,
        usable=not identity and ((seen_as in ("integer", "float") and findings.numbers is not None) or _is_pair(labels)),
    )


def _is_pair(labels: dict[str, int] | None) -> bool:
    return labels is not None and len(labels) == 2 and min(labels.values()) >= EDGE


def _findings(name: str, values: pa.ChunkedArray) -> ColumnFindings:
    return find_column(name, values, np.zeros(len(values), dtype=np.uint64), _MOST_LEVELS)


def _type(values: pa.ChunkedArray, findings: ColumnFindings, text: bool) -> pa.DataType:
    if not text:
        return values.type
    return type_of(findings.readings) if findings.present else pa.string()


def _codes(findings: ColumnFindings, arrow: pa.DataType) -> tuple[Code, ...]:
    """Return values that look like codes for missing: words among numbers, and sentinels."""
    if is_text(arrow):
        main, share = main_class(findings.classes)
        repeated = repeated_codes(findings.strange)
        others = set(findings.classes) - {main, TEXT, SIGNS}
        if not main or others or share >= 1.0 or share < LEAST_SHARE / 2 or set(repeated) != set(findings.strange or ()):
            return ()
        return tuple(repeated) if all(_UNKNOWN.fullmatch(code.strip()) for code in repeated) else ()
    if findings.numbers is None or findings.numbers.infinite or family(arrow) == "boolean":
        return ()
    texts = [one.text for one in sentinels(findings.numbers, arrow)]
    return tuple(texts) if family(arrow) == "datetime" else tuple(float(text) for text in texts)


def _identity(name: str, arrow: pa.DataType, findings: ColumnFindings, labels: dict[str, int] | None) -> str:
    """Return why a column identifies rows, persons or units; empty where it does not."""
    if is_identifier(arrow, findings):
        return f"{'free text or identifier' if _is_prose(findings) else 'identifier'}: every row has another value"
    if hints.about_a_person(name) and (is_text(arrow) or family(arrow) == "integer") and not (labels and len(labels) <= _ROWS_PER_LEVEL):
        return "by its name, it identifies persons"
    units = distinct_values(findings.sample)
    if names_units(name) and units >= _FEWEST_UNITS and findings.present < _ROWS_PER_LEVEL * units:
        return f"names units of several rows (about {units:.0f} values): rows of one unit are not independent"
    return ""


def _fitness(name: str, arrow: pa.DataType, findings: ColumnFindings, labels: dict[str, int] | None) -> tuple[str, str, str]:
    """Return why a column can't be a covariate, the kind to declare, and the detected kind."""
    plain = "text" if is_text(arrow) else str(family(arrow))
    if is_text(arrow) and labels is None and main_class(findings.classes)[1] < LEAST_SHARE:
        return f"free text or codes of more than {_MOST_LEVELS} values", "", plain
    wish = _wish(name, arrow, findings, labels)
    roles = _NO_ROLES.model_copy(update={"kinds": {name: wish}}) if wish else _NO_ROLES
    try:
        column = decide_covariate(name, "w0", pa.field(name, arrow), findings, roles).column
    except WaymintError as fault:
        return f"{fault.message} {fault.hint}".strip(), "", plain
    return "", wish, column.kind


def _is_prose(findings: ColumnFindings) -> bool:
    """Whether no cell is a number, a date or a code with leading zeros."""
    return bool(findings.classes.get(TEXT)) and findings.classes[TEXT] == findings.present


def _wish(name: str, arrow: pa.DataType, findings: ColumnFindings, labels: dict[str, int] | None) -> str:
    """Return ``"categorical"`` for whole numbers that name things, and for few labels of which most, but not all, are numbers."""
    if labels is None or len(labels) < 3 or min(labels.values()) < EDGE:
        return ""
    if family(arrow) == "integer":
        return "categorical" if len(labels) <= _MOST_CODED and hints.like_category(name) else ""
    main, share = main_class(findings.classes) if is_text(arrow) and not pa.types.is_dictionary(arrow) else ("", 0.0)
    return "categorical" if main and 0.0 < share < 1.0 else ""
