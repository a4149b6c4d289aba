"""Rows as sentences of a causal language model."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from tasks.contract.roles import Column
from tasks.covariates.closeness import hold_out
from tasks.covariates.folds import assign_folds
from tasks.covariates.journal import Journal, MemoryJournal
from tasks.covariates.language.grammar import shares
from tasks.covariates.language.model import LanguageModel, read_frame
from tasks.covariates.language.vocabulary import Vocabulary, borrowed_vocabulary, own_vocabulary
from tasks.covariates.margins import Float64, Margin, fit_margin
from tasks.covariates.protocol import require_rows

if TYPE_CHECKING:
    from tasks.covariates.language.layers import LayerCard
    from tasks.covariates.language.teaching import Course
    from tasks.covariates.methods.llm import Params

_LOG = logging.getLogger(__name__)
_MANY_ROWS = 5_000
_MEASUREMENTS = 8
_PROBE_ROWS = 128
# adapters: a higher rate than a whole network's suits them
_OWN_RATE, _ADAPTER_RATE = 2e-3, 2e-3


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
        from tasks.covariates.training.loop import device, reproducible

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
        untrained = params.model is None
        epochs = params.epochs or int(np.clip(np.rint(40 * (1_000 / rows) ** 0.75), 4, 60))
        rate = params.rate or (_OWN_RATE if untrained else _ADAPTER_RATE)
        every = max(1, epochs // _MEASUREMENTS)
        return Course(epochs, every, params.patience, params.batch, rate, 0.01 if untrained else 0.0, 0.99 if untrained else 0.0)
