"""Conditions on covariates: ``release.where`` of a SPEC and ``--where`` of a command. A small fixed grammar, never evaluated as code."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from tasks.contract.errors import SpecError
from tasks.contract.roles import Column, TableSchema

if TYPE_CHECKING:
    import pandas as pd

Mask = npt.NDArray[np.bool_]
Operator = Literal["<", "<=", ">", ">=", "==", "!=", "in"]

GRAMMAR = "\"age > 60\", \"sex == 'f'\" or \"region in ['north', 'east']\", joined by 'and'; names with spaces stand in backticks"
_TOKEN = re.compile(
    r"\s*(?:`(?P<quoted>[^`]+)`|'(?P<single>[^']*)'|\"(?P<double>[^\"]*)\"|(?P<sign><=|>=|==|!=|[<>\[\],])|(?P<word>[^\s`'\"<>=!\[\],]+))"
)


class Clause(BaseModel):
    """One comparison of a column with constants.

    Attributes
    ----------
    column : str
        Name of the column.
    operator : str
        ``"<"``, ``"<="``, ``">"``, ``">="``, ``"=="``, ``"!="`` or ``"in"``.
    values : tuple of str
        One constant as text; of ``"in"`` at least one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    operator: Operator
    values: tuple[str, ...]


class Condition(BaseModel):
    """Clauses that all hold. A missing cell meets none of them, as in SQL.

    Attributes
    ----------
    text : str
        As the user wrote it.
    clauses : tuple of Clause
        At least one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    clauses: tuple[Clause, ...]

    def holds(self, covariates: pd.DataFrame, columns: Sequence[Column]) -> Mask:
        """Return which rows meet the condition, shape (n,).

        Parameters
        ----------
        covariates : DataFrame, n rows
            Canonical covariates by id.
        columns : sequence of Column
            Their descriptions; the condition was checked against them by :func:`check_condition`.
        """
        by_name = {column.name: column for column in columns}
        met = np.ones(len(covariates), dtype=np.bool_)
        for clause in self.clauses:
            column = by_name[clause.column]
            met &= _holds(clause, column, covariates[column.id])
        return met


def parse_condition(text: str) -> Condition:
    """Read a condition.

    Parameters
    ----------
    text : str
        Comparisons joined by ``and``.

    Returns
    -------
    Condition

    Raises
    ------
    ValueError
        If the text is none.
    """
    tokens = _tokens(text)
    clauses: list[Clause] = []
    while tokens is not None:
        clause, tokens = _clause(tokens)
        if clause is None:
            break
        clauses.append(clause)
        if not tokens:
            return Condition(text=text.strip(), clauses=tuple(clauses))
        if tokens.pop(0) != ("word", "and"):
            break
    raise ValueError(f"condition '{text}' must be like {GRAMMAR}")


def check_condition(condition: Condition, schema: TableSchema) -> None:
    """Refuse a condition that a table's covariates can't meet or that is none on covariates.

    Parameters
    ----------
    condition : Condition
    schema : TableSchema
        Of the source.

    Raises
    ------
    SpecError
        If a name is no covariate that varies, or a constant is of another kind than its column.
    """
    by_name = {column.name: column for column in schema.modelled}
    for clause in condition.clauses:
        column = by_name.get(clause.column)
        if column is None:
            raise SpecError(
                f"columns of condition '{condition.text}' must be covariates that vary; got '{clause.column}'.", _hint(clause, schema)
            )
        if not column.is_category:
            if clause.operator != "in" and _number(column, clause.values[0]) is None:
                kind = "a date like '2020-01-31'" if column.kind == "datetime" else "a number"
                raise SpecError(
                    f"'{clause.column}' of condition '{condition.text}' must be compared with {kind}; got '{clause.values[0]}'."
                )
            if clause.operator == "in":
                raise SpecError(
                    f"'{clause.column}' of condition '{condition.text}' must be a category for 'in'; it is a number or date.",
                    "Use < and > instead.",
                )
        elif clause.operator not in ("==", "!=", "in"):
            raise SpecError(f"'{clause.column}' of condition '{condition.text}' must be compared by ==, != or in: it is a category.")
        elif unknown := [value for value in clause.values if value not in column.levels]:
            close = difflib.get_close_matches(unknown[0], column.levels, n=1)
            raise SpecError(
                f"constants of condition '{condition.text}' must be levels of '{clause.column}'; got '{unknown[0]}'.",
                f"Did you mean '{close[0]}'?" if close else "",
            )


def _hint(clause: Clause, schema: TableSchema) -> str:
    """Say why a column can't be in a condition, or what its name may be."""
    if clause.column in {column.name for column in (schema.treatment, *schema.outcomes, *schema.passengers)}:
        return "A condition on treatment, outcome or what comes after them would change the effect itself."
    close = difflib.get_close_matches(clause.column, [column.name for column in schema.modelled], n=1)
    return f"Did you mean '{close[0]}'?" if close else ""


def _holds(clause: Clause, column: Column, values: pd.Series) -> Mask:
    """Return which cells of one column meet a clause."""
    if column.is_category:
        among = values.isin(clause.values).to_numpy(dtype=np.bool_)
        return among if clause.operator != "!=" else ~among & values.notna().to_numpy(dtype=np.bool_)
    bound = _number(column, clause.values[0])
    assert bound is not None, clause  # check_condition has seen it
    cells = values.to_numpy(dtype=np.float64)
    compared = {"<": cells < bound, "<=": cells <= bound, ">": cells > bound, ">=": cells >= bound, "==": cells == bound}
    return np.asarray(compared[clause.operator] if clause.operator != "!=" else (cells != bound) & ~np.isnan(cells), dtype=np.bool_)


def _number(column: Column, text: str) -> float | None:
    """Return a constant as canonical cells of a column hold it: a number, or microseconds since 1970 UTC; None where it is neither."""
    try:
        if column.kind != "datetime":
            value = float(text)
            return value if np.isfinite(value) else None
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6


def _tokens(text: str) -> list[tuple[str, str]] | None:
    """Split a text into (kind, text): a name in backticks, a constant in quotes, a sign, or a word; None where it can't be."""
    tokens, at = [], 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            return None
        kind = str(match.lastgroup)
        tokens.append(("constant" if kind in ("single", "double") else kind, match[kind]))
        at = match.end()
    return tokens


def _clause(tokens: list[tuple[str, str]]) -> tuple[Clause | None, list[tuple[str, str]]]:
    """Read the first clause; return it and what is left, None where there is none."""
    if len(tokens) < 3 or tokens[0][0] not in ("quoted", "word"):
        return None, tokens
    column, (kind, sign) = tokens[0][1], tokens[1]
    if (kind, sign) == ("word", "in") and tokens[2] == ("sign", "["):
        values: list[str] = []
        for at in range(3, len(tokens) - 1, 2):
            if tokens[at][0] not in ("constant", "word"):
                break
            values.append(tokens[at][1])
            if tokens[at + 1] == ("sign", "]"):
                return Clause(column=column, operator="in", values=tuple(values)), tokens[at + 2 :]
            if tokens[at + 1] != ("sign", ","):
                break
        return None, tokens
    if kind == "sign" and sign in ("<", "<=", ">", ">=", "==", "!=") and tokens[2][0] in ("constant", "word"):
        return Clause(column=column, operator=sign, values=(tokens[2][1],)), tokens[3:]
    return None, tokens
