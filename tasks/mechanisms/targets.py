"""What Q* is targeted at beside the ATE: the ATT and the effects of declared subgroups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.contract.frames import levels_of
from tasks.contract.nuisance import Float64, Int8
from tasks.targeting.fluctuation import truncate


@dataclass(frozen=True)
class Targets:
    """Estimands beyond the ATE.

    Attributes
    ----------
    groups : tuple of (str, str)
        Column id and level of each declared subgroup.
    att : bool
        Whether the effect among the treated is one.
    """

    groups: tuple[tuple[str, str], ...] = ()
    att: bool = False

    @property
    def count(self) -> int:
        """Number of directions."""
        return len(self.groups) + self.att

    def members(self, covariates: pd.DataFrame) -> Float64:
        """Return the indicators of the subgroups, shape (n, groups); a missing level is in no subgroup."""
        out = np.zeros((len(covariates), len(self.groups)))
        texts: dict[str, pd.Series] = {}
        for at, (column, level) in enumerate(self.groups):
            if column not in texts:
                texts[column] = levels_of(covariates[column])
            out[:, at] = (texts[column] == level).fillna(False).to_numpy(dtype=np.float64)
        return out

    def directions(self, covariates: pd.DataFrame, g: Float64, truncation: float) -> Float64 | None:
        """Return b(W), shape (n, count): by what the ATE's clever covariates are multiplied; None for no further estimand.

        For a subgroup its indicator; for the ATT g, which makes H1 = 1 and H0 = g/(1-g): van der Laan, Rose (2011), chapter 8,
        DOI 10.1007/978-1-4419-9782-1.
        """
        if not self.count:
            return None
        parts = [self.members(covariates)]
        if self.att:
            parts.append(truncate(g, truncation)[1][:, None])
        return np.column_stack(parts)

    def constraints(self, covariates: pd.DataFrame, a: Int8) -> Float64:
        """Return the functions whose means with Q*a are the estimands: 1, the subgroups' indicators, and A for the ATT; (n, 1 + count)."""
        parts = [np.ones((len(a), 1)), self.members(covariates)]
        if self.att:
            parts.append(np.asarray(a, dtype=np.float64)[:, None])
        return np.column_stack(parts)
