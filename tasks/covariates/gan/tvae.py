"""Tabular variational autoencoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch

from tasks.contract.roles import Column
from tasks.covariates.gan.autoencoder import Autoencoder, freeze
from tasks.covariates.gan.conditions import NO_CONDITIONS
from tasks.covariates.gan.lesson import batch_rows, prepare
from tasks.covariates.gan.networks import CHECK_ROWS, FINAL_ROWS, NetworkModel, corrected
from tasks.covariates.gan.tensors import shape_of, to_rows
from tasks.covariates.journal import NO_CURVE, Curve, Journal, MemoryJournal, TrainedModel
from tasks.covariates.protocol import CovariateModel
from tasks.covariates.training.descent import Adam
from tasks.covariates.training.loop import device, reproducible, train

if TYPE_CHECKING:
    from tasks.covariates.methods.tvae import Params


class TVAE(NamedTuple):
    """The tabular variational autoencoder (Xu et al. 2019, arXiv 1907.00503; Kingma, Welling 2014, arXiv 1312.6114).

    Rows are encoded as for the GAN. Each number has a learned standard deviation, each block is drawn from its probabilities (not set
    to the likeliest category), and margins are corrected to the source's.
    """

    params: Params

    def fit(self, table: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator) -> CovariateModel:
        """Train; see :class:`tasks.covariates.protocol.Synthesizer`."""
        return self.train(table, columns, rng, MemoryJournal())

    def train(self, table: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator, journal: Journal) -> TrainedModel:
        """Train, or go on from the journal; see :class:`tasks.covariates.journal.Trained`."""
        lesson, params, where = prepare(table, columns, rng, "tvae"), self.params, device()
        layout, n = lesson.layout, len(lesson.taught.codes)
        size = batch_rows(n, params.batch)
        with reproducible(rng) as generator:
            module = Autoencoder(layout.size, len(layout.numbers), params.layers, params.code).to(where)
            optimizer = Adam(module.parameters(), params.rate, decay=params.decay)
            rows, shape = to_rows(layout, lesson.taught, where), shape_of(layout, where)

            def epoch(_: torch.Generator) -> None:
                for chosen in torch.split(torch.randperm(n).to(where), size):
                    optimizer.descend(module.loss(rows.take(chosen), shape, params.weight))

            def model(pool: int, curve: Curve) -> NetworkModel:
                drawn = NetworkModel(layout, freeze(module), NO_CONDITIONS, None, params.code, curve)
                return corrected(drawn, pool, np.random.default_rng(lesson.seed))

            curve = train(
                {"module": module, "optimizer": optimizer},
                epoch,
                lambda: lesson.judge(model(CHECK_ROWS, NO_CURVE)),
                epochs=params.epochs,
                every=params.every,
                patience=params.patience,
                generator=generator,
                journal=journal,
            )
            return model(FINAL_ROWS, curve)
