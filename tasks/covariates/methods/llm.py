"""Rows as sentences of a causal language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.covariates.language.pretrained import require_pretrained

if TYPE_CHECKING:
    from tasks.covariates.journal import Trained


class Params(BaseModel):
    """Parameters of the language model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = Field(
        None, min_length=1, description="folder or hub name of a causal language model to adapt; empty: a small GPT-2 made for the table"
    )
    download: bool = Field(False, description="whether a model that is not in the local cache may be fetched from the hub")
    layers: Literal["all", "card"] | tuple[int, ...] = Field(
        "all", description="with model: layers to adapt: all, by layer card, or a list"
    )
    budget: float = Field(0.5, gt=0, le=1, description='with layers = "card": share of the cost of adapting all layers')
    rank: int = Field(8, ge=1, le=256, description="with model: rank of the adapters")
    depth: int = Field(3, ge=1, le=48, description="without model: layers")
    width: int = Field(96, ge=8, le=4096, description="without model: numbers per token")
    heads: int = Field(4, ge=1, le=64, description="without model: attention heads; must divide width")
    dropout: float = Field(0.1, ge=0, lt=1, description="without model: share of activations left out in training")
    bins: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="without model: most quantile bins of a number, none of fewer than 20 rows; empty: root of the rows over 3, 8 to 32",
    )
    digits: int | None = Field(
        None, ge=0, le=2, description="without model: digits of a number's place within its bin; empty: 1 from 5,000 rows on, else 0"
    )
    epochs: int | None = Field(None, ge=1, le=10_000, description="most epochs; empty: 40 for 1,000 rows, fewer for more, at least 4")
    patience: int = Field(5, ge=1, description="measurements without a better one, out of about 8, after which training stops")
    batch: int = Field(64, ge=1, le=4096, description="rows of a step")
    rate: float | None = Field(None, gt=0, le=1, description="highest learning rate; empty: 0.002")

    @model_validator(mode="after")
    def _fitting(self) -> Params:
        if self.width % self.heads:
            raise ValueError("heads must divide width")
        if self.model is None and self.layers != "all":
            raise ValueError("layers chooses what is adapted of a pretrained model; name one as model, or leave layers out")
        if isinstance(self.layers, tuple) and (not self.layers or len(set(self.layers)) < len(self.layers) or min(self.layers) < 0):
            raise ValueError("layers must be distinct numbers from 0, at least one")
        return self


def build(params: Params) -> Trained:
    """Return the language model, or refuse a pretrained one that is not there before any work is done."""
    if params.model is not None and not params.download:
        require_pretrained(params.model)
    from tasks.covariates.language.synthesizer import Llm  # loads torch: imported where it is named

    return Llm(params)
