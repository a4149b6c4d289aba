"""Relations between columns that a release keeps in every row: ``roles.relations`` of a SPEC."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tasks.contract.errors import SpecError
from tasks.contract.roles import Column

GRAMMAR = '"start <= end", "copy(x, x_again)", "within(town, region)" or "total = a + b"; names with spaces stand in backticks'
_TOKEN = re.compile(r"\s*(?:`(?P<quoted>[^`]+)`|(?P<sign><=|[=+,()]|(?<=\s)-(?=\s))|(?P<name>[^\s`=+,()<>]+))")
_CALLS = ("copy", "within")


class Relation(BaseModel):
    """One relation between columns, by their names in the source.

    Attributes
    ----------
    kind : str
        ``"order"`` (the first is at most the second), ``"copy"`` (the second is a function of the first that can be read backwards:
        equal, or a fixed factor and offset), ``"within"`` (the first decides the second), ``"sum"`` (the first is the
        signed sum of the others).
    columns : tuple of str
        At least two.
    signs : tuple of int
        Of a sum: +1 or -1 for every column but the first; empty otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["order", "copy", "within", "sum"]
    columns: tuple[str, ...]
    signs: tuple[int, ...] = ()

    def __str__(self) -> str:
        names = [quote(name) for name in self.columns]
        if self.kind == "order":
            return " <= ".join(names)
        if self.kind == "sum":
            terms = "".join(f" {'+' if sign > 0 else '-'} {name}" for sign, name in zip(self.signs, names[1:], strict=True))
            return f"{names[0]} = {terms.removeprefix(' + ').strip()}"
        return f"{self.kind}({', '.join(names)})"


def quote(name: str) -> str:
    """Write a column's name as a relation's text holds it: in backticks where it is no single word."""
    return name if re.fullmatch(r"[^\s`=+,()<>]+", name) and name != "-" else f"`{name}`"


def parse_relation(text: str) -> tuple[Relation, ...]:
    """Read one entry of ``roles.relations``.

    Parameters
    ----------
    text : str
        ``a <= b`` (or a chain ``a <= b <= c``), ``copy(a, b)``, ``within(a, b)``, ``t = a + b - c``.

    Returns
    -------
    tuple of Relation
        One, or one for each neighbouring pair of a chain.

    Raises
    ------
    ValueError
        If the text is none of these, or names a column twice.
    """
    names, signs = _tokens(text)
    relations = _read(names, signs)
    if not relations:
        raise ValueError(f"relation '{text}' must be like {GRAMMAR}")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None and names[0] not in _CALLS:
        raise ValueError(f"relation '{text}' must name a column once; got '{twice}' twice")
    if any(len(set(relation.columns)) < len(relation.columns) for relation in relations):
        raise ValueError(f"relation '{text}' must name two different columns")
    return relations


def check_relations(relations: tuple[Relation, ...], columns: Sequence[Column]) -> None:
    """Refuse relations that a table's columns can't have.

    Parameters
    ----------
    relations : tuple of Relation
        Declared ones.
    columns : sequence of Column
        The covariates.

    Raises
    ------
    SpecError
        If a name is no covariate, or columns are of kinds that can't be compared or added.
    """
    by_name = {column.name: column for column in columns}
    for relation in relations:
        for name in relation.columns:
            if name not in by_name:
                close = difflib.get_close_matches(name, by_name, n=1)
                hint = f"Did you mean '{close[0]}'?" if close else ""
                raise SpecError(f"relation '{relation}' of roles must name covariates; got '{name}', which is none.", hint)
        kinds = {name: _family(by_name[name]) for name in relation.columns}
        allowed = {"sum": {"number"}, "order": {"number", "date"}}.get(relation.kind)
        if allowed is not None:
            odd = next((name for name, kind in kinds.items() if kind not in allowed), None)
            if odd is not None:
                raise SpecError(
                    f"columns of relation '{relation}' must be {' or '.join(sorted(allowed))} columns; got '{odd}', a {kinds[odd]}."
                )
        if relation.kind in ("order", "copy") and len(set(kinds.values())) > 1:
            text = ", ".join(f"'{name}', a {kind}" for name, kind in kinds.items())
            raise SpecError(f"columns of relation '{relation}' must be of one kind; got {text}.")


def _family(column: Column) -> str:
    return "category" if column.is_category else "date" if column.kind == "datetime" else "number"


def _tokens(text: str) -> tuple[list[str], list[str]]:
    """Split a text into names, in their order, and a pattern of the signs with ``n`` for each name."""
    names: list[str] = []
    signs: list[str] = []
    at = 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            return [], ["?"]
        at = match.end()
        if match["sign"]:
            signs.append(match["sign"])
        else:
            names.append(match["quoted"] or match["name"])
            signs.append("n")
    return names, signs


def _read(names: list[str], signs: list[str]) -> tuple[Relation, ...]:
    pattern = "".join(signs)
    if pattern == "n(n,n)" and names[0] in _CALLS:
        return (Relation(kind="copy" if names[0] == "copy" else "within", columns=tuple(names[1:])),)
    if re.fullmatch(r"n(<=n)+", pattern):
        return tuple(Relation(kind="order", columns=pair) for pair in itertools.pairwise(names))
    if re.fullmatch(r"n=n([+-]n)+", pattern):
        plus = tuple(1 if sign == "+" else -1 for sign in signs if sign in "+-")
        return (Relation(kind="sum", columns=tuple(names), signs=(1, *plus)),)
    return ()
