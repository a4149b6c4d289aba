"""Which columns of a source play a part, by the SPEC's roles."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import NamedTuple

from tasks.contract.errors import SourceError, SpecError
from tasks.contract.spec import RolesSpec


class Selection(NamedTuple):
    """Role columns by name.

    Attributes
    ----------
    covariates : tuple of str
        In the order of their ids: as the SPEC lists them, or as in the source for ``"*"``. Strata are among them.
    ordered : tuple of str
        Every column with a role, in the source's order.
    """

    covariates: tuple[str, ...]
    ordered: tuple[str, ...]


def select(roles: RolesSpec, names: Sequence[str], index: Sequence[str] = (), whole: bool = False) -> Selection:
    """Find the role columns among a source's columns.

    Parameters
    ----------
    roles : RolesSpec
        The SPEC's roles.
    names : sequence of str
        Columns of the source in its order.
    index : sequence of str
        Columns that are a stored row index: no part of ``"*"``.
    whole : bool
        Whether these are all its columns: then ``exclude`` must name columns that are there.

    Returns
    -------
    Selection

    Raises
    ------
    SourceError
        If a role's column is not in the source, or no covariate is left.
    SpecError
        If ``kinds`` or ``subgroups`` name a column that is no covariate.
    """
    declared = roles.columns_by_role
    for role, given in declared.items():
        for name in given if role not in ("exclude", "covariates") or (role == "exclude" and whole) else ():
            _present(role, name, names)
    beside = {*declared["event"], *roles.id, *declared["cluster"], *declared["weight"], *roles.passengers}
    if roles.covariates == "*":
        named = {*roles.kinds, *roles.strata}
        others = {roles.treatment, *roles.outcome_columns, *roles.exclude, *beside, *(name for name in index if name not in named)}
        covariates = tuple(name for name in names if name not in others)
        if not covariates:
            raise SourceError(
                "covariates of roles must leave at least one column; got none beside treatment, outcome, excluded and index columns.",
                "Shorten roles.exclude.",
            )
    else:
        covariates = (*roles.covariates, *roles.strata)
        for name in covariates:
            _present("covariates", name, names)
    for key, keyed, allowed in (("kinds", roles.kinds, (*covariates, *roles.passengers)), ("subgroups", roles.subgroups, covariates)):
        for name in keyed:
            if name not in allowed:
                raise SpecError(f"{key} of roles must name covariates; got '{name}', which is none.", _nearest(name, allowed))
    wanted = {*covariates, roles.treatment, *roles.outcome_columns, *beside}
    return Selection(covariates, tuple(name for name in names if name in wanted))


def _present(role: str, name: str, names: Sequence[str]) -> None:
    if name not in names:
        raise SourceError(f"{role} of roles must name a column of the source; got '{name}', which is not there.", _nearest(name, names))


def _nearest(name: str, names: Sequence[str]) -> str:
    folded = {each.strip().casefold(): each for each in names}
    close = difflib.get_close_matches(name.strip().casefold(), list(folded), n=1)
    if close:
        return f"Did you mean '{folded[close[0]]}'?"
    shown = ", ".join(f"'{each}'" for each in list(names)[:20])
    return f"Columns: {shown}{', ...' if len(names) > 20 else ''}."
