"""GATE: the effect in one declared subgroup."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from tasks.estimation.methods.aipw import AugmentedWeighting
from tasks.targeting.influence import Influence, InfluenceEstimator
from tasks.targeting.sample import Rows


class Params(BaseModel):
    """The subgroup's name: the estimand is ``gate[column=level]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str = "rows"
    level: str = "all"


@dataclass(frozen=True)
class SubgroupEffect(InfluenceEstimator):
    """GATE = E[tau(W) | subgroup], AIPW form.

    The rows' weights carry the membership: 0 outside the subgroup. With row weights w the mean of phi and its standard
    error are those of the subgroup's own rows, while the nuisances come from all rows.
    """

    column: str
    level: str

    def influence(self, rows: Rows) -> Influence:
        """Return AIPW on the rows of positive weight, under the subgroup's name."""
        return AugmentedWeighting().influence(rows)._replace(estimand=f"gate[{self.column}={self.level}]")


def build(params: Params) -> SubgroupEffect:
    """Return the estimator."""
    return SubgroupEffect(params.column, params.level)
