"""Gaussian copula of mixed columns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.linalg
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import ndtri
from sklearn.covariance import ledoit_wolf_shrinkage

from tasks.contract.roles import Column
from tasks.covariates.folds import assign_folds
from tasks.covariates.latent import latent_to_state, mean_between, state_to_latent
from tasks.covariates.margins import MISSING, Coded, Float64, Intp, Margin, decode, fit_margin
from tasks.covariates.protocol import CovariateModel, Synthesizer, require_rows
from tasks.numerics.threads import one_thread

_DEGREES = 9
_GRID = 4096


class Params(BaseModel):
    """Parameters of the copula."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shrinkage: float | None = Field(None, ge=0, le=1, description="weight of the identity; empty: Ledoit-Wolf")
    order_rows: int = Field(5_000, ge=100, description="most rows that decide the order of a category's levels")


class _Part(NamedTuple):
    """One column on the latent scale; ``absent`` is the latent column of its missing cells, or -1."""

    margin: Margin
    order: Intp
    absent: int


class CopulaModel(NamedTuple):
    """Margins and the Cholesky factor of the latent correlation."""

    parts: tuple[_Part, ...]
    factor: Float64

    def sample(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        """Draw ``n`` rows; see :class:`tasks.covariates.protocol.CovariateModel`."""
        with one_thread():
            latent = rng.standard_normal((n, len(self.factor))) @ self.factor.T
        cells = {}
        for k, part in enumerate(self.parts):
            coded = latent_to_state(part.margin, part.order, latent[:, k])
            if part.absent >= 0:
                gone = latent[:, part.absent] > ndtri(1 - part.margin.missing)
                coded = Coded(np.where(gone, MISSING, coded.state), np.where(gone, 0.0, coded.score))
            cells[part.margin.id] = decode(part.margin, coded)
        return pd.DataFrame(cells)


class Copula(NamedTuple):
    """The Gaussian copula synthesizer (Joe 2014, 10.1201/b17116).

    Numeric margins are smoothed quantile functions with their atoms; categories are cut from a normal variable,
    levels ordered by the mean of the other columns' first principal direction; a column with missing cells has a
    second normal variable that says which. Covariances of normal scores, ties at the mean of their piece, are corrected
    for what the pieces lose, then shrunk to the identity (Ledoit, Wolf 2004, 10.1016/S0047-259X(03)00096-4).
    """

    params: Params

    def fit(self, table: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator) -> CovariateModel:
        """Fit margins and correlation; see :class:`tasks.covariates.protocol.Synthesizer`."""
        require_rows(table, "copula")
        table = table[[column.id for column in columns]]
        fold = assign_folds(table, rng)
        pairs = [fit_margin(table[column.id], column, fold, rng) for column in columns]
        with one_thread():
            orders = _orders(pairs, self.params.order_rows)
            parts, latent, steps = [], [], []
            for (margin, coded), order in zip(pairs, orders, strict=True):
                latent.append(state_to_latent(margin, order, coded))
                steps.append(_score_steps(margin, order))
            absent = [k for k, (margin, _) in enumerate(pairs) if 0 < margin.missing < 1]
            for k in absent:
                gone = pairs[k][1].state == MISSING
                share = float(gone.mean())
                latent.append(np.where(gone, mean_between(1 - share, 1.0), mean_between(0.0, 1 - share)))
                steps.append(_two_steps(share))
            parts = [
                _Part(margin, order, len(pairs) + absent.index(k) if k in absent else -1)
                for k, ((margin, _), order) in enumerate(zip(pairs, orders, strict=True))
            ]
            correlation = _correlation(np.column_stack(latent), np.array(steps), self.params.shrinkage)
            return CopulaModel(tuple(parts), scipy.linalg.cholesky(correlation, lower=True))


def _orders(pairs: list[tuple[Margin, Coded]], most: int) -> list[Intp]:
    """Order each category's levels by the mean of the first principal direction of all other columns."""
    n = len(pairs[0][1].state)
    rows = np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.intp))
    blocks = [_indicators(margin, coded, rows) for margin, coded in pairs]
    result = []
    for k, (margin, coded) in enumerate(pairs):
        states = len(margin.shares)
        if margin.ordered or states <= 2:
            result.append(np.arange(states))
            continue
        others = [block for j, block in enumerate(blocks) if j != k and block.shape[1]]
        direction = _first_direction(np.column_stack(others)) if others else np.zeros(len(rows))
        state = coded.state[rows]
        count = np.bincount(state[state >= 0], minlength=states)
        total = np.bincount(state[state >= 0], weights=direction[state >= 0], minlength=states)
        # a rare level stands near the middle
        result.append(np.lexsort((-margin.shares, np.round(total / (count + 5.0), 10))))
    return result


