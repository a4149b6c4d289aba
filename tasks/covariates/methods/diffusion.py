"""Diffusion for mixed tables by flow matching, on top of a Gaussian law."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from tasks.covariates.protocol import Synthesizer


class Params(BaseModel):
    """Parameters of the diffusion synthesizer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(60, ge=1, le=100_000, description="most epochs, of all rows or 12,800 where there are fewer")
    every: int = Field(10, ge=1, description="epochs between two validations")
    patience: int = Field(3, ge=1, description="validations without a new best after which training stops")
    batch: int = Field(256, ge=16, le=65_536, description="rows of a training step; 1,024 from 50,000 rows on at least")
    rate: float = Field(1e-3, gt=0, lt=1, description="learning rate at the start; it falls to a twentieth along a cosine")
    width: int | None = Field(None, ge=8, le=4096, description="units of a hidden layer; empty: 128, and 256 from 20,000 rows on")
    layers: int = Field(3, ge=1, le=16, description="hidden layers")
    average: float = Field(0.15, gt=0, le=1, description="share of the training so far that the moving average of the weights reaches back")
    steps: int = Field(40, ge=2, le=1000, description="steps from noise to data")


def build(params: Params) -> Synthesizer:
    """Return the diffusion synthesizer."""
    from tasks.covariates.diffusion.synthesizer import Diffusion  # loads torch: imported where it is named

    return Diffusion(params)
