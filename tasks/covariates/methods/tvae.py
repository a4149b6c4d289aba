"""Tabular variational autoencoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from tasks.covariates.protocol import Synthesizer


class Params(BaseModel):
    """Parameters of the tabular variational autoencoder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(300, ge=1, le=100_000, description="most epochs; training stops earlier where validation no longer improves")
    every: int = Field(10, ge=1, description="epochs from one validation, and saved state, to the next")
    patience: int = Field(10, ge=1, description="validations without a new best after which training stops")
    batch: int | None = Field(None, ge=2, le=100_000, description="rows of a step; empty: a tenth of the table, 60 to 500")
    layers: tuple[int, ...] = Field((128, 128), min_length=1, description="widths of the encoder's layers; the decoder has them backwards")
    code: int = Field(128, ge=1, le=4096, description="length of the code")
    weight: float = Field(2.0, gt=0, le=100, description="factor on the likelihood of the evidence lower bound")
    rate: float = Field(1e-3, gt=0, lt=1, description="learning rate")
    decay: float = Field(1e-5, ge=0, lt=1, description="weight decay")


def build(params: Params) -> Synthesizer:
    """Return the tabular variational autoencoder."""
    from tasks.covariates.gan.tvae import TVAE  # loads torch: imported where it is named

    return TVAE(params)