def _indicators(margin: Margin, coded: Coded, rows: Intp) -> Float64:
    """Return standardised scores of a numeric or two-level column, or scaled indicators of a category's levels."""
    state = coded.state[rows]
    if margin.ordered or len(margin.shares) <= 2:
        columns = coded.score[rows, None]
    else:
        common = np.argsort(-margin.shares, kind="stable")[:12]
        columns = (state[:, None] == common[None, :]).astype(np.float64)
    centred = columns - columns.mean(axis=0)
    norm = np.sqrt((centred**2).sum())
    return np.asarray(centred / norm if norm > 0 else np.zeros((len(rows), 0)))


def _first_direction(block: Float64) -> Float64:
    vectors = scipy.linalg.eigh(block.T @ block)[1]
    axis = vectors[:, -1]
    axis = axis * np.sign(axis[np.abs(axis).argmax()])
    result = block @ axis
    return np.asarray(result / max(float(result.std()), 1e-12))


def _score_steps(margin: Margin, order: Intp) -> Float64:
    """Return Hermite coefficients of E[score | latent], ties being scored at the mean of their piece."""
    grid = ndtri((np.arange(_GRID) + 0.5) / _GRID)
    coded = latent_to_state(margin, order, grid)
    values = grid.copy()
    for state in range(len(margin.shares)):
        mine = coded.state == state
        if state != margin.smooth and mine.any():
            values[mine] = grid[mine].mean()
    return _hermite(grid, values)


def _two_steps(share: float) -> Float64:
    grid = ndtri((np.arange(_GRID) + 0.5) / _GRID)
    high = np.arange(_GRID) + 0.5 > (1 - share) * _GRID
    values = grid.copy()
    for side in (high, ~high):
        if side.any():
            values[side] = grid[side].mean()
    return _hermite(grid, values)


def _hermite(grid: Float64, values: Float64) -> Float64:
    """Return E[known(Z) he_q(Z)] for orthonormal Hermite polynomials he_1 ... he_9, shape (9,)."""
    below, here = np.ones(len(grid)), grid.copy()
    result = []
    for q in range(1, _DEGREES + 1):
        result.append(float((values * here).mean()))
        below, here = here, (grid * here - np.sqrt(q) * below) / np.sqrt(q + 1)
    return np.asarray(result)


def _correlation(latent: Float64, steps: Float64, shrinkage: float | None) -> Float64:
    """Estimate the latent correlation from normal scores with NaN where missing.

    The covariance of two scores is ``sum_q a_q b_q rho^q`` in Hermite coefficients a, b (Mehler's formula); it
    increases in rho where it matters and is inverted by bisection, pair by pair.
    """
    seen = ~np.isnan(latent)
    filled = np.where(seen, latent, 0.0)
    both = seen.T.astype(np.float64) @ seen
    mean = filled.sum(axis=0) / np.maximum(np.diag(both), 1)
    centred = np.where(seen, filled - mean, 0.0)
    observed = np.where(both >= 20, centred.T @ centred / np.maximum(both, 1), 0.0)
    products = steps[:, None, :] * steps[None, :, :]
    low, high = np.full(observed.shape, -0.99), np.full(observed.shape, 0.99)
    for _ in range(40):
        middle = (low + high) / 2
        reached = np.zeros_like(middle)
        for q in range(_DEGREES - 1, -1, -1):
            reached = (reached + products[:, :, q]) * middle
        low, high = np.where(reached < observed, middle, low), np.where(reached < observed, high, middle)
    latent_correlation = (low + high) / 2
    weight = float(ledoit_wolf_shrinkage(centred / _norms(centred))) if shrinkage is None else shrinkage
    target = (1 - weight) * latent_correlation
    np.fill_diagonal(target, 1.0)
    return _definite(target)


def _norms(centred: Float64) -> Float64:
    norms = centred.std(axis=0)
    return np.where(norms > 1e-9, norms, 1.0)


def _definite(matrix: Float64) -> Float64:
    """Lift eigenvalues to a floor and restore the unit diagonal."""
    values, vectors = scipy.linalg.eigh((matrix + matrix.T) / 2)
    lifted = (vectors * np.maximum(values, 1e-3)) @ vectors.T
    scale = 1 / np.sqrt(np.diag(lifted))
    return np.asarray(lifted * scale[:, None] * scale[None, :])


def build(params: Params) -> Synthesizer:
    """Return the copula synthesizer."""
    return Copula(params)
