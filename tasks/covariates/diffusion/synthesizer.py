"""Diffusion for mixed tables by flow matching, on top of a Gaussian law."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import scipy.linalg
from threadpoolctl import threadpool_limits

from tasks.contract.roles import Column
from tasks.covariates.closeness import hold_out, two_sample
from tasks.covariates.diffusion.cells import Cells, Float32, Layout, decode, draw_numbers, encode
from tasks.covariates.diffusion.course import Course, Pace
from tasks.covariates.diffusion.denoiser import Denoiser, Prior, freeze, thaw
from tasks.covariates.diffusion.schedule import flow
from tasks.covariates.folds import assign_folds
from tasks.covariates.journal import Curve, Journal, MemoryJournal, TrainedModel
from tasks.covariates.margins import decode as to_cells
from tasks.covariates.margins import fit_margin
from tasks.covariates.protocol import CovariateModel, require_rows
from tasks.covariates.training.loop import device, reproducible, train

if TYPE_CHECKING:
    from tasks.covariates.methods.diffusion import Params

_BLOCK = 12_500
# with 2,000 rows the figure's error is larger than what is left to learn of a large table
_MOST_HELD = 10_000
_MOST_CHECKED = 1_000
_FEWEST_HELD = 25
_MANY_ROWS = 20_000
_PRIOR_ROWS = 5.0


class DiffusionModel(NamedTuple):
    """Margins and weights."""

    layout: Layout
    weights: dict[str, Float32]
    steps: int
    curve: Curve

    def sample(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        """Draw ``n`` rows; see :class:`tasks.covariates.protocol.CovariateModel`."""
        with reproducible(rng):
            net = thaw(self.weights, self.layout.widths).to(device())
            parts = [self._draw(net, min(_BLOCK, n - start), rng) for start in range(0, n, _BLOCK)]
        return pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]

    def _draw(self, net: Denoiser, n: int, rng: np.random.Generator) -> pd.DataFrame:
        numbers, codes = flow(net, self.steps, n, rng)
        cells = decode(self.layout, numbers, codes)
        return pd.DataFrame({part.margin.id: to_cells(part.margin, cell) for part, cell in zip(self.layout.parts, cells, strict=True)})


class Diffusion(NamedTuple):
    """The diffusion synthesizer: a probability flow from noise to rows.

    Flow matching along straight paths (Lipman et al. 2023, arXiv 2210.02747); numbers are normal scores, atoms spread over the piece of
    their share; states are indicators whose estimate is a probability (Eijkelboom et al. 2024, arXiv 2406.04843). Missing cells are
    categories. What is drawn is a moving average of the weights, kept where a classifier separates held-out rows from drawn ones least.
    """

    params: Params

    def fit(self, table: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator) -> CovariateModel:
        """Train; see :class:`tasks.covariates.protocol.Synthesizer`."""
        return self.train(table, columns, rng, MemoryJournal())

    def train(self, table: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator, journal: Journal) -> TrainedModel:
        """Train, or go on from the journal; see :class:`tasks.covariates.journal.Trained`."""
        require_rows(table, "diffusion")
        table, held = hold_out(table[[column.id for column in columns]], rng, _MOST_HELD)
        fold = assign_folds(table, rng)
        layout, cells = encode([fit_margin(table[column.id], column, fold, rng) for column in columns])
        prior = _prior(layout, cells, rng)
        seed = int(rng.integers(2**63))
        with reproducible(rng) as generator:
            params = self.params
            width = params.width or (128 if len(table) < _MANY_ROWS else 256)
            course = Course(prior, cells, width, params.layers, Pace(params.epochs, params.batch, params.rate, params.average))

            def model(curve: Curve) -> DiffusionModel:
                return DiffusionModel(layout, freeze(course.average), params.steps, curve)

            curve = train(
                course.parts(),
                course.epoch,
                lambda: _figure(model(Curve((), (), 0)), held, columns, seed),
                epochs=params.epochs,
                every=params.every,
                patience=params.patience,
                generator=generator,
                journal=journal,
            )
            return model(curve)


def _prior(layout: Layout, cells: Cells, rng: np.random.Generator) -> Prior:
    """Measure what the network starts from: the correlation of the numbers and the shares of the categories."""
    numbers = draw_numbers(cells, rng)
    n, d = numbers.shape
    with threadpool_limits(1):
        moments = (numbers.T @ numbers + _PRIOR_ROWS * np.eye(d)) / (n + _PRIOR_ROWS)
        scale = 1 / np.sqrt(np.diag(moments))
        values, vectors = scipy.linalg.eigh(moments * scale * scale[:, None]) if d else (np.zeros(0), np.zeros((0, 0)))
    counts = [np.bincount(codes, minlength=width) + 0.5 for codes, width in zip(cells.codes.T, layout.widths, strict=True)]
    shares = tuple((count / count.sum()).astype(np.float32) for count in counts)
    return Prior(vectors.astype(np.float32), np.maximum(values, 1e-4).astype(np.float32), shares)


def _figure(model: DiffusionModel, held: pd.DataFrame, columns: tuple[Column, ...], seed: int) -> float:
    """Measure how well drawn rows are separated from held-out ones: the mean over several draws where few rows are held."""
    if len(held) < _FEWEST_HELD:
        return 0.5
    draws = max(1, min(2, _MOST_CHECKED // len(held)))
    drawn = model.sample(draws * len(held), np.random.default_rng(seed))
    figures = [two_sample(held, drawn[k::draws], columns, np.random.default_rng([seed, k]), _MOST_HELD) for k in range(draws)]
    return float(np.mean(figures))
