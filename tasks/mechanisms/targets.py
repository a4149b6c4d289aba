"""What Q* is targeted at: the ATE, the ATT, the effect in the overlap, and the effects of declared subgroups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.contract.errors import SpecError
from tasks.contract.frames import levels_of
from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.contract.spec import Spec
from tasks.numerics.blocked import floats
from tasks.targeting.fluctuation import truncate_arms


@dataclass(frozen=True)
class Targets:
    """The estimands of a release.

    Attributes
    ----------
    groups : tuple of (str, str)
        Column id and level of each declared subgroup.
    att, ato : bool
        Whether the effects among the rows of each arm beside the control, and in the overlap population, are targets.
    ate : bool
        Whether the ATE is one. Without it no weight 1/g enters: the rows of one arm that have no like in the other don't matter.
    arms : int
        K.
    """

    groups: tuple[tuple[str, str], ...] = ()
    att: bool = False
    ato: bool = False
    ate: bool = True
    arms: int = 2

    @property
    def count(self) -> int:
        """Number of directions beside the ATE's."""
        return len(self.groups) + self.att * (self.arms - 1) + self.ato

    def members(self, covariates: pd.DataFrame) -> Float64:
        """Return the indicators of the subgroups, shape (n, groups); a missing level is in no subgroup."""
        out = np.zeros((len(covariates), len(self.groups)))
        texts: dict[str, pd.Series] = {}
        for at, (column, level) in enumerate(self.groups):
            if column not in texts:
                texts[column] = levels_of(covariates[column])
            out[:, at] = (texts[column] == level).fillna(False).to_numpy(dtype=np.float64)
        return out

    def directions(self, members: Float64, nuisances: Nuisances, truncation: float) -> Float64 | None:
        """Return b(W), shape (n, count), given the indicators of the subgroups (:meth:`members`); None for no further estimand.

        By b(W) the clever covariates of the arms' means are multiplied.

        For a subgroup its indicator; for the ATT of arm k its propensity g_k, which makes H_k = 1 and H_0 = g_k / g_0: van der Laan,
        Rose (2011), chapter 8, DOI 10.1007/978-1-4419-9782-1; for the ATO h = 1 / sum_k 1/g_k: Li, Li (2019), DOI 10.1214/19-AOAS1282.
        Without the ATE only the odds g_k / g_0 are held at most (1 - d) / d.
        """
        if not self.count:
            return None
        parts = [members] if self.groups else []
        p = truncate_arms(nuisances, truncation if self.ate else 0.0)
        if self.att:
            most = np.inf if self.ate else (1.0 - truncation) / max(truncation, 1e-9)
            parts += [np.minimum(each, most * p[0])[:, None] for each in p[1:]]
        if self.ato:
            parts.append(overlap_weight(p)[:, None])
        return np.column_stack(parts)

    def constraints(self, members: Float64, a: Int8, nuisances: Nuisances) -> Float64:
        """Return the functions whose means with Q*a are the estimands, shape (n, ate + count).

        1 for the ATE, the subgroups' indicators, 1(A = k) for the ATT of arm k, and h for the ATO.
        """
        parts = [np.ones_like(nuisances[0])[:, None]] if self.ate else []
        parts += [members] if self.groups else []
        if self.att:
            parts += [floats(a == arm)[:, None] for arm in range(1, self.arms)]
        if self.ato:
            parts.append(overlap_weight(truncate_arms(nuisances, 0.0))[:, None])
        return np.column_stack(parts)


def overlap_weight(p: tuple[Float64, ...]) -> Float64:
    """Return h = 1 / sum_k 1/g_k, shape (n,); of two arms g (1 - g)."""
    total = 1.0 / p[0]
    for each in p[1:]:
        total = total + 1.0 / each
    return 1.0 / total


def require_carried(spec: Spec) -> None:
    """Refuse targets that the release's own design can't carry.

    Raises
    ------
    SpecError
        If a target is the effect of a population that the source's assignment defines, and the release assigns otherwise; or if
        subgroups are declared without the ATE.
    """
    settings = spec.mechanisms
    promised = [name for name in settings.targets if name != "ate"]
    if promised and spec.release.mode == "hybrid" and settings.treatment != "fitted":
        raise SpecError(
            f"targets of mechanisms must be 'ate' where the design is {settings.treatment}; got '{promised[0]}'.",
            f"In such a release {_POPULATION[promised[0]]} not the source's: set mechanisms.treatment = 'fitted', or leave "
            f"'{promised[0]}' out.",
        )
    if spec.roles.subgroups and "ate" not in settings.targets:
        raise SpecError(
            "targets of mechanisms must hold 'ate' where roles.subgroups are declared; got none.",
            "Add 'ate', or leave the subgroups out.",
        )


_POPULATION = {"att": "the treated are", "ato": "the rows in the overlap are"}
