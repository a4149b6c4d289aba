"""Canaries: rows whose treatment and outcomes are fair coins, planted before a release is minted.

What a release reveals of a coin comes from the row itself alone: no law of the population predicts it. So the share of coins
guessed right is 1/2 where mechanisms keep single rows to themselves, whatever the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.audit.case import Int64
from tasks.contract.errors import SpecError
from tasks.contract.roles import ColumnRoles
from tasks.distance import closest, fit_scale


class Planted(NamedTuple):
    """A source with canaries.

    Attributes
    ----------
    table : pandas.DataFrame
        The source with the canaries' treatment and outcome redrawn; rows, order and columns as before. Release this.
    canaries : pandas.DataFrame
        The redrawn rows alone: what ``waymint audit --canaries`` wants. As secret as the source.
    """

    table: pd.DataFrame
    canaries: pd.DataFrame


def plant(table: pd.DataFrame, roles: ColumnRoles, count: int, rng: np.random.Generator, others: Sequence[str] = ()) -> Planted:
    """Flip a fair coin for treatment and each outcome of the most isolated rows; of more than two arms each is equally likely.

    The rows farthest from their closest other row are taken: a mechanism that knows them at all knows them alone, and their
    outcomes weigh little in any effect. The outcome's two sides are 0 and 1 where it is binary, else its 10 % and 90 %
    quantiles, values that the column holds.

    Parameters
    ----------
    table : pandas.DataFrame, n rows
        A source as its owner has it: complete in treatment.
    roles : ColumnRoles
        Names of its columns.
    count : int
        Canaries to plant; at most a tenth of the rows.
    rng : numpy.random.Generator
        Where the coins come from.
    others : sequence of str
        Further outcomes, and of a time to event the column that says whether it came. Canaries miss none of these cells.

    Returns
    -------
    Planted

    Raises
    ------
    SpecError
        If count is not in [1, n / 10], a role's column is missing or a label is unknown.
    """
    if not 1 <= count <= len(table) // 10:
        raise SpecError(f"count of canaries must be from 1 to a tenth of the {len(table)} rows; got {count}.")
    outcomes = (roles.outcome, *others)
    names = [*roles.covariates, roles.treatment, *outcomes]
    lacking = sorted(set(names) - set(table.columns))
    if lacking:
        raise SpecError(f"columns of canaries must be in the table; it lacks {', '.join(lacking)}.")
    labels = _labels(table[roles.treatment], roles)
    chosen = isolated(table[list(roles.covariates)], count)
    planted = table.copy()
    for name, values in ((roles.treatment, labels), *((name, _sides(table[name])) for name in outcomes)):
        coins = rng.integers(len(values), size=count)
        # cells are taken from rows that have them, so that the column's type stays as it is
        places = np.arange(len(table))
        places[chosen] = np.array([_first(table[name], value) for value in values])[coins]
        planted[name] = table[name].take(places).set_axis(table.index)
    return Planted(planted, planted.iloc[chosen].reset_index(drop=True))


def _first(column: pd.Series, value: object) -> int:
    return int(np.flatnonzero((column == value).fillna(False).to_numpy(dtype=np.bool_))[0])


def isolated(covariates: pd.DataFrame, count: int) -> Int64:
    """Return the positions, ascending, of the rows farthest from their closest other row."""
    scale = fit_scale([covariates])
    apart = closest(covariates, covariates, k=2, scale=scale)[0][:, 1]
    order = np.lexsort((np.arange(len(apart)), -apart))
    return np.sort(order[:count]).astype(np.int64)


def _labels(treatment: pd.Series, roles: ColumnRoles) -> tuple[object, ...]:
    """Return the arms' labels, of two the control first."""
    labels = list(pd.unique(treatment.dropna()))
    if roles.control is not None and roles.control in labels and len(labels) > 2:
        return tuple(sorted(labels, key=lambda label: (label != roles.control, str(label))))
    if len(labels) != 2 or roles.treated not in labels:
        raise SpecError(
            "treatment of canaries must have two labels, one of them the treated, or more with the control named; "
            f"got {len(labels)} labels in column '{roles.treatment}'."
        )
    control = next(label for label in labels if label != roles.treated)
    return control, roles.treated


def _sides(outcome: pd.Series) -> tuple[object, object]:
    present = outcome.dropna()
    if present.nunique() == 2:
        low, high = sorted(present.unique().tolist())
        return low, high
    return present.quantile(0.1, interpolation="lower"), present.quantile(0.9, interpolation="higher")
