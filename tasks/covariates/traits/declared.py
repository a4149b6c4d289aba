"""Declared relations: checked against the training rows, and turned into what derives their columns."""

from __future__ import annotations

import numpy as np

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.relations import Relation
from tasks.contract.roles import Column
from tasks.covariates.margins import Float64
from tasks.covariates.traits.bound import Bound, Linear, Ordered
from tasks.covariates.traits.detection import learn_within, usual
from tasks.covariates.traits.plan import Plan

_WAY_OUT = "Mend the rows, or take it out of roles.relations."


def plan_declared(relations: tuple[Relation, ...], cells: dict[str, Float64], columns: tuple[Column, ...]) -> Plan:
    """Plan how declared relations are kept.

    Parameters
    ----------
    relations : tuple of Relation
        By the source's names.
    cells : dict of str to ndarray of float64, shape (n,)
        Training rows by column id.
    columns : tuple of Column
        Covariates that vary; a relation with a constant column holds by itself, but for a sum, which keeps the constant.

    Returns
    -------
    Plan

    Raises
    ------
    SpecError
        If two relations would derive the same column.
    EstimationError
        If training rows break a relation.
    """
    by_name = {column.name: column for column in columns}
    plan = Plan(cells)
    for relation in sorted(relations, key=lambda one: ("copy", "sum", "within", "order").index(one.kind)):
        choices = _choices(relation, by_name, cells)
        if choices and not any(plan.add(bound) for bound in choices):
            names = ", ".join(f"'{name}'" for name in relation.columns)
            raise SpecError(
                f"relation '{relation}' of roles must leave a column to derive; got {names}, which other relations decide.",
                "Take one of these relations out.",
            )
    return plan


def _choices(relation: Relation, columns: dict[str, Column], cells: dict[str, Float64]) -> list[Bound]:
    """Return the ways to keep a relation, best first."""
    parts = [columns[name] for name in relation.columns if name in columns]
    if relation.kind == "sum":
        return _sums(relation, columns, cells)
    if len(parts) < len(relation.columns):
        return []  # one of the two is constant
    first, second = parts
    if relation.kind == "order":
        bound = Ordered(second.id, (first.id,), usual(cells[first.id]))
        _require(relation, bound.broken(cells), cells)
        return [bound]
    if relation.kind == "copy" and not first.is_category and not second.is_category:
        forth, back = _affine(first, second, cells), _affine(second, first, cells)
        _require(relation, forth.broken(cells), cells)
        return [forth, back]
    forward, backward = learn_within(cells, first, second), learn_within(cells, second, first)
    if forward is None or (relation.kind == "copy" and backward is None):
        raise EstimationError(
            f"relation '{relation}' of roles must hold in every training row; got '{relation.columns[0]}' "
            f"with values that go with several of '{relation.columns[1]}'.",
            _WAY_OUT,
        )
    return [forward] if relation.kind == "within" or backward is None else [forward, backward]


def _sums(relation: Relation, columns: dict[str, Column], cells: dict[str, Float64]) -> list[Bound]:
    """Return a sum solved for its total, and for each of its terms."""
    factors = {columns[name].id: float(sign) for name, sign in zip(relation.columns[1:], relation.signs, strict=True) if name in columns}
    total = columns.get(relation.columns[0])
    coefficients = {**factors, total.id: -1.0} if total is not None else factors
    both = np.all([~np.isnan(cells[name]) for name in coefficients], axis=0)
    # what constant columns bring in: the same in all rows
    rest = sum(factor * cells[name][both] for name, factor in coefficients.items())
    constant = float(np.median(rest)) if len(coefficients) <= len(relation.columns) - 1 and both.any() else 0.0
    ways: list[Bound] = []
    for target, coefficient in sorted(coefficients.items(), key=lambda one: total is None or one[0] != total.id):
        terms = tuple((name, -factor / coefficient) for name, factor in coefficients.items() if name != target)
        if terms:
            ways.append(Linear(target, terms, constant / coefficient + 0.0))
    if ways:
        _require(relation, ways[0].broken(cells), cells)
    return ways


def _affine(source: Column, target: Column, cells: dict[str, Float64]) -> Linear:
    """Return the factor and offset that lead from one column to another, by its least and largest value."""
    both = ~np.isnan(cells[source.id]) & ~np.isnan(cells[target.id])
    given, wanted = cells[source.id][both], cells[target.id][both]
    if not len(given) or (given == wanted).all() or given.min() == given.max():
        return Linear(target.id, ((source.id, 1.0),))
    low, high = int(np.argmin(given)), int(np.argmax(given))
    factor = float((wanted[high] - wanted[low]) / (given[high] - given[low]))
    return Linear(target.id, ((source.id, factor),), float(wanted[low] - factor * given[low]))


def _require(relation: Relation, broken: int, cells: dict[str, Float64]) -> None:
    """Raise ``EstimationError`` where rows break a relation."""
    if broken:
        rows = len(next(iter(cells.values())))
        raise EstimationError(
            f"relation '{relation}' of roles must hold in every training row; got {broken} of {rows} rows in which it does not.", _WAY_OUT
        )
