"""A proposed SPEC as commented TOML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tasks.contract.spec import RolesSpec
from tasks.source import hints
from tasks.source.dialect import Dialect
from tasks.source.proposal.column import Examined

_WIDTH = 110


class Draft(NamedTuple):
    """What a SPEC says of a table.

    Attributes
    ----------
    name, uri : str
    rows : int
        Rows that were read.
    whole : bool
        Whether these are all rows of the table.
    columns : tuple of Examined
    dialect : Dialect or None
        Of CSV files.
    roles : RolesSpec
    left_out : dict of str to str
        Columns that are no covariates, with the reason.
    relations : tuple of str
        That hold in every row that was read.
    warnings : tuple of str
    """

    name: str
    uri: str
    rows: int
    whole: bool
    columns: tuple[Examined, ...]
    dialect: Dialect | None
    roles: RolesSpec
    left_out: Mapping[str, str]
    relations: tuple[str, ...]
    warnings: tuple[str, ...]


def document(draft: Draft) -> str:
    """Write a SPEC with comments that say why each line stands there.

    Parameters
    ----------
    draft : Draft

    Returns
    -------
    str
        TOML.
    """
    extent = f"all {draft.rows:,} rows" if draft.whole else f"the first {draft.rows:,} rows"
    blocks = [
        [f"# Proposed by 'waymint init' from {extent} of the table. Read the reasons, change what you know better, then run", "#"],
        ["#     waymint check THIS_FILE", "#     waymint release THIS_FILE", ""],
        [f"name = {quoted(draft.name)} # of the release in its store", "seed = 1", "", "[source]", f"uri = {quoted(draft.uri)}"],
        _codes(draft),
        _dialect(draft.dialect),
        ["", "[roles]", *_treatment(draft), *_outcome(draft)],
        _covariates(draft),
        _other_roles(draft.left_out),
        _kinds(draft),
        _relations(draft),
        _comments(draft.warnings),
        _labels(draft),
        ["", "[release]", "rows = 10_000", "", "[store]", 'uri = "file://./releases" # below the folder the command is run in'],
    ]
    return "\n".join(line for block in blocks for line in block) + "\n"


def quoted(value: object) -> str:
    """Write a text, number or truth value as TOML."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if not isinstance(value, float) else repr(value)


def _label(label: object) -> str:
    """Write a label as the number that it is, else as text."""
    text = str(label)
    return text if text.isascii() and text.isdigit() and str(int(text)) == text else quoted(text)


def _codes(draft: Draft) -> list[str]:
    coded = [column for column in draft.columns if column.codes and column.name not in draft.left_out]
    if not coded:
        return []
    lines = ["", "[source.missing_values] # values that look like codes for missing; a value that is real must go from here"]
    for column in coded:
        share = column.coded / max(column.present + column.missing, 1)
        lines.append(f"{quoted(column.name)} = {_array(column.codes)} # {column.coded:,} cells ({share:.1%})")
    return lines


def _dialect(dialect: Dialect | None) -> list[str]:
    """Write what differs from plain CSV."""
    if dialect is None:
        return []
    plain = Dialect()
    keys: dict[str, object] = {}
    for key in ("separator", "decimal", "thousands", "encoding", "quote"):
        value = getattr(dialect, key)
        if value != getattr(plain, key) and value not in ("utf-8-sig",):
            keys[key] = value
    lines = [f"{key} = {quoted(value)}" for key, value in keys.items()]
    if dialect.dates:
        lines += ["", "[source.csv.dates]", *(f"{quoted(name)} = {quoted(form)}" for name, form in dialect.dates.items())]
    if not lines:
        return []
    return ["", "[source.csv] # how the file is written, as detected", *lines]


def _treatment(draft: Draft) -> list[str]:
    column = _column(draft, draft.roles.treatment)
    reference = draft.roles.treated if draft.roles.control is None else draft.roles.control
    others = ", ".join(_label(label) for label in column.labels or {} if label != reference)
    key, beside = ("treated", f"against {others}") if draft.roles.control is None else ("control", f"the reference of {others}")
    lines = [f"treatment = {quoted(column.name)}", f"{key} = {_label(reference)} # {beside}"]
    if draft.roles.missing_treatment == "drop":
        lines.append(f'missing_treatment = "drop" # {column.missing:,} of {draft.rows:,} rows have none')
    return lines


