"""Conditional tabular GAN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from tasks.covariates.protocol import Synthesizer


class Params(BaseModel):
    """Parameters of the conditional tabular GAN."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(300, ge=1, le=100_000, description="most epochs; training stops earlier where validation no longer improves")
    every: int = Field(10, ge=1, description="epochs from one validation, and saved state, to the next")
    patience: int = Field(10, ge=1, description="validations without a new best after which training stops")
    batch: int | None = Field(None, ge=10, le=100_000, description="rows of a step; empty: a tenth of the table, 60 to 500")
    noise: int = Field(128, ge=1, le=4096, description="length of the noise")
    generator: tuple[int, ...] = Field((256, 256), min_length=1, description="widths of the generator's layers")
    critic: tuple[int, int] = Field((256, 256), description="widths of the critic's layers")
    pack: int = Field(2, ge=1, le=100, description="rows that the critic sees at once; 10 in the paper")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the critic's units left out of each pass; 0.5 in the paper")
    rate: float = Field(1e-3, gt=0, lt=1, description="learning rate of both")
    decay: float = Field(1e-6, ge=0, lt=1, description="weight decay of both")


def build(params: Params) -> Synthesizer:
    """Return the conditional tabular GAN."""
    from tasks.covariates.gan.ctgan import CTGAN  # loads torch: imported where it is named

    return CTGAN(params)
