"""Resampled rows: the negative control that every distance gate must reject."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from tasks.contract.roles import Column
from tasks.covariates.protocol import CovariateModel, Synthesizer, require_rows


class Params(BaseModel):
    """The bootstrap has no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BootstrapModel(NamedTuple):
    """The rows themselves."""

    rows: pd.DataFrame

    def sample(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        """Draw ``n`` of the rows with replacement; see :class:`tasks.covariates.protocol.CovariateModel`."""
        return self.rows.iloc[rng.integers(len(self.rows), size=n)].reset_index(drop=True)


class Bootstrap(NamedTuple):
    """Resamples real rows verbatim (Efron 1979, 10.1214/aos/1176344552).

    The law is as faithful as can be and every row is a person's: a release made with it gives the source away. It
    exists to show that the gates work, and must never pass them.
    """

    params: Params

    def fit(self, table: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator) -> CovariateModel:  # noqa: ARG002 - the protocol's face
        """Keep the rows; see :class:`tasks.covariates.protocol.Synthesizer`."""
        require_rows(table, "bootstrap")
        return BootstrapModel(table[[column.id for column in columns]].reset_index(drop=True))


def build(params: Params) -> Synthesizer:
    """Return the bootstrap."""
    return Bootstrap(params)
