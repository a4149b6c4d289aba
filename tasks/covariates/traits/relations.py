"""Relations kept by construction: copies, sums and decided columns are derived, an upper column is drawn as what it adds to the lower."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.contract.disclosure import safe_bounds, tails
from tasks.contract.relations import Relation
from tasks.contract.roles import Column, pack_field
from tasks.covariates.margins import Float64
from tasks.covariates.traits.bound import Bound, Linear, Ordered, Within, cells_of, describe
from tasks.covariates.traits.declared import plan_declared
from tasks.covariates.traits.detection import find_linear, find_orders, find_within
from tasks.covariates.traits.grids import grid_of
from tasks.covariates.traits.values import Domain, domain_of


class RelationTrait(NamedTuple):
    """Relations in the order in which they are derived.

    Attributes
    ----------
    relations : tuple of Linear, Within or Ordered
    domains : dict of str to Domain
        Of the numeric columns that take part, so narrow that no derived column leaves its own.
    slacks : dict of str to Column
        What is drawn in the place of an upper column, by its id.
    levels : dict of str to pandas.CategoricalDtype
        Of the derived categories.
    """

    relations: tuple[Bound, ...]
    domains: dict[str, Domain]
    slacks: dict[str, Column]
    levels: dict[str, pd.CategoricalDtype]

    @property
    def derived(self) -> set[str]:
        """The columns that the synthesizer does not see."""
        return {bound.target for bound in self.relations if not isinstance(bound, Ordered) and not bound.drawn}

    def columns(self, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        """Describe what the synthesizer is given."""
        return tuple(self.slacks.get(column.id, column) for column in columns if column.id not in self.derived)

    def encode(self, table: pd.DataFrame) -> pd.DataFrame:
        """Drop derived columns; put what an upper column adds in its place."""
        cells = cells_of(table)
        slacks = {bound.target: bound.slack(cells) for bound in self.relations if isinstance(bound, Ordered)}
        return table.assign(**slacks).drop(columns=sorted(self.derived))

    def decode(self, drawn: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        """Derive every target from the released values of the others."""
        del rng
        raw = cells_of(drawn)
        cells = {name: self.domains[name].nearest(values) if name in self.domains else values for name, values in raw.items()}
        for bound in self.relations:
            if isinstance(bound, Ordered):
                cells[bound.target] = bound.value(cells, raw[bound.target], self.domains[bound.target])
                continue
            if isinstance(bound, Linear) and len(bound.terms) > 1:
                self._shave(bound, cells)
            value = bound.value(cells)
            if bound.target in self.domains:
                value = self.domains[bound.target].nearest(value)
            if bound.drawn:
                target = cells[bound.target]
                value = np.where(np.isnan(value) | np.isnan(target), target, value)
            cells[bound.target] = value
        touched = {name for bound in self.relations for name in (bound.target, *bound.inputs)}
        series = {name: self._series(name, cells[name], drawn.get(name)) for name in sorted(touched)}
        return drawn.assign(**series)

    def refuted(self, table: pd.DataFrame) -> set[str]:
        """Return the targets of relations that more training rows break."""
        cells = cells_of(table)
        return {bound.target for bound in self.relations if bound.broken(cells)}

    def described(self, names: dict[str, str]) -> list[str]:
        """Write the relations with the source's names."""
        return [describe(bound, names) for bound in self.relations]

    def _series(self, name: str, values: Float64, like: pd.Series | None) -> pd.Series:
        levels = self.levels.get(name)
        if levels is None and like is not None and isinstance(like.dtype, pd.CategoricalDtype):
            levels = like.dtype
        if levels is None:
            return pd.Series(values, name=name)
        return pd.Series(pd.Categorical.from_codes(np.where(np.isnan(values), -1, values).astype(np.intp), dtype=levels), name=name)

    def _shave(self, bound: Linear, cells: dict[str, Float64]) -> None:
        """Move the terms of a sum, as little as possible, so that the sum stays inside its own range."""
        domain = self.domains[bound.target]
        targets = {each.target: each for each in self.relations}
        for name, factor in bound.terms:
            lower = targets.get(name)
            if lower is not None and not isinstance(lower, Ordered):
                continue  # derived itself
            total = bound.value(cells)
            with np.errstate(invalid="ignore"):
                beyond = np.where(total > domain.high, total - domain.high, np.where(total < domain.low, total - domain.low, 0.0))
            rows = np.flatnonzero(beyond)
            if not len(rows):
                return
            part = self.domains[name]
            wanted = cells[name][rows] - beyond[rows] / factor
            falling = beyond[rows] / factor > 0
            moved = np.where(falling, part.downward(wanted), part.upward(wanted))
            least = np.full(len(rows), part.low)
            if isinstance(lower, Ordered):
                least = np.fmax(least, part.upward(lower.least(cells)[rows]))
            cells[name] = cells[name].copy()
            cells[name][rows] = np.clip(moved, np.minimum(least, part.high), part.high)


