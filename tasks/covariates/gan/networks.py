"""A trained network as plain arrays, and the law it draws from: pickles small, needs no torch, holds no row."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from tasks.covariates.gan.conditions import Conditions
from tasks.covariates.gan.correction import Correction, choose, fit_correction
from tasks.covariates.gan.modes import Float32, Layout, values_of
from tasks.covariates.journal import Curve
from tasks.covariates.margins import Coded, decode

BLOCK_ROWS = 12_500
"""Most rows drawn at once."""
CHECK_ROWS, FINAL_ROWS = 4_000, 20_000
"""Drawn rows that margins are corrected by: at a validation, and at the end."""


class Network(NamedTuple):
    """Rectified layers and a linear one.

    Attributes
    ----------
    weights : tuple of ndarray of float32, each of shape (in, out)
    offsets : tuple of ndarray of float32, each of shape (out,)
    residual : bool
        Whether a layer's output stands beside its input instead of taking its place.
    spread : ndarray of float32, shape (numbers,)
        Standard deviation of the noise on the numbers.
    """

    weights: tuple[Float32, ...]
    offsets: tuple[Float32, ...]
    residual: bool
    spread: Float32

    def run(self, noise: Float32, given: Float32) -> Float32:
        """Return the network's outputs, shape (n, out), for noise (n, k) and conditions (n, categories)."""
        state = np.hstack([noise, given])
        for weight, offset in zip(self.weights[:-1], self.offsets[:-1], strict=True):
            risen = np.maximum(state @ weight + offset, 0)
            state = np.hstack([risen, state]) if self.residual else risen
        return np.asarray(state @ self.weights[-1] + self.offsets[-1])


class NetworkModel(NamedTuple):
    """A law drawn by a network, its margins corrected.

    Attributes
    ----------
    layout : Layout
    network : Network
    conditions : Conditions
        None of the layout's columns where the network takes none.
    correction : Correction or None
        None only while it is being learnt.
    noise : int
        Length of the noise that the network takes.
    curve : Curve
        How training went.
    """

    layout: Layout
    network: Network
    conditions: Conditions
    correction: Correction | None
    noise: int
    curve: Curve

    def sample(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        """Draw ``n`` rows; see :class:`tasks.covariates.protocol.CovariateModel`."""
        with threadpool_limits(1):
            drawn = [self._draw(min(BLOCK_ROWS, n - start), rng) for start in range(0, n, BLOCK_ROWS)]
        return pd.concat(drawn, ignore_index=True) if len(drawn) > 1 else drawn[0]

    def _raw(self, n: int, rng: np.random.Generator) -> tuple[Float32, Float32]:
        """Return places in modes and logits."""
        noise = rng.standard_normal((n, self.noise), dtype=np.float32)
        out = self.network.run(noise, self.conditions.draw(n, rng))
        numbers = len(self.layout.numbers)
        places = np.tanh(out[:, :numbers]) + self.network.spread * rng.standard_normal((n, numbers), dtype=np.float32)
        return np.clip(places, -1, 1), out[:, numbers:]

    def _draw(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        if self.correction is None:
            raise AssertionError("a model is sampled after its margins are corrected")
        places, logits = self._raw(n, rng)
        codes = choose(self.layout, logits, self.correction.bias, rng)
        cells: dict[str, pd.Series] = {}
        for j, block in enumerate(self.layout.blocks):
            score = np.zeros(n)
            if j in self.layout.numbers:
                k = self.layout.numbers.index(j)
                values = values_of(block, codes[:, j], places[:, k].astype(np.float64))
                score = np.interp(values, self.correction.drawn[k], self.correction.scores[k])
            cells[block.margin.id] = decode(block.margin, Coded(block.states[codes[:, j]], score))
        return pd.DataFrame({name: cells[name] for name in self.layout.names})


def corrected(model: NetworkModel, rows: int, rng: np.random.Generator) -> NetworkModel:
    """Return the model with margins set right by a pool of ``rows`` drawn rows."""
    with threadpool_limits(1):
        pieces = [model._raw(min(BLOCK_ROWS, rows - start), rng) for start in range(0, rows, BLOCK_ROWS)]
        places, logits = (np.concatenate(part) for part in zip(*pieces, strict=True))
        return model._replace(correction=fit_correction(model.layout, places, logits, rng))
