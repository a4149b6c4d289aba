"""A yes-or-no fact of a row that an attacker is after."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.audit.case import Bool, Float64, Outcome
from tasks.contract.errors import SpecError


class Secret(NamedTuple):
    """One column as a bit.

    Attributes
    ----------
    column : str
        Its id.
    level : str or None
        The level whose presence sets the bit, of a category.
    above : float or None
        The bit is set above it, of a number. Without level and cut the bit is set where the cell is missing.
    statement : str
        What the bit says, for a report: no cell and no cut that the SPEC doesn't declare.
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


def outcome_secrets(outcome: Outcome, released: Float64) -> list[Secret]:
    """Return what an attacker may be after in one outcome: its side, and whether it is missing.

    A time to event is cut at the declared time that most nearly halves the released rows, another number at its released median.

    Parameters
    ----------
    outcome : Outcome
    released : ndarray of float64, shape (m,)
        Its released cells; NaN where they are missing.
    """
    cells = released[~np.isnan(released)]
    secrets = []
    if len(cells):
        cut, statement = float(np.median(cells)), "is above its median"
        if outcome.kind == "event":
            cut, statement = 0.5, "says that an event came"
        elif outcome.kind == "binary":
            cut, statement = 0.5, "is at its second level"
        elif outcome.times:
            cut = min(outcome.times, key=lambda time: abs(float(np.mean(cells > time)) - 0.5))
            statement = f"is beyond the declared time {cut:g}"
        secrets.append(Secret(outcome.id, None, cut, statement))
    if 0 < len(cells) < len(released):
        secrets.append(Secret(outcome.id, None, None, "is missing"))
    return secrets


def secret_bits(frame: pd.DataFrame, secret: Secret) -> Bool:
    """Return the bit of each row, shape (n,); False where the cell is missing, unless that is the secret."""
    cells = frame[secret.column]
    if secret.level is None and secret.above is None:
        return np.asarray(cells.isna(), dtype=np.bool_)
    if secret.level is not None:
        return np.asarray(cells == secret.level, dtype=np.bool_)
    return np.asarray(cells.to_numpy(dtype=np.float64) > secret.above, dtype=np.bool_)