def find_relations(
    table: pd.DataFrame, columns: tuple[Column, ...], declared: tuple[Relation, ...], refuted: frozenset[str]
) -> RelationTrait | None:
    """Check declared relations, and find others: copies and sums, columns that another decides, orders.

    Parameters
    ----------
    table : pandas.DataFrame, shape (n, d)
        Training rows.
    columns : tuple of Column
        Treatment and outcome take no part.
    declared : tuple of Relation
    refuted : frozenset of str
        Columns that are not derived by a relation that was only found.

    Returns
    -------
    RelationTrait or None
        None where there are none.

    Raises
    ------
    SpecError, EstimationError
        See :func:`tasks.covariates.traits.declared.plan_declared`.
    """
    covariates = tuple(column for column in columns if column.is_covariate)
    cells = cells_of(table[[column.id for column in covariates]])
    plan = plan_declared(declared, cells, covariates)
    kept = set(plan.by_target)
    find_linear(cells, covariates, plan)
    find_within(cells, covariates, plan)
    find_orders(cells, covariates, plan)
    for name in refuted - kept:
        plan.by_target.pop(name, None)
    return make_trait(table, covariates, plan.in_order()) if plan.by_target else None


def make_trait(table: pd.DataFrame, columns: tuple[Column, ...], relations: tuple[Bound, ...]) -> RelationTrait:
    """Prepare relations, in the order in which they are derived, for a table.

    Parameters
    ----------
    table : pandas.DataFrame, shape (n, d)
        Training rows.
    columns : tuple of Column
    relations : tuple of Linear, Within or Ordered

    Returns
    -------
    RelationTrait
    """
    cells, by_id = cells_of(table), {column.id: column for column in columns}
    bounds = tuple(bound if isinstance(bound, Ordered) else bound._replace(drawn=_apart(bound, cells)) for bound in relations)
    touched = {name for bound in bounds for name in (bound.target, *bound.inputs)}
    domains = {}
    for name in sorted(touched):
        column = by_id[name]
        if not column.is_category:
            domains[name] = domain_of(column, grid_of(column, cells[name]) if column.kind == "datetime" else None)
    _narrow(bounds, domains)
    slacks = {bound.target: _slack(bound, cells, by_id) for bound in bounds if isinstance(bound, Ordered)}
    levels = {name: pd.CategoricalDtype(table[name].cat.categories) for name in touched if by_id[name].is_category}
    return RelationTrait(bounds, domains, slacks, levels)


def _apart(bound: Linear | Within, cells: Mapping[str, Float64]) -> bool:
    """Return whether a target is missing in other rows than the columns that decide it."""
    absent = np.any([np.isnan(cells[name]) for name in bound.inputs], axis=0)
    return bool((absent != np.isnan(cells[bound.target])).any())


def _narrow(relations: tuple[Bound, ...], domains: dict[str, Domain]) -> None:
    """Narrow the ranges of inputs so that what is derived from them lies in its own range."""
    for bound in reversed(relations):
        if isinstance(bound, Ordered):
            upper = domains[bound.target].high
            for name in bound.lows:
                part = domains[name]
                if np.isfinite(upper) and upper < part.high:
                    domains[name] = part._replace(high=float(part.downward(np.array([upper]))[0]))
        elif isinstance(bound, Linear) and len(bound.terms) == 1:
            (name, factor), part, target = bound.terms[0], domains[bound.terms[0][0]], domains[bound.target]
            ends = sorted(((target.low - bound.offset) / factor, (target.high - bound.offset) / factor))
            if np.isfinite(ends).all():
                low, high = float(part.upward(np.array(ends[:1]))[0]), float(part.downward(np.array(ends[1:]))[0])
                domains[name] = part._replace(low=max(part.low, low), high=min(part.high, high))


def _slack(bound: Ordered, cells: Mapping[str, Float64], columns: Mapping[str, Column]) -> Column:
    """Describe what an upper column adds."""
    values = bound.slack(dict(cells))
    present = values[~np.isnan(values)]
    target = columns[bound.target]
    parts = [target, *(columns[name] for name in bound.lows)]
    if target.kind == "datetime":
        low, high = safe_bounds(*tails(present), 1.0)
        field = pack_field(pa.field(target.name, pa.timestamp("us")))
        return target.model_copy(update={"low": low, "high": high, "field": field})
    digits = [column.decimals for column in parts if column.kind != "integer"]
    whole, decimals = not digits, None
    if digits and all(each is not None for each in digits):
        decimals = max(each for each in digits if each is not None)
    low, high = safe_bounds(*tails(present), 1.0 if whole else 0.0 if decimals is None else 10.0**-decimals)
    field = pack_field(pa.field(target.name, pa.float64()))
    kind = "integer" if whole else "continuous"
    update = {"kind": kind, "decimals": 0 if whole else decimals, "low": low, "high": high, "field": field}
    return target.model_copy(update=update)
