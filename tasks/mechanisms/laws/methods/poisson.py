"""The Poisson law of a count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from tasks.mechanisms.laws.counts import CountLaw, counted, read_counts, write_counts
from tasks.mechanisms.laws.protocol import LawRows
from tasks.mechanisms.laws.support import Support


class Params(BaseModel):
    """Parameters of the Poisson law: none."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Poisson:
    """The method."""

    rank: int = 1

    def suits(self, support: Support, kind: str) -> bool:
        """Return whether counts are unbounded."""
        return counted(support, kind)

    def fit(self, rows: LawRows, support: Support, rng: np.random.Generator) -> CountLaw:  # noqa: ARG002, the LawMethod protocol
        """Return the law: its mean says all."""
        return CountLaw((0.0,) * len(rows.arms()))

    def write(self, law: CountLaw) -> dict[str, Any]:
        """Return the law as a JSON object."""
        return write_counts(law)

    def read(self, values: dict[str, Any]) -> CountLaw:
        """Read what ``write`` returned."""
        return read_counts(values)


def build(params: Params) -> Poisson:  # noqa: ARG001, the registry's protocol
    """Return the method."""
    return Poisson()
