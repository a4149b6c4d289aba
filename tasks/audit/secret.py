"""A yes-or-no fact of a row that an attacker is after."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.audit.case import Bool
from tasks.contract.errors import SpecError


class Secret(NamedTuple):
    """One covariate as a bit.

    Attributes
    ----------
    column : str
        Its id.
    level : str or None
        The level whose presence sets the bit, of a category.
    above : float or None
        The bit is set above it, of a number.
    statement : str
        What the bit says, for a report: no cell and no cut.
    """

    column: str
    level: str | None
    above: float | None
    statement: str


def choose_secret(release: pd.DataFrame, column: str | None = None) -> Secret:
    """Choose the secret from what the attacker has: a covariate that is named, or else the most balanced binary one.

    A category's bit is its most frequent level but one (of two levels: the rarer), a number's bit is "above the median". Without a
    binary covariate the first numeric one is cut, else the first category.

    Parameters
    ----------
    release : pandas.DataFrame, shape (n, d)
        Released covariates.
    column : str, optional
        Id of a covariate.

    Raises
    ------
    SpecError
        If there is no such covariate.
    """
    names = list(release.columns)
    if column is not None and column not in names:
        raise SpecError(f"secret of attack must be one of {', '.join(names)}; got '{column}'.")
    categories = [name for name in names if isinstance(release[name].dtype, pd.CategoricalDtype)]
    if column is None:
        two = [name for name in categories if (release[name].value_counts() > 0).sum() == 2]
        shares = {name: abs(release[name].value_counts(normalize=True).iloc[0] - 0.5) for name in two}
        numbers = [name for name in names if name not in categories]
        column = min(shares, key=lambda name: shares[name]) if shares else (numbers or categories)[0]
    if column in categories:
        counts = release[column].value_counts()
        return Secret(column, str(counts.index[min(1, len(counts) - 1)]), None, "is at its second level")
    return Secret(column, None, float(np.nanmedian(release[column].to_numpy())), "is above its median")


def secret_bits(frame: pd.DataFrame, secret: Secret) -> Bool:
    """Return the bit of each row, shape (n,); False where the cell is missing."""
    cells = frame[secret.column]
    if secret.level is not None:
        return np.asarray(cells == secret.level, dtype=np.bool_)
    return np.asarray(cells.to_numpy(dtype=np.float64) > secret.above, dtype=np.bool_)
