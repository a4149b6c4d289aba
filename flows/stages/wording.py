"""Errors and warnings of a table in the words of ``waymint estimate``, whose user has options and no SPEC."""

from __future__ import annotations

import re

from tasks.contract.errors import WaymintError

_RULES: tuple[tuple[str, str], ...] = (
    (r'roles\.kinds\.(\S+) = "(\w+)"', r"--kind \1=\2"),
    (r"roles\.kinds\.(\S+?)( keeps it|\.$|\. )", r"--kind \1=KIND\2"),
    (r",? or in roles\.kinds,", r", or its kind in --kind,"),
    (r'source\.csv = \{ dates = \{ "([^"]+)" = "([^"]+)" \} \}', r"--csv 'dates.\1=\2'"),
    (r"source\.csv declares", r"--csv declares"),
    (r"source\.missing_values\.(\S+)", r"--missing-value \1=VALUE"),
    (r'roles\.missing_(outcome|treatment) = "drop"', r"--missing-\1 drop"),
    (r"roles\.(exclude|treated|control|event|covariates|subgroups|treatment|outcome|strata|cluster)\b", r"--\1"),
    (r"roles\.(max|outcome)_(levels|kind)", r"--\1-\2"),
    (r"mechanisms\.folds", r"--folds"),
    (r"\b(treated|control|event|exclude|covariates|subgroups) of roles\b", r"--\1"),
    (r"\bkinds\.(\S+) of roles", r"--kind \1"),
    (r"(column '([^']+)' looks like an identifier of units.*too small)\.$", r"\1; --cluster '\2' takes them into account."),
)
_MISSING_VALUES = re.compile(r'source\.missing_values = \{ "([^"]+)" = \[([^\]]*)\] \}')
_DIALECT = re.compile(r"source\.csv = \{ ([^}]*) \}")


def as_options(text: str) -> str:
    """Return a message or hint with keys of a SPEC replaced by options."""
    text = _MISSING_VALUES.sub(lambda match: " ".join(f"--missing-value {_word(f'{match[1]}={one}')}" for one in _values(match[2])), text)
    for pattern, option in _RULES[3:4]:
        text = re.sub(pattern, option, text)
    text = _DIALECT.sub(lambda match: " ".join(f"--csv {_word(one)}" for one in _pairs(match[1])), text)
    for pattern, option in _RULES:
        text = re.sub(pattern, option, text)
    return text


def in_options(fault: WaymintError) -> WaymintError:
    """Return the same error, its keys replaced by options."""
    return type(fault)(as_options(fault.message), as_options(fault.hint))


def _values(listed: str) -> list[str]:
    return [one.strip().strip('"') for one in listed.split(",") if one.strip() != "..."]


def _pairs(listed: str) -> list[str]:
    return [f"{key}={value}" for key, value in re.findall(r'(\w+) = "([^"]*)"', listed)]


def _word(text: str) -> str:
    """Quote an option's value where a shell would take it apart."""
    return f"'{text}'" if re.search(r"[^\w=.,:/%+-]", text) else text
