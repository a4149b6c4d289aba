"""Rows as sentences of a causal language model."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.contract.roles import Column
from tasks.covariates.closeness import hold_out
from tasks.covariates.folds import assign_folds
from tasks.covariates.journal import Journal, MemoryJournal, Trained
from tasks.covariates.language.grammar import shares
from tasks.covariates.language.model import LanguageModel, read_frame
from tasks.covariates.language.pretrained import require_pretrained
from tasks.covariates.language.vocabulary import Vocabulary, borrowed_vocabulary, own_vocabulary
from tasks.covariates.margins import Float64, Margin, fit_margin
from tasks.covariates.protocol import require_rows

if TYPE_CHECKING:
    from tasks.covariates.language.layers import LayerCard
    from tasks.covariates.language.teaching import Course

_LOG = logging.getLogger(__name__)
_MANY_ROWS = 5_000
_MEASUREMENTS = 8
_PROBE_ROWS = 128
# adapters: a higher rate than a whole network's suits them
_OWN_RATE, _ADAPTER_RATE = 2e-3, 2e-3


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


class _Start(NamedTuple):
    """What training starts from; ``prior`` is the log odds of options, or None."""

    network: Any
    vocabulary: Vocabulary
    prior: Float64 | None
    card: LayerCard | None


class Llm(NamedTuple):
    """Rows as text with columns in random order, learnt by a causal language model (GReaT: Borisov et al. 2023, arXiv 2210.06280).

    By default the model is a small GPT-2 (Radford et al. 2019) that begins with random weights and words made for the table; with
    ``model`` a pretrained one is adapted by LoRA (Hu et al. 2022, arXiv 2106.09685) and writes in its own words. Either way a grammar
    lets it choose only among tokens that can complete a cell, in training, in writing and in likelihoods.
    """

    params: Params

    def fit(self, table: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator) -> LanguageModel:
        """Train with a journal in memory; see :class:`tasks.covariates.protocol.Synthesizer`."""
        return self.train(table, columns, rng, MemoryJournal())

    def train(self, table: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator, journal: Journal) -> LanguageModel:
        """Train, going on from the journal; see :class:`tasks.covariates.journal.Trained`."""
        require_rows(table, "llm")
        from tasks.covariates.language.network import pack
        from tasks.covariates.language.teaching import teach
        from tasks.covariates.training import device, reproducible

        names = tuple(column.id for column in columns)
        teaching, validation = hold_out(table[list(names)], rng)
        fold = assign_folds(teaching, rng)
        margins = [fit_margin(teaching[column.id], column, fold, rng)[0] for column in columns]
        with reproducible(rng) as generator:
            start = self._adapted(teaching, margins, columns, rng) if self.params.model else self._new(teaching, margins)
            start.network.to(device())
            curve = teach(
                start.network, start.vocabulary, start.prior, teaching, validation, columns, self._course(len(teaching)), generator, journal
            )
            if start.card is not None:
                from tasks.covariates.language.adapters import merge

                merge(start.network)
        return LanguageModel(pack(start.network), start.vocabulary, start.prior, names, curve, start.card)

    def _new(self, teaching: pd.DataFrame, margins: list[Margin]) -> _Start:
        """Make a network for the table; what it has to learn is by how much the odds differ from the columns' own."""
        from tasks.covariates.language.network import new_network

        params, rows = self.params, len(teaching)
        digits = params.digits if params.digits is not None else int(rows >= _MANY_ROWS)
        # fewer words for fewer rows: what depends on what is then learnt before single rows are
        bins = params.bins or int(np.clip(np.sqrt(rows) / 3, 8, 32))
        vocabulary = own_vocabulary(margins, rows, bins, digits)
        longest = vocabulary.grammar.longest
        network = new_network(vocabulary.size, longest, params.depth, params.width, params.heads, params.dropout, vocabulary.scales)
        return _Start(network, vocabulary, shares(vocabulary.grammar, read_frame(vocabulary, teaching)), None)

    def _adapted(self, teaching: pd.DataFrame, margins: list[Margin], columns: tuple[Column, ...], rng: np.random.Generator) -> _Start:
        """Load a pretrained network and give the chosen layers adapters; the card is made on a probe of the teaching rows."""
        from tasks.covariates.language.adaptation import adapt_layers
        from tasks.covariates.language.network import keep_words, load_pretrained

        loaded = load_pretrained(str(self.params.model), self.params.download)
        vocabulary = borrowed_vocabulary(margins, columns, loaded.encode, loaded.start)
        keep_words(loaded.network, vocabulary.borrowed, vocabulary.grammar.longest)
        probe = read_frame(vocabulary, teaching.iloc[np.sort(rng.permutation(len(teaching))[:_PROBE_ROWS])])
        card = adapt_layers(loaded.network, vocabulary.grammar, probe, self.params.layers, self.params.budget, self.params.rank, rng)
        _LOG.info("Layer card of %s:\n%s", self.params.model, card)
        return _Start(loaded.network, vocabulary, None, card)

    def _course(self, rows: int) -> Course:
        from tasks.covariates.language.teaching import Course

        params = self.params
        own = params.model is None
        epochs = params.epochs or int(np.clip(np.rint(40 * (1_000 / rows) ** 0.75), 4, 60))
        rate = params.rate or (_OWN_RATE if own else _ADAPTER_RATE)
        every = max(1, epochs // _MEASUREMENTS)
        return Course(epochs, every, params.patience, params.batch, rate, 0.01 if own else 0.0, 0.99 if own else 0.0)


def build(params: Params) -> Trained:
    """Return the language model, or refuse a pretrained one that is not there before any work is done."""
    if params.model is not None and not params.download:
        require_pretrained(params.model)
    return Llm(params)
