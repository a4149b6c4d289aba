"""The negative binomial law of a count, its dispersion by arm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from tasks.mechanisms.laws.counts import CountLaw, counted, dispersion_of, read_counts, write_counts
from tasks.mechanisms.laws.protocol import LawRows
from tasks.mechanisms.laws.support import Support


class Params(BaseModel):
    """Parameters of the negative binomial law: none."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class NegativeBinomial:
    """The method."""

    rank: int = 2

    def suits(self, support: Support, kind: str) -> bool:
        """Return whether counts are unbounded."""
        return counted(support, kind)

    def fit(self, rows: LawRows, support: Support, rng: np.random.Generator) -> CountLaw:  # noqa: ARG002, the LawMethod protocol
        """Estimate each arm's dispersion; 0 where it is not beyond chance."""
        return CountLaw(tuple(dispersion_of(rows.y[of_arm], rows.mean[of_arm], rows.weights[of_arm]) for of_arm in rows.arms()))

    def write(self, law: CountLaw) -> dict[str, Any]:
        """Return the law as a JSON object."""
        return write_counts(law)

    def read(self, values: dict[str, Any]) -> CountLaw:
        """Read what ``write`` returned."""
        return read_counts(values)


def build(params: Params) -> NegativeBinomial:  # noqa: ARG001, the registry's protocol
    """Return the method."""
    return NegativeBinomial()
