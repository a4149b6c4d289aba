"""The Bernoulli law of a binary outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from tasks.contract.nuisance import Float64, Int8
from tasks.mechanisms.laws.fields import Plain
from tasks.mechanisms.laws.protocol import Inversion, LawRows
from tasks.mechanisms.laws.support import Support


class Params(BaseModel):
    """Parameters of the Bernoulli law: none."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class BinaryLaw:
    """Y ~ Bernoulli(Q*)."""

    @property
    def key(self) -> str:
        """Name of the method."""
        return "binary"

    @property
    def reach(self) -> tuple[float, float]:
        """Probabilities."""
        return 0.0, 1.0

    def draw(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> Float64:  # noqa: ARG002, the OutcomeLaw protocol
        """Return 0.0 or 1.0 for each row, shape (n,)."""
        return (rng.random(len(mean)) < mean).astype(np.float64)

    def invert(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> Inversion:  # noqa: ARG002, the OutcomeLaw protocol
        """Return the law at given rows."""
        return Inversion(lambda u: (u >= 1.0 - mean).astype(np.float64), lambda u: np.maximum(u - (1.0 - mean), 0.0))


@dataclass(frozen=True)
class Binary:
    """The method."""

    rank: int = 0

    def suits(self, support: Support, kind: str) -> bool:  # noqa: ARG002, the LawMethod protocol
        """Return whether the outcome is binary."""
        return kind == "binary"

    def fit(self, rows: LawRows, support: Support, rng: np.random.Generator) -> BinaryLaw:  # noqa: ARG002, the LawMethod protocol
        """Return the law: its mean says all."""
        return BinaryLaw()

    def write(self, law: BinaryLaw) -> dict[str, Any]:  # noqa: ARG002, the LawMethod protocol
        """Return the law as a JSON object."""
        return _Record().model_dump()

    def read(self, values: dict[str, Any]) -> BinaryLaw:
        """Read what ``write`` returned."""
        _Record.model_validate(values)
        return BinaryLaw()


def build(params: Params) -> Binary:  # noqa: ARG001, the registry's protocol
    """Return the method."""
    return Binary()


class _Record(Plain):
    kind: Literal["binary"] = "binary"