def _outcome(draft: Draft) -> list[str]:
    column = _column(draft, draft.roles.outcome)
    lines = [f"outcome = {quoted(column.name)}"]
    if draft.roles.event is not None:
        lines.append(f"event = {_label(draft.roles.event)} # counts as 1")
    if draft.roles.missing_outcome == "drop":
        lines.append(f'missing_outcome = "drop" # {column.missing:,} of {draft.rows:,} rows have none')
    return lines


def _covariates(draft: Draft) -> list[str]:
    lines = ["covariates = [ # all that is measured before treatment and may matter"]
    waves = hints.later_waves([column.name for column in draft.columns])
    for name in draft.roles.covariates:
        column = _column(draft, name)
        missing = f", {column.missing_share:.1%} missing" if column.missing else ""
        later = f"; a later wave of {quoted(waves[name])}: still before treatment?" if name in waves else ""
        doubt = "" if later or not hints.like_outcome(name) else "; an outcome by its name: measured before treatment?"
        lines.append(f"  {quoted(name)}, # {column.kind}{missing}{later}{doubt}")
    if draft.left_out:
        lines.append("  # Left out, with the reason; a line without its first '#' takes the column in:")
        lines += [f"  # {quoted(name)}, # {_plain(reason)}" for name, reason in draft.left_out.items()]
    return [*lines, "]"]


def _other_roles(left_out: Mapping[str, str]) -> list[str]:
    """Offer other roles to columns that are left out: ids, the cluster, the weight, passengers."""

    def named(beginning: str) -> list[str]:
        return [name for name, reason in left_out.items() if reason.startswith(beginning)]

    ids, units, later = named("identifier:"), named("names units of several rows"), named("by its name, measured after treatment")
    lines = []
    if ids:
        lines.append(f"# id = {_array(ids)} # released as fresh keys")
    if units:
        lines.append(f"# cluster = {quoted(units[0])} # folds, standard errors and gates count its units")
    if weights := named("by its name, a sampling weight"):
        lines.append(f"# weight = {quoted(weights[0])} # rows count by it in all estimates")
    if later:
        lines.append(f"# passengers = {_array(later)} # released, drawn after the outcome, not targeted")
    return ["# Other roles (docs/studies.md); a line without its '#' declares one:", *lines] if lines else []


def _kinds(draft: Draft) -> list[str]:
    if not draft.roles.kinds:
        return []
    keys = ", ".join(f"{quoted(name)} = {quoted(kind)}" for name, kind in draft.roles.kinds.items())
    return [f"kinds = {{ {keys} }} # their values rather name things than count them"]


def _relations(draft: Draft) -> list[str]:
    if not draft.relations:
        return []
    mark = "" if draft.whole else "# "
    note = "these hold in every row" if draft.whole else "these hold in every row that was read; declare them if they hold in all"
    return [
        f"# Relations: {note}.",
        f"{mark}relations = [",
        *(f"{mark}  {quoted(text)}," for text in draft.relations),
        f"{mark}]",
    ]


def _labels(draft: Draft) -> list[str]:
    """Show how a column gets its label, for who will read the codebook."""
    name = next(iter(draft.roles.covariates), draft.roles.outcome)
    return [
        "",
        "# What the columns mean, for the codebook of the release; a line without its first '#' counts:",
        f"# [labels.{quoted(name)}]",
        '# label = "in words"',
        '# unit = ""',
        '# values = { } # for example { f = "female", m = "male" }',
    ]


def _comments(lines: Iterable[str]) -> list[str]:
    return [f"# Note: {_plain(line)}" for line in lines]


def _array(values: Sequence[Any]) -> str:
    return f"[{', '.join(quoted(value) for value in values)}]"


def _plain(text: str) -> str:
    """Return a text that stands on one line of a comment."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _column(draft: Draft, name: str) -> Examined:
    return next(column for column in draft.columns if column.name == name)
