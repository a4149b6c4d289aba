"""Columns beside (W, A, Y): ids, the cluster, the weight, passengers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import pyarrow as pa

from tasks.contract.disclosure import few
from tasks.contract.errors import SourceError, WaymintError
from tasks.contract.roles import Column, Kind, Role, pack_field
from tasks.contract.spec import RolesSpec
from tasks.source.covariate import Decided, decide_covariate, refuse_infinite
from tasks.source.findings import ColumnFindings, Findings
from tasks.source.profile import ColumnProfile
from tasks.source.sampled import distinct_values, is_unique
from tasks.source.values import family

#: Clusters below which t intervals are wide and cluster-robust standard errors are too small (Cameron, Miller 2015).
FEW_CLUSTERS = 20


class Beside(NamedTuple):
    """What is decided of the columns beside (W, A, Y), by name; warnings, and every fault."""

    columns: dict[str, Decided]
    warnings: tuple[str, ...]
    faults: tuple[WaymintError, ...]


def decide_beside(fields: Mapping[str, pa.Field], findings: Findings, roles: RolesSpec, folds: int) -> Beside:
    """Decide what ids, the cluster, the weight and passengers are.

    Parameters
    ----------
    fields : mapping of str to pyarrow.Field
        Released fields.
    findings : Findings
        Over the whole source.
    roles : RolesSpec
        The SPEC's roles.
    folds : int
        Fewest clusters.

    Returns
    -------
    Beside
    """
    wanted: list[tuple[str, Callable[[pa.Field, ColumnFindings], Decided]]] = []
    for number, name in enumerate(roles.id):
        wanted.append((name, lambda field, cells, key=f"i{number}": _id(key, field, cells, roles.cluster)))  # type: ignore[misc]
    if roles.cluster is not None:
        wanted.append((roles.cluster, lambda field, cells: _cluster(field, cells, folds)))
    if roles.weight is not None:
        wanted.append((roles.weight, _weight))
    for number, name in enumerate(roles.passengers):
        wanted.append((name, lambda field, cells, key=f"p{number}": _passenger(key, field, cells, roles)))  # type: ignore[misc]
    columns, faults = {}, []
    for name, decide in wanted:
        try:
            columns[name] = decide(fields[name], findings.columns[name])
        except WaymintError as fault:
            faults.append(fault)
    warnings = tuple(warning for decided in columns.values() for warning in decided.warnings)
    return Beside(columns, warnings, tuple(faults))


def _id(key: str, field: pa.Field, cells: ColumnFindings, cluster: str | None) -> Decided:
    """Decide an id: another value in every row, or in every cluster."""
    _names_things("id", field, cells)
    if not is_unique(cells.sample, cells.present, cells.missing) and cluster is None:
        values = distinct_values(cells.sample)
        raise SourceError(
            f"id '{field.name}' must have another value in every row; got about {values:.0f} values in {cells.present} rows.",
            f'Rows of one person are a cluster: declare roles.cluster = "{field.name}" instead.',
        )
    return _bare(key, "id", field)


def _cluster(field: pa.Field, cells: ColumnFindings, folds: int) -> Decided:
    """Decide the cluster: fewer values than rows, and enough of them for the folds."""
    _names_things("cluster", field, cells)
    clusters = distinct_values(cells.sample)
    if is_unique(cells.sample, cells.present, cells.missing):
        raise SourceError(
            f"rows of clusters '{field.name}' must be several in some cluster; got one row in each of {cells.present} clusters.",
            f'Rows are independent: take out roles.cluster, or declare roles.id = ["{field.name}"].',
        )
    if clusters < folds:
        raise SourceError(
            f"clusters of '{field.name}' must be at least {folds}, one for each fold; got {clusters:.0f}.",
            "Fewer clusters carry no standard error: take out roles.cluster, or lower mechanisms.folds.",
        )
    few = (
        f"clusters of '{field.name}' are few: {clusters:.0f}; intervals use t with {clusters - 1:.0f} degrees of freedom "
        f"and are still too narrow below about {FEW_CLUSTERS}.",
    )
    return _bare("c", "cluster", field)._replace(warnings=few if clusters < FEW_CLUSTERS else ())


def _weight(field: pa.Field, cells: ColumnFindings) -> Decided:
    """Decide the weight: a number that is never missing or negative, and positive somewhere."""
    name, numbers = field.name, cells.numbers
    if family(field.type) not in ("integer", "float") or numbers is None:
        raise SourceError(f"weight '{name}' must be of numbers; got {field.type}.", "Name a column of numbers in roles.weight.")
    _complete("weight", name, cells)
    refuse_infinite(name, numbers)
    if numbers.lowest[0] < 0:
        raise SourceError(f"cells of weight '{name}' must be at least 0; got negative ones.", "Survey weights count people.")
    if numbers.highest[-1] <= 0:
        raise SourceError(f"sum of weight '{name}' must be above 0; got 0 in all {cells.present} rows.", "Take out roles.weight.")
    return _bare("v", "weight", field)


def _passenger(key: str, field: pa.Field, cells: ColumnFindings, roles: RolesSpec) -> Decided:
    """Decide a passenger: anything that a covariate may be."""
    name = field.name
    try:
        decided = decide_covariate(name, key, field, cells, roles)
    except WaymintError as fault:
        hint = fault.hint.replace("roles.covariates", "roles.passengers")
        hint = hint.replace(f"Add '{name}' to roles.exclude", f"Take '{name}' out of roles.passengers")
        raise type(fault)(fault.message.replace(f"covariate '{name}'", f"passenger '{name}'"), hint) from None
    warnings = tuple(warning.replace(f"covariate '{name}'", f"passenger '{name}'") for warning in decided.warnings)
    column = decided.column.model_copy(update={"role": "passenger"})
    return Decided(column, decided.profile.model_copy(update={"role": "passenger"}), warnings)


def _names_things(role: str, field: pa.Field, cells: ColumnFindings) -> None:
    """Refuse what can't name a row or a cluster: fractions, dates, truth values; and a name that is missing."""
    arrow = field.type
    whole = pa.types.is_integer(arrow) or (pa.types.is_decimal(arrow) and arrow.scale <= 0)
    if not whole and family(arrow) != "text":
        raise SourceError(f"{role} '{field.name}' must be of whole numbers or texts; got {arrow}.", f"Cast it, or take out roles.{role}.")
    _complete(role, field.name, cells)


def _complete(role: str, name: str, cells: ColumnFindings) -> None:
    if cells.missing:
        rows = cells.present + cells.missing
        raise SourceError(
            f"{role} '{name}' must be known in every row; got {few(cells.missing)} of {rows} rows without it.", "Drop these rows."
        )


def _bare(key: str, role: Role, field: pa.Field) -> Decided:
    """Return a column of which nothing is shown: no level, no range."""
    kinds: dict[str, Kind] = {"integer": "integer", "float": "continuous"}
    kind = kinds.get(family(field.type) or "", "categorical")
    column = Column(id=key, name=field.name, role=role, kind=kind, field=pack_field(field))
    return Decided(column, ColumnProfile(name=field.name, role=role, kind=kind, missing=0, missing_share=0.0), ())
