"""Conditional tabular GAN."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch

from tasks.contract.roles import Column
from tasks.covariates.gan.adversary import Average, Critic, Generator, freeze
from tasks.covariates.gan.conditions import plan_conditions, plan_sampler
from tasks.covariates.gan.lesson import Lesson, batch_rows, prepare
from tasks.covariates.gan.networks import CHECK_ROWS, FINAL_ROWS, NetworkModel, corrected
from tasks.covariates.gan.tensors import Rows, Shape, shape_of, to_rows
from tasks.covariates.journal import NO_CURVE, Curve, Journal, MemoryJournal, TrainedModel
from tasks.covariates.protocol import CovariateModel
from tasks.covariates.training.descent import Adam
from tasks.covariates.training.loop import Stateful, device, reproducible, train

if TYPE_CHECKING:
    from tasks.covariates.methods.ctgan import Params


class _Step(NamedTuple):
    """What one training step needs."""

    generator: Generator
    average: Average
    critic: Critic
    makes: Adam
    judges: Adam
    rows: Rows
    shape: Shape
    cells: torch.Tensor
    noise: int

    def parts(self) -> dict[str, Stateful]:
        """Return everything that training changes."""
        return {
            "generator": self.generator,
            "average": self.average,
            "critic": self.critic,
            "makes": self.makes,
            "judges": self.judges,
        }

    def run(self, chosen: torch.Tensor, category: torch.Tensor) -> None:
        """Train critic and generator on one batch; both see the same generated rows."""
        real = self.rows.take(chosen)
        given = torch.zeros(len(chosen), len(self.cells), device=real.device)
        if len(category):
            given.scatter_(1, category[:, None], 1.0)
        noise = torch.randn(len(chosen), self.noise, device=real.device)
        out = self.generator(torch.cat([noise, given], dim=1))
        fake = torch.cat([self.shape.soften(out), given], dim=1)
        self.judges.descend(self.critic.loss(torch.cat([real, given], dim=1), fake.detach()))
        loss = -self.critic.fool(fake)
        if len(category):
            log_odds = self.shape.blockwise(out[:, self.shape.numbers :], logarithm=True)
            loss = loss - log_odds.gather(1, self.cells[category][:, None]).mean()
        self.makes.descend(loss)
        self.average.follow(self.generator)


class CTGAN(NamedTuple):
    """The conditional tabular GAN (Xu et al. 2019, arXiv 1907.00503), trained by its covariate law and its margins set right.

    Mode-specific normalisation, training by sampling, packs of rows, Wasserstein loss with gradient penalty as in the paper. Other
    than there: atoms and missing cells are categories of their column; one batch of generated rows serves critic and generator;
    the mean of the generator's weights draws; and what it draws is corrected to the source's margins.
    """

    params: Params

    def fit(self, table: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator) -> CovariateModel:
        """Train; see :class:`tasks.covariates.protocol.Synthesizer`."""
        return self.train(table, columns, rng, MemoryJournal())

    def train(self, table: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator, journal: Journal) -> TrainedModel:
        """Train, or go on from the journal; see :class:`tasks.covariates.journal.Trained`."""
        lesson = prepare(table, columns, rng, "ctgan")
        conditions, sampler = plan_conditions(lesson.layout), plan_sampler(lesson.layout, lesson.taught)
        shown = conditions._replace(upper=sampler.upper.numpy())
        params, rows = self.params, len(lesson.taught.codes)
        with reproducible(rng) as generator:
            step = _prepare(lesson, len(conditions.cells), torch.from_numpy(conditions.cells), params)

            def epoch(_: torch.Generator) -> None:
                size = batch_rows(rows, params.batch, params.pack)
                chosen, category = (each.to(device()) for each in sampler.draw(max(1, rows // size) * size))
                for start in range(0, len(chosen), size):
                    step.run(chosen[start : start + size], category[start : start + size])

            def model(pool: int, curve: Curve) -> NetworkModel:
                fixed = np.random.default_rng(lesson.seed)
                network = freeze(step.average.mean, shown, params.noise, len(lesson.layout.numbers), fixed)
                return corrected(NetworkModel(lesson.layout, network, conditions, None, params.noise, curve), pool, fixed)

            curve = train(
                step.parts(),
                epoch,
                lambda: lesson.judge(model(CHECK_ROWS, NO_CURVE)),
                epochs=params.epochs,
                every=params.every,
                patience=params.patience,
                generator=generator,
                journal=journal,
            )
            return model(FINAL_ROWS, curve)


def _prepare(lesson: Lesson, given: int, cells: torch.Tensor, params: Params) -> _Step:
    """Make the networks and their optimizers on the device."""
    where, layout = device(), lesson.layout
    sizes = (params.noise + given, params.generator, layout.size)
    generator = Generator(*sizes).to(where)
    average = Average(generator, *sizes).to(where)
    critic = Critic(layout.size + given, params.critic, params.pack, params.dropout).to(where)
    makes, judges = (Adam(module.parameters(), params.rate, (0.5, 0.9), params.decay) for module in (generator, critic))
    return _Step(
        generator,
        average,
        critic,
        makes,
        judges,
        to_rows(layout, lesson.taught, where),
        shape_of(layout, where),
        cells.to(where),
        params.noise,
    )
